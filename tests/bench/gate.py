"""What the risk gate costs an order: every check on, every verdict recorded.

The gate is the real one, in a cell with a recorder and the journal of a backtest. An order is
judged, reserved for, recorded and later canceled; only the part up to the recorded verdict is
timed. Positions and working orders are put there by real orders and fills beforehand.
"""

from __future__ import annotations

import gc
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from actors.recorder import Recorder
from actors.risk_gate import RiskGate
from adapters.memory.journal import FrameJournal
from adapters.memory.latch import MemoryLatchStore
from engine.domain.commands import CancelOrder, OrderApproved, SubmitOrder
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    PositionChanged,
    PricedBy,
    RiskEvent,
)
from engine.domain.instruments import Instrument
from engine.domain.latch import TradingLatch
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import RiskLimits
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell

ORDERS = 2_000
PX = 10_000

# Every limit is set, and none of them bites.
ALL_CHECKS: dict[str, Any] = {
    "max_order_quantity": 1e6, "max_position_size": 0.9, "max_total_exposure": 1e12,
    "max_leverage": 50.0, "max_net_leverage": 50.0, "max_sector_exposure": 40.0, "min_cash": 1.0,
    "initial_margin": 0.02, "maintenance_margin": 0.01, "max_open_orders": 1_000_000,
    "max_orders_per_day": 1_000_000_000, "max_order_rate": 1e6, "order_burst": 1_000_000,
    "max_repeated_orders": 1_000_000, "max_drawdown": 0.5, "max_losing_trades": 100,
    "per_strategy": {
        "max_exposure": 1e12, "max_daily_loss": 1e9, "max_losing_trades": 100,
        "max_open_orders": 1_000_000, "max_orders_per_day": 1_000_000_000, "max_order_rate": 1e6,
        "order_burst": 1_000_000,
    },
}  # fmt: skip


class _Router(Actor):
    """Takes the cancels of a halt; there is none here."""

    def handlers(self) -> Mapping[type, Handler]:
        return {CancelOrder: lambda cancel: None}


class Bench:
    """A gate with positions and working orders.

    Args:
        positions: symbols in which ten are held.
        working: limit orders that rest in them.
    """

    def __init__(self, positions: int, working: int) -> None:
        symbols = [f"S{number}" for number in range(positions + 1)]
        instruments = {s: Instrument(symbol=s, sector=f"X{n % 11}") for n, s in enumerate(symbols)}
        locates = dict.fromkeys(symbols, 1e6)
        shipped = tomllib.loads(
            (Path(__file__).parents[2] / "engine" / "limits.toml").read_text(encoding="utf-8")
        )["risk"]
        limits = msgspec.convert({**shipped, **ALL_CHECKS, "locates": locates}, RiskLimits)
        self.gate = RiskGate(
            "gate",
            limits=limits,
            instruments=instruments,
            initial_cash=10**8 * CASH_UNIT,
            calendar="24/7",
            router="router",
            latch=TradingLatch(),
            store=MemoryLatchStore(),
        )
        recorder = Recorder("recorder", journal=FrameJournal())
        heard = (OrderApproved, OrderDenied, RiskEvent)
        self.cell = Cell(
            "core", [self.gate, _Router("router"), recorder], dict.fromkeys(heard, ("recorder",))
        )
        self.cell.start()
        self.cash = 10**8 * CASH_UNIT
        self.count = 0
        for symbol in symbols:
            self.cell.deliver_market(Bar(symbol, 0, 0, 0, PX, PX, PX, PX, 1, 100, 1))
        for symbol in symbols[:-1]:
            self._hold(symbol)
        for number in range(working):
            order = self._order(symbols[number % max(positions, 1)], 10, limit_px=PX - 500)
            self.cell.deliver("gate", SubmitOrder(order))
        self.symbol = symbols[-1]

    def _order(self, symbol: str, quantity: int, **fields: Any) -> Order:
        self.count += 1
        kind = OrderType.LIMIT if fields else OrderType.MARKET
        return Order(f"O{self.count}", "S", symbol, Side.BUY, kind, quantity, 0, **fields)

    def _hold(self, symbol: str) -> None:
        order = self._order(symbol, 10)
        self.cell.deliver("gate", SubmitOrder(order))
        self.cash -= 10 * PX * 10**6
        fill = OrderFilled(
            order.client_order_id, f"E{self.count}", "S", symbol, 10, PX, 10, 0, 0, 0,
            Liquidity.TAKER, 0, PricedBy.TRADE, 0, 0,
        )  # fmt: skip
        changed = PositionChanged(fill, 10, 10 * PX * 10**6, 0, self.cash)
        self.cell.deliver("gate", changed)

    def seconds(self) -> float:
        """Give the CPU seconds of one order, judged and recorded."""
        orders = [self._order(self.symbol, 1 + n % 50) for n in range(ORDERS)]
        submits = [SubmitOrder(order) for order in orders]
        deliver, cell = self.cell.deliver, self.cell
        cell.end_batch()
        gc.collect()
        gc.disable()  # as it is in the event loop
        began = time.process_time()
        for submit in submits:
            deliver("gate", submit)
        cell.end_batch()
        took = time.process_time() - began
        gc.enable()
        for order in orders:
            deliver("gate", OrderCanceled(order.client_order_id, "USER", 0))
        cell.end_batch()
        assert self.gate.book.judged[orders[-1].client_order_id], "the bench order was denied"
        return took / ORDERS
