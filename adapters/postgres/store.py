"""The store of a run in PostgreSQL.

What entered the core, what came of it and the rows about it are one transaction; many small
batches share one, so durability does not cost throughput. The connection holds the run's lock: a
second engine with the same run is refused, and one that has lost its connection can write nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from adapters.postgres.commands import CommandLine
from adapters.postgres.connection import connect, said
from adapters.postgres.migrations import may_not, migrate
from adapters.postgres.projection import Projection
from adapters.postgres.publications import PostgresOutbox, PublicationWriter
from adapters.postgres.watch import Watch
from engine import faults
from engine.codec import decode_inputs, encode_inputs
from engine.domain.commands import OperatorCommand
from engine.errors import ConfigError, StoreError
from engine.naming import execution_id
from engine.ports import RunHeader, RunState
from engine.runtime.inputs import Batch, Input
from engine.sections import PublishConfig

__all__ = ["PostgresStore"]

PAGE_ROWS = 256
TAKE_S = 5.0
"""How long a run may still be held by an engine that has just ended: the server has to notice."""
TAKE_POLL_S = 0.05
ANSWER_TIMEOUTS = 1.5
"""Our own deadline, in times ``timeout_s``: a server that hears us keeps its deadline itself, and
says better what was the matter."""
_JOURNAL: LiteralString = """
INSERT INTO strategy_worker.journal
    (run_name, batch, first_input, inputs, events, record, events_hash, hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class PostgresStore:
    """Keeps one run; one thread at a time may use it.

    Args:
        conninfo: how to reach the server, a URL or a libpq connection string.
        timeout_s: how long connecting and any one statement may take, seconds.
        snapshot_ns: time between snapshots of positions, nanoseconds of market time.
        publish: whether messages about the run are kept for an outbox, and whose it is.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        timeout_s: float,
        snapshot_ns: int,
        publish: PublishConfig | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._timeout_s = timeout_s
        self._snapshot_ns = snapshot_ns
        self._publish = publish
        self._writer: PublicationWriter | None = None
        self._kept: Callable[[], None] | None = None
        self._connection: psycopg.Connection | None = None
        self._watch: Watch | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._sha = hashlib.sha256()

    def open(self, header: RunHeader) -> RunState:
        """Take the run for this process, beginning it if it is not there yet.

        Raises:
            StoreError: the database does not answer, or keeps commits less than durably.
            ConfigError: another engine has the run, or it was begun under other settings.
        """
        try:
            self._connection = connection = connect(self._conninfo, timeout_s=self._timeout_s)
            self._watch = watch = Watch(connection, timeout_s=ANSWER_TIMEOUTS * self._timeout_s)
            with watch.waiting():
                self._require_durable(connection)
            with watch.waiting():
                migrate(connection)
            self._take(connection, watch, header.name)
            with watch.waiting():
                return self._begin(connection, header)
        except psycopg.errors.InsufficientPrivilege as error:
            raise may_not(error) from error
        except psycopg.Error as error:
            raise StoreError(f"the database refuses: {said(error)}") from error

    def _require_durable(self, connection: psycopg.Connection) -> None:
        for name in _DURABLE:
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            if row is not None and row[0] in ("off", "local"):
                raise StoreError(
                    f"the database has {name} = {row[0]}: what it confirms could be lost; set it on"
                )

    def _take(self, connection: psycopg.Connection, watch: Watch, name: str) -> None:
        limit = time.monotonic() + TAKE_S
        while True:
            with watch.waiting():
                row = connection.execute(
                    "SELECT pg_try_advisory_lock(hashtext('tetrad.run'), hashtext(%s))", [name]
                ).fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > limit:
                raise ConfigError(
                    f"run {name!r} is at work in another engine: stop that one, or begin another "
                    "run with --set run.name=NAME"
                )
            time.sleep(TAKE_POLL_S)

    def _begin(self, connection: psycopg.Connection, header: RunHeader) -> RunState:
        name = header.name
        row = connection.execute(
            "SELECT header, status FROM strategy_worker.runs WHERE run_name = %s", [name]
        ).fetchone()
        if row is None:
            with connection.transaction():
                connection.execute(
                    "INSERT INTO strategy_worker.runs (run_name, profile, header) "
                    "VALUES (%s, %s, %s)",
                    [name, header.profile, Jsonb(msgspec.to_builtins(header))],
                )
                for strategy_id in header.at_work:
                    connection.execute(
                        "INSERT INTO strategy_worker.strategy_executions "
                        "(execution_id, strategy_id, config, run_name, run_strategy_id) "
                        "VALUES (%s, %s, %s, %s, %s)",
                        [execution_id(name, strategy_id), strategy_id,
                         Jsonb(header.settings), name, strategy_id],
                    )  # fmt: skip
            kept, status = header, "RUNNING"
        else:
            kept, status = msgspec.convert(row[0], RunHeader), row[1]
        self._header = kept
        by_symbol = {instrument.symbol: instrument for instrument in kept.instruments}
        self._projection = Projection(name, kept.at_work, by_symbol, self._snapshot_ns)
        if self._publish is not None:
            self._writer = PublicationWriter(
                name,
                {each: execution_id(name, each) for each in kept.at_work},
                by_symbol,
                user_id=self._publish.user_id,
                connection=connection,
            )
        return self._state(connection, kept, status)

    def _state(self, connection: psycopg.Connection, kept: RunHeader, status: str) -> RunState:
        last = connection.execute(
            "SELECT batch, first_input + inputs, events_hash, hash FROM strategy_worker.journal "
            "WHERE run_name = %s ORDER BY batch DESC LIMIT 1",
            [kept.name],
        ).fetchone()
        batch, inputs, events_hash, chain = last or (-1, 0, b"", b"")
        self._batch, self._inputs, self._chain = batch + 1, inputs, chain
        return RunState(
            header=kept,
            inputs=inputs,
            events_hash=events_hash.hex(),
            completed=status == "COMPLETED",
        )

    def history(self) -> Iterator[Input]:
        """Give what entered the run, in order, with the hash chain checked on the way.

        Raises:
            StoreError: a row is missing or not what was written.
        """
        connection, chain, inputs, batch = self._working(), b"", 0, 0
        while batch < self._batch:
            rows = self._page(connection, batch)
            if not rows:
                raise self._damaged(batch)
            for number, first, count, record, events_hash, kept in rows:
                found = _link(chain, record, events_hash)
                if number != batch or first != inputs or found != kept:
                    raise self._damaged(batch)
                entered = decode_inputs(record)
                if len(entered) != count:
                    raise self._damaged(batch)
                if self._writer is not None:
                    self._writer.enter(entered)
                yield from entered
                chain, batch, inputs = kept, batch + 1, inputs + count

    def _page(self, connection: psycopg.Connection, batch: int) -> list[Any]:
        try:
            with self._watching().waiting():
                return connection.execute(
                    "SELECT batch, first_input, inputs, record, events_hash, hash "
                    "FROM strategy_worker.journal WHERE run_name = %s AND batch >= %s "
                    "ORDER BY batch LIMIT %s",
                    [self._header.name, batch, PAGE_ROWS],
                ).fetchall()
        except psycopg.Error as error:
            raise StoreError(f"the database is gone or refuses: {said(error)}") from error

    def _damaged(self, batch: int) -> StoreError:
        return StoreError(
            f"batch {batch} of run {self._header.name!r} is not what was written: the journal in "
            "the database is damaged; restore it from a backup"
        )

    def recall(self, events: Sequence[Any]) -> None:
        """Take in the events that the history has brought about again."""
        self._sha.update(b"".join(map(self._encode, events)))
        self._projection.recall(events)
        if self._writer is not None:
            self._writer.recall(events)

    def commit(self, batches: Sequence[Batch]) -> None:
        """Keep batches, durably, in one transaction; all of it or nothing.

        Raises:
            StoreError: it is not known to be kept; the run must be opened anew.
        """
        inputs = [entered for batch in batches for entered in batch.inputs]
        events = [event for batch in batches for event in batch.events]
        record = encode_inputs(inputs)
        self._sha.update(b"".join(map(self._encode, events)))
        events_hash = self._sha.digest()
        chain = _link(self._chain, record, events_hash)
        row = [self._header.name, self._batch, self._inputs, len(inputs), len(events), record,
               events_hash, chain]  # fmt: skip
        connection = self._working()
        faults.point("store.before_commit")
        try:
            with (
                self._watching().waiting(),
                connection.transaction(),
                connection.pipeline(),
                connection.cursor() as cursor,
            ):
                cursor.execute(_JOURNAL, row)
                self._projection.apply(cursor, inputs, events)
                if self._writer is not None:
                    self._writer.apply(cursor, inputs, events)
                faults.point("store.in_transaction")
        except psycopg.Error as error:
            raise StoreError(f"the database is gone or refuses: {said(error)}") from error
        faults.point("store.committed")
        self._tell_kept()
        self._batch, self._inputs, self._chain = self._batch + 1, self._inputs + len(inputs), chain

    def commands(self, report: Callable[[OperatorCommand], None]) -> CommandLine:
        """Hear what people tell this run, while the block lasts, on a connection of its own."""
        return CommandLine(
            self._conninfo,
            timeout_s=self._timeout_s,
            run_name=self._header.name,
            report=report,
        )

    def outbox(self, destination: str, kept: Callable[[], None]) -> PostgresOutbox:
        """Give the way out of the messages of this run, on a connection of its own."""
        self._kept = kept
        return PostgresOutbox(
            self._conninfo,
            timeout_s=self._timeout_s,
            run_name=self._header.name,
            destination=destination,
        )

    def complete(self) -> None:
        """Note that the run has ended for good.

        Raises:
            StoreError: it is not known to be noted.
        """
        connection = self._working()
        try:
            with (
                self._watching().waiting(),
                connection.transaction(),
                connection.cursor() as cursor,
            ):
                cursor.execute(
                    "UPDATE strategy_worker.runs SET status = 'COMPLETED' WHERE run_name = %s",
                    [self._header.name],
                )
                self._projection.end(cursor, "completed")
                if self._writer is not None:
                    self._writer.end(cursor)
        except psycopg.Error as error:
            raise StoreError(f"the database is gone or refuses: {said(error)}") from error
        self._tell_kept()

    def close(self) -> None:
        """Let the run go. May be called again."""
        if self._watch is not None:
            self._watch.close()
        if self._connection is not None:
            self._connection.close()

    def _tell_kept(self) -> None:
        if self._kept is not None:
            self._kept()

    def _watching(self) -> Watch:
        if self._watch is None:
            raise StoreError("the store has not been opened")
        return self._watch

    def _working(self) -> psycopg.Connection:
        if self._connection is None:
            raise StoreError("the store has not been opened")
        return self._connection


def _link(before: bytes, record: bytes, events_hash: bytes) -> bytes:
    return hashlib.sha256(before + record + events_hash).digest()
