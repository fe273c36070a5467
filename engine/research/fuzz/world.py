"""The battlefield: the real gate, router, ledger, monitor and hosts, and a venue that obeys."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import msgspec

from engine.domain.commands import (
    CancelOrder,
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
    PricedBy,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.latch import TradingLatch, TradingState
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import RiskLimits
from engine.domain.risk_snapshot import RiskSnapshot
from engine.research.fuzz import steps as s
from engine.research.fuzz.stage import AtVenue, Idle, Kept, Mortal, Venue, Witness
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
        self.fills: list[OrderFilled] = []
        self.px = {i.symbol: 100 * i.price_unit for i in INSTRUMENTS}
        self.audit = Audit()
        self.priced = dict.fromkeys(self.px, 0)
        self.closing: set[str] = set()
        self.day_start = CASH
        self.resumed = False
        self._store = Kept()
        self._count = 0
        self.venue = Venue(self)
        self._actors = build_risk_core(
            limits, INSTRUMENTS, CASH, store=self._store,
            strategies={name: Idle() for name in s.STRATEGIES},
        )  # fmt: skip
        self._place = Mortal(self._actors["risk_gate"], self.closing)
        self._actors["risk_gate"] = self._place
        self._open_cell(0)
        self.cell.start()
        for symbol in self.px:
            self._price(symbol)

    def _open_cell(self, now: int) -> None:
        hosts = [host_name(name) for name in s.STRATEGIES]
        actors = [*self._actors.values(), self.venue, Witness(self)]
        self.cell = Cell("core", actors, routes(hosts))
        self.cell.now = now

    @property
    def gate(self) -> Any:
        """The risk gate."""
        return self._place.gate

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
        self._submit(self.order(strategy_id, symbol, side, quantity, **fields))
        self.cell.drain()

    def _submit(self, order: Order) -> None:
        """Let a strategy's host send an order, so that it knows of it."""
        host: Any = self._actors[host_name(order.strategy_id)]
        host.desk.submit(order, self.instruments[order.symbol])
        for command in host.desk.outbox:
            self.cell.send("risk_gate", command)
        host.desk.outbox.clear()

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
            self._submit(order)
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
        monitor: Any = self._actors["monitor"]
        for symbol in self.px:
            monitor.ctx.unwatch(symbol)
        self._place.replace(fresh["risk_gate"], self.px)
        router.latch = self.latch
        monitor.on_start()
        for symbol in self.px:
            self._price(symbol)
