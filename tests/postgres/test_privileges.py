"""The user of a running engine: it reads and adds, and can change no record."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.gateway_book import PostgresGatewayBook
from adapters.postgres.gateway_setup import add_session, add_user
from adapters.postgres.privileges import changeable, grant
from engine.domain.gateway import GatewayOrder
from engine.errors import ConfigError
from tests.postgres.test_gateway_book import INSTRUMENTS, asked
from tests.postgres.test_kills import engine
from tests.postgres.test_operator import EVENTS, WORKING, at_work, command, wait_for

RECORDS = {
    "journal": "run_name", "execution_fills": "price", "risk_events": "description",
    "publications": "content",
}  # fmt: skip
"""Tables of records, with a column of each."""
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
        for table, column in RECORDS.items():
            for change in (
                f"UPDATE strategy_worker.{table} SET {column} = {column}",
                f"DELETE FROM strategy_worker.{table}",
                f"TRUNCATE strategy_worker.{table} CASCADE",
                f"ALTER TABLE strategy_worker.{table} DISABLE TRIGGER ALL",
                f"DROP TABLE strategy_worker.{table} CASCADE",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(change)  # type: ignore[call-overload]
        may = connection.execute(
            "SELECT string_agg(c.relname || ' ' || r, ', ' ORDER BY 1) FROM pg_class c, "
            "unnest(ARRAY['DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) r "
            "WHERE c.relnamespace::regnamespace::text IN ('strategy_worker', 'gateway') "
            "AND c.relkind = 'r' AND has_table_privilege(c.oid, r)"
        ).fetchone()
        assert may == ("orders DELETE",)  # of the gateway, where the venue never had it
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


@pytest.mark.req("P18", "P13")
def test_it_takes_and_gives_commands(database: str, role: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        grant(connection, role)
    with at_work(as_role(database, role), tmp_path):
        wait_for(database, WORKING, 1)
        code, said, errors = command(as_role(database, role), "halt", "--reason", "LUNCH")
        assert code == 0, errors
        assert "run Eager took it" in said
        wait_for(database, WORKING, 0)
        wait_for(database, EVENTS, ["LUNCH TRADING_HALTED"])


@pytest.mark.req("P18")
def test_a_gateway_under_it_forgets_what_the_venue_never_had(database: str, role: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        grant(connection, role)
        add_user(connection, "u", Decimal(10_000))
        add_session(connection, "s", "u", "s")
    book = PostgresGatewayBook(
        as_role(database, role), instruments=INSTRUMENTS, timeout_s=5, connections=(1, 1)
    )
    try:
        admitted = book.admit(asked("o1"))
        assert isinstance(admitted, GatewayOrder)
        book.withdraw("o1", "NO_LONGER_KNOWN")
        assert book.find("o1") is None
    finally:
        book.close()


@pytest.mark.parametrize("right", ["UPDATE", "UPDATE (record)", "DELETE", "TRUNCATE", "TRIGGER"])
def test_any_right_to_change_a_record_is_told(database: str, role: str, right: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        grant(connection, role)
        assert changeable(connection, role) == []
        connection.execute(
            f'GRANT {right} ON strategy_worker.journal TO "{role}"'  # type: ignore[call-overload]
        )
        assert changeable(connection, role) == ["strategy_worker.journal"]
    code, said, _ = command(as_role(database, role), "doctor", "--profile", "paper")
    assert code == 0
    assert "change what is kept of a run too" in said


@pytest.mark.parametrize("way", ["GRANT pg_write_all_data TO {}", "GRANT {owner} TO {}"])
def test_a_role_that_could_change_records_by_way_of_another_is_refused(
    database: str, role: str, way: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        (owner,) = connection.execute("SELECT current_user").fetchone() or ("",)
        told = way.format(f'"{role}"', owner=owner)
        connection.execute(told)  # type: ignore[call-overload]
    code, said, errors = command(database, "db", "migrate", "--role", role)
    assert (code, "change no record" in said) == (2, False)
    assert len(errors.splitlines()) == 1
    assert f"'{role}'" in errors
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a, pg_roles r "
            "WHERE a.grantee = r.oid AND r.rolname = %s",
            [role],
        ).fetchone()
    assert row == (0,)


def test_what_everybody_may_is_not_overlooked(database: str, role: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("GRANT DELETE ON strategy_worker.journal TO PUBLIC")
        with pytest.raises(ConfigError, match=r"could still change strategy_worker.journal"):
            grant(connection, role)


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
