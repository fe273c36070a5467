"""A database that takes every byte and answers nothing, and one that goes while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from adapters.postgres.store import ANSWER_TIMEOUTS, PostgresStore
from engine.errors import ConfigError, StoreError
from engine.runtime.inputs import Batch
from tests.integration.proxy import FaultProxy
from tests.postgres.test_store import HEADER, INPUTS, table

TIMEOUT_S = 0.5
NOTICED_S = 2 * ANSWER_TIMEOUTS * TIMEOUT_S  # twice what it is to take: other work goes on here


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    folder = psycopg.conninfo.conninfo_to_dict(database)["host"]
    with FaultProxy(f"{folder}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def store(database: str, proxy: FaultProxy) -> Iterator[PostgresStore]:
    store = PostgresStore(through(database, proxy), timeout_s=TIMEOUT_S, snapshot_ns=10**18)
    try:
        yield store
    finally:
        store.close()


def through(database: str, proxy: FaultProxy) -> str:
    return f"{database} host=127.0.0.1 port={proxy.port} sslmode=disable gssencmode=disable"


@pytest.mark.req("P24")
@pytest.mark.req("P36")
@pytest.mark.req("P41")
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.commit([Batch(INPUTS[:1], ())]),
        lambda store: list(store.history()),
        lambda store: store.complete(),
    ],
    ids=["commit", "history", "complete"],
)
@pytest.mark.parametrize("fault", ["pause", "blackhole"])
def test_a_half_open_database_is_noticed(
    store: PostgresStore, proxy: FaultProxy, fault: str, ask: Callable[[PostgresStore], object]
) -> None:
    store.open(HEADER)
    store.commit([Batch(INPUTS[:1], ())])
    getattr(proxy, fault)()
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"the database has not answered within 0\.75 s"):
        ask(store)
    assert time.monotonic() - began < NOTICED_S


@pytest.mark.req("P2")
@pytest.mark.req("P41")
def test_a_database_that_goes_while_the_history_is_read_is_told(
    store: PostgresStore, database: str
) -> None:
    store.open(HEADER)
    store.commit([Batch(INPUTS[:1], ())])
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
    table(database, f"{cut}'tetrad' AND datname = current_database()")
    with pytest.raises(StoreError, match="the database is gone or refuses"):
        list(store.history())


@pytest.mark.req("P31")
def test_a_run_whose_engine_has_just_gone_is_waited_for(
    store: PostgresStore, proxy: FaultProxy, database: str
) -> None:
    store.open(HEADER)
    proxy.pause()
    # Its connection is held up on the way: the server does not know yet that it is gone.
    store.close()
    next_store = PostgresStore(database, timeout_s=TIMEOUT_S, snapshot_ns=10**18)
    try:
        with pytest.raises(ConfigError, match="is at work in another engine"):
            next_store.open(HEADER)
        next_store.close()
        proxy.heal()
        assert next_store.open(HEADER).header == HEADER
    finally:
        next_store.close()
