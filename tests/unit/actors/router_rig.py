"""A router and its surroundings, for its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.order_router import OrderRouter
from engine.domain.commands import (
    CancelOrder,
    OrderApproved,
    OrderMassStatusRequest,
    OrderStatusRequest,
    ReplaceApproved,
    ReplaceOrder,
    SetSymbolState,
)
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    PricedBy,
    ReplaceRejected,
    RiskEvent,
)
from engine.domain.latch import TradingLatch
from engine.domain.orders import Liquidity, Order, OrderStatus, OrderType, Side
from engine.domain.risk import Verdict
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell

PUBLISHED = (
    OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled, OrderExpired, OrderReplaced,
    OrderFilled, OrderUnknown, CancelRejected, ReplaceRejected, RiskEvent,
)  # fmt: skip


ASKED = (Order, CancelOrder, ReplaceOrder, OrderStatusRequest, OrderMassStatusRequest)


class Keeper(Actor):
    """Keeps what it receives."""

    def __init__(self, name: str, *kinds: type) -> None:
        super().__init__(name)
        self.kinds = kinds
        self.kept: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(self.kinds, self.kept.append)


class Rig:
    """A router between a gate, a venue and everybody else, who keep what they hear."""

    def __init__(
        self, keep_closed: int = 10, others: Sequence[Actor] = (), **settings: Any
    ) -> None:
        self.latch = TradingLatch()
        self.router = OrderRouter(
            "order_router",
            **{"venues": {"venue": "venue"}, **settings},
            gate="gate",
            latch=self.latch,
            intent_ttl=100,
            keep_closed=keep_closed,
        )
        self.gate = Keeper("gate", SetSymbolState)
        self.venue = Keeper("venue", *ASKED)
        self.world = Keeper("world", *PUBLISHED)
        routes = dict.fromkeys(PUBLISHED, ("world",))
        self.cell = Cell("core", [self.router, self.gate, self.venue, self.world, *others], routes)

    def tell(self, *messages: Any) -> list[Any]:
        """Deliver messages; give what was published because of them."""
        before = len(self.world.kept)
        for message in messages:
            self.cell.deliver("order_router", message)
        return self.world.kept[before:]

    def approve(self, order_id: str = "O", qty: int = 10) -> list[Any]:
        return self.tell(approval(order_id, qty))

    def status(self, order_id: str = "O") -> OrderStatus:
        return self.router.orders[order_id].status


def approval(order_id: str = "O", qty: int = 10) -> OrderApproved:
    order = Order(order_id, "S", "X", Side.BUY, OrderType.LIMIT, qty, 5, limit_px=100)
    return OrderApproved(order, Verdict(order_id, 7, None, None))


def fill(qty: int, cum: int, leaves: int, exec_id: str = "E1", order_id: str = "O") -> OrderFilled:
    return OrderFilled(
        order_id, exec_id, "S", "X", qty, 100, cum, leaves, 0, 0, Liquidity.TAKER, 9,
        PricedBy.TRADE, 0, 9,
    )  # fmt: skip


ACCEPTED, CANCELED = OrderAccepted("O", "V", 8), OrderCanceled("O", "USER", 9)
CANCEL, REPLACE = CancelOrder("O", "S", 6), ReplaceOrder("O", "S", 6, order_qty=20)
MAY_REPLACE = ReplaceApproved(REPLACE, Verdict("O", 6, None, None))
