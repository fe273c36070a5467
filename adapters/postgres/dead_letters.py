"""What a feed has delivered to a run, as rows: positions, counts and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import psycopg

from adapters.postgres.connection import connect
from adapters.postgres.migrations import migrate
from engine.domain.deliveries import Consumed

__all__ = ["DeadLetterRow", "DeadLetters", "write_consumed"]

_POSITION: LiteralString = """
INSERT INTO strategy_worker.feed_positions (run_name, topic, partition, next_offset)
VALUES (%s, %s, %s, %s)
ON CONFLICT (run_name, topic, partition) DO UPDATE SET next_offset = excluded.next_offset"""
_COUNTS: LiteralString = """
INSERT INTO strategy_worker.feed_counts AS kept (run_name, received, applied, repeated, dead)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (run_name) DO UPDATE SET received = kept.received + excluded.received,
    applied = kept.applied + excluded.applied, repeated = kept.repeated + excluded.repeated,
    dead = kept.dead + excluded.dead"""
_DEAD: LiteralString = """
INSERT INTO strategy_worker.dead_letters
    (run_name, topic, partition, record_offset, code, detail, size, content)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
_RETRIED: LiteralString = """
UPDATE strategy_worker.dead_letters SET retried_at = now() WHERE dead_letter_id = %s"""
_READ: LiteralString = """
SELECT dead_letter_id, run_name, topic, partition, record_offset, code, detail, size, content,
    created_at, retried_at
FROM strategy_worker.dead_letters
WHERE (%(run)s::text IS NULL OR run_name = %(run)s)
    AND (%(id)s::bigint IS NULL OR dead_letter_id = %(id)s)
ORDER BY dead_letter_id DESC LIMIT %(limit)s"""


class DeadLetterRow(NamedTuple):
    """A message that could not be used.

    Attributes:
        dead_letter_id: its number.
        run_name: the run that it came to.
        topic: where it came from.
        partition: its partition; None where there are none.
        offset: its place there.
        code: what is wrong with it.
        detail: the same in words.
        size: its length in bytes.
        content: the message, or its beginning.
        created_at: when it was kept.
        retried_at: when it was published again.
    """

    dead_letter_id: int
    run_name: str
    topic: str
    partition: int | None
    offset: int | None
    code: str
    detail: str
    size: int
    content: bytes
    created_at: datetime
    retried_at: datetime | None


def write_consumed(cursor: psycopg.Cursor, run_name: str, consumed: Sequence[Consumed]) -> None:
    """Write what came of deliveries, in the transaction that is open."""
    positions = {(at.topic, at.partition): at.offset for each in consumed for at in each.positions}
    for (topic, partition), offset in positions.items():
        cursor.execute(_POSITION, [run_name, topic, partition, offset])
    rejected = [letter for each in consumed for letter in each.rejected]
    received = sum(each.received for each in consumed)
    applied, repeated = (sum(each.applied for each in consumed),
                         sum(each.repeated for each in consumed))  # fmt: skip
    if received:
        cursor.execute(_COUNTS, [run_name, received, applied, repeated, len(rejected)])
    for letter in rejected:
        place: list[Any] = [letter.partition, letter.offset] if letter.offset >= 0 else [None, None]
        cursor.execute(
            _DEAD,
            [run_name, letter.topic, *place, letter.code.value, letter.detail, letter.size,
             letter.content],
        )  # fmt: skip


class DeadLetters:
    """The dead letters of a database.

    Args:
        conninfo: a URL or a libpq connection string; the schema is brought up to date.
        timeout_s: longest that connecting and any one statement may take, seconds.
    """

    def __init__(self, conninfo: str, *, timeout_s: float) -> None:
        self._conninfo = conninfo
        self._timeout_s = timeout_s

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        with connect(self._conninfo, timeout_s=self._timeout_s) as connection:
            migrate(connection)
            yield connection

    def find(self, *, run: str | None, number: int | None, limit: int) -> list[DeadLetterRow]:
        """Give dead letters, the latest first.

        Args:
            run: those of one run only.
            number: that one only.
            limit: how many at most.

        Raises:
            ConfigError: the schema is of a newer engine.
            StoreError: the database does not answer.
        """
        values = {"run": run, "id": number, "limit": limit}
        with self._connection() as connection:
            return [DeadLetterRow(*row) for row in connection.execute(_READ, values)]

    def mark_retried(self, number: int) -> None:
        """Note that a dead letter was published again.

        Raises:
            StoreError: the database does not answer.
        """
        with self._connection() as connection:
            connection.execute(_RETRIED, [number])
