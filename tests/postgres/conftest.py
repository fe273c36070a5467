"""A PostgreSQL server of the tests' own, and a fresh database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrations import migrate

TIMEOUT_S = 60.0
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server once; its template database has the schema."""
    folder: Path = tmp_path_factory.mktemp("pg")
    embedded = EmbeddedPostgres(folder, timeout_s=TIMEOUT_S)
    conninfo = embedded.start()
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE ready")
        with psycopg.connect(database_of(conninfo, "ready"), autocommit=True) as connection:
            migrate(connection)
        yield conninfo
    finally:
        embedded.stop()


def database_of(conninfo: str, name: str) -> str:
    """Give the connection string of another database of the same server."""
    return f"{conninfo} dbname={name}"


def create(server: str, template: str) -> str:
    """Make a database of a template; give its connection string."""
    name = f"test{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return database_of(server, name)


@pytest.fixture
def database(server: str) -> str:
    """Give the connection string of a fresh database with the schema."""
    return create(server, "ready")


@pytest.fixture
def empty_database(server: str) -> str:
    """Give the connection string of a fresh database without the schema."""
    return create(server, "template1")
