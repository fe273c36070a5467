"""A risk gate alone, with a recorder for everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.risk_gate import RiskGate
from adapters.memory.latch import MemoryLatchStore
from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    OrderApproved,
    ReplaceApproved,
    SetTradingState,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderDenied,
    OrderFilled,
    PositionChanged,
    PricedBy,
    ReplaceDenied,
    RiskEvent,
    Severity,
)
from engine.domain.instruments import Instrument
from engine.domain.latch import TradingLatch
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import DenyCode
from engine.domain.risk_snapshot import RiskSnapshot
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from tests.limits import limits as limits_of

HEARD = (OrderApproved, OrderDenied, ReplaceApproved, ReplaceDenied, RiskEvent, ClosePosition)
A = Instrument(symbol="A")
B = Instrument(symbol="B", tick_size=5, lot_size=10)
C = Instrument(symbol="C", price_decimals=5, quantity_decimals=4)
LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
SECOND = 10**9
WIDE: dict[str, Any] = {
    "max_order_size": "unlimited",
    "max_position_size": "unlimited",
    "max_total_exposure": "unlimited",
    "max_repeated_orders": "unlimited",
    "min_order_size": "unlimited",
}
TECH = (Instrument(symbol="T1", sector="TECH"), Instrument(symbol="T2", sector="TECH"))


class World(Actor):
    def __init__(self) -> None:
        super().__init__("world")
        self.heard: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(HEARD, self.heard.append)


class Router(Actor):
    def __init__(self) -> None:
        super().__init__("router")
        self.canceled: list[str] = []

    def handlers(self) -> Mapping[type, Handler]:
        return {CancelOrder: lambda cancel: self.canceled.append(cancel.client_order_id)}


class Rig:
    """A gate with a million; A and B at 100.00, one bar old."""

    def __init__(
        self,
        cash: int = 1_000_000,
        *,
        calendar: str = "24/7",
        store: MemoryLatchStore | None = None,
        start: int = 0,
        snapshot: RiskSnapshot | None = None,
        prices: Mapping[str, int] = {"A": 10_000, "B": 10_000},
        **limits: Any,
    ) -> None:
        self.changes = limits
        self.prices: dict[str, int] = {}
        self.store = store = store or MemoryLatchStore()
        self.gate = RiskGate(
            "risk_gate",
            limits=limits_of(**limits),
            instruments={i.symbol: i for i in (A, B, C, *TECH)},
            initial_cash=cash * CASH_UNIT,
            calendar=calendar,
            router="router",
            latch=TradingLatch(store.load()),
            store=store,
            snapshot=snapshot,
        )
        self.world = World()
        self.router = Router()
        actors = [self.gate, self.router, self.world]
        self.cell = Cell("core", actors, dict.fromkeys(HEARD, ("world",)))
        self.cell.now = start
        self.cell.start()
        self.cash = cash * CASH_UNIT
        self.held: dict[tuple[str, str], int] = {}
        self.count = 0
        for symbol, px in prices.items():
            self.price(symbol, px)

    def price(self, symbol: str, px: int) -> None:
        now, self.prices[symbol] = self.cell.now, px
        self.cell.deliver_market(Bar(symbol, 0, now, now, px, px, px, px, 1, 100, 1))

    def order(self, qty: int, symbol: str = "A", **fields: Any) -> Order:
        self.count += 1
        side = Side.BUY if qty > 0 else Side.SELL
        given = {
            "client_order_id": f"O{self.count}",
            "strategy_id": "S",
            "symbol": symbol,
            "side": side,
            "order_type": OrderType.MARKET,
            "order_qty": abs(qty),
            "ts_init": self.cell.now,
            **fields,
        }
        return Order(**given)

    def submit(self, order: Order) -> DenyCode | None:
        """Submit an order; give the code of its one verdict."""
        self.world.heard.clear()
        self.cell.deliver("risk_gate", SubmitOrder(order))
        verdicts = [e for e in self.world.heard if type(e) in (OrderApproved, OrderDenied)]
        assert len(verdicts) == 1
        verdict = verdicts[0].verdict
        assert verdicts[0].order is order
        assert verdict.client_order_id == order.client_order_id
        assert (type(verdicts[0]) is OrderApproved) == verdict.approved
        return verdict.code

    def send(self, qty: int, symbol: str = "A", **fields: Any) -> DenyCode | None:
        return self.submit(self.order(qty, symbol, **fields))

    def fill(
        self,
        order: Order,
        qty: int,
        leaves: int,
        *,
        px: int = 10_000,
        total: int | None = None,
        realized: int = 0,
    ) -> None:
        """Book a fill of an order as the ledger would."""
        signed = order.side.sign * qty
        key = order.strategy_id, order.symbol
        self.held[key] = self.held.get(key, 0) + signed
        self.cash -= A.notional(px, signed)
        cum = (order.order_qty if total is None else total) - leaves
        fill = OrderFilled(
            order.client_order_id, f"E{self.count}{leaves}", order.strategy_id, order.symbol,
            signed, px, cum, leaves, 0, 0, Liquidity.TAKER, 0, PricedBy.TRADE, 0, 0,
        )  # fmt: skip
        changed = PositionChanged(fill, self.held[key], 0, realized, self.cash)
        self.cell.deliver("risk_gate", changed)

    def hold(self, qty: int, symbol: str = "A", *, strategy: str = "S") -> None:
        order = self.order(qty, symbol, strategy_id=strategy)
        assert self.submit(order) is None
        self.fill(order, abs(qty), 0)

    def hold_anyway(self, qty: int, symbol: str = "A") -> None:
        """Book a fill whose order the gate knows nothing of."""
        self.fill(self.order(qty, symbol), abs(qty), 0)

    def tell(self, message: Any) -> list[Any]:
        self.world.heard.clear()
        self.cell.deliver("risk_gate", message)
        return list(self.world.heard)

    def set_state(self, state: TradingState) -> None:
        self.tell(SetTradingState(state=state, reason="test", ts_init=0))

    def room(self, symbol: str = "A") -> tuple[int, int]:
        exposures = self.gate.book.exposure.markets[symbol].exposures.values()
        return sum(e.buys for e in exposures), sum(e.sells for e in exposures)

    def quantity(self, symbol: str = "A") -> int:
        exposures = self.gate.book.exposure.markets[symbol].exposures.values()
        return sum(e.quantity for e in exposures)

    def risk_events(self) -> list[tuple[str, Severity, str]]:
        events = [e for e in self.world.heard if type(e) is RiskEvent]
        events = [e for e in events if e.action_taken != "ORDER_DENIED"]
        return [(e.event_type, e.severity, e.action_taken) for e in events]


def limit_order(rig: Rig, qty: int, px: int, **fields: Any) -> DenyCode | None:
    """Send a limit order; give the code that denies it."""
    return rig.send(qty, order_type=LIMIT, limit_px=px, **fields)
