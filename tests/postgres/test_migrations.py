"""The schema: as the documents name it, applied once, and never by an engine that is too old."""

from __future__ import annotations

import threading

import psycopg
import pytest

from adapters.postgres.migrations import Migration, migrate, migrations
from engine.errors import ConfigError

# As the source documents name them, columns first that every reader relies on.
DOCUMENTED = {
    "strategy_executions": (
        "execution_id strategy_id user_id status config positions total_pnl realized_pnl "
        "unrealized_pnl total_trades winning_trades losing_trades"
    ),
    "execution_orders": (
        "order_id execution_id oms_order_id symbol side order_type quantity price status "
        "filled_quantity filled_price"
    ),
    "position_snapshots": (
        "snapshot_id execution_id positions total_value total_pnl unrealized_pnl"
    ),
    "risk_events": "event_id execution_id event_type severity description action_taken",
}
FIRST = Migration(1, "0001_first.sql", "CREATE TABLE strategy_worker.first (n integer)")
SECOND = Migration(2, "0002_second.sql", "CREATE TABLE strategy_worker.second (n integer)")


def connect(conninfo: str) -> psycopg.Connection:
    return psycopg.connect(conninfo, autocommit=True)


@pytest.mark.req("R64")
@pytest.mark.req("R65")
@pytest.mark.req("R66")
@pytest.mark.req("R67")
@pytest.mark.req("R211")
@pytest.mark.req("R215")
@pytest.mark.parametrize("table", DOCUMENTED)
def test_tables_have_the_documented_columns(database: str, table: str) -> None:
    with connect(database) as connection:
        rows = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'strategy_worker' AND table_name = %s",
            [table],
        ).fetchall()
    columns = dict(rows)
    assert set(DOCUMENTED[table].split()) <= columns.keys()
    assert {columns[name] for name in ("config", "positions") if name in columns} <= {"jsonb"}


@pytest.mark.req("R211")
@pytest.mark.req("R212")
def test_the_view_adds_up_executions_and_timestamps_follow_changes(database: str) -> None:
    with connect(database) as connection:
        connection.execute(
            "INSERT INTO strategy_worker.runs (run_name, profile, header) VALUES ('r', 'p', '{}')"
        )
        for number, (total, won) in enumerate([(4, 1), (6, 4)]):
            connection.execute(
                "INSERT INTO strategy_worker.strategy_executions (execution_id, strategy_id, "
                "run_strategy_id, run_name, total_pnl, total_trades, winning_trades) "
                "VALUES (gen_random_uuid(), %s, %s, 'r', %s, %s, %s)",
                [f"s{number}", f"s{number}", "1.25", total, won],
            )
        connection.execute(
            "UPDATE strategy_worker.strategy_executions SET strategy_id = 'x', run_name = 'r', "
            "status = 'stopped' WHERE strategy_id = 's1'"
        )
        rows = connection.execute(
            "SELECT strategy_id, executions, active_executions, win_rate "
            "FROM strategy_worker.strategy_metrics ORDER BY 1"
        ).fetchall()
        touched = connection.execute(
            "SELECT strategy_id FROM strategy_worker.strategy_executions "
            "WHERE updated_at > created_at"
        ).fetchall()
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE strategy_worker.strategy_executions SET status = 'odd'")
    assert [(name, n, active, float(rate)) for name, n, active, rate in rows] == [
        ("s0", 1, 1, 0.25),
        ("x", 1, 0, 4 / 6),
    ]
    assert touched == [("x",)]


def test_a_second_time_changes_nothing(empty_database: str) -> None:
    with connect(empty_database) as connection:
        assert migrate(connection) == migrations()
        assert migrate(connection) == []


def test_two_engines_may_migrate_at_once(empty_database: str) -> None:
    applied: list[list[Migration]] = []

    def work() -> None:
        with connect(empty_database) as connection:
            applied.append(migrate(connection))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(file for part in applied for file in part) == migrations()


def test_a_newer_schema_is_refused(empty_database: str) -> None:
    with connect(empty_database) as connection:
        migrate(connection, [FIRST, SECOND])
        with pytest.raises(ConfigError, match=r"0002_second.sql of a newer .* ends at 0001"):
            migrate(connection, [FIRST])


def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty_database: str) -> None:
    with connect(empty_database) as connection:
        migrate(connection, [FIRST])
        changed = FIRST._replace(text="CREATE TABLE strategy_worker.other (n integer)")
        with pytest.raises(ConfigError, match=r"0001_first.sql is not the file that was applied"):
            migrate(connection, [changed, SECOND])
        tables = connection.execute("SELECT to_regclass('strategy_worker.second')").fetchone()
    assert tables == (None,)


def test_a_file_that_fails_leaves_nothing_of_itself(empty_database: str) -> None:
    broken = SECOND._replace(text=f"{SECOND.text}; SELECT 1 / 0")
    with connect(empty_database) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection, [FIRST, broken])
        assert migrate(connection, [FIRST, SECOND]) == [SECOND]


def test_a_user_who_may_only_use_the_schema_need_not_create_it(database: str) -> None:
    with connect(database) as connection:
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute("CREATE ROLE clerk LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA strategy_worker TO clerk")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA strategy_worker TO clerk")
    with connect(f"{database} user=clerk") as connection:
        assert migrate(connection) == []
    with connect(database) as connection:
        connection.execute("DROP OWNED BY clerk")
        connection.execute("DROP ROLE clerk")


def test_a_user_who_may_not_create_the_schema_is_told_whom_to_ask(empty_database: str) -> None:
    with connect(empty_database) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    with (
        connect(f"{empty_database} user=guest") as connection,
        pytest.raises(ConfigError, match=r"may not create the schema .* engine db migrate"),
    ):
        migrate(connection)
