"""The battlefield: the real gate, router, ledger and monitor, and a venue that obeys the steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    KillSwitch,
    ReplaceOrder,
    SetSymbolState,
    SetTradingState,
    SubmitOrder,
)
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderUnknown,
    PositionChanged,
    PricedBy,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold, TradingLatch, TradingState
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import RiskLimits, symbol_bounds
from engine.domain.risk_snapshot import RiskSnapshot
from engine.ports import LatchStore
from engine.research.fuzz import steps as s
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from engine.wiring import build_risk_core, host_name, routes

__all__ = ["INSTRUMENTS", "World"]

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
CASH = 100_000 * CASH_UNIT
INSTRUMENTS = (
    Instrument(symbol="A", sector="TECH"),
    Instrument(symbol="B", sector="TECH"),
    Instrument(symbol="C", price_decimals=5, quantity_decimals=4),
)
_TYPES = (
    OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT,
    OrderType.TRAILING_STOP,
)  # fmt: skip
_ENDS = (OrderCanceled, OrderExpired, OrderRejected)


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


class Closer(Actor):
    """A strategy's host in short: goes flat when asked to, in slices."""

    def __init__(self, world: World, strategy_id: str) -> None:
        super().__init__(host_name(strategy_id))
        self._world = world
        self._strategy_id = strategy_id

    def handlers(self) -> Mapping[type, Handler]:
        """Close positions; whatever else a host hears is nothing to it."""
        hosted = (kind for kind, names in routes([self.name]).items() if self.name in names)
        return {**dict.fromkeys(hosted, _ignore), ClosePosition: self.on_close_position}

    def on_close_position(self, close: ClosePosition) -> None:
        """Cancel what works in the symbol and send what goes flat, unless it works already."""
        if close.strategy_id != self._strategy_id:
            return
        world, key = self._world, (close.strategy_id, close.symbol)
        units = world.positions.get(key, 0)
        mine = [
            o for o in world.venue.orders.values()
            if o.is_open and (o.order.strategy_id, o.order.symbol) == key
        ]  # fmt: skip
        closing = [o for o in mine if o.order.client_order_id in world.closing]
        if units and sum(o.leaves_qty for o in closing) == abs(units):
            return
        for each in mine:
            cancel = CancelOrder(each.order.client_order_id, self._strategy_id, self.ctx.now)
            self.ctx.send("risk_gate", cancel)
        instrument = world.instruments[close.symbol]
        own = symbol_bounds(world.limits, instrument)
        factor, divisor = instrument.cash_scale()
        most = min(own.max_order * divisor // (world.px[close.symbol] * factor), own.max_qty)
        left = abs(units)
        while left and most > 0:
            order = world.order(
                close.strategy_id, close.symbol, Side.SELL if units > 0 else Side.BUY,
                min(left, most), reduce_only=True,
            )  # fmt: skip
            world.closing.add(order.client_order_id)
            self.ctx.send("risk_gate", SubmitOrder(order, True))
            left -= min(left, most)


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


class Audit:
    """What the invariants have seen so far, so that each looks at what is new only."""

    def __init__(self) -> None:
        self.approved: dict[str, Order] = {}
        self.judged: set[str] = set()
        self.sent: set[str] = set()
        self.sent_seen = 0
        self.filled: set[str] = set()
        self.booked: set[str] = set()
        self.totals: dict[tuple[str, str], int] = defaultdict(int)
        self.held: dict[tuple[str, str], int] = defaultdict(int)


class World:
    """The actors of one attack, and what has happened.

    Args:
        limits: the limits under attack.

    Attributes:
        events: everything that was published, in order.
        sent: orders that reached the venue, each with the account's and the strategy's state.
        positions: quantity by (strategy, symbol), from events.
        px: latest price by symbol.
        priced: number of events before it came, by symbol.
        fills: every distinct fill that the venue reported.
        closing: ids of the orders by which the engine itself closes.
        day_start: equity at the start of the day, from events, in cash units.
        audit: what the invariants have seen.
        resumed: whether an operator has resumed anything today.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.instruments = {i.symbol: i for i in INSTRUMENTS}
        self.events: list[Any] = []
        self.sent: list[tuple[Order, tuple[TradingState, TradingState]]] = []
        self.positions: dict[tuple[str, str], int] = {}
        self.closing: set[str] = set()
        self.fills: list[OrderFilled] = []
        self.px = {i.symbol: 100 * i.price_unit for i in INSTRUMENTS}
        self.audit = Audit()
        self.priced = dict.fromkeys(self.px, 0)
        self.day_start = CASH
        self.resumed = False
        self._store = Kept()
        self._count = 0
        self.venue = Venue(self)
        others = [*(Closer(self, name) for name in s.STRATEGIES), self.venue, Witness(self)]
        self._others: list[Actor] = others
        self._actors = build_risk_core(limits, INSTRUMENTS, CASH, store=self._store)
        self._open_cell(0)
        self.cell.start()
        for symbol in self.px:
            self._price(symbol)

    def _open_cell(self, now: int) -> None:
        hosts = [host_name(name) for name in s.STRATEGIES]
        self.cell = Cell("core", [*self._actors.values(), *self._others], routes(hosts))
        self.cell.now = now

    @property
    def gate(self) -> Any:
        """The risk gate."""
        return self._actors["risk_gate"]

    @property
    def ledger(self) -> Any:
        """The ledger."""
        return self._actors["ledger"]

    @property
    def latch(self) -> TradingLatch:
        """The trading state."""
        return cast("TradingLatch", self.gate.latch)

    def equity(self) -> int:
        """Cash plus positions at the latest prices, from the ledger's cash and the events."""
        return int(self.ledger.cash) + sum(
            self.instruments[symbol].notional(self.px[symbol], quantity)
            for (_, symbol), quantity in self.positions.items()
        )

    def order(
        self, strategy_id: str, symbol: str, side: Side, quantity: int, **fields: Any
    ) -> Order:
        """Make the next order."""
        self._count += 1
        kind = fields.pop("order_type", OrderType.MARKET)
        return Order(
            f"O{self._count}", strategy_id, symbol, side, kind, quantity, self.cell.now, **fields
        )

    # Steps.

    def run(self, step: s.Step) -> None:
        """Do one step and settle what it causes."""
        do = getattr(self, f"_{type(step).__name__.lower()}")
        do(step)

    def _deliver(self, actor: str, message: Any) -> None:
        self.cell.deliver(actor, message)

    def _send(self, step: s.Send) -> None:
        symbol, strategy_id = s.SYMBOLS[step.symbol], s.STRATEGIES[step.strategy]
        known = list(self.venue.orders.values())
        if step.again and known:
            self._deliver("risk_gate", SubmitOrder(known[step.size % len(known)].order))
            return
        instrument, kind = self.instruments[symbol], _TYPES[step.kind]
        near = max(self.px[symbol] * (1_000 + step.offset) // 1_000, 1)
        fields: dict[str, Any] = {"order_type": kind, "reduce_only": step.reduce_only}
        if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            fields["limit_px"] = near
        if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
            fields["stop_px"] = near
        if kind is OrderType.TRAILING_STOP:
            fields["trail_px"] = max(abs(near - self.px[symbol]), 1)
        side = Side.BUY if step.buys else Side.SELL
        quantity = step.size * instrument.quantity_unit
        order = self.order(strategy_id, symbol, side, quantity, **fields)
        self._deliver("risk_gate", SubmitOrder(order))

    def _pick(self, which: int, *, is_open: bool = True) -> AtVenue | None:
        found = [o for o in self.venue.orders.values() if o.is_open or not is_open]
        return found[which % len(found)] if found else None

    def _amend(self, step: s.Amend) -> None:
        at = self._pick(step.which)
        if at is not None:
            order = at.order
            unit = self.instruments[order.symbol].quantity_unit
            near = max(self.px[order.symbol] * (1_000 + step.offset) // 1_000, 1)
            replace = ReplaceOrder(
                order.client_order_id, order.strategy_id, self.cell.now, step.size * unit,
                near if order.limit_px is not None else None,
                near if order.stop_px is not None else None,
            )  # fmt: skip
            self._deliver("risk_gate", replace)

    def _cancel(self, step: s.Cancel) -> None:
        at = self._pick(step.which)
        if at is not None:
            order = at.order
            cancel = CancelOrder(order.client_order_id, order.strategy_id, self.cell.now)
            self._deliver("risk_gate", cancel)

    def _report(self, event: Any) -> None:
        self._deliver("order_router", event)

    def _accept(self, step: s.Accept) -> None:
        at = self._pick(step.which)
        if at is not None:
            self._report(OrderAccepted(at.order.client_order_id, "V", self.cell.now))

    def _lose(self, step: s.Lose) -> None:
        at = self._pick(step.which)
        if at is not None:
            self._report(OrderUnknown(at.order.client_order_id, "TIMEOUT", self.cell.now))

    def _fill(self, step: s.Fill) -> None:
        at = self._pick(step.which, is_open=False)
        if at is None:
            return
        unit = self.instruments[at.order.symbol].quantity_unit
        quantity = min(step.size * unit, at.order_qty - at.cum_qty, self._reducible(at))
        if quantity > 0:
            fill = self._filled(at, quantity, step.offset)
            self._report(fill)
            if step.twice:
                self._report(fill)

    def _overfill(self, step: s.Overfill) -> None:
        at = self._pick(step.which)
        if at is not None and not at.order.reduce_only:
            unit = self.instruments[at.order.symbol].quantity_unit
            self._report(self._filled(at, at.leaves_qty + step.size * unit, 0))

    def _swap(self, step: s.Swap) -> None:
        at = self._pick(step.which)
        if at is not None and at.leaves_qty > 1 and not at.order.reduce_only:
            first = self._filled(at, min(step.size, at.leaves_qty - 1), 0)
            second = self._filled(at, at.leaves_qty, 0)
            self._report(second)
            self._report(first)

    def _reducible(self, at: AtVenue) -> int:
        """A venue caps what reduces by what there is to reduce, as the simulated one does."""
        if not at.order.reduce_only:
            return at.order_qty
        held = self.positions.get((at.order.strategy_id, at.order.symbol), 0)
        return max(-held if at.order.side is Side.BUY else held, 0)

    def _filled(self, at: AtVenue, quantity: int, offset: int) -> OrderFilled:
        order = at.order
        at.cum_qty += quantity
        leaves = max(at.order_qty - at.cum_qty, 0)
        at.is_open = at.is_open and leaves > 0
        fill = OrderFilled(
            order.client_order_id, f"E{len(self.fills)}", order.strategy_id, order.symbol,
            order.side.sign * quantity, max(self.px[order.symbol] * (1_000 + offset) // 1_000, 1),
            at.cum_qty, leaves, 7 * CASH_UNIT // 100, 0, Liquidity.TAKER, self.cell.now,
            PricedBy.REPORT, -1, self.cell.now,
        )  # fmt: skip
        self.fills.append(fill)
        return fill

    def _end(self, step: s.End) -> None:
        at = self._pick(step.which)
        if at is not None:
            at.is_open = False
            self._report(_ENDS[step.how](at.order.client_order_id, "VENUE", self.cell.now))

    def _answer(self, step: s.Answer) -> None:
        waiting = [o for o in self.venue.orders.values() if o.changes]
        if not waiting:
            return
        at = waiting[step.which % len(waiting)]
        change, order = at.changes.pop(0), at.order
        quantity = at.order_qty if change.order_qty is None else change.order_qty
        if not step.confirms or not at.is_open or quantity <= at.cum_qty:
            self._report(ReplaceRejected(order.client_order_id, "VENUE", self.cell.now))
            return
        limit_px = order.limit_px if change.limit_px is None else change.limit_px
        stop_px = order.stop_px if change.stop_px is None else change.stop_px
        at.order_qty = quantity
        at.order = msgspec.structs.replace(order, limit_px=limit_px, stop_px=stop_px)
        replaced = OrderReplaced(order.client_order_id, quantity, limit_px, stop_px, self.cell.now)
        self._report(replaced)

    def _price(self, step: s.Price | str) -> None:
        symbol = step if isinstance(step, str) else s.SYMBOLS[step.symbol]
        instrument = self.instruments[symbol]
        if not isinstance(step, str):
            self.px[symbol] = max(100 * instrument.price_unit * step.level // 1_000, 1)
        self.priced[symbol] = len(self.events)
        px, now = self.px[symbol], self.cell.now
        units = instrument.price_unit, instrument.quantity_unit
        self.cell.deliver_market(Bar(symbol, 0, now, now, px, px, px, px, 1, *units))

    def _wait(self, step: s.Wait) -> None:
        self.cell.now += step.tenths * SECOND // 10

    def _nextday(self, step: s.NextDay) -> None:
        end = (self.cell.now // DAY + 1) * DAY
        self.cell.fire_timers(end + 1)
        self.cell.now = end
        self.day_start, self.resumed = self.equity(), False
        for symbol in self.px:
            self._price(symbol)

    def _operate(self, step: s.Operate) -> None:
        state = TradingState(s.STATES[step.state])
        whose = (None, *s.STRATEGIES)[step.whose]
        self.resumed = self.resumed or state is not TradingState.HALTED
        self._deliver(
            "risk_gate",
            SetTradingState(
                state=state, reason="OPERATOR", ts_init=self.cell.now, strategy_id=whose
            ),
        )

    def _kill(self, step: s.Kill) -> None:
        if step.mid_order:  # approved, but not yet with the router
            order = self.order("S", "A", Side.BUY, 10)
            self.cell.send("risk_gate", SubmitOrder(order))
        self.cell.send(
            "risk_gate",
            KillSwitch(reason="KILL_SWITCH", ts_init=self.cell.now, flatten=step.flatten),
        )
        self.cell.drain()

    def _halt(self, step: s.Halt) -> None:
        self._deliver(
            "risk_gate",
            SetSymbolState(
                symbol=s.SYMBOLS[step.symbol], halted=step.on, reason="VENUE",
                ts_init=self.cell.now,
            ),
        )  # fmt: skip

    def _restart(self, step: s.Restart) -> None:
        """Give the other actors a new gate that knows what the snapshot says."""
        wire = msgspec.msgpack.encode(self.gate.snapshot())
        snapshot = msgspec.msgpack.decode(wire, type=RiskSnapshot)
        fresh = build_risk_core(
            self.limits, INSTRUMENTS, CASH, store=self._store, snapshot=snapshot
        )
        router: Any = self._actors["order_router"]
        self._actors["risk_gate"] = fresh["risk_gate"]
        router.latch = self.latch
        self._open_cell(self.cell.now)
        self.gate.on_start()
        monitor: Any = self._actors["monitor"]
        monitor.on_start()
        for symbol in self.px:
            self._price(symbol)
