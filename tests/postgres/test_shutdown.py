"""A signal to stop, where the profile wants every position closed first."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from tests.postgres.test_operator import EVENTS, POSITION, WORKING, at_work, command, wait_for
from tests.postgres.test_outbox import at_venue, serving

FLATTEN = ("--set", "shutdown.positions=flatten")
SHUT = EVENTS.replace("'LUNCH'", "'SHUTDOWN'")
CLOSED = "Every position is closed and no order works; trading stays halted until: engine resume\n"
AGAIN = "engine: stopped; run the same command again to go on\n"


@pytest.mark.req("D15", "R56", "R104", "R124")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_everything_is_closed_before_the_run_leaves_off(
    database: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with at_work(database, tmp_path, *FLATTEN) as engine:
        wait_for(database, POSITION, 50)
        wait_for(database, WORKING, 1)
        engine.send_signal(number)
        _, errors = engine.communicate(timeout=60)
        assert engine.returncode == code
    assert f" WARNING SHUTDOWN: {CLOSED}" in errors
    assert errors.endswith(AGAIN)
    wait_for(database, POSITION, None)
    wait_for(database, WORKING, 0)
    wait_for(database, SHUT, ["SHUTDOWN TRADING_HALTED"])
    # It goes on as after a kill, and halted, until a person says otherwise.
    with at_work(database, tmp_path, *FLATTEN) as engine:
        assert engine.stderr is not None
        assert engine.stderr.readline().startswith("run Eager goes on")
        assert command(database, "resume")[0] == 0
        wait_for(database, WORKING, 1)


@pytest.mark.req("D15")
def test_what_cannot_be_closed_in_time_is_named(database: str, tmp_path: Path) -> None:
    short = ("--set", "shutdown.timeout=0.001", "--set", "feed.speed=86400")
    with at_work(database, tmp_path, *FLATTEN, *short) as engine:
        wait_for(database, POSITION, 50)
        engine.terminate()
        _, errors = engine.communicate(timeout=60)
        assert engine.returncode == 143
    said = (
        "CRITICAL SHUTDOWN: The time to close is over; still open: 2, such as the position of "
        "Eager in FB"
    )
    assert said in errors
    wait_for(database, POSITION, 50)


@pytest.mark.req("D15")
def test_without_such_a_wish_everything_stays_as_it_is(database: str, tmp_path: Path) -> None:
    with at_work(database, tmp_path) as engine:
        wait_for(database, POSITION, 50)
        wait_for(database, WORKING, 1)
        engine.terminate()
        _, errors = engine.communicate(timeout=60)
    assert "SHUTDOWN" not in errors
    wait_for(database, POSITION, 50)
    wait_for(database, WORKING, 1)


@pytest.mark.req("D15", "D8")
def test_a_venue_outside_is_waited_for(database: str, tmp_path: Path) -> None:
    with (
        serving() as port,
        at_work(
            database, tmp_path, *FLATTEN,
            "--set", "venue.kind=grpc", "--set", f"oms_grpc.port={port}",
        ) as engine,
    ):  # fmt: skip
        wait_for(database, POSITION, 50)
        wait_for(database, WORKING, 1)
        engine.terminate()
        _, errors = engine.communicate(timeout=60)
        assert engine.returncode == 143
        orders = "SELECT order_id FROM strategy_worker.execution_orders"
        with psycopg.connect(database) as connection:
            ids = [row[0] for row in connection.execute(orders).fetchall()]
        _, fills = at_venue(port, ids)
    assert f" WARNING SHUTDOWN: {CLOSED}" in errors
    wait_for(database, POSITION, None)
    wait_for(database, WORKING, 0)
    # What the venue has filled is what is booked: bought and sold again.
    wait_for(database, "SELECT sum(quantity)::int FROM strategy_worker.execution_fills", 0)
    wait_for(database, "SELECT count(*)::int FROM strategy_worker.execution_fills", len(fills))
