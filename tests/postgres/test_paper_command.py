"""``engine run --profile paper`` and ``engine db`` as their user meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from engine.research.backtest import backtest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENGINE = str(Path(sys.executable).with_name("engine"))
RUN = [
    ENGINE, "run", f"{EXAMPLES}/strategies/sma_cross.py", "--profile", "paper",
    "--data", f"{EXAMPLES}/data/FB.parquet",
]  # fmt: skip
TIMEOUT_S = 60.0


def run(
    command: list[str], *, url: str | None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    if url is not None:
        environment["DATABASE_URL"] = url
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip


def line(text: str, name: str) -> str:
    return next(row for row in text.splitlines() if row.strip().startswith(name)).split()[2]


def test_a_run_needs_no_server_and_is_told_of_when_it_is_complete(tmp_path: Path) -> None:
    first = run(RUN, url=None, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == (
        "run SmaCross begins; stop it whenever you like, it goes on from there\n"
    )
    assert (tmp_path / "tetrad-data").is_dir()
    again = run([*RUN, "--out", "out"], url=None, cwd=tmp_path)
    assert again.stderr == "run SmaCross is complete; this is what came of it\n"
    expected = backtest(RUN[2], RUN[6]).run_hash[:16]
    assert {line(first.stdout, "run hash"), line(again.stdout, "run hash")} == {expected}
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.req("D15")
@pytest.mark.req("P37")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_in_order_leaves_off_and_the_next_start_goes_on(
    database: str, number: signal.Signals, code: int
) -> None:
    environment = {**os.environ, "DATABASE_URL": database}
    slow = [*RUN, "--set", "feed.speed=2000000"]
    with subprocess.Popen(slow, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("run SmaCross begins")
        with psycopg.connect(database, autocommit=True) as connection:
            query = "SELECT count(*) > 2 FROM strategy_worker.journal"
            while connection.execute(query).fetchone() != (True,):
                assert process.poll() is None
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(TIMEOUT_S) == code
    assert said == "engine: stopped; run the same command again to go on\n"
    done = run(RUN, url=database)
    assert done.returncode == 0, done.stderr
    assert "run SmaCross goes on: " in done.stderr
    assert line(done.stdout, "run hash") == backtest(RUN[2], RUN[6]).run_hash[:16]


def test_a_database_that_does_not_answer_is_told_and_nothing_else(tmp_path: Path) -> None:
    url = f"postgresql:///x?host={tmp_path}"
    done = run(RUN, url=url)
    assert done.returncode == 75
    assert "the database does not answer" in done.stderr
    assert done.stderr.rstrip().endswith("run the same command again to go on")
    assert "Traceback" not in done.stderr
    migrated = run([ENGINE, "db", "migrate"], url=url)
    assert migrated.returncode == 75
    assert "the database does not answer" in migrated.stderr


@pytest.mark.req("P39")
@pytest.mark.req("R45")
def test_a_password_in_the_url_is_written_nowhere(database: str, tmp_path: Path) -> None:
    done = run([*RUN, "--out", "out"], url=f"{database} password=canary-7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "canary-7" not in done.stdout + done.stderr
    for path in (tmp_path / "out").iterdir():
        assert b"canary-7" not in path.read_bytes(), path
    with psycopg.connect(database) as connection:
        headers = connection.execute("SELECT header::text FROM strategy_worker.runs").fetchall()
    assert len(headers) == 1
    assert "canary-7" not in headers[0][0]


def test_the_schema_is_applied_once(empty_database: str) -> None:
    first = run([ENGINE, "db", "migrate"], url=empty_database)
    assert first.stdout.splitlines()[0] == "applied 0001_journal.sql"
    again = run([ENGINE, "db", "migrate"], url=empty_database)
    assert again.stdout == "the schema is up to date\n"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('{kind = "http", symbol = "FBX"}', "venue.routes[0].symbol = 'FBX': this run has FB"),
        ('{kind = "http", strategy = "Sma"}', "strategy = 'Sma': this run has SmaCross"),
    ],
)
def test_a_route_that_no_order_could_take_is_refused(database: str, rule: str, says: str) -> None:
    more = ("venue.kind=grpc", "feed.speed=86400", f"venue.routes=[{rule}]")
    refused = run([*RUN, *(word for each in more for word in ("--set", each))], url=database)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("engine: setting venue.routes[0].")
    assert says in refused.stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM strategy_worker.runs").fetchone() == (0,)
