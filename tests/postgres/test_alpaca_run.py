"""A paper run whose orders go to a broker in Alpaca's REST shape, killed and started again."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.alpaca import KEYS, AlpacaPeer
from tests.integration.proxy import FaultProxy
from tests.postgres.test_operator import wait_for
from tests.postgres.test_outbox import BUSY, DATA, ENGINE, KILLED, SPEED, TIMEOUT_S, kept

DOWNS = "SELECT count(*) FILTER (WHERE event_type = 'VENUE_DOWN')"
OF_RISK = "FROM strategy_worker.risk_events"
ENDED = {"canceled": "CANCELED", "filled": "FILLED", "new": "ACCEPTED"}


@pytest.fixture
def broker() -> Iterator[AlpacaPeer]:
    peer = AlpacaPeer()
    peer.trades_at = "20.5"
    peer.start()
    yield peer
    peer.stop()


def engine(
    folder: Path, database: str, port: int, crash: str = "", **settings: Any
) -> subprocess.CompletedProcess[str]:
    strategy = folder / "busy.py"
    strategy.write_text(BUSY, encoding="utf-8")
    chosen = {
        "venue.kind": "alpaca", "alpaca.url": f"http://127.0.0.1:{port}", "alpaca.poll_ms": 50,
        "alpaca.requests_per_minute": 100_000, "alpaca.retry.backoff_ms": 100,
        "feed.speed": SPEED, "data.end": "2012-08-01",
        "risk.max_repeated_orders": '"unlimited"', **settings,
    }  # fmt: skip
    command = [ENGINE, "run", str(strategy), "--profile", "paper", "--data", str(DATA), "--json"]
    for key, value in chosen.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, **KEYS, "DATABASE_URL": database, "TETRAD_CRASH": crash}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def account_for(database: str, broker: AlpacaPeer) -> None:
    """Hold what the engine keeps against what the broker has: nothing lost, nothing doubled."""
    orders, fills = kept(database)
    there = {each["client_order_id"]: each for each in broker.orders.values()}
    sent = {f"Busy:{k}" for k, status in orders.items() if status not in ("DENIED", "INITIALIZED")}
    never_left = {k for k in sent - there.keys() if orders[k[5:]] == "CANCELED"}
    assert sent - never_left == there.keys()
    assert len(there) > 10  # fewer on a busy machine
    assert max(Counter(broker.received).values()) == 1
    assert fills == {
        (broker.orders[each["order_id"]]["client_order_id"][5:], each["id"])
        for each in broker.activities
    }
    assert len(fills) > 10
    statuses = {k: ENDED[each["status"]] for k, each in there.items()}
    assert statuses == {k: orders[k[5:]] for k in there}


def text_of(database: str) -> str:
    """Give everything in the database as text."""
    with psycopg.connect(database) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'strategy_worker'"
        ).fetchall()
        parts = []
        for (name,) in names:
            query = sql.SQL("SELECT row_to_json(t)::text FROM {} t")
            table = sql.Identifier("strategy_worker", name)
            parts += [row for (row,) in connection.execute(query.format(table)).fetchall()]
    return "".join(parts)


@pytest.mark.req("R40")
def test_a_paper_run_trades_at_the_broker_and_tells_nobody_the_keys(
    tmp_path: Path, database: str, broker: AlpacaPeer
) -> None:
    done = engine(tmp_path, database, broker.port)
    assert done.returncode == 0, done.stderr
    account_for(database, broker)
    told = done.stdout + done.stderr + text_of(database)
    assert "Busy:FB" in told
    for key in KEYS.values():
        assert key not in told
        assert key.encode().hex() not in told  # what the database shows of bytes


@pytest.mark.req("P1", "P2", "P3", "R40")
@pytest.mark.parametrize("point", ["outbox.kept:3", "outbox.before_send:5", "outbox.sent:4"])
def test_a_kill_neither_loses_nor_doubles_an_order(
    tmp_path: Path, database: str, broker: AlpacaPeer, point: str
) -> None:
    killed = engine(tmp_path, database, broker.port, crash=point)
    assert killed.returncode == KILLED, killed.stderr
    done = engine(tmp_path, database, broker.port)
    assert done.returncode == 0, done.stderr
    account_for(database, broker)


@pytest.mark.req("P3", "P24", "R40")
def test_a_network_that_breaks_swallows_and_hangs_loses_nothing(
    tmp_path: Path, database: str, broker: AlpacaPeer
) -> None:
    with FaultProxy(broker.port) as proxy, ThreadPoolExecutor(1) as pool:
        slow = {"alpaca.timeout": 2, "feed.speed": SPEED / 5, "data.end": "2012-12-31"}
        running = pool.submit(engine, tmp_path, database, proxy.port, **slow)

        def lose_what_was_done() -> None:
            before = len(broker.received)
            proxy.lose_replies()
            broker.wait_until(lambda: len(broker.received) > before)
            proxy.refuses = True
            proxy.reset()

        faults = [lose_what_was_done, proxy.blackhole, lose_what_was_done]
        for number, fault in enumerate(faults):
            orders = 4 * (number + 1)
            broker.wait_until(lambda n=orders: len(broker.received) >= n)
            opened = broker.count("GET", "/v2/account")
            fault()
            wait_for(database, f"{DOWNS} > {number} {OF_RISK}", True)
            proxy.heal()
            broker.wait_until(lambda n=opened: broker.count("GET", "/v2/account") > n)
        done = running.result(TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    account_for(database, broker)


def test_the_command_of_the_page(tmp_path: Path, database: str, broker: AlpacaPeer) -> None:
    page = (DATA.parents[2] / "docs" / "alpaca.md").read_text(encoding="utf-8")
    fence = page.partition("```sh\n")[2].partition("```")[0]
    command = shlex.split(fence.replace("\\\n", ""))
    nearer = [
        f"alpaca.url=http://127.0.0.1:{broker.port}",
        "alpaca.poll_ms=50",
        "alpaca.requests_per_minute=100000",
        "data.end=2005-06-30",
        f"feed.speed={SPEED}",
    ]
    for setting in nearer:
        command += ["--set", setting]
    done = subprocess.run(
        [ENGINE, *command[1:]], env={**os.environ, **KEYS, "DATABASE_URL": database},
        cwd=DATA.parents[2], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert broker.activities


def test_real_money_without_the_second_switch_is_refused(tmp_path: Path, database: str) -> None:
    url = {"alpaca.url": "https://api.alpaca.markets"}
    refused = engine(tmp_path, database, 1, **url)
    assert refused.returncode == 2
    assert "alpaca.live = true" in refused.stderr + refused.stdout
