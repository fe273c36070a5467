"""The same core gives the same events, byte for byte, on both runtimes.

The simulation runs a core in one thread; here the same actors also run as pykka cells that are
told every event by a feeder: as one cell, and with the recorder and the controller in cells of
their own. Indicators are computed in batch by the one and bar by bar by the other.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from actors.recorder import RECORDED
from adapters.files import open_dataset
from adapters.memory.journal import FrameJournal
from engine.config import Config, load_config
from engine.domain.events import (
    CancelRejected,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderReplaced,
    PositionChanged,
    ReplaceRejected,
    StrategyFailed,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.signals import Signal
from engine.registry import load_strategy
from engine.runtime.actor import Actor
from engine.runtime.cell import Cell
from engine.runtime.clock import EventClock
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import CellSpec, PykkaRuntime
from engine.runtime.sim_runtime import Columns, SimRuntime, bar_events, quote_events, trade_events
from engine.runtime.supervision import RestartRules, Role
from engine.strategy.base import Strategy
from engine.wiring import CONTROLLER, RECORDER, build_core, host_name, routes
from tests.simulation.rig import MINUTE, START, columns
from tests.simulation.scripts import Scenario, scenarios

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT_S = 60.0
MAKERS = {Bar: bar_events, Trade: trade_events, Quote: quote_events}
EDGES = frozenset({RECORDER, CONTROLLER})


class ListingJournal(FrameJournal):
    """Keeps the events too, so that a difference can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[Any] = []

    def write(self, events: Sequence[Any]) -> None:
        super().write(events)
        self.listed.extend(events)


@dataclass
class Case:
    """One run, to be made on either runtime."""

    strategies: Mapping[str, Callable[[], Strategy]]
    chunk: Columns
    instruments: Sequence[Instrument]
    kind: type = Bar
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns_of: Any = None

    def __post_init__(self) -> None:
        self.config: Config = load_config("backtest", settings=self.settings)
        self.routes = routes([host_name(name) for name in self.strategies])
        self.start_ts = self.chunk["ts_event"][0]

    def core(
        self, journal: FrameJournal, ends: Sequence[Callable[[], None]], *, streaming: bool
    ) -> list[Actor]:
        def stop_run() -> None:
            ends[0]()

        return build_core(
            self.config,
            strategies={name: make() for name, make in self.strategies.items()},
            instruments=self.instruments,
            kinds=(self.kind,),
            columns_of=None if streaming else self.columns_of,
            journal=journal,
            stop_run=stop_run,
        )

    def chunks(self, sizes: Iterable[int]) -> Iterator[Columns]:
        at, rows = 0, len(self.chunk["ts_event"])
        for size in sizes:
            if at >= rows:
                return
            yield {name: values[at : at + size] for name, values in self.chunk.items()}
            at += size

    def simulated(self, sizes: Iterable[int] = itertools.repeat(8192)) -> ListingJournal:
        journal = ListingJournal()
        ends: list[Callable[[], None]] = []
        actors = self.core(journal, ends, streaming=False)
        runtime = SimRuntime(
            Cell("core", actors, self.routes),
            self.instruments,
            MAKERS[self.kind],
            start_ts=self.start_ts,
        )
        ends.append(runtime.stop)
        runtime.run(self.chunks(sizes))
        return journal

    def threaded(self, edges: frozenset[str], *, capacity: int = 512) -> ListingJournal:
        journal = ListingJournal()
        ends: list[Callable[[], None]] = []
        actors = self.core(journal, ends, streaming=True)
        mailbox = MailboxRules(
            capacity=capacity,
            deadline_s=TIMEOUT_S,
            overflow=dict.fromkeys((*self.routes, *RECORDED), Overflow.WAIT),
            urgent=frozenset(),
        )
        cells = [
            _cell(actor.name, [actor], Role.EDGE, mailbox)
            for actor in actors
            if actor.name in edges
        ]
        core = [actor for actor in actors if actor.name not in edges]
        cells.append(_cell("core", core, Role.CORE, mailbox))
        runtime = PykkaRuntime(
            cells, self.routes, clock=EventClock(self.start_ts), dead_letters_max=0
        )
        ends.append(runtime.request_stop)
        runtime.start(timeout_s=TIMEOUT_S)
        try:
            runtime.feed(MAKERS[self.kind](self.chunk, self.instruments))
        finally:
            report = runtime.stop(timeout_s=TIMEOUT_S)
        assert report.stuck == ()
        assert runtime.failures == ()
        return journal

    def prove(self) -> list[Any]:
        """Run it on both runtimes; give the events, which are the same."""
        expected = self.simulated()
        for edges in (frozenset[str](), EDGES):
            found = self.threaded(edges)
            assert found.listed == expected.listed
            assert found.hash == expected.hash
        return expected.listed


