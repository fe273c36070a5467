"""The server of our own: it keeps its data, has one user at a time, and does not outlive it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from engine.errors import ConfigError
from tests.postgres.conftest import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import signal, sys
from pathlib import Path
from adapters.postgres.embedded import EmbeddedPostgres

EmbeddedPostgres(Path(sys.argv[1]), timeout_s=60).start()
print("started", flush=True)
signal.pause()
"""


def until(condition: object, seconds: float = TIMEOUT_S) -> None:
    limit = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, "not within the deadline"


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start another process that holds a folder's server."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == "started\n"
    return process


def server_of(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "a", timeout_s=TIMEOUT_S)
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        shown = connection.execute("SELECT current_setting('fsync')").fetchone()
    assert shown == ("on",)
    server.stop()
    server.stop()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT seven FROM kept").fetchone() == (7,)
    server.stop()


@pytest.mark.req("P31")
def test_a_folder_has_one_engine_at_a_time_and_its_server_dies_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    other = holder(folder)
    pid = server_of(folder)
    with pytest.raises(ConfigError, match=f"in {re.escape(str(folder))} is in use by another"):
        EmbeddedPostgres(folder, timeout_s=TIMEOUT_S).start()
    other.send_signal(signal.SIGKILL)
    other.wait(TIMEOUT_S)
    until(lambda: not is_alive(pid))
    server = EmbeddedPostgres(folder, timeout_s=TIMEOUT_S)
    server.start()
    server.stop()


def test_a_server_that_outlived_its_engine_is_ended_first(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    server = EmbeddedPostgres(folder, timeout_s=TIMEOUT_S)
    server.start()
    orphan = server_of(folder)
    lock, server._lock = server._lock, -1
    os.close(lock)  # as a killed engine lets go of it
    process, server._process = server._process, None
    try:
        next_one = EmbeddedPostgres(folder, timeout_s=TIMEOUT_S)
        with psycopg.connect(next_one.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server_of(folder) != orphan
        next_one.stop()
    finally:
        assert process is not None
        process.wait(TIMEOUT_S)


def test_a_making_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    leftover = tmp_path / "a" / "making-x"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18")
    server = EmbeddedPostgres(tmp_path / "a", timeout_s=TIMEOUT_S)
    server.start()
    server.stop()
    assert not leftover.exists()


def test_a_long_path_needs_no_long_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / "a"
    server = EmbeddedPostgres(folder, timeout_s=TIMEOUT_S)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"file/a cannot be used: .*--set store.folder=PATH"):
        EmbeddedPostgres(file / "a", timeout_s=TIMEOUT_S).start()
