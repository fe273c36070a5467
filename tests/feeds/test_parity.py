"""The same bars through backtest, brokers and venues outside: the same orders, fills and books.

The venue is fed each bar before the engine is, as a venue that makes the prices has them first;
the next step waits until both have done all that came of the last.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import psycopg
import pytest

from adapters.postgres.gateway_book import PostgresGatewayBook
from adapters.postgres.gateway_setup import add_session, add_user
from engine import Bar, Strategy
from engine.config import load_config
from engine.domain.clients import ListOrders
from engine.domain.events import (
    CancelRejected,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from engine.domain.market import MarketEvent
from engine.gateway import Gateway
from engine.oms import Ask, ReferenceOms
from engine.oms_ports import OmsEdge
from engine.ports import MarketHistory
from engine.publish import events_of
from engine.research.backtest import run_backtest
from engine.research.result import BacktestResult
from engine.wiring import open_history, open_oms_server
from engine.wiring.feeds import open_publisher
from engine.wiring.gateway import open_gateway_server
from tests.cli.rig import HEADER
from tests.feeds.kafka import Kafka
from tests.feeds.rig import Listening, wait_listener
from tests.feeds.servers import wait_until
from tests.feeds.test_kafka_feed import broker as kafka_broker
from tests.feeds.test_kafka_feed import new_topic
from tests.feeds.test_redis_feed import broker as redis_broker

LOOKER = 999
"""A session of the exchange that nobody reads: what is asked for it has been handled on return."""
SETTINGS: dict[str, Any] = {
    "data.symbols": ["A", "B"],
    "data.price_decimals": 2,
    "costs.commission_bps": 3,
    "risk.max_repeated_orders": "unlimited",
}
BARS = 150
ENDS = (OrderCanceled, OrderExpired, OrderRejected)
SETTLED = """
SELECT
    coalesce((SELECT applied FROM strategy_worker.feed_counts), 0),
    (SELECT count(*) FROM strategy_worker.execution_fills),
    count(*) FILTER (WHERE inner_status IN ('CANCELED', 'EXPIRED', 'REJECTED')),
    count(*) FILTER (WHERE inner_status IN ('INITIALIZED', 'PENDING_NEW', 'PENDING_CANCEL',
        'PENDING_REPLACE', 'UNKNOWN'))
