"""A look at a PostgreSQL server: whether runs can be kept there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from adapters.postgres.connection import connect, said
from adapters.postgres.migrations import SCHEMA, migrations, missing
from adapters.postgres.watch import Watch
from engine.domain.findings import Finding, ok, problem, warning
from engine.errors import ConfigError, StoreError

__all__ = ["examine"]

SUBJECT = "postgresql"
OLDEST = 150_000
CLOCK_S = 1.0
"""How far two clocks may be apart before it is worth a word, seconds."""
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
_RIGHTS: LiteralString = """
SELECT has_database_privilege(current_database(), 'CREATE'),
    to_regclass('strategy_worker.journal') IS NULL
    OR (has_table_privilege('strategy_worker.journal', 'SELECT')
        AND has_table_privilege('strategy_worker.journal', 'INSERT'))"""


def examine(conninfo: str, *, timeout_s: float) -> Iterator[Finding]:
    """Look at a server; nothing is changed there.

    Args:
        conninfo: a URL or a libpq connection string.
        timeout_s: how long connecting and any one question may take, seconds.
    """
    try:
        with connect(conninfo, timeout_s=timeout_s) as connection:
            watch = Watch(connection, timeout_s=1.5 * timeout_s)
            try:
                with watch.waiting():
                    found = list(_examine(connection))
            finally:
                watch.close()
        yield from found
    except (StoreError, psycopg.Error) as error:
        text = said(error) if isinstance(error, psycopg.Error) else str(error)
        advice = "start it, or correct store.url, DATABASE_URL or DB_PASSWORD"
        yield problem(SUBJECT, text.partition("; is it running")[0], advice, is_silent=True)


def _examine(connection: psycopg.Connection) -> Iterator[Finding]:
    info = connection.info
    version = f"PostgreSQL {info.server_version // 10_000}.{info.server_version % 10_000}"
    where = f"{version} at {info.host}, user {info.user}, database {info.dbname}"
    if info.server_version < OLDEST:
        yield problem(SUBJECT, where, "use PostgreSQL 15 or newer")
    else:
        yield ok(SUBJECT, where)
    for name in _DURABLE:
        value = _value(connection, "SELECT current_setting(%s)", name)
        if value in ("off", "local"):
            yield problem(
                SUBJECT, f"{name} = {value}: what it confirms could be lost", f"set {name} = on"
            )
    yield from _schema(connection)
    apart = _value(connection, "SELECT extract(epoch FROM clock_timestamp())::float8") - time.time()
    if abs(apart) > CLOCK_S:
        yield warning(
            SUBJECT, f"its clock is {apart:+.1f} s from this machine's", "keep both by NTP"
        )


def _schema(connection: psycopg.Connection) -> Iterator[Finding]:
    may_create, may_write = connection.execute(_RIGHTS).fetchone() or (False, False)
    try:
        files = missing(connection)
    except ConfigError as error:
        yield problem(SUBJECT, str(error), "see there")
        return
    subject = f"{SUBJECT} schema"
    if not files:
        yield ok(subject, f"{SCHEMA} is up to date, at {migrations()[-1].name}")
    elif may_create:
        count = len(files)
        yield ok(subject, f"{count} migrations are missing; a run applies them when it starts")
    else:
        yield problem(
            subject,
            f"{len(files)} migrations are missing, and this user may not create",
            "let a user that may run: engine db migrate",
        )
    if not may_write:
        yield problem(
            subject, "this user may not write the journal", f"grant it the tables of {SCHEMA}"
        )


def _value(connection: psycopg.Connection, query: LiteralString, *values: Any) -> Any:
    row = connection.execute(query, values).fetchone()
    return None if row is None else row[0]
