"""The schema as numbered plain SQL files, applied in order and never changed again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import psycopg

from engine.errors import ConfigError

__all__ = ["SCHEMA", "Migration", "may_not", "migrate", "migrations", "pending"]

SCHEMA = "strategy_worker"
_LOCK = 0x7E7AD  # any number, the same in every engine: one migrates at a time
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(NamedTuple):
    """One file.

    Attributes:
        version: its number.
        name: its file name.
        text: its statements.
    """

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Give the shipped files in order of their numbers."""
    packaged = resources.files("engine") / "share" / "sql"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "sql"
    found = [
        Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return sorted(found)


def migrate(
    connection: psycopg.Connection, files: Sequence[Migration] | None = None
) -> list[Migration]:
    """Bring the schema to this engine's version; give what was applied, nothing when it was there.

    Args:
        connection: in autocommit mode; each file is a transaction of its own.
        files: what to apply; the shipped files when None.

    Raises:
        ConfigError: the schema is of a newer engine, a file was changed after it had been
            applied, or the user may not create it.
    """
    wanted = migrations() if files is None else files
    # Looked at first: a user who may only use the schema need not be able to create it.
    try:
        if not pending(connection, wanted):
            return []
    except psycopg.errors.InsufficientPrivilege as error:
        raise may_not(error) from error
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {SCHEMA}.schema_migrations (version integer PRIMARY "
                "KEY, name text NOT NULL, checksum text NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
        return _apply(connection, wanted)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"this user may not create the schema {SCHEMA}: {error.diag.message_primary}; let one "
            "that may run: engine db migrate"
        ) from error


def may_not(error: psycopg.Error) -> ConfigError:
    """Say that a user lacks a right that a running engine needs, and who gives it."""
    return ConfigError(
        f"this user may not do what an engine needs: {error.diag.message_primary}; let the owner "
        f"of the schema {SCHEMA} run: engine db migrate --role USER"
    )


def pending(
    connection: psycopg.Connection, files: Sequence[Migration] | None = None
) -> list[Migration]:
    """Give what :func:`migrate` would apply; nothing is changed.

    Raises:
        ConfigError: the schema is of a newer engine, or a file was changed after it had been
            applied.
    """
    wanted = migrations() if files is None else files
    row = connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.schema_migrations"]).fetchone()
    if row is None or row[0] is None:
        return list(wanted)
    there = _there(connection)
    _compare(there, wanted)
    return [file for file in wanted if file.version not in there]


def _apply(connection: psycopg.Connection, wanted: Sequence[Migration]) -> list[Migration]:
    applied = []
    for file in wanted:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            there = _there(connection)
            _compare(there, wanted)
            if file.version in there:
                continue
            connection.execute(file.text.encode())
            connection.execute(
                f"INSERT INTO {SCHEMA}.schema_migrations (version, name, checksum) "
                "VALUES (%s, %s, %s)",
                [file.version, file.name, file.checksum],
            )
        applied.append(file)
    return applied


def _there(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute(
        f"SELECT version, name, checksum FROM {SCHEMA}.schema_migrations"
    ).fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


def _compare(there: dict[int, tuple[str, str]], wanted: Sequence[Migration]) -> None:
    known = {file.version: file for file in wanted}
    for version, (name, checksum) in sorted(there.items()):
        file = known.get(version)
        if file is None:
            raise ConfigError(
                f"the database has migration {name} of a newer engine, this one ends at "
                f"{max(known, default=0):04d}: run the newer engine, or another database"
            )
        if file.checksum != checksum:
            raise ConfigError(
                f"migration {name} is not the file that was applied to this database: restore "
                "that file; changes go into a new one"
            )
