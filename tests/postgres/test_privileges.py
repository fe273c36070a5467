"""The user of a running engine: it reads and adds, and can change no record."""

from __future__ import annotations

import itertools
import json

import psycopg
import pytest

from adapters.postgres.privileges import grant
from engine.errors import ConfigError
from tests.postgres.test_kills import engine
from tests.postgres.test_operator import command

RECORDS = ("journal", "execution_fills", "risk_events", "publications")
_numbers = itertools.count(1)


@pytest.fixture
def role(server: str) -> str:
    """Make a role that may log in, and nothing else."""
    name = f"Trader {next(_numbers)}"  # a name that must be quoted
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
    return name


def as_role(database: str, role: str) -> str:
    return f"{database} user='{role}'"


@pytest.mark.req("P18", "P27")
def test_a_run_under_it_is_the_same_and_it_can_change_no_record(database: str, role: str) -> None:
    refused = engine(as_role(database, role))
    assert refused.returncode == 2
    assert "let the owner of the schema strategy_worker run: engine db migrate --role USER" in (
        refused.stderr
    )
    code, said, errors = command(database, "db", "migrate", "--role", role)
    assert code == 0, errors
    assert f"{role} may read and add, and change no record" in said
    done = engine(as_role(database, role))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fills"] > 0
    code, _, errors = command(as_role(database, role), "dead-letters", "list")
    assert code == 0, errors
    with psycopg.connect(as_role(database, role), autocommit=True) as connection:
        for table in RECORDS:
            for change in (
                f"UPDATE strategy_worker.{table} SET run_name = run_name",
                f"DELETE FROM strategy_worker.{table}",
                f"TRUNCATE strategy_worker.{table} CASCADE",
                f"ALTER TABLE strategy_worker.{table} DISABLE TRIGGER ALL",
                f"DROP TABLE strategy_worker.{table} CASCADE",
            ):
                with pytest.raises(
                    (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn)
                ):
                    connection.execute(change)  # type: ignore[call-overload]
        may = connection.execute(
            "SELECT string_agg(c.relname || ' ' || r, ', ' ORDER BY 1) FROM pg_class c, "
            "unnest(ARRAY['DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) r "
            "WHERE c.relnamespace::regnamespace::text IN ('strategy_worker', 'gateway') "
            "AND c.relkind = 'r' AND has_table_privilege(c.oid, r)"
        ).fetchone()
        assert may == (None,)
        rights = connection.execute(
            "SELECT has_table_privilege('strategy_worker.journal', 'UPDATE'), "
            "has_table_privilege('strategy_worker.schema_migrations', 'INSERT')"
        ).fetchone()
        assert rights == (False, False)


@pytest.mark.req("P18")
def test_it_loses_what_it_had_beyond_that(database: str, role: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f'GRANT ALL ON ALL TABLES IN SCHEMA strategy_worker TO "{role}"'  # type: ignore[call-overload]
        )
        for _ in range(2):  # to do it again changes nothing
            grant(connection, role)
            row = connection.execute(
                "SELECT has_table_privilege(%(r)s, 'strategy_worker.journal', 'DELETE'), "
                "has_table_privilege(%(r)s, 'strategy_worker.journal', 'INSERT'), "
                "has_table_privilege(%(r)s, 'strategy_worker.execution_orders', 'UPDATE')",
                {"r": role},
            ).fetchone()
            assert row == (False, True, True)


def test_the_doctor_tells_who_could_change_records(database: str, role: str) -> None:
    code, said, _ = command(database, "doctor", "--profile", "paper")
    assert code == 0
    assert "change what is kept of a run too" in said
    assert command(database, "db", "migrate", "--role", role)[0] == 0
    code, said, _ = command(as_role(database, role), "doctor", "--profile", "paper")
    assert code == 0
    assert "change no record" in said


class TestWhomItIsNotGivenTo:
    def test_nobody(self, database: str) -> None:
        code, _, errors = command(database, "db", "migrate", "--role", "nobody")
        assert code == 2
        assert "there is no role 'nobody': create it, CREATE ROLE ... LOGIN" in errors

    def test_the_owner(self, database: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            (owner,) = connection.execute("SELECT current_user").fetchone() or ("",)
            with pytest.raises(ConfigError, match="can change every record: take another one"):
                grant(connection, owner)

    def test_by_one_who_may_not(self, database: str, role: str) -> None:
        with (
            psycopg.connect(as_role(database, role), autocommit=True) as connection,
            pytest.raises(ConfigError, match="run engine db migrate as the owner"),
        ):
            grant(connection, role)
