"""Orders to a venue outside this process: kept before they leave, sent once, accounted for.

The venue is the reference order management system on a real socket; the engine is a process that
is killed at every point on an order's way out, and started again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from adapters.files import open_dataset
from adapters.grpc.link import GrpcVenueLink
from engine.config import load_config
from engine.domain.events import OrderFilled, OrderNotFound, OrderStatusGiven
from engine.domain.orders import Order, OrderType, Side
from engine.oms import ReferenceOms
from engine.sections import OmsGrpcConfig
from tests.integration.rig import Heard, oms_edge, opened

ENGINE = str(Path(sys.executable).with_name("engine"))
DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "FB.parquet"
KILLED = -9
TIMEOUT_S = 90.0
# 196 bars of a day: fifty a second.
SPEED = 86_400 * 50
BUSY = """
from engine import Bar, Strategy


class Busy(Strategy):
    \"\"\"One share in and out, every other bar, and a limit order that is canceled again.\"\"\"

    def on_bar(self, bar: Bar) -> None:
        if bar.seq % 4 == 0:
            self.buy(bar.symbol, 5)
        elif bar.seq % 4 == 2 and self.position(bar.symbol).quantity > 0:
            self.sell(bar.symbol, 5)
        elif bar.seq % 4 == 1:
            self.resting = self.buy(bar.symbol, 5, limit=round(bar.close * 0.95, 2))
        elif bar.seq % 8 == 3 and self.orders:
            self.cancel(self.resting)
"""


@contextmanager
def serving() -> Iterator[int]:
    """Serve the reference system, with the data at its pace; give its port."""
    history = open_dataset([str(DATA)])
    # Slower than the engine, which starts twice: the data must not be at its end before.
    oms = ReferenceOms(load_config("backtest"), history, oms_edge(history), speed=SPEED / 5)
    oms.start()
    number = oms.serve("127.0.0.1", 0)
    feeding = threading.Thread(target=oms.run)
    feeding.start()
    try:
        yield number
    finally:
        oms.stop()
        feeding.join(TIMEOUT_S)


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as number:
        yield number


def engine(
    folder: Path, database: str, port: int, crash: str = ""
) -> subprocess.CompletedProcess[str]:
    strategy = folder / "busy.py"
    strategy.write_text(BUSY, encoding="utf-8")
    settings = {
        "venue.kind": "grpc", "oms_grpc.port": port, "feed.speed": SPEED,
        "oms_grpc.retry.backoff_ms": 100, "data.end": "2012-10-10",
        "risk.max_repeated_orders": '"unlimited"',
    }  # fmt: skip
    command = [ENGINE, "run", str(strategy), "--profile", "paper", "--data", str(DATA), "--json"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, "DATABASE_URL": database, "TETRAD_CRASH": crash}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def kept(database: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Give the orders with their statuses, and the fills, of the database."""
    with psycopg.connect(database) as connection:
        orders = connection.execute(
            "SELECT order_id, inner_status FROM strategy_worker.execution_orders"
        ).fetchall()
        fills = connection.execute(
            "SELECT order_id, exec_id FROM strategy_worker.execution_fills"
        ).fetchall()
    return dict(orders), set(fills)


def at_venue(port: int, order_ids: list[str]) -> tuple[set[str], set[tuple[str, str]]]:
    """Ask the venue about orders: which it has, and its fills of them."""
    history = open_dataset([str(DATA)])
    heard = Heard()
    link = GrpcVenueLink(
        OmsGrpcConfig(port=port),
        instruments={each.symbol: each for each in history.instruments},
        keep_closed=10_000,
        on_bad_answer=heard.on_bad_answer,
        now=lambda: 0,
    )
    opened(link, heard)
    try:
        for order_id in order_ids:
            link.query(Order(order_id, "Busy", "FB", Side.BUY, OrderType.MARKET, 5, 0))
        answers = (OrderStatusGiven, OrderNotFound)
        heard.wait_until(lambda: len(heard.of(*answers)) == len(order_ids))
    finally:
        link.close(timeout_s=10)
    known = {event.client_order_id for event in heard.of(OrderStatusGiven)}
    fills = {(event.client_order_id, event.exec_id) for event in heard.of(OrderFilled)}
    return known, fills


def account_for(database: str, port: int) -> None:
    """Hold what the engine keeps against what the venue has: nothing lost, nothing doubled."""
    orders, fills = kept(database)
    sent = {k for k, status in orders.items() if status not in ("DENIED", "INITIALIZED")}
    known, executions = at_venue(port, sorted(orders))
    never_left = {k for k in sent - known if orders[k] == "CANCELED"}  # given up before it left
    assert sent - never_left == known
    assert len(known) > 10  # fewer on a busy machine
    assert fills <= executions
    # What filled after the engine had gone is of orders that it still has as open.
    open_still = {k for k in sent if orders[k] in ("ACCEPTED", "PENDING_NEW", "PENDING_CANCEL")}
    assert {order_id for order_id, _ in executions - fills} <= open_still
    assert len(fills) > 10


@pytest.mark.req("P1")
@pytest.mark.req("P2")
@pytest.mark.req("P3")
@pytest.mark.parametrize("hit", [1, 4])
@pytest.mark.parametrize("point", ["outbox.kept", "outbox.before_send", "outbox.sent"])
def test_a_kill_on_an_orders_way_out_neither_loses_nor_doubles_it(
    tmp_path: Path, database: str, port: int, point: str, hit: int
) -> None:
    killed = engine(tmp_path, database, port, crash=f"{point}:{hit}")
    assert killed.returncode == KILLED, killed.stderr
    done = engine(tmp_path, database, port)
    assert done.returncode == 0, done.stderr
    account_for(database, port)


def journal_of(database: str) -> list[tuple[int, bytes]]:
    """Give the batches of the run, with their hashes."""
    with psycopg.connect(database) as connection:
        return connection.execute(
            "SELECT batch, hash FROM strategy_worker.journal ORDER BY batch"
        ).fetchall()


@pytest.mark.req("P18")
def test_a_complete_run_stays_as_it_is_however_often_it_is_opened(
    tmp_path: Path, database: str, port: int
) -> None:
    first = engine(tmp_path, database, port)
    assert first.returncode == 0, first.stderr
    journal = journal_of(database)
    for _ in range(2):
        again = engine(tmp_path, database, port)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["run_hash"] == json.loads(first.stdout)["run_hash"]
        assert journal_of(database) == journal


@pytest.mark.req("P1")
@pytest.mark.req("R51")
def test_orders_go_out_and_come_back_over_the_wire(
    tmp_path: Path, database: str, port: int
) -> None:
    done = engine(tmp_path, database, port)
    assert done.returncode == 0, done.stderr
    account_for(database, port)
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM strategy_worker.execution_orders o "
            "WHERE inner_status <> 'DENIED' AND (verdict ->> 'code') IS NOT NULL"
        ).fetchone()
    assert rows == (0,)
