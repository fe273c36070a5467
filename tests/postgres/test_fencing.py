"""An engine that was frozen while another took its run over: it sends nothing and keeps nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.feeds.servers import wait_until
from tests.postgres.test_outbox import BUSY, DATA, ENGINE, SPEED, account_for, journal_of, serving

TIMEOUT_S = 90.0
SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'tetrad' AND datname = current_database()"""


def start(
    folder: Path, database: str, port: int, *more: str, frozen: str = ""
) -> subprocess.Popen[str]:
    strategy = folder / "busy.py"
    strategy.write_text(BUSY, encoding="utf-8")
    settings = (
        "venue.kind=grpc", f"oms_grpc.port={port}", f"feed.speed={SPEED / 2}",
        "oms_grpc.retry.backoff_ms=100", "data.end=2012-10-10",
        'risk.max_repeated_orders="unlimited"', *more,
    )  # fmt: skip
    command = [ENGINE, "run", str(strategy), "--profile", "paper", "--data", str(DATA)]
    for each in settings:
        command += ["--set", each]
    environment = {**os.environ, "DATABASE_URL": database, "TETRAD_CRASH": frozen}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def ended(*engines: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no frozen engine behind."""
    try:
        yield
    finally:
        for each in engines:
            each.kill()
            each.wait()
            for stream in (each.stdout, each.stderr):
                assert stream is not None
                stream.close()


def is_frozen(engine: subprocess.Popen[str]) -> bool:
    stat = Path(f"/proc/{engine.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def taken_over(database: str) -> None:
    """End the frozen engine's session, as a server does that has given a client up."""
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute(SESSIONS).fetchall()


@pytest.mark.req("P3", "P31")
@pytest.mark.parametrize(
    ("point", "on_loss"),
    [
        ("store.before_commit:12", "end"),
        ("store.committed:12", "end"),
        ("outbox.kept:4", "end"),
        ("outbox.before_send:4", "end"),
        ("outbox.kept:4", "wait"),
    ],
)
def test_one_that_wakes_after_another_has_taken_over_adds_nothing(
    database: str, tmp_path: Path, point: str, on_loss: str
) -> None:
    setting = f"store.on_loss={on_loss}"
    with serving() as port:
        first = start(tmp_path, database, port, setting, frozen=f"{point}:SIGSTOP")
        with ended(first):
            wait_until(lambda: is_frozen(first), "the first engine to freeze")
            taken_over(database)
            second = start(tmp_path, database, port, setting)
            with ended(second):
                _, errors = second.communicate(timeout=TIMEOUT_S)
            assert second.returncode == 0, errors
            before = journal_of(database)
            first.send_signal(signal.SIGCONT)
            out, errors = first.communicate(timeout=TIMEOUT_S)
        if on_loss == "end":
            assert first.returncode == 75, errors
            assert errors.count("engine: ") == 1, errors
        else:  # it finds the run complete, and has nothing to add
            assert first.returncode == 0, errors
            assert "STORE_DOWN" in errors
        assert journal_of(database) == before
        account_for(database, port)
        assert "Traceback" not in errors + out


@pytest.mark.req("P3", "P31")
def test_one_that_waits_leaves_the_run_to_the_one_that_has_it(
    database: str, tmp_path: Path
) -> None:
    with serving() as port:
        # Slow, so that the second is at work for longer than the first waits.
        waits = ("store.on_loss=wait", f"feed.speed={86_400 * 2}")
        first = start(tmp_path, database, port, *waits, frozen="outbox.kept:4:SIGSTOP")
        with ended(first):
            wait_until(lambda: is_frozen(first), "the first engine to freeze")
            taken_over(database)
            second = start(tmp_path, database, port, *waits)
            with ended(second):
                assert second.stderr is not None
                assert any(" goes on" in line for line in second.stderr)
                first.send_signal(signal.SIGCONT)
                _, errors = first.communicate(timeout=TIMEOUT_S)
                assert first.returncode == 2
                assert "is at work in another engine" in errors
                assert second.poll() is None
