"""What people tell an engine at work: halt, reduce, resume, flatten."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

ENGINE = str(Path(sys.executable).with_name("engine"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EAGER = """
from engine import Bar, Strategy


class Eager(Strategy):
    \"\"\"Holds a position from the first bar on, and always works an order far away.\"\"\"

    def on_bar(self, bar: Bar) -> None:
        if bar.seq == 0:
            self.buy(bar.symbol, 50)
        if not self.orders:
            self.buy(bar.symbol, 10, limit=round(bar.close * 0.92, 2))
"""
EVENTS = """
SELECT array_agg(event_type || ' ' || action_taken ORDER BY event_id)
FROM strategy_worker.risk_events WHERE event_type IN ('LUNCH', 'OPERATOR')"""


def command(database: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [ENGINE, *arguments], env={**os.environ, "DATABASE_URL": database}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@contextmanager
def at_work(database: str, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Run an engine slowly; it is stopped at the end."""
    strategy = folder / "eager.py"
    strategy.write_text(EAGER)
    engine = subprocess.Popen(
        [ENGINE, "run", f"{strategy}:Eager", "--profile", "paper", "--data",
         f"{EXAMPLES}/data/FB.parquet", "--set", f"feed.speed={86_400 * 10}", *more],
        env={**os.environ, "DATABASE_URL": database}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield engine
    finally:
        engine.terminate()
        engine.communicate(timeout=60)


def wait_for(database: str, query: str, value: Any) -> None:
    """Wait for the one value of a query."""
    pause = subprocess.Popen(["sleep", "60"])
    try:
        while True:
            with psycopg.connect(database) as connection:
                row = connection.execute(query).fetchone()  # type: ignore[call-overload]
            if row is not None and row[0] == value:
                return
            assert pause.poll() is None, f"{query} gave {row}, not {value!r}"
            with suppress(subprocess.TimeoutExpired):
                pause.wait(0.02)
    finally:
        pause.kill()
        pause.wait()


POSITION = "SELECT (positions -> 'FB' ->> 'quantity')::int FROM strategy_worker.strategy_executions"
WORKING = """SELECT count(*)::int FROM strategy_worker.execution_orders
WHERE status IN ('PENDING', 'ACCEPTED', 'PARTIALLY_FILLED')"""


@pytest.mark.req("P13")
@pytest.mark.req("P12")
def test_a_person_halts_reduces_and_resumes(database: str, tmp_path: Path) -> None:
    with at_work(database, tmp_path):
        wait_for(database, POSITION, 50)
        wait_for(database, WORKING, 1)
        code, output, errors = command(database, "halt", "--reason", "LUNCH")
        assert (code, errors) == (0, "")
        assert output.startswith("halt: run Eager took it at 2")
        wait_for(database, WORKING, 0)
    # What was halted stays halted over a restart.
    with at_work(database, tmp_path):
        code, output, _ = command(database, "reduce", "--run", "Eager")
        assert code == 0
        assert command(database, "resume")[0] == 0
        wait_for(database, WORKING, 1)
        wait_for(database, EVENTS, [
            "LUNCH TRADING_HALTED", "OPERATOR TRADING_REDUCING", "OPERATOR TRADING_RESUMED",
        ])  # fmt: skip


@pytest.mark.req("P13")
def test_a_person_closes_everything(database: str, tmp_path: Path) -> None:
    with at_work(database, tmp_path):
        wait_for(database, POSITION, 50)
        assert command(database, "flatten")[0] == 0
        wait_for(database, POSITION, None)
        wait_for(database, WORKING, 0)


@pytest.mark.req("P13")
def test_one_strategy_is_halted(database: str, tmp_path: Path) -> None:
    with at_work(database, tmp_path):
        wait_for(database, WORKING, 1)
        code, output, _ = command(database, "halt", "--strategy", "Eager")
        assert code == 0
        assert output.startswith("halt of strategy Eager: run Eager took it")
        wait_for(database, EVENTS, ["OPERATOR STRATEGY_HALTED"])


def test_an_engine_of_its_own_database_hears_too(tmp_path: Path) -> None:
    """The engine's own server is found by its folder."""
    folder = f"store.folder={tmp_path / 'data'}"
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    with at_work("", tmp_path, "--set", folder) as engine:
        assert engine.stderr is not None
        # Before that, the one who halts would start the server of that folder himself.
        assert "begins" in engine.stderr.readline()
        done = subprocess.run(
            [ENGINE, "halt", "--set", folder], env=environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert "run Eager took it" in done.stdout, done.stderr


def test_nobody_is_there_to_be_told(database: str, tmp_path: Path) -> None:
    assert command(database, "halt") == (
        2, "", "engine: name the run with --run: those not complete are none\n"
    )  # fmt: skip
    with at_work(database, tmp_path):
        wait_for(database, WORKING, 1)
    assert command(database, "halt", "--run", "Nobody") == (
        2, "", "engine: there is no run 'Nobody' that is not complete; there are: Eager\n"
    )  # fmt: skip
    code, _, errors = command(database, "halt", "--wait", "0.3")
    assert code == 75
    assert errors == (
        "engine: no engine of run 'Eager' has taken the command within 0.3 s, and it was "
        "withdrawn: is the engine at work, on this database?\n"
    )
    # A command that was given up is not taken later.
    with at_work(database, tmp_path):
        assert command(database, "reduce")[0] == 0
        wait_for(database, EVENTS, ["OPERATOR TRADING_REDUCING"])
