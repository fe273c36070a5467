"""What people tell an engine at work, by way of the database that both reach."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from adapters.postgres.connection import connect, said
from adapters.postgres.migrations import migrate
from engine.domain.commands import OperatorCommand
from engine.errors import ConfigError, StoreError

__all__ = ["CommandLine", "give"]

LOOK_S = 0.5
"""How soon a command is found whose notice was lost."""
POLL_S = 0.05
_WAITING: LiteralString = """
SELECT command_id, command, strategy_id, reason FROM strategy_worker.operator_commands
WHERE run_name = %s AND taken_at IS NULL AND withdrawn_at IS NULL ORDER BY command_id"""
_TAKE: LiteralString = """
UPDATE strategy_worker.operator_commands SET taken_at = now()
WHERE command_id = %s AND withdrawn_at IS NULL RETURNING command_id"""
_GIVE: LiteralString = """
INSERT INTO strategy_worker.operator_commands (run_name, command, strategy_id, reason)
VALUES (%s, %s, %s, %s) RETURNING command_id"""
_TAKEN: LiteralString = """
SELECT taken_at FROM strategy_worker.operator_commands WHERE command_id = %s"""
_WITHDRAW: LiteralString = """
UPDATE strategy_worker.operator_commands SET withdrawn_at = now()
WHERE command_id = %s AND taken_at IS NULL RETURNING command_id"""
_RUNS: LiteralString = """
SELECT run_name FROM strategy_worker.runs WHERE status = 'RUNNING' ORDER BY updated_at DESC"""


_AT_WORK: LiteralString = """
SELECT run_strategy_id, coalesce(header ->> 'executions', 'one')
FROM strategy_worker.strategy_executions JOIN strategy_worker.runs USING (run_name)
WHERE run_name = %s AND strategy_executions.status = 'active' ORDER BY run_strategy_id"""


class CommandLine:
    """Hears commands to one run, in a thread of its own, until it is closed.

    While the database does not answer it hears nothing, and tries again.

    Args:
        conninfo: a URL or a libpq connection string.
        timeout_s: how long connecting and any one statement may take, seconds.
        run_name: the run.
        report: takes each command, from the thread.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        timeout_s: float,
        run_name: str,
        report: Callable[[OperatorCommand], None],
    ) -> None:
        self._conninfo = conninfo
        self._timeout_s = timeout_s
        self._run_name = run_name
        self._report = report
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def __enter__(self) -> CommandLine:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join(self._timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with connect(self._conninfo, timeout_s=self._timeout_s) as connection:
                    connection.execute("LISTEN tetrad_commands")
                    self._listen(connection)
            except (psycopg.Error, StoreError):
                self._closing.wait(LOOK_S)

    def _listen(self, connection: psycopg.Connection) -> None:
        while not self._closing.is_set():
            for number, *given in connection.execute(_WAITING, [self._run_name]).fetchall():
                # Taken first: told twice it could undo what another command has done since.
                if connection.execute(_TAKE, [number]).fetchone() is not None:
                    self._report(OperatorCommand(*given))
            for _ in connection.notifies(timeout=LOOK_S, stop_after=1):
                pass


def give(
    conninfo: str, given: OperatorCommand, *, timeout_s: float, run_name: str | None, wait_s: float
) -> tuple[str, datetime]:
    """Give a command to the engine of a run; tell which run it was, and when it was taken.

    Args:
        conninfo: a URL or a libpq connection string.
        given: the command.
        timeout_s: how long connecting and any one statement may take, seconds.
        run_name: the run; the only one that is not complete when None.
        wait_s: how long to wait for the engine to take it, seconds; then it is withdrawn.

    Raises:
        ConfigError: there is no such run, or there are several and none is named.
        StoreError: the database does not answer, or no engine takes the command.
    """
    with connect(conninfo, timeout_s=timeout_s) as connection:
        migrate(connection)
        name = _run_of(connection, run_name)
        if given.command.startswith("stop"):
            _require_at_work(connection, name, given.strategy_id)
        try:
            row: Any = connection.execute(
                _GIVE, [name, given.command, given.strategy_id, given.reason]
            ).fetchone()
            number, limit = row[0], time.monotonic() + wait_s
            while time.monotonic() < limit:
                taken: Any = connection.execute(_TAKEN, [number]).fetchone()
                if taken[0] is not None:
                    return name, taken[0]
                threading.Event().wait(POLL_S)
            if connection.execute(_WITHDRAW, [number]).fetchone() is None:
                taken = connection.execute(_TAKEN, [number]).fetchone()
                return name, taken[0]
        except psycopg.Error as error:
            raise StoreError(f"the database refuses: {said(error)}") from error
    raise StoreError(
        f"no engine of run {name!r} has taken the command within {wait_s:g} s, and it was "
        "withdrawn: is the engine at work, on this database?"
    )


def _require_at_work(
    connection: psycopg.Connection, run_name: str, strategy_id: str | None
) -> None:
    rows = connection.execute(_AT_WORK, [run_name]).fetchall()
    found: dict[str, str] = dict(rows)
    if strategy_id not in found:
        listed = ", ".join(found) or "none"
        raise ConfigError(
            f"strategy {strategy_id!r} is not at work in run {run_name!r}; there are: {listed}"
        )
    if found[strategy_id] == "one":
        raise ConfigError(
            f"strategy {strategy_id!r} ends with run {run_name!r}: stop the engine, or use "
            f"engine halt --strategy {strategy_id}"
        )


def _run_of(connection: psycopg.Connection, run_name: str | None) -> str:
    running = [row[0] for row in connection.execute(_RUNS).fetchall()]
    if run_name is None and len(running) == 1:
        return str(running[0])
    if run_name in running:
        return str(run_name)
    listed = ", ".join(running) or "none"
    if run_name is None:
        raise ConfigError(f"name the run with --run: those not complete are {listed}")
    raise ConfigError(f"there is no run {run_name!r} that is not complete; there are: {listed}")
