"""Messages on their way to the world: written with the events they tell of, read to be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row

from adapters.postgres.connection import connect, said
from adapters.postgres.migrations import migrate
from adapters.postgres.watch import Watch
from engine.domain.announcer import Announcer
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.publications import Publication
from engine.errors import StoreError
from engine.runtime.inputs import Finished, Started, Ticked

__all__ = ["Backlog", "PostgresOutbox", "PublicationWriter", "backlogs"]

ANSWER_TIMEOUTS = 1.5
"""Our own deadline, in times ``timeout_s``."""
WRITE_ROWS = 5_000
# Many rows as one JSON array: the client writes it in C, and arrays of PostgreSQL not.
_WRITE: LiteralString = """
INSERT INTO strategy_worker.publications (run_name, sequence, topic, key, content)
SELECT %s, (e ->> 0)::bigint, e ->> 1, e ->> 2, e ->> 3
FROM json_array_elements(%s::json) AS e"""
_TOLD: LiteralString = """
SELECT coalesce(max(sequence) + 1, 0) FROM strategy_worker.publications WHERE run_name = %s"""
_BEGIN: LiteralString = """
INSERT INTO strategy_worker.publication_cursors (run_name, destination) VALUES (%s, %s)
ON CONFLICT DO NOTHING"""
_NEXT: LiteralString = """
SELECT next_sequence FROM strategy_worker.publication_cursors
WHERE run_name = %s AND destination = %s"""
_WAITING: LiteralString = """
SELECT sequence, topic, key, content FROM strategy_worker.publications
WHERE run_name = %s AND sequence >= %s ORDER BY sequence LIMIT %s"""
_ADVANCE: LiteralString = """
UPDATE strategy_worker.publication_cursors
SET next_sequence = greatest(next_sequence, %s), failing_since = NULL, last_error = NULL
WHERE run_name = %s AND destination = %s"""
_FAILING: LiteralString = """
UPDATE strategy_worker.publication_cursors
SET failing_since = coalesce(failing_since, now()), last_error = %s
WHERE run_name = %s AND destination = %s"""
_REFUSED: LiteralString = """
INSERT INTO strategy_worker.publications_refused (run_name, destination, sequence, reason)
VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"""
_BACKLOG: LiteralString = """
SELECT run_name, destination, acknowledged, waiting, waiting_since, refused, failing_since,
    last_error