def _cell(name: str, actors: Sequence[Actor], role: Role, mailbox: MailboxRules) -> CellSpec:
    restart = RestartRules(max_restarts=0, window_s=1.0, backoff_s=0.0)
    return CellSpec(
        name=name,
        role=role,
        actors=lambda: actors,
        mailbox=mailbox,
        restart=None if role is Role.CORE else restart,
    )


# The example strategies on the example data.


def example_case(files: Sequence[str], *strategies: str, **settings: Any) -> Case:
    data = open_dataset(
        [EXAMPLES / "data" / f"{name}.parquet" for name in files],
        adjust=True,
        start="2009-01-01",
    )
    chunks = [
        {column.name: column.to_list() for column in frame.iter_columns()}
        for frame in data.chunks()
    ]
    return Case(
        strategies={
            name: load_strategy(str(EXAMPLES / "strategies" / f"{name}.py")) for name in strategies
        },
        chunk={name: [v for chunk in chunks for v in chunk[name]] for name in chunks[0]},
        instruments=data.instruments,
        settings=settings,
        columns_of=data.columns,
    )


@pytest.mark.req("P3")
@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "strategies").glob("*.py")), ids=lambda p: p.stem
)
def test_every_example_strategy_runs_alike_on_both_runtimes(path: Path) -> None:
    files = ("AAPL", "GOOG", "IBM", "MSFT")
    events = example_case(files, path.stem).prove()
    assert any(type(event) is PositionChanged for event in events)


def test_several_strategies_in_one_account_run_alike() -> None:
    names = ("sma_cross", "bracket_entry", "rsi_reversion")
    events = example_case(("AAPL", "IBM"), *names).prove()
    traders = {event.fill.strategy_id for event in events if type(event) is PositionChanged}
    assert traders == set(names)


# Everything a strategy can do, on generated data.


class Everything(Strategy):
    """Limits, stops, trails, brackets, OCO, cancels, replacements, timers, signals, denials."""

    def on_start(self) -> None:
        self.count = 0
        self.schedule("hourly", "1h")
        self.set_timer("once", START + 7 * MINUTE + 1)

    def on_timer(self, name: str) -> None:
        self.signal(self.symbols[0], score=float(self.count), timer=name)
        self.close(self.symbols[0])

    def on_bar(self, bar: Bar) -> None:
        self.act(bar.symbol, bar.close)

    def on_trade(self, trade: Trade) -> None:
        self.act(trade.symbol, trade.price)

    def on_quote(self, quote: Quote) -> None:
        self.act(quote.symbol, quote.bid)

    def act(self, symbol: str, price: float) -> None:
        self.count += 1
        step = self.count % 13
        price = round(price, 2)
        if step == 1:
            self.buy(symbol, 3 + self.count % 5)
        elif step == 2:
            until = self.now + 3 * MINUTE
            self.buy(symbol, 4, limit=round(price - 0.7, 2), good_till=until)
        elif step == 3:
            self.sell(symbol, 2, stop=round(price - 0.4, 2), reduce_only=True)
        elif step == 4:
            self.bracket(
                symbol, 5, take_profit=round(price + 0.3, 2), stop_loss=round(price - 0.3, 2)
            )
        elif step == 5 and self.orders:
            self.cancel(self.orders[self.count % len(self.orders)])
        elif step == 6:
            for order in self.orders:
                if order.order.limit_px is not None and order.symbol == symbol:
                    self.replace(order, quantity=9, limit=round(price - 0.05, 2))
                    break
        elif step == 7:
            self.buy(symbol, 10_000_000)
        elif step == 8:
            self.sell(symbol, 1, trail=0.25)
        elif step == 9:
            with self.oco():
                self.buy(symbol, 2, limit=round(price - 0.5, 2))
                self.buy(symbol, 2, stop=round(price + 0.5, 2))
        elif step == 10:
            self.buy(symbol, 3, limit=round(price - 1, 2), tif="IOC")
        elif step == 11:
            self.target_percent(symbol, 0.1)

    def on_fill(self, fill: Any) -> None:
        if fill.quantity == 5:
            self.sell(fill.symbol, 1, reduce_only=True)

    def on_signal(self, signal: Signal) -> None:
        self.buy(signal.symbol, 1)


class Other(Strategy):
    """Listens to the first, fails in the middle."""

    fail_at: int = 400

    def on_start(self) -> None:
        self.count = 0

    def on_bar(self, bar: Bar) -> None:
        self.count += 1
        if self.count == 20:
            self.buy(bar.symbol, 10, limit=1)
        if self.count == self.fail_at:
            raise SystemExit(3)

    def on_signal(self, signal: Signal) -> None:
        self.buy(signal.symbol, 2)


INSTRUMENTS = (Instrument(symbol="A"), Instrument(symbol="B"), Instrument(symbol="C"))


