"""A run whose database goes in the middle: halted, waited for, gone on with carefully."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.feeds.servers import wait_until
from tests.integration.proxy import FaultProxy
from tests.postgres.test_half_open import through
from tests.postgres.test_operator import EXAMPLES, command
from tests.postgres.test_outbox import serving

ENGINE = str(Path(sys.executable).with_name("engine"))
DATA = f"{EXAMPLES}/data/FB.parquet"
TRADER = """
from engine import Bar, Strategy


class Trader(Strategy):
    def on_bar(self, bar: Bar) -> None:
        if self.position(bar.symbol):
            self.close(bar.symbol)
        else:
            self.buy(bar.symbol, 20)
"""
ORDERS = """SELECT order_id, inner_status FROM strategy_worker.execution_orders ORDER BY ts_init"""
FILLS = "SELECT count(*), count(DISTINCT exec_id) FROM strategy_worker.execution_fills"


class Run:
    """An engine as a process, and what it has said."""

    def __init__(self, database: str, folder: Path, *more: str) -> None:
        (folder / "trader.py").write_text(TRADER)
        arguments = [
            ENGINE, "run", str(folder / "trader.py"), "--profile", "paper", "--data", DATA,
            "--set", "store.on_loss=wait", "--set", "store.timeout=0.5",
            "--set", "data.end=2012-09-30", "--set", 'risk.max_repeated_orders="unlimited"', *more,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            arguments, env={**os.environ, "DATABASE_URL": database}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.said.append((time.monotonic(), line))
                self._changed.notify_all()

    def wait(self, pattern: str, count: int = 1) -> float:
        """Wait for a line so often; give the moment of the last."""

        def found() -> list[float]:
            return [at for at, line in self.said if re.search(pattern, line)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, 30), self.said
        return found()[count - 1]

    def end(self) -> int:
        """Wait for its end; give the exit code."""
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def close(self) -> None:
        self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    folder = psycopg.conninfo.conninfo_to_dict(database)["host"]
    with FaultProxy(f"{folder}/.s.PGSQL.5432") as proxy:
        yield proxy


@contextmanager
def running(database: str, proxy: FaultProxy, folder: Path, *more: str) -> Iterator[Run]:
    run = Run(through(database, proxy), folder, *more)
    try:
        yield run
    finally:
        run.close()


def lose(proxy: FaultProxy, how: str) -> None:
    if how == "refused":
        proxy.refuses = True
        proxy.reset()
    else:
        getattr(proxy, how)()


def rows(database: str, query: str) -> list[Any]:
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


@pytest.mark.req("P41", "P12")
@pytest.mark.parametrize("how", ["refused", "blackhole", "pause"])
def test_a_run_waits_for_its_database_and_goes_on_reducing(
    database: str, proxy: FaultProxy, tmp_path: Path, how: str
) -> None:
    with running(database, proxy, tmp_path, "--set", f"feed.speed={86_400 * 20}") as run:
        run.wait("begins")
        began = time.monotonic()
        wait_orders(database, 3)
        lost = time.monotonic()
        lose(proxy, how)
        took = run.wait("STORE_DOWN") - lost
        assert took < 2
        print(f"noticed after {took:.2f} s")
        proxy.refuses = False
        proxy.heal()
        proxy.reset()
        run.wait("goes on")
        before = len(rows(database, ORDERS))
        wait_denied(database)
        assert run.end() == 0, (began, run.said)
    orders = dict(rows(database, ORDERS))
    fills, distinct = rows(database, FILLS)[0]
    assert fills == distinct == list(orders.values()).count("FILLED")
    assert len(orders) > before
    # What is held may be closed, and nothing is opened any more.
    assert "DENIED" in list(orders.values())[before - 1 :]
    assert list(orders.values())[-1] == "DENIED"


@pytest.mark.req("P41")
def test_a_person_resumes_it(database: str, proxy: FaultProxy, tmp_path: Path) -> None:
    with running(database, proxy, tmp_path, "--set", f"feed.speed={86_400 * 20}") as run:
        run.wait("begins")
        wait_orders(database, 2)
        lose(proxy, "refused")
        run.wait("STORE_DOWN")
        proxy.refuses = False
        run.wait("goes on")
        wait_denied(database)
        code, _, errors = command(database, "resume", "--reason", "BACK")
        assert code == 0, errors
        assert run.end() == 0
    statuses = [status for _, status in rows(database, ORDERS)]
    assert "FILLED" in statuses[statuses.index("DENIED") :]


@pytest.mark.req("P41", "P42")
def test_ten_losses_in_a_row_lose_nothing(database: str, proxy: FaultProxy, tmp_path: Path) -> None:
    with running(database, proxy, tmp_path, "--set", f"feed.speed={86_400 * 20}") as run:
        for number in range(1, 11):
            run.wait("begins|goes on", number)
            lose(proxy, "refused")
            run.wait("STORE_DOWN", number)
            proxy.refuses = False
        assert run.end() == 0
    fills, distinct = rows(database, FILLS)[0]
    statuses = [status for _, status in rows(database, ORDERS)]
    assert fills == distinct == statuses.count("FILLED")
    (inputs,) = rows(database, "SELECT sum(inputs) FROM strategy_worker.journal")[0]
    assert inputs >= 92  # every bar, once


@pytest.mark.req("P41")
def test_one_that_ended_with_its_database_goes_on_reducing_in_another_process(
    database: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    more = (
        "--set", "store.on_loss=end", "--set", "store.on_restart=reducing",
        "--set", f"feed.speed={86_400 * 20}",
    )  # fmt: skip
    with running(database, proxy, tmp_path, *more) as run:
        run.wait("begins")
        wait_orders(database, 3)
        lose(proxy, "refused")
        assert run.end() == 75
    assert "DENIED" not in dict(rows(database, ORDERS)).values()
    proxy.refuses = False
    with running(database, proxy, tmp_path, *more) as run:
        run.wait("goes on")
        wait_denied(database)
        code, _, errors = command(database, "resume", "--reason", "BACK")
        assert code == 0, errors
        assert run.end() == 0
    statuses = [status for _, status in rows(database, ORDERS)]
    assert "FILLED" in statuses[statuses.index("DENIED") :]
    held = "SELECT count(*) FROM strategy_worker.risk_events WHERE event_type = 'RESTARTED'"
    assert rows(database, held) == [(1,)]


@pytest.mark.req("P41", "P8")
def test_the_link_to_a_venue_outside_is_let_go_with_the_database(
    database: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    with serving() as port, running(
        database, proxy, tmp_path, "--set", "venue.kind=grpc", "--set", f"oms_grpc.port={port}",
        "--set", f"feed.speed={86_400 * 20}",
    ) as run:  # fmt: skip
        run.wait("begins")
        wait_orders(database, 2)
        lose(proxy, "refused")
        run.wait("STORE_DOWN")
        proxy.refuses = False
        back = run.wait("goes on")
        wait_denied(database)
        assert run.end() == 0, run.said
    # An earlier link that came back would push the new one out, again and again.
    (down,) = [line for at, line in run.said if at >= back and "VENUE_DOWN" in line]
    assert "STARTING" in down
    fills, distinct = rows(database, FILLS)[0]
    assert fills == distinct > 0


def test_a_person_stops_one_that_waits(database: str, proxy: FaultProxy, tmp_path: Path) -> None:
    with running(database, proxy, tmp_path, "--set", f"feed.speed={86_400}") as run:
        run.wait("begins")
        lose(proxy, "refused")
        run.wait("STORE_DOWN")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 143


def test_one_that_never_was_there_is_not_waited_for(
    database: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    lose(proxy, "refused")
    with running(database, proxy, tmp_path) as run:
        assert run.end() == 75


def wait_orders(database: str, count: int) -> None:
    wait_until(lambda: len(rows(database, ORDERS)) >= count, f"{count} orders")


def wait_denied(database: str) -> None:
    wait_until(lambda: "DENIED" in dict(rows(database, ORDERS)).values(), "a denied order")
