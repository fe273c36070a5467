"""The processes that chaos is let loose on: the engine, its database, the order system."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrations import migrate
from engine.errors import StoreError
from tests.integration.proxy import FaultProxy

ENGINE = str(Path(sys.executable).with_name("engine"))
START_S = 30.0
POLL_S = 0.02


class Said:
    """Lines that a process says, each with its moment; for any thread."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.lines: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._over = False
        self._process = process
        self._log = log
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as out, self._log.open("a", encoding="utf-8") as log:
            for line in out:
                log.write(line)
                log.flush()
                with self._changed:
                    self.lines.append((time.monotonic(), line.rstrip("\n")))
                    self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait(self, pattern: str, timeout_s: float, since: float = 0.0) -> float | None:
        """Wait for a line; give its moment, None when it does not come or the process ends."""
        sought = re.compile(pattern)

        def found() -> float | None:
            return next(
                (at for at, line in self.lines if at >= since and sought.search(line)), None
            )

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._over, timeout_s)
            return found()

    def wait_over(self, timeout_s: float) -> bool:
        """Wait until the process has ended and all it said is here; True when so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over, timeout_s)

    @property
    def last(self) -> str:
        """The last line, which says why it ended."""
        return self.lines[-1][1] if self.lines else ""


def _launch(command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[str]:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)} {environment}\n")
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )


class Database:
    """A PostgreSQL server that can be killed and paused, behind a proxy.

    Attributes:
        proxy: what the engine reaches it through.
    """

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder, timeout_s=START_S)
        self._data = folder.absolute() / "postgres"
        self.conninfo = self._server.start()
        self.proxy = FaultProxy(self._socket())
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            migrate(connection)

    def _socket(self) -> str:
        folder = self.conninfo.split("host=", 1)[1].split(" ", 1)[0]
        return f"{folder}/.s.PGSQL.5432"

    @property
    def url(self) -> str:
        """What the engine is given."""
        return (
            f"postgresql://tetrad@127.0.0.1:{self.proxy.port}/postgres"
            "?sslmode=disable&gssencmode=disable"
        )

    def connect(self) -> psycopg.Connection:
        """Reach it past the proxy."""
        return psycopg.connect(self.conninfo, autocommit=True)

    def _processes(self) -> list[int]:
        try:
            main = int((self._data / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        except (OSError, ValueError, IndexError):
            return []
        return [main, *map(int, children)]

    def kill(self) -> None:
        """Kill the server as a fault of the machine would: nobody is told."""
        for pid in self._processes()[:1]:
            os.kill(pid, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all of its processes."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def start_again(self) -> None:
        """Start the server after a kill, as soon as what is left of the old one lets it."""
        limit = time.monotonic() + START_S
        while True:
            self._server.stop()
            try:
                self.conninfo = self._server.start()
            except StoreError:
                if time.monotonic() > limit:
                    raise
                threading.Event().wait(POLL_S)
            else:
                self.proxy.target = self._socket()
                return

    def close(self) -> None:
        """Stop the server."""
        self.signal(signal.SIGCONT)
        self.proxy.close()
        self._server.stop()


class OrderSystem:
    """``engine oms`` with a state, behind a proxy.

    Attributes:
        proxy: what the engine reaches it through.
        state: the file of what it was asked and what it said.
    """

    def __init__(self, folder: Path, data: Path, speed: float) -> None:
        self.state = folder / "oms.state"
        self._log = folder / "oms.log"
        self._command = [
            ENGINE, "oms", "--data", str(data), "--port", "0", "--state", str(self.state),
            "--speed", f"{speed:g}", "--set", "orders.keep_closed=1000000",
        ]  # fmt: skip
        self._process = self._start()
        self.proxy = FaultProxy(self._port)

    def _start(self) -> subprocess.Popen[str]:
        process = _launch(self._command, self._log)
        self._said = Said(process, self._log)
        if self._said.wait("serving", START_S) is None:
            raise RuntimeError(f"the order system does not start: {self._said.last}")
        serving = next(line for _, line in self._said.lines if "serving" in line)
        self._port = int(serving.rpartition(":")[2])
        return process

    def listings(self) -> int:
        """Give how often it was asked what is working: once by every engine that has found it."""
        return self.state.read_bytes().count(b'"kind":"list"')

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._said.wait_over(START_S)

    def start_again(self) -> None:
        """Start it after a kill."""
        self._process = self._start()
        self.proxy.target = self._port

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Kill it: what it knows is in its file."""
        self.proxy.close()
        self.kill()


class Engine:
    """``engine run`` of one run, again and again.

    Attributes:
        lives: how often it was started.
        said: what the engine of now says.
    """

    def __init__(self, folder: Path, command: Sequence[str], url: str) -> None:
        self._log = folder / "engine.log"
        self._command = [ENGINE, "run", *command]
        self._url = url
        self._process: subprocess.Popen[str] | None = None
        self.lives = 0
        self.began = 0.0
        self.said: Said

    def start(self, crash: str = "") -> None:
        """Start it, with a point to die at."""
        self.lives += 1
        self.began = time.monotonic()
        self._process = _launch(
            self._command, self._log, DATABASE_URL=self._url, TETRAD_CRASH=crash
        )
        self.said = Said(self._process, self._log)

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait_going(self, timeout_s: float) -> float | None:
        """Wait until it has recovered; give the seconds that took, None when it has ended."""
        at = self.said.wait("^run .* (begins|goes on|is complete)", timeout_s)
        return None if at is None else at - self.began

    def wait_over(self, timeout_s: float) -> bool:
        """Wait until it has ended; True when so."""
        return self.said.wait_over(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self.said.wait_over(START_S)


class World:
    """All of them for one round; the database outlives the rounds."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        oms: OrderSystem,
        engine: Engine,
        run_name: str,
    ) -> None:
        self.folder = folder
        self.database = database
        self.oms = oms
        self.engine = engine
        self.run_name = run_name
        self._undo: list[Callable[[], None]] = []

    def upset(self, undo: Callable[[], None]) -> None:
        """Note what heals a fault that was done."""
        self._undo.append(undo)

    def heal(self) -> None:
        """Undo every fault; the engine is left as it is."""
        while self._undo:
            self._undo.pop()()
        self.database.proxy.heal()
        self.oms.proxy.heal()