def generated_bars(rows: int, seed: int) -> Columns:
    rng = random.Random(seed)
    series: list[list[tuple[int, int, int, int]]] = []
    for _ in INSTRUMENTS:
        close, bars = 10_000, []
        for _ in range(rows):
            opened = max(200, close + rng.randint(-20, 20))
            close = max(200, opened + rng.randint(-60, 60))
            high = max(opened, close) + rng.randint(0, 25)
            bars.append((opened, high, min(opened, close) - rng.randint(0, 25), close))
        series.append(bars)
    return columns(series)


def generated_ticks(kind: type, rows: int, seed: int) -> Columns:
    rng = random.Random(seed)
    chunk: Columns = {name: [] for name in ("series", "seq", "ts_event")}
    names = ("price", "size") if kind is Trade else ("bid", "ask", "bid_size", "ask_size")
    chunk |= {name: [] for name in names}
    px, seqs, ts = 10_000, [0] * len(INSTRUMENTS), START
    for _ in range(rows):
        series = rng.randrange(len(INSTRUMENTS))
        px = max(200, px + rng.randint(-9, 9))
        ts += rng.choice((0, 0, 1_000_000, 5 * 10**9))
        sizes = rng.randint(1, 50), rng.randint(1, 50)
        values = (px, sizes[0]) if kind is Trade else (px, px + rng.randint(1, 9), *sizes)
        row = zip(chunk, (series, seqs[series], ts, *values), strict=True)
        for name, value in row:
            chunk[name].append(value)
        seqs[series] += 1
    # Events of equal time come in the order of the series.
    order = sorted(range(rows), key=lambda i: (chunk["ts_event"][i], chunk["series"][i]))
    return {name: [values[i] for i in order] for name, values in chunk.items()}


COSTS = {"costs.commission_bps": 5, "costs.slippage": "ticks", "costs.slippage_ticks": 1}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "next_open": {},
    "next_tick": {"fill.timing": "next_tick", **COSTS},
    "path": {"fill.timing": "intrabar_path", "fill.volume_limit": 0.005},
    "latency": {"fill.latency_ms": 90_000, **COSTS},
}


def everything_case(settings: Mapping[str, Any], rows: int = 400) -> Case:
    return Case(
        strategies={"everything": Everything, "other": Other},
        chunk=generated_bars(rows, seed=7),
        instruments=INSTRUMENTS,
        settings={
            "risk.min_order_size": 1.0,
            "risk.max_order_size": 3_000.0,
            "supervision.strategy": "quarantine",
            **settings,
        },
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_everything_a_strategy_can_do_runs_alike_on_bars(name: str) -> None:
    events = everything_case(SETTINGS[name]).prove()
    kinds = {type(event) for event in events}
    expected = {PositionChanged, OrderDenied, OrderCanceled, OrderExpired, OrderReplaced, Signal}
    assert expected | {StrategyFailed} <= kinds
    assert {CancelRejected, ReplaceRejected} & kinds or name == "next_tick"


@pytest.mark.parametrize("kind", [Trade, Quote])
def test_everything_a_strategy_can_do_runs_alike_on_ticks(kind: type) -> None:
    case = Case(
        strategies={"everything": Everything},
        chunk=generated_ticks(kind, 1200, seed=11),
        instruments=INSTRUMENTS,
        kind=kind,
        settings={"risk.min_order_size": 1.0, "fill.latency_ms": 5},
    )
    events = case.prove()
    assert {PositionChanged, OrderDenied, Signal} <= {type(event) for event in events}


def test_a_failed_strategy_stops_both_runtimes_at_the_same_event() -> None:
    case = everything_case({"supervision.strategy": "stop"})
    expected = case.simulated()
    assert type(expected.listed[-1]) is StrategyFailed or StrategyFailed in map(
        type, expected.listed
    )
    assert case.threaded(frozenset()).listed == expected.listed


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_small_mailboxes_change_nothing_but_speed(capacity: int) -> None:
    case = everything_case({}, rows=40)
    expected = case.simulated()
    assert case.threaded(EDGES, capacity=capacity).listed == expected.listed


@pytest.mark.parametrize("seed", range(5))
def test_how_the_data_is_cut_into_chunks_changes_nothing(seed: int) -> None:
    case = everything_case(SETTINGS["latency"], rows=150)
    rng = random.Random(seed)
    sizes = iter(lambda: rng.choice((1, 2, 3, 50, 333)), None)
    assert case.simulated(sizes).listed == case.simulated().listed


@settings(max_examples=25)
@given(scenario=scenarios())
def test_any_script_runs_alike_on_both_runtimes(scenario: Scenario) -> None:
    Case(
        strategies={"drawn": scenario.strategy},
        chunk=columns(scenario.series),
        instruments=INSTRUMENTS[:2],
        settings=scenario.settings,
    ).prove()