FROM strategy_worker.publication_backlog ORDER BY run_name, destination"""


class PublicationWriter:
    """Writes what is to be told of one run, in the transaction that keeps the events.

    Args:
        run_name: the run.
        executions: the id of each strategy's execution.
        instruments: scales by symbol.
        user_id: whose the strategies are; None when nobody said.
        connection: to look up how much has been told before.
    """

    def __init__(
        self,
        run_name: str,
        executions: Mapping[str, str],
        instruments: Mapping[str, Instrument],
        *,
        user_id: str | None,
        connection: psycopg.Connection,
    ) -> None:
        row = connection.execute(_TOLD, [run_name]).fetchone()
        self._run_name = run_name
        self._announcer = announcer = Announcer(
            run_name, executions, instruments, user_id=user_id, told=0 if row is None else row[0]
        )
        self._note: Mapping[type, Callable[[Any], None]] = {
            **dict.fromkeys((Bar, Trade, Quote), lambda event: announcer.market(event.ts_event)),
            Started: lambda started: announcer.begin(started.ts),
            **dict.fromkeys((Ticked, Finished), lambda passed: announcer.passed(passed.ts)),
        }

    def enter(self, inputs: Iterable[Any]) -> None:
        """Note what enters the run."""
        note = self._note
        for entered in inputs:
            noted = note.get(type(entered))
            if noted is not None:
                noted(entered)

    def recall(self, events: Iterable[Any]) -> None:
        """Take in events that are kept already, after a restart."""
        self._announcer.take(events)

    def apply(self, cursor: psycopg.Cursor, inputs: Iterable[Any], events: Iterable[Any]) -> None:
        """Write what is to be told of events, in the transaction that is open."""
        self.enter(inputs)
        self._announcer.take(events)
        self._announcer.settle()
        self._write(cursor)

    def end(self, cursor: psycopg.Cursor) -> None:
        """Write that the run has ended for good, in the transaction that is open."""
        self._announcer.end()
        self._write(cursor)

    def _write(self, cursor: psycopg.Cursor) -> None:
        out = self._announcer.drain()
        for first in range(0, len(out), WRITE_ROWS):
            rows = msgspec.json.encode(out[first : first + WRITE_ROWS]).decode()
            cursor.execute(_WRITE, [self._run_name, rows])


class PostgresOutbox:
    """Reads the messages of one run that a destination does not have yet; for one thread.

    Args:
        conninfo: a URL or a libpq connection string.
        timeout_s: how long connecting and any one statement may take, seconds.
        run_name: the run.
        destination: where they go to.
    """

    def __init__(self, conninfo: str, *, timeout_s: float, run_name: str, destination: str) -> None:
        self._conninfo = conninfo
        self._timeout_s = timeout_s
        self._place = [run_name, destination]
        self._connection: psycopg.Connection | None = None
        self._watch: Watch | None = None

    def open(self) -> int:
        """Reach the database; give the number of the first message that is to be sent.

        Raises:
            StoreError: it does not answer.
        """
        self.close()
        self._connection = connection = connect(self._conninfo, timeout_s=self._timeout_s)
        self._watch = Watch(connection, timeout_s=ANSWER_TIMEOUTS * self._timeout_s)
        # A cursor that a crash of the server takes back makes repeats, and loses nothing.
        self._ask("SET synchronous_commit = off", [])
        self._ask(_BEGIN, self._place)
        return int(self._ask(_NEXT, self._place)[0][0])

    def waiting(self, first: int, limit: int) -> list[Publication]:
        """Give messages in order, from one number on.

        Raises:
            StoreError: the database does not answer.
        """
        run_name, _ = self._place
        return [Publication(*row) for row in self._ask(_WAITING, [run_name, first, limit])]

    def advance(self, following: int) -> None:
        """Note that everything before a number need not be sent again.

        Raises:
            StoreError: the database does not answer.
        """
        self._ask(_ADVANCE, [following, *self._place])

    def refuse(self, sequence: int, reason: str) -> None:
        """Note that the destination will never take a message.

        Raises:
            StoreError: the database does not answer.
        """
        self._ask(_REFUSED, [*self._place, sequence, reason])

    def failing(self, reason: str) -> None:
        """Note that nothing is acknowledged.

        Raises:
            StoreError: the database does not answer.
        """
        self._ask(_FAILING, [reason, *self._place])

    def close(self) -> None:
        """Let the database go. May be called again."""
        if self._watch is not None:
            self._watch.close()
        if self._connection is not None:
            self._connection.close()

    def _ask(self, query: LiteralString, values: Sequence[Any]) -> list[Any]:
        if self._connection is None or self._watch is None:
            raise StoreError("the outbox has not been opened")
        try:
            with self._watch.waiting():
                cursor = self._connection.execute(query, values)
                return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            raise StoreError(f"the database refuses: {said(error)}") from error


class Backlog(NamedTuple):
    """How far one destination is behind one run.

    Attributes:
        run_name: the run.
        destination: such as ``kafka``.
        acknowledged: messages that the destination has (or refused for good).
        waiting: messages that it does not have.
        waiting_since: when the oldest of them was written.
        refused: messages that it will never take.
        failing_since: since when it takes none.
        last_error: why.
    """

    run_name: str
    destination: str
    acknowledged: int
    waiting: int
    waiting_since: datetime | None
    refused: int
    failing_since: datetime | None
    last_error: str | None


def backlogs(conninfo: str, *, timeout_s: float) -> list[Backlog]:
    """Tell how far every destination is behind every run.

    Raises:
        StoreError: the database does not answer.
    """
    with connect(conninfo, timeout_s=timeout_s) as connection:
        migrate(connection)
        try:
            with connection.cursor(row_factory=class_row(Backlog)) as cursor:
                return cursor.execute(_BACKLOG).fetchall()
        except psycopg.Error as error:
            raise StoreError(f"the database refuses: {said(error)}") from error
