"""The trading core: its actors and the one table of who hears what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.controller import Controller
from actors.executor import EXECUTIONS, Executor
from actors.ledger import Ledger
from actors.monitor import Monitor
from actors.oms_desk import Deliver, OmsDesk
from actors.order_router import ASK_AGAIN_NS, OrderRouter
from actors.recorder import RECORDED, Recorder
from actors.risk_gate import RiskGate
from actors.sim_venue import SimVenue
from actors.strategy_host import StrategyHost
from adapters.files import open_dataset
from adapters.files.latch import FileLatchStore
from adapters.files.oms_state import OmsStateFile
from adapters.memory.journal import FrameJournal
from adapters.memory.latch import MemoryLatchStore
from engine.config import Config
from engine.domain.clients import ClientGone, FromClient
from engine.domain.commands import (
    ClosePosition,
    KillSwitch,
    OrderApproved,
    ReplaceApproved,
    SetSymbolState,
    SetTradingState,
)
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderUnknown,
    PositionChanged,
    ReplaceDenied,
    ReplaceRejected,
    StrategyFailed,
    StrategyStopped,
)
from engine.domain.executions import BeginExecution
from engine.domain.guards import GuardBounds
from engine.domain.instruments import Instrument
from engine.domain.latch import TradingLatch
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import cash_units
from engine.domain.orders import TimeInForce
from engine.domain.risk import RiskLimits, SymbolBounds, bounds, symbol_bounds
from engine.domain.risk_snapshot import RiskSnapshot
from engine.domain.signals import Signal
from engine.errors import ConfigError
from engine.oms_ports import OmsEdge, OmsState
from engine.ports import Journal, LatchStore, MarketHistory, RunRecord
from engine.runtime.actor import Actor
from engine.runtime.cell import Routes
from engine.strategy.base import Strategy
from engine.strategy.feed import ColumnsOf
from engine.wiring.venues import outbox_name, venue_routes

__all__ = [
    "KIND_TYPES",
    "build_core",
    "build_oms",
    "build_risk_core",
    "host_name",
    "new_record",
    "oms_state",
    "open_history",
    "open_oms_server",
    "routes",
]

GATE = "risk_gate"
MONITOR = "monitor"
ROUTER = "order_router"
LEDGER = "ledger"
RECORDER = "recorder"
CONTROLLER = "controller"
VENUE = "venue"
DESK = "oms_desk"
EXECUTOR = "executor"

KIND_TYPES: Mapping[str, type] = {"bar": Bar, "trade": Trade, "quote": Quote}
"""Kind of a dataset -> the type of its events."""


def routes(hosts: Sequence[str], *, executes: bool = False) -> Routes:
    """Give the one table of who hears what, in the order they hear it.

    Market events reach the gate, the monitor and the venue first, by their own ``watch``; then
    the strategies.

    Args:
        hosts: names of the strategy hosts.
        executes: whether there is an executor, which lets more of them in.
    """
    executor = [EXECUTOR] if executes else []
    hosts = [*hosts, *([EXECUTIONS] if executes else [])]
    table: dict[type, list[str]] = {
        Bar: [*hosts],
        Trade: [*hosts],
        Quote: [*hosts],
        OrderApproved: [ROUTER, LEDGER],
        ReplaceApproved: [ROUTER, LEDGER],
        OrderDenied: [*hosts],
        ReplaceDenied: [*hosts],
        OrderAccepted: [*hosts],
        OrderFilled: [LEDGER],
        PositionChanged: [GATE, MONITOR, *executor, *hosts],
        OrderCanceled: [GATE, LEDGER, *hosts],
        OrderExpired: [GATE, LEDGER, *hosts],
        OrderRejected: [GATE, LEDGER, *hosts],
        OrderUnknown: [*hosts],
        OrderReplaced: [GATE, LEDGER, *hosts],
        CancelRejected: [*hosts],
        ReplaceRejected: [GATE, LEDGER, *hosts],
        Signal: [*hosts],
        StrategyFailed: [CONTROLLER, *executor],
        StrategyStopped: executor,
        ClosePosition: [*hosts],
        SetTradingState: [GATE],
        SetSymbolState: [GATE],
        KillSwitch: [GATE],
    }
    for kind in RECORDED:
        table.setdefault(kind, []).append(RECORDER)
    return table


def build_core(
    config: Config,
    *,
    strategies: Mapping[str, Strategy],
    instruments: Sequence[Instrument],
    kinds: tuple[type, ...],
    columns_of: ColumnsOf | None,
    journal: Journal,
    stop_run: Callable[[], None],
    latch: LatchStore | None = None,
    archivist: str | None = None,
    simulated: bool = True,
    begin: Callable[[BeginExecution], Strategy] | None = None,
) -> list[Actor]:
    """Build the actors of the trading core, in the order they start.

    Args:
        config: the resolved profile.
        strategies: instances by strategy id.
        instruments: what can be traded.
        kinds: types of market event the feed delivers.
        columns_of: whole series for batch indicators; None computes them streaming.
        journal: where events are recorded.
        stop_run: ends the run (supervision policy ``stop``).
        latch: keeps the trading state; the profile's own store when None.
        archivist: name of the actor that keeps batches; None when nothing outlives the process.
        simulated: whether the venue is in the core; else orders go out by the outbox of theirs.
        begin: makes a strategy that begins while the run is at work; None when none may.
    """
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    cash = cash_units(config.account.cash)
    shared: dict[str, Any] = {"instruments": by_symbol, "initial_cash": cash}
    calendar = config.data.calendar
    store = latch_store(config) if latch is None else latch
    state = TradingLatch(store.load())
    hosting: dict[str, Any] = {
        "time_in_force": config.orders.time_in_force,
        "calendar": calendar,
        "kinds": kinds,
        "columns_of": columns_of,
        "gate": GATE,
        "slice_sizes": slice_sizes(config, instruments),
    }
    hosts = [
        StrategyHost(
            host_name(strategy_id), strategy_id=strategy_id, strategy=strategy, **hosting, **shared
        )
        for strategy_id, strategy in strategies.items()
    ]
    # One that came by a message must not end the others.
    stops = config.supervision.strategy == "stop" and begin is None
    stop = stop_run if stops else None
    return [
        *hosts,
        *([] if begin is None else [_executor(begin, by_symbol, cash, hosting)]),
        RiskGate(
            GATE,
            limits=config.risk,
            calendar=calendar,
            router=ROUTER,
            latch=state,
            store=store,
            **shared,
        ),
        Monitor(MONITOR, guards=GuardBounds.of(config.risk), instruments=by_symbol),
        OrderRouter(
            ROUTER,
            gate=GATE,
            outside=not simulated,
            **_venues(config, simulated),
            ask_again_ns=_real(ASK_AGAIN_NS, config),
            latch=state,
            intent_ttl=bounds(config.risk).intent_ttl,
            keep_closed=config.orders.keep_closed,
        ),
        *([_sim_venue(config, by_symbol)] if simulated else []),
        Ledger(LEDGER, currency=config.account.currency, **shared),
        Controller(CONTROLLER, stop_run=stop),
        Recorder(RECORDER, journal=journal, archivist=archivist),
    ]


def _venues(config: Config, simulated: bool) -> dict[str, Any]:
    """Say to the router where orders go."""
    if simulated:
        return {"venues": {VENUE: VENUE}}
    routed = venue_routes(config)
    return {
        "venues": {venue: outbox_name(venue) for venue in routed.venues},
        "venue_of": routed.venue_of if config.venue.routes else None,
    }


def _executor(
    begin: Callable[[BeginExecution], Strategy],
    instruments: Mapping[str, Instrument],
    initial_cash: int,
    hosting: Mapping[str, Any],
) -> Executor:
    def make_host(
        given: BeginExecution,
        *,
        order_prefix: str,
        cash: int,
        held: Mapping[str, tuple[int, int]],
    ) -> StrategyHost:
        return StrategyHost(
            host_name(given.strategy_id),
            strategy_id=given.strategy_id,
            strategy=begin(given),
            instruments={symbol: instruments[symbol] for symbol in given.symbols},
            initial_cash=cash,
            order_prefix=order_prefix,
            held=held,
            **hosting,
        )

    return Executor(EXECUTOR, make_host=make_host, initial_cash=initial_cash)


def _real(ns: int, config: Config) -> int:
    """Give how much of the data's time a real time is at the profile's pace."""
    speed = config.feed.speed
    return ns if isinstance(speed, str) else round(ns * speed)


def _sim_venue(config: Config, instruments: Mapping[str, Instrument]) -> SimVenue:
    return SimVenue(
        VENUE, fill=config.fill, costs=config.costs, instruments=instruments, report_to=ROUTER
    )


def build_risk_core(
    limits: RiskLimits,
    instruments: Sequence[Instrument],
    cash: int,
    *,
    store: LatchStore,
    snapshot: RiskSnapshot | None = None,
    strategies: Mapping[str, Strategy] | None = None,
) -> dict[str, Actor]:
    """Build gate, monitor, router and ledger alone, by name, for a venue that somebody else plays.

    Args:
        limits: the limits file.
        instruments: what can be traded.
        cash: opening cash, in cash units.
        store: keeps the trading state.
        snapshot: what a gate before this one knew.
        strategies: those that have a host, by strategy id.
    """
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    shared: dict[str, Any] = {"instruments": by_symbol, "initial_cash": cash}
    latch = TradingLatch(store.load())
    hosts = [
        StrategyHost(
            host_name(strategy_id),
            strategy_id=strategy_id,
            strategy=strategy,
            time_in_force=TimeInForce.GTC,
            calendar="24/7",
            kinds=(Bar,),
            columns_of=None,
            gate=GATE,
            slice_sizes={i.symbol: symbol_bounds(limits, i) for i in instruments},
            **shared,
        )
        for strategy_id, strategy in (strategies or {}).items()
    ]
    actors: list[Actor] = [
        *hosts,
        RiskGate(
            GATE,
            limits=limits,
            calendar="24/7",
            router=ROUTER,
            latch=latch,
            store=store,
            snapshot=snapshot,
            **shared,
        ),
        Monitor(MONITOR, guards=GuardBounds.of(limits), instruments=by_symbol),
        OrderRouter(
            ROUTER,
            venues={VENUE: VENUE},
            gate=GATE,
            latch=latch,
            intent_ttl=bounds(limits).intent_ttl,
            keep_closed=10_000,
        ),
        Ledger(LEDGER, **shared),
        Controller(CONTROLLER, stop_run=None),
    ]
    return {actor.name: actor for actor in actors}


def build_oms(
    config: Config,
    instruments: Sequence[Instrument],
    deliver: Deliver,
    keep: Callable[[Any], None] | None = None,
) -> list[Actor]:
    """Build the actors of the reference Order Management System.

    Args:
        config: sections ``fill``, ``costs`` and ``orders`` are used.
        instruments: what is traded.
        deliver: carries a report to a client; never waits.
        keep: keeps what is reported on orders, before anybody is told; None when nobody does.
    """
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    return [
        OmsDesk(
            DESK,
            venue=VENUE,
            instruments=by_symbol,
            deliver=deliver,
            keep_closed=config.orders.keep_closed,
            keep=keep,
        ),
        SimVenue(
            VENUE,
            fill=config.fill,
            costs=config.costs,
            instruments=by_symbol,
            report_to=DESK,
        ),
    ]


def oms_state(path: Path) -> OmsState:
    """Give the file that lets the reference Order Management System outlive its process."""
    return OmsStateFile(path, DESK)


def open_oms_server(
    instruments: Sequence[Instrument],
    ask: Callable[[FromClient | ClientGone], None],
    *,
    extended: bool,
) -> OmsEdge:
    """Make the edge of the reference Order Management System; it does not listen yet.

    Args:
        instruments: what is traded.
        ask: carries a request to the desk.
        extended: offer ``tetrad.oms.v1.OrderLink`` too.
    """
    # Here: nothing else needs gRPC, which takes a while to import.
    from adapters.grpc.server import OmsServer

    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    return OmsServer(instruments=by_symbol, ask=ask, extended=extended)


def slice_sizes(config: Config, instruments: Sequence[Instrument]) -> dict[str, SymbolBounds]:
    """Give what one closing order of each symbol may be at most (decision D14)."""
    return {i.symbol: symbol_bounds(config.risk, i) for i in instruments}


def latch_store(config: Config) -> LatchStore:
    """Open what keeps the trading state over a restart."""
    path = config.run.latch
    return MemoryLatchStore() if path is None else FileLatchStore(Path(path))


def host_name(strategy_id: str) -> str:
    """Give the actor name of a strategy's host."""
    return f"host.{strategy_id}"


def open_history(config: Config) -> MarketHistory:
    """Open the market data a profile names.

    Raises:
        ConfigError: the profile names none.
        DataError: a file breaks a rule.
    """
    data = config.data
    if not data.paths:
        raise ConfigError("no market data: give --data PATH or set data.paths in the profile")
    return open_dataset(
        data.paths,
        symbols=data.symbols or None,
        start=data.start,
        end=data.end,
        on_bad_data=data.on_bad_data,
        adjust=data.adjust,
        bar_label=data.bar_label,
        interval=data.interval,
        calendar=data.calendar,
        currency=config.account.currency,
        price_decimals=data.price_decimals,
        quantity_decimals=data.quantity_decimals,
        tick_size=data.tick_size,
        columns=data.columns or None,
    )


def new_record() -> RunRecord:
    """Open the record of a run that stays in memory."""
    return FrameJournal()
