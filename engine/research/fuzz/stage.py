"""Who else is on the battlefield: a venue that obeys, a gate that can be killed, and a witness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.domain.commands import CancelOrder, ReplaceOrder, SubmitOrder
from engine.domain.events import PositionChanged
from engine.domain.latch import Hold
from engine.domain.orders import Order
from engine.ports import LatchStore
from engine.runtime.actor import Actor, Handler
from engine.strategy.base import Strategy
from engine.wiring import routes

if TYPE_CHECKING:
    from engine.research.fuzz.world import World

__all__ = ["AtVenue", "Idle", "Kept", "Mortal", "Venue", "Witness"]


class Idle(Strategy):
    """Does nothing: its orders are those of the steps, and of the host that closes positions."""


class Kept(LatchStore):
    """Keeps the trading state of one attack."""

    def __init__(self) -> None:
        self.holds: dict[str, Hold] = {}

    def load(self) -> dict[str, Hold]:
        """Give what was saved."""
        return dict(self.holds)

    def save(self, holds: Mapping[str, Hold]) -> None:
        """Keep it."""
        self.holds = dict(holds)


class AtVenue:
    """One order as the venue has it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.order_qty = order.order_qty
        self.cum_qty = 0
        self.is_open = True
        self.changes: list[ReplaceOrder] = []

    @property
    def leaves_qty(self) -> int:
        """What could still fill."""
        return max(self.order_qty - self.cum_qty, 0) if self.is_open else 0


class Venue(Actor):
    """Keeps what the router sends; steps say what it reports."""

    def __init__(self, world: World) -> None:
        super().__init__("venue")
        self._world = world
        self.orders: dict[str, AtVenue] = {}
        self.canceling: set[str] = set()

    def handlers(self) -> Mapping[type, Handler]:
        """Take orders, cancels and changes."""
        return {
            Order: self.on_order,
            CancelOrder: lambda cancel: self.canceling.add(cancel.client_order_id),
            ReplaceOrder: lambda r: self.orders[r.client_order_id].changes.append(r),
        }

    def on_order(self, order: Order) -> None:
        """Take an order, and note what the trading state was when it left."""
        latch = self._world.latch
        states = (latch.state(), latch.state(order.strategy_id))
        self._world.sent.append((order, states))
        self.orders.setdefault(order.client_order_id, AtVenue(order))


class Reach:
    """The context of a gate that can be killed: it knows which timers die with it."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.publish, self.send, self.last, self.lane = ctx.publish, ctx.send, ctx.last, ctx.lane
        self.watch, self.unwatch, self.cancel_timer = ctx.watch, ctx.unwatch, ctx.cancel_timer
        self.timers: list[int] = []

    @property
    def now(self) -> int:
        """The time."""
        return int(self._ctx.now)

    def set_timer(self, ts: int, message: Any) -> int:
        """Set a timer."""
        self.timers.append(self._ctx.set_timer(ts, message))
        return self.timers[-1]


class Mortal(Actor):
    """The place of a gate in its cell: the gate in it can be killed and another put there.

    Args:
        gate: the first one.
        closing: takes the ids of the orders by which the engine itself closes.
    """

    def __init__(self, gate: Any, closing: set[str]) -> None:
        super().__init__(gate.name)
        self.gate = gate
        self._closing = closing
        self._table = gate.handlers()
        self._priced: dict[str, Handler] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """Hand everything to the gate that is there."""
        return dict.fromkeys(self._table, self._hand)

    def _hand(self, message: Any) -> None:
        if type(message) is SubmitOrder:
            note = self._closing.add if message.closing else self._closing.discard
            note(message.order.client_order_id)
        self._table[type(message)](message)

    def market_handler(self, symbol: str) -> Handler:
        """Hand the prices of a symbol to the gate that is there."""

        def hand(event: Any) -> None:
            if symbol not in self._priced:
                self._priced[symbol] = self.gate.market_handler(symbol)
            self._priced[symbol](event)

        return hand

    def on_start(self) -> None:
        """Start the gate."""
        self._reach: Any = Reach(self.ctx)
        self.gate.bind(self._reach)
        self.gate.on_start()

    def replace(self, gate: Any, symbols: Iterable[str]) -> None:
        """Kill the gate and start another."""
        for timer in self._reach.timers:
            self.ctx.cancel_timer(timer)
        for symbol in symbols:
            self.ctx.unwatch(symbol)
        self.gate, self._table = gate, gate.handlers()
        self._priced.clear()
        self.on_start()


class Witness(Actor):
    """Hears everything that is recorded, last."""

    def __init__(self, world: World) -> None:
        super().__init__("recorder")
        self._world = world

    def handlers(self) -> Mapping[type, Handler]:
        """Note every event that is routed here."""
        table = routes([])
        return {kind: self._note for kind, names in table.items() if self.name in names}

    def _note(self, event: Any) -> None:
        world = self._world
        world.events.append(event)
        if type(event) is PositionChanged:
            fill = event.fill
            world.positions[fill.strategy_id, fill.symbol] = event.quantity


def _ignore(event: Any) -> None:
    """Do nothing."""
