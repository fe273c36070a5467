"""A run that is killed anywhere ends as the one that never was: the same events, to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.faults import POINTS
from engine.research.backtest import backtest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STRATEGY = f"{EXAMPLES}/strategies/sma_cross.py:SmaCross"
DATA = EXAMPLES / "data" / "FB.parquet"
ENGINE = Path(sys.executable).with_name("engine")
TIMEOUT_S = 60.0
KILLED = -9


def engine(url: str, *more: str, crash: str = "") -> subprocess.CompletedProcess[str]:
    """Start a paper run as a user does, and wait for its end."""
    command = [str(ENGINE), "run", STRATEGY, "--profile", "paper", "--data", str(DATA), "--json"]
    environment = {**os.environ, "DATABASE_URL": url, "TETRAD_CRASH": crash}
    return subprocess.run(
        [*command, *more], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, Any]:
    """Give the summary of the backtest: what every paper run of the same must come to."""
    return backtest(STRATEGY, DATA).summary


@pytest.mark.req("P2")
@pytest.mark.req("P12")
@pytest.mark.parametrize(
    ("point", "hit"),
    [
        (point, hit)
        for point in POINTS
        # There is a venue outside in test_outbox.py only, and a listener in test_publishing.py.
        if not point.startswith(("outbox.", "publication."))
        # A start comes by its own points once, by those of the store with every commit.
        for hit in ((1, 2, 3) if point.startswith("store.") else (1,))
    ],
)
def test_a_kill_loses_nothing_and_doubles_nothing(
    database: str, uninterrupted: dict[str, Any], point: str, hit: int
) -> None:
    slow = ("--set", "feed.speed=30000000")  # or everything might be in the first commit
    killed = engine(database, *slow, crash=f"{point}:{hit}")
    assert killed.returncode == KILLED, killed.stderr
    done = engine(database)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    for key in ("run_hash", "final_equity", "orders", "fills"):
        assert summary[key] == uninterrupted[key], key
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT exec_id) FROM strategy_worker.execution_fills"
        ).fetchone()
        status = connection.execute("SELECT status FROM strategy_worker.runs").fetchone()
    assert rows == (uninterrupted["fills"], uninterrupted["fills"])
    assert status == ("COMPLETED",)
