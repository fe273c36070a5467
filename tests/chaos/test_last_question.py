"""A run is complete with all that the venue had said by then, not with what had come through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.chaos.market import end_of, write_market
from tests.chaos.record import read_books, read_oms
from tests.chaos.world import POLL_S, Database, Engine, OrderSystem

ENGINE_SPEED, OMS_SPEED = 60.0 * 20, 60.0 / 2  # twenty bars a second, and one in two
BARS, LAST_ORDER = 60, 45
WAIT_S = 30.0
ONE = f"""
from engine import Bar, Strategy


class One(Strategy):
    \"\"\"One order, shortly before the end.\"\"\"

    def on_bar(self, bar: Bar) -> None:
        if bar.symbol == "AAA" and bar.seq == {LAST_ORDER}:
            self.buy(bar.symbol, 5)
"""


def wait_until(is_so: Callable[[], object]) -> None:
    limit = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < limit
        threading.Event().wait(POLL_S)


@pytest.mark.req("P2", "P19", "P24")
def test_a_run_does_not_end_over_a_connection_that_is_gone_without_a_word(tmp_path: Path) -> None:
    data = write_market(tmp_path / "market", 500)
    strategy = tmp_path / "one.py"
    strategy.write_text(ONE, encoding="utf-8")
    database = Database(tmp_path / "database")
    oms = OrderSystem(tmp_path, data, OMS_SPEED)
    command = [str(strategy), "--profile", "paper", "--data", str(data)]
    for key, value in {
        "venue.kind": "grpc", "oms_grpc.host": "127.0.0.1", "oms_grpc.port": oms.proxy.port,
        "feed.speed": ENGINE_SPEED, "data.end": end_of(BARS),
    }.items():  # fmt: skip
        command += ["--set", f"{key}={value}"]
    engine = Engine(tmp_path, command, database.url)
    try:
        engine.start()
        assert engine.wait_going(WAIT_S) is not None
        with database.connect() as connection:
            wait_until(lambda: statuses(connection) == ["ACCEPTED"])
            oms.proxy.pause()
            wait_until(
                lambda: (
                    [each.statuses for each in read_oms(oms.state).values()] == [{"OPEN", "FILLED"}]
                )
            )
            assert engine.said.wait("VENUE_DOWN", WAIT_S) is not None
            assert engine.code is None  # the data has been at its end for a while
            oms.proxy.heal()
            assert engine.wait_over(WAIT_S)
            assert engine.code == 0, engine.said.last
            books = read_books(connection, "One")
        assert [order for order, _, _ in books.fills.values()] == list(read_oms(oms.state))
    finally:
        engine.kill()
        oms.close()
        database.close()


def statuses(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("SELECT inner_status FROM strategy_worker.execution_orders")
    return [row[0] for row in rows.fetchall()]