FROM strategy_worker.execution_orders"""
# What a venue outside does not tell: how it found the price, and in which bar.
UNTOLD = ("slippage", "priced_by", "datum_ts", "datum_seq", "bars")


class Busy(Strategy):
    """Market, limit and stop orders, cancels and replacements, and orders that are refused."""

    asked: ClassVar[Counter[str]] = Counter()
    """Cancels and replacements, which nobody tells of until they are answered."""

    def on_start(self) -> None:
        self.resting: dict[str, Any] = {}

    def is_open(self, symbol: str) -> bool:
        return self.resting.get(symbol) in self.orders

    def on_bar(self, bar: Bar) -> None:
        step = bar.seq % 7
        if step == 0:
            self.buy(bar.symbol, 20)
        elif step == 1:
            self.resting[bar.symbol] = self.buy(bar.symbol, 10, limit=round(bar.close * 0.9, 2))
        elif step == 2:
            self.sell(bar.symbol, 5, stop=round(bar.close * 0.97, 2))
        elif step == 3 and self.is_open(bar.symbol):
            self.asked["replace"] += 1
            self.replace(self.resting[bar.symbol], quantity=8)
        elif step == 4 and self.is_open(bar.symbol):
            self.asked["cancel"] += 1
            self.cancel(self.resting.pop(bar.symbol))
        elif step == 5 and self.position(bar.symbol).quantity > 0:
            self.sell(bar.symbol, 12, limit=round(bar.close * 1.02, 2))
        elif step == 6:
            self.buy(bar.symbol, 1_000_000)  # refused by the gate


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """Settings with minute bars of one day, which wander."""
    draw = random.Random(4)
    for symbol in SETTINGS["data.symbols"]:
        px, rows = 10_000, []
        for minute in range(BARS):
            after = px + draw.randrange(-60, 61)
            low, high = min(px, after) - draw.randrange(20), max(px, after) + draw.randrange(20)
            cells = (f"{each / 100:.2f}" for each in (px, high, low, after))
            hour = f"2024-03-04T{10 + minute // 60}:{minute % 60:02d}:00Z"
            rows.append(f"{hour},{','.join(cells)},{draw.randrange(500, 5_000)}\n")
            px = after + draw.randrange(-5, 6)
        (tmp_path / f"{symbol}.csv").write_text(HEADER + "".join(rows))
    return {**SETTINGS, "data.paths": [str(tmp_path)]}


class Told:
    """An edge that counts what it tells clients."""

    def __init__(self, edge: OmsEdge) -> None:
        self._edge = edge
        self.start, self.stop, self.recall = edge.start, edge.stop, edge.recall
        self.counts: Counter[type] = Counter()

    def deliver(self, session: int, event: Any) -> None:
        if session != LOOKER:
            self.counts[type(event)] += 1
        self._edge.deliver(session, event)


class Exchange:
    """A reference exchange that is fed bar by bar.

    Attributes:
        port: where it serves.
        told: how much it has told, by type.
    """

    def __init__(self, make: Callable[[Callable[[Ask], OmsEdge]], ReferenceOms], edge: Any) -> None:
        self._tickets = threading.Semaphore(0)
        self._asked_for = 0
        self._changed = threading.Condition()
        edges: list[Told] = []

        def counted(ask: Ask) -> OmsEdge:
            edges.append(Told(edge(ask)))
            return edges[-1]

        self._system = make(counted)
        self._system.start()
        self.told = edges[0].counts
        self.port = self._system.serve("127.0.0.1", 0)
        self._thread = threading.Thread(target=self._system.run, args=[self._let_through])
        self._thread.start()

    def _let_through(self, events: Iterator[MarketEvent]) -> Iterator[MarketEvent]:
        for event in events:
            with self._changed:
                self._asked_for += 1
                self._changed.notify_all()
            self._tickets.acquire()
            if self._over:
                return
            yield event
        with self._changed:
            self._asked_for += 1
            self._changed.notify_all()

    _over = False

    def feed_next(self) -> None:
        """Feed a bar, and wait until all has come of it that comes."""
        with self._changed:
            before = self._asked_for
            assert before
            self._tickets.release()
            assert self._changed.wait_for(lambda: self._asked_for > before, 20)
        self._system.ask(LOOKER, ListOrders())

    def wait_ready(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked_for, 20)

    def stop(self) -> None:
        self._over = True
        self._tickets.release(2)
        self._system.stop()
        self._thread.join(20)


def over_grpc(
    database: str, files: dict[str, Any], history: MarketHistory, stack: ExitStack
) -> tuple[Exchange, Any]:
    """Serve the reference order management system."""
    config = load_config("backtest", settings=files)
    exchange = Exchange(
        lambda edge: ReferenceOms(config, history, edge, speed=None),
        partial(open_oms_server, history.instruments, extended=True),
    )
    return exchange, {"venue.kind": "grpc", "oms_grpc.host": "127.0.0.1",
                      "oms_grpc.port": exchange.port}  # fmt: skip


def over_http(
    database: str, files: dict[str, Any], history: MarketHistory, stack: ExitStack
) -> tuple[Exchange, Any]:
    """Serve a gateway whose user can pay for all of it."""
    with psycopg.connect(database, autocommit=True) as connection:
        add_user(connection, "u", Decimal(10_000_000))
        add_session(connection, "Busy", "u", "Busy")
    config = load_config("backtest", settings=files)
    book = PostgresGatewayBook(
        database,
        instruments={each.symbol: each for each in history.instruments},
        timeout_s=20,
        connections=(1, 4),
    )
    stack.callback(book.close)
    exchange = Exchange(
        lambda edge: Gateway(config, history, edge, book, speed=None),
        partial(
            open_gateway_server, history.instruments, book, token=None, certificate=None, key=None
        ),
    )
    return exchange, {"venue.kind": "http", "gateway.url": f"http://127.0.0.1:{exchange.port}"}


class Both:
    """Two exchanges that are fed the same bars, in step."""

    def __init__(self, *exchanges: Exchange) -> None:
        self._exchanges = exchanges

    @property
    def told(self) -> Counter[type]:
        return sum((each.told for each in self._exchanges), Counter())

    def feed_next(self) -> None:
        for each in self._exchanges:
            each.feed_next()

    def wait_ready(self) -> None:
        for each in self._exchanges:
            each.wait_ready()

    def stop(self) -> None:
        for each in self._exchanges:
            each.stop()
        # Each has told only what it was asked: one symbol's orders.
        assert all(each.told[OrderFilled] > 10 for each in self._exchanges)


def over_both(
    database: str, files: dict[str, Any], history: MarketHistory, stack: ExitStack
) -> tuple[Both, Any]:
    """Serve both: orders in B go to the gateway, all others to the order management system."""
    oms, its = over_grpc(database, files, history, stack)
    gateway, others = over_http(database, files, history, stack)
    routes = {"venue.routes": [{"symbol": "B", "kind": "http"}]}
    return Both(oms, gateway), {**others, **its, **routes}


Venue = Callable[[str, dict[str, Any], MarketHistory, ExitStack], tuple[Exchange | Both, Any]]


def in_lockstep(
    database: str, files: dict[str, Any], broker: dict[str, Any], venue: Venue, ready: Any
) -> BacktestResult:
    """Carry the bars through broker, engine and venue, one after another."""
    settings = {**files, **broker}
    Busy.asked.clear()
    history = open_history(load_config("paper", settings=files))
    with ExitStack() as stack:
        exchange, outside = venue(database, files, history, stack)
        stack.callback(exchange.stop)
        exchange.wait_ready()
        run = Listening(database, broker, Busy, **SETTINGS, **outside)
        ready()
        publisher = open_publisher(load_config("paper", settings=settings))
        stack.callback(publisher.close)
        looking = stack.enter_context(psycopg.connect(database, autocommit=True))

        def is_settled(applied: int) -> bool:
            assert run.error is None, run.error
            row, told = looking.execute(SETTLED).fetchone(), exchange.told
            ends = sum(told[kind] for kind in ENDS)
            canceled = told[OrderCanceled] + told[CancelRejected]
            replaced = told[OrderReplaced] + told[ReplaceRejected]
            return row == (applied, told[OrderFilled], ends, 0) and (
                Busy.asked["cancel"] == canceled and Busy.asked["replace"] == replaced
            )

        for number, event in enumerate(events_of(history)):
            exchange.feed_next()
            wait_until(partial(is_settled, number), f"the venue's word on bar {number}")
            publisher.publish([event])
            wait_until(partial(is_settled, number + 1), f"bar {number}: {event}")
        publisher.end([each.symbol for each in history.instruments])
        return run.wait()


def told(frame: pl.DataFrame, *but: str) -> pl.DataFrame:
    return frame.drop(*[name for name in (*UNTOLD, *but) if name in frame.columns])


def require_same(result: BacktestResult, expected: BacktestResult, *but: str) -> None:
    for name in ("orders", "verdicts", "check_inputs", "fills", "trades", "signals"):
        ours, theirs = told(getattr(result, name), *but), told(getattr(expected, name), *but)
        assert ours.columns == theirs.columns, name
        for column in ours.columns:
            assert ours[column].to_list() == theirs[column].to_list(), (name, column)
    # On the way, the curve has a fill at a bar's open at the close before it, of the same time.
    assert result.equity[-1].equals(expected.equity[-1])


def backtested(files: dict[str, Any]) -> BacktestResult:
    expected = run_backtest(load_config("backtest", settings=files), Busy)
    assert expected.summary["fills"] > 20
    statuses = set(expected.orders["status"])
    assert {"FILLED", "CANCELED", "DENIED"} <= statuses
    return expected


@pytest.mark.req("R1", "R2", "P33", "D8")
def test_paper_over_redis_and_the_grpc_oms_is_the_backtest(
    database: str, redis_at: str, files: dict[str, Any]
) -> None:
    result = in_lockstep(
        database, files, redis_broker(redis_at), over_grpc,
        lambda: wait_listener(redis_at, "market_data:B"),
    )  # fmt: skip
    require_same(result, backtested(files))


@pytest.mark.req("R1", "R2", "P33", "D9")
def test_paper_over_kafka_and_the_http_gateway_is_the_backtest(
    database: str, kafka: Kafka, files: dict[str, Any]
) -> None:
    result = in_lockstep(
        database, files, kafka_broker(kafka, new_topic(kafka)), over_http, lambda: None
    )
    require_same(result, backtested(files))


@pytest.mark.req("R1", "R2", "P33", "D8", "D9")
def test_one_run_over_two_venues_is_the_backtest(
    database: str, redis_at: str, files: dict[str, Any]
) -> None:
    result = in_lockstep(
        database, files, redis_broker(redis_at), over_both,
        lambda: wait_listener(redis_at, "market_data:B"),
    )  # fmt: skip
    require_same(result, backtested(files), "exec_id")  # each venue numbers its own
    assert result.fills.n_unique("exec_id") < len(result.fills)
