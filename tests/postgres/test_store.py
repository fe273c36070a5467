"""The store of a run: what it confirms is there, whole and unchanged, and nobody else writes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from adapters.postgres.store import PostgresStore
from engine.domain.commands import KillSwitch, OrderApproved
from engine.domain.events import OrderAccepted, OrderSubmitted, RiskEvent, Severity
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import Verdict
from engine.errors import ConfigError, StoreError
from engine.ports import RunHeader
from engine.runtime.inputs import Batch, Finished, Started, Ticked, Told

HEADER = RunHeader(
    name="r",
    profile="paper",
    strategy_ids=("S",),
    settings={"a": 1},
    instruments=(Instrument(symbol="A"),),
    data_hash="x",
    ts_start=5,
    held={},
)
INPUTS: tuple[Any, ...] = (
    Started(5),
    Bar("A", 0, 0, 10, 100, 110, 90, 105, 7, 100, 1),
    Trade("A", 1, 11, 105, 2, 100, 1),
    Quote("A", 2, 12, 104, 106, 1, 1, 100, 1),
    Told("risk_gate", KillSwitch(reason="x", flatten=True, ts_init=12), 12),
    Told("order_router", OrderAccepted("O1", "V1", 13), 13),
    Ticked(14),
    Finished(2**62),
)
ORDER = Order("O1", "S", "A", Side.BUY, OrderType.MARKET, 3, 10)
EVENTS: tuple[Any, ...] = (
    OrderApproved(ORDER, Verdict("O1", 10, None, None)),
    OrderSubmitted("O1", 10),
    RiskEvent(
        event_type="X", severity=Severity.INFO, strategy_id=None, symbol=None, limit=None,
        value=1.5, action_taken="NONE", description="d", ts_event=11,
    ),
)  # fmt: skip


@contextmanager
def opened(database: str, header: RunHeader = HEADER) -> Iterator[PostgresStore]:
    store = PostgresStore(database, timeout_s=5.0, snapshot_ns=60_000_000_000)
    try:
        store.open(header)
        yield store
    finally:
        store.close()


def table(database: str, query: str) -> Sequence[Any]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.req("P18")
def test_every_kind_of_input_comes_back_as_it_went_in(database: str) -> None:
    with opened(database) as store:
        store.commit([Batch(INPUTS[:3], EVENTS[:1]), Batch(INPUTS[3:4], ())])
        store.commit([Batch(INPUTS[4:], EVENTS[1:])])
    store = PostgresStore(database, timeout_s=5.0, snapshot_ns=1)
    state = store.open(HEADER)
    assert (state.header, state.inputs, state.completed) == (HEADER, len(INPUTS), False)
    assert tuple(store.history()) == INPUTS
    store.recall(EVENTS)
    store.complete()
    store.close()
    rows = table(database, "SELECT order_id, status, inner_status FROM "
                           "strategy_worker.execution_orders")  # fmt: skip
    assert rows == [("O1", "PENDING", "PENDING_NEW")]
    kept = table(database, "SELECT status FROM strategy_worker.runs")
    executions = table(database, "SELECT status FROM strategy_worker.strategy_executions")
    assert (kept, executions) == ([("COMPLETED",)], [("completed",)])


def test_the_hash_of_events_goes_on_over_a_restart(database: str) -> None:
    with opened(database) as store:
        store.commit([Batch(INPUTS[:2], EVENTS[:1])])
    with opened(database) as store:
        list(store.history())
        store.recall(EVENTS[:1])
        store.commit([Batch(INPUTS[2:], EVENTS[1:])])
    other = HEADER.__class__(**{**_fields(HEADER), "name": "whole"})
    with opened(database, other) as store:
        store.commit([Batch(INPUTS, EVENTS)])
    query = (
        "SELECT DISTINCT ON (run_name) events_hash FROM strategy_worker.journal "
        "ORDER BY run_name, batch DESC"
    )
    hashes = table(database, query)
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]


def _fields(header: RunHeader) -> dict[str, Any]:
    return {name: getattr(header, name) for name in header.__struct_fields__}


@pytest.mark.req("P20")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE strategy_worker.journal SET inputs = 0",
        "DELETE FROM strategy_worker.journal",
        "TRUNCATE strategy_worker.journal",
        "DELETE FROM strategy_worker.risk_events",
        "UPDATE strategy_worker.execution_fills SET price = 1",
    ],
)
def test_what_is_kept_cannot_be_changed(database: str, change: str) -> None:
    with opened(database) as store:
        store.commit([Batch(INPUTS, EVENTS)])
    with (
        psycopg.connect(database) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        connection.execute(change)


@pytest.mark.req("P18")
@pytest.mark.parametrize(
    ("damage", "batch"),
    [
        ("UPDATE strategy_worker.journal SET record = set_byte(record, 9, 7) WHERE batch = 1", 1),
        ("UPDATE strategy_worker.journal SET events_hash = hash WHERE batch = 0", 0),
        ("UPDATE strategy_worker.journal SET first_input = 9 WHERE batch = 2", 2),
        ("DELETE FROM strategy_worker.journal WHERE batch = 1", 1),
    ],
)
def test_damage_is_found_and_named(database: str, damage: str, batch: int) -> None:
    with opened(database) as store:
        for entered in INPUTS[:3]:
            store.commit([Batch((entered,), ())])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # the triggers sleep
        connection.execute(damage)
    with (
        opened(database) as store,
        pytest.raises(StoreError, match=f"batch {batch} of run 'r' is not what was written"),
    ):
        list(store.history())


@pytest.mark.req("P31")
def test_a_run_is_open_in_one_engine_at_a_time(database: str) -> None:
    with (
        opened(database),
        pytest.raises(ConfigError, match="run 'r' is at work in another engine"),
        opened(database),
    ):
        pass
    with opened(database):
        pass


@pytest.mark.req("P41")
def test_a_connection_that_is_cut_is_told_and_leaves_nothing_half_done(database: str) -> None:
    with opened(database) as store:
        store.commit([Batch(INPUTS[:2], EVENTS[:1])])
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        table(database, f"{cut}'tetrad' AND datname = current_database()")
        with pytest.raises(StoreError, match="the database is gone or refuses"):
            store.commit([Batch(INPUTS[2:], EVENTS[1:])])
    with opened(database) as store:
        assert tuple(store.history()) == INPUTS[:2]
    assert table(database, "SELECT inner_status FROM strategy_worker.execution_orders") == [
        ("INITIALIZED",)
    ]


@pytest.mark.req("P36")
def test_a_database_that_hangs_is_told_within_its_time(database: str) -> None:
    store = PostgresStore(database, timeout_s=0.5, snapshot_ns=1)
    store.open(HEADER)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with psycopg.connect(database) as connection:
            connection.execute("LOCK TABLE strategy_worker.journal IN ACCESS EXCLUSIVE MODE")
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60)
        with pytest.raises(StoreError, match="gone or refuses: canceling statement due to"):
            store.commit([Batch(INPUTS[:1], ())])
    finally:
        release.set()
        thread.join(60)
        store.close()


@pytest.mark.req("P41")
def test_a_database_that_would_lose_commits_is_refused(database: str) -> None:
    name = database.rpartition("=")[2]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with (
        pytest.raises(StoreError, match="synchronous_commit = off: what it confirms could be"),
        opened(database),
    ):
        pass


def test_a_database_that_is_not_there_is_told(tmp_path: Any) -> None:
    store = PostgresStore(f"host={tmp_path} user=x dbname=y", timeout_s=1.0, snapshot_ns=1)
    with pytest.raises(StoreError, match=r"does not answer: .* is store.url right"):
        store.open(HEADER)
