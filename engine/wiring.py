"""The composition root: a profile becomes actors, routes and a runtime.

Modes differ only here and in the profile: which actors carry the edges, what the clock is and
where orders go. The routes are one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.controller import Controller
from actors.ledger import Ledger
from actors.order_router import OrderRouter
from actors.recorder import RECORDED, Recorder
from actors.risk_gate import RiskGate
from actors.sim_venue import SimVenue
from actors.strategy_host import StrategyHost
from adapters.files import open_dataset
from adapters.memory.journal import FrameJournal
from engine.config import Config
from engine.domain.commands import OrderApproved, ReplaceApproved
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    ReplaceRejected,
    StrategyFailed,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import cash_units
from engine.domain.signals import Signal
from engine.errors import ConfigError
from engine.ports import Journal, MarketHistory, RunRecord
from engine.runtime.actor import Actor
from engine.runtime.cell import Routes
from engine.strategy.base import Strategy
from engine.strategy.feed import ColumnsOf

__all__ = ["KIND_TYPES", "build_core", "host_name", "new_record", "open_history", "routes"]

GATE = "risk_gate"
ROUTER = "order_router"
LEDGER = "ledger"
RECORDER = "recorder"
CONTROLLER = "controller"
VENUE = "venue"

KIND_TYPES: Mapping[str, type] = {"bar": Bar, "trade": Trade, "quote": Quote}
"""Kind of a dataset -> the type of its events."""


def routes(hosts: Sequence[str]) -> Routes:
    """Give the one table of who hears what, in the order they hear it.

    Market events reach the venue first, by its own ``watch``; then the strategies.
    """
    table: dict[type, list[str]] = {
        Bar: [*hosts],
        Trade: [*hosts],
        Quote: [*hosts],
        OrderApproved: [ROUTER],
        ReplaceApproved: [ROUTER],
        OrderDenied: [*hosts],
        OrderAccepted: [*hosts],
        OrderFilled: [LEDGER],
        PositionChanged: [GATE, *hosts],
        OrderCanceled: [GATE, *hosts],
        OrderExpired: [GATE, *hosts],
        OrderRejected: [GATE, *hosts],
        OrderReplaced: [GATE, *hosts],
        CancelRejected: [*hosts],
        ReplaceRejected: [*hosts],
        Signal: [*hosts],
        StrategyFailed: [CONTROLLER],
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
    """
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    cash = cash_units(config.account.cash)
    shared: dict[str, Any] = {"instruments": by_symbol, "initial_cash": cash}
    calendar = config.data.calendar
    hosts = [
        StrategyHost(
            host_name(strategy_id),
            strategy_id=strategy_id,
            strategy=strategy,
            time_in_force=config.orders.time_in_force,
            calendar=calendar,
            kinds=kinds,
            columns_of=columns_of,
            gate=GATE,
            **shared,
        )
        for strategy_id, strategy in strategies.items()
    ]
    stop = stop_run if config.supervision.strategy == "stop" else None
    return [
        *hosts,
        RiskGate(GATE, limits=config.risk, calendar=calendar, router=ROUTER, **shared),
        OrderRouter(ROUTER, venue=VENUE, keep_closed=config.orders.keep_closed),
        SimVenue(
            VENUE,
            fill=config.fill,
            costs=config.costs,
            instruments=by_symbol,
            report_to=ROUTER,
        ),
        Ledger(LEDGER, currency=config.account.currency, **shared),
        Controller(CONTROLLER, stop_run=stop),
        Recorder(RECORDER, journal=journal),
    ]


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
