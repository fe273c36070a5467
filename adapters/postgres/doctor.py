"""Whether a PostgreSQL server can keep runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.connection import connection_options, is_misspelt, said
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrations import SCHEMA, pending
from adapters.postgres.privileges import changeable
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.errors import ConfigError, StoreError

__all__ = ["examine_embedded", "examine_server"]

NAME = "PostgreSQL"
_OLDEST = 15
_CLOCK_S = 1.0
_LOSING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
# Libpq says these of itself, without the FATAL of a server's answer.
_TLS = ("does not support SSL", "certificate")
_OURS = ("no password supplied", *_TLS)
_WAIT = ("starting up", "shutting down", "too many clients", "remaining connection slots")


def examine_server(conninfo: str, *, timeout_s: float) -> Iterator[Finding]:
    """Look at a server as the engine would use it; nothing is changed there.

    Args:
        conninfo: a connection string; its password is not shown.
        timeout_s: longest that connecting (2 s at least) and each statement may take, seconds.
    """
    where = _where(conninfo)
    try:
        connection = psycopg.connect(conninfo, **connection_options(timeout_s))
    except psycopg.Error as error:
        yield _refused(where, said(error))
        return
    with connection:
        try:
            yield fine(NAME, f"answers at {where}")
            yield _version(connection)
            yield from _durability(connection)
            yield _encryption(connection)
            yield _clock(connection)
            yield from _schema(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            yield problem(
                f"{NAME} rights", said(error), f"grant this user the use of schema {SCHEMA}"
            )
        except psycopg.Error as error:
            yield silence(NAME, f"fell silent at {where}: {said(error)}", "look at its log")


def examine_embedded(
    folder: Path, *, start_timeout_s: float, timeout_s: float
) -> Iterator[Finding]:
    """See whether a server of our own can run, over its folder where it has one already.

    A folder that is not there yet is not made: a server is started aside and removed again.
    """
    at_work = EmbeddedPostgres(folder, timeout_s=start_timeout_s).find()
    if at_work is not None:
        yield fine(f"{NAME} embedded", f"an engine at work has its server in {folder}")
        yield from examine_server(at_work, timeout_s=timeout_s)
        return
    if (folder / "postgres").exists():
        yield from _start(folder, folder, start_timeout_s, timeout_s)
        return
    try:
        folders = (folder.absolute(), *folder.absolute().parents)
        parent = next(each for each in folders if each.exists())
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=parent) as aside:
            yield from _start(Path(aside), folder, start_timeout_s, timeout_s)
    except OSError as error:
        yield problem(
            f"{NAME} embedded",
            f"{folder} cannot be used: {error.strerror or error}",
            "give another folder with store.folder, or a server with store.url",
        )


def _start(
    folder: Path, named: Path, start_timeout_s: float, timeout_s: float
) -> Iterator[Finding]:
    embedded = EmbeddedPostgres(folder, timeout_s=start_timeout_s)
    try:
        conninfo = embedded.start()
        is_new = "" if folder == named else " (not there yet; the first run makes it)"
        yield fine(f"{NAME} embedded", f"starts in {named}{is_new}")
        if folder == named:
            yield from examine_server(conninfo, timeout_s=timeout_s)
    except (ConfigError, StoreError) as error:
        found, _, advice = str(error).partition(": ")
        yield problem(f"{NAME} embedded", found, advice or "give a server with store.url")
    finally:
        embedded.stop()


def _where(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{host}:{parts.get('port') or 5432}, database {parts.get('dbname') or '(default)'}"


def _refused(where: str, words: str) -> Finding:
    if is_misspelt(words):
        return problem(NAME, f"store.url is refused: {words}", "correct store.url (DATABASE_URL)")
    is_ours = "FATAL" in words or any(each in words for each in _OURS)
    if not is_ours or any(each in words for each in _WAIT):
        return silence(
            NAME,
            f"does not answer at {where}: {words}",
            "start it, or correct store.url (DATABASE_URL)",
        )
    if any(each in words for each in _TLS):
        advice = "correct sslmode and sslrootcert in store.url, or the server's certificate"
    elif "password" in words:
        advice = "correct the password: DB_PASSWORD, store.password or the one in store.url"
    elif "does not exist" in words:
        advice = "create it there, or name another in store.url (DATABASE_URL)"
    else:
        advice = "let this user in at the server (pg_hba.conf), or correct store.url"
    return problem(NAME, f"refuses us at {where}: {words}", advice)


def _version(connection: psycopg.Connection) -> Finding:
    version = connection.info.server_version
    text = f"{version // 10_000}.{version % 10_000}"
    if version // 10_000 >= _OLDEST:
        return fine(f"{NAME} version", text)
    return problem(f"{NAME} version", text, f"use PostgreSQL {_OLDEST} or later")


def _durability(connection: psycopg.Connection) -> Iterator[Finding]:
    found = {name: _show(connection, name) for name in _LOSING}
    lossy = [name for name, value in found.items() if value == _LOSING[name]]
    for name in lossy:
        yield warning(
            f"{NAME} {name}",
            "off: what the engine was told is kept can be lost with the server's power",
            f"set {name} = on at the server",
        )
    if not lossy:
        said_all = ", ".join(f"{name} {value}" for name, value in found.items())
        yield fine(f"{NAME} durability", said_all)


def _show(connection: psycopg.Connection, name: str) -> str:
    return str(_one(connection, "SELECT current_setting(%s)", name))


def _one(connection: psycopg.Connection, query: str, *values: object) -> object:
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]


def _encryption(connection: psycopg.Connection) -> Finding:
    what = f"{NAME} encryption"
    if connection.pgconn.ssl_in_use:
        return fine(what, "TLS")
    host = connection.info.host
    if host.startswith(("/", "@")):
        return fine(what, "a socket of this machine; nothing goes over a network")
    if host in {"localhost", "127.0.0.1", "::1"}:
        return fine(what, "none, and the server is on this machine")
    return warning(what, "none", "add sslmode=verify-full to store.url")


def _clock(connection: psycopg.Connection) -> Finding:
    before = time.time()
    row = _one(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    ahead = float(str(row)) - (before + after) / 2
    # What the question itself took cannot be told from a clock that differs.
    return _clock_finding(ahead, (after - before) / 2)


def _clock_finding(ahead_s: float, error_s: float) -> Finding:
    if abs(ahead_s) <= _CLOCK_S + error_s:
        return fine(f"{NAME} clock", f"{ahead_s:+.3f} s from this machine")
    return warning(
        f"{NAME} clock",
        f"{ahead_s:+.1f} s from this machine",
        "set both clocks by NTP: times in the database will not match those of the run",
    )


def _schema(connection: psycopg.Connection) -> Iterator[Finding]:
    what = f"{NAME} schema"
    try:
        missing = pending(connection)
    except ConfigError as error:
        found, _, advice = str(error).partition(": ")
        yield problem(what, found, advice)
        return
    is_there = _one(connection, "SELECT to_regnamespace(%s)", SCHEMA) is not None
    if missing:
        names = f"{missing[0].name} to {missing[-1].name}" if missing[1:] else missing[0].name
        state = "is older than this engine" if is_there else "is not there yet"
        yield warning(
            what,
            f"{SCHEMA} {state}: {len(missing)} migrations to apply, {names}",
            "run engine db migrate; a run would do it by itself",
        )
        yield _may_migrate(connection, is_there)
    else:
        yield fine(what, f"{SCHEMA} is up to date")
        yield _may_write(connection)


def _may_migrate(connection: psycopg.Connection, is_there: bool) -> Finding:
    what = f"{NAME} rights"
    if is_there:
        query = "SELECT has_schema_privilege(%s, 'CREATE')"
        may = _one(connection, query, SCHEMA)
    else:
        may = _one(connection, "SELECT has_database_privilege(current_database(), 'CREATE')")
    if may:
        return fine(what, "may create tables")
    return problem(
        what, "may not create tables", "let a user that may run engine db migrate, or grant CREATE"
    )


def _may_write(connection: psycopg.Connection) -> Finding:
    what = f"{NAME} rights"
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) "
        "AND relkind = 'r' AND relname <> 'schema_migrations' AND NOT ("
        "has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')) ORDER BY 1",
        [SCHEMA],
    ).fetchall()
    if not rows and changeable(connection):
        return warning(
            what,
            "may read and insert, and change what is kept of a run too",
            "as the owner, run: engine db migrate --role USER; then let the engine be that user",
        )
    if not rows:
        return fine(what, "may read and insert, and change no record")
    names = ", ".join(str(row[0]) for row in rows)
    return problem(
        what,
        f"may not read and insert: {names}",
        f"as the owner of schema {SCHEMA}, run: engine db migrate --role USER",
    )
