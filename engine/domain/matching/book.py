"""The working orders of one symbol: arrivals, fills, links between orders, ends.

The book is pure: it gathers the events it caused in ``out``, and :mod:`.policies` decides at which
price and when a market event fills what. Quantities that are bound to each other (one
cancels other, parent and children, reduce only) are settled here, at the moment of the fill.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from fractions import Fraction

from engine.domain.calendars import Calendar
from engine.domain.commands import ReplaceOrder
from engine.domain.costs import Costs, exact
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PricedBy,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.market import MarketEvent
from engine.domain.matching.venue import FillConfig, Registry
from engine.domain.matching.working import (
    NEVER,
    Family,
    Group,
    Reason,
    Trailing,
    Working,
    is_plain,
    make_working,
    refusal,
    replace_refusal,
    room_in,
)
from engine.domain.orders import Liquidity, Order, Side, TimeInForce

__all__ = ["Book", "Event"]

_MAKER, _TAKER, _BUY = Liquidity.MAKER, Liquidity.TAKER, Side.BUY

Event = (
    OrderAccepted
    | OrderCanceled
    | OrderExpired
    | OrderFilled
    | OrderRejected
    | OrderReplaced
    | ReplaceRejected
)


class Book:
    """The working orders of one symbol.

    Args:
        instrument: what is traded.
        fill: the fill policy.
        costs: costs of the instrument.
        calendar: its trading days.
        registry: shared with the venue's other books.

    Attributes:
        symbol: what is traded.
        calendar: its trading days.
        orders: the working orders by priority: arrival, then sequence.
        out: events of the datum or request at work.
        positions: signed position of each strategy from the fills of this book.
        woken: children activated by the datum at work.
        alarms: ``(ts, client_order_id)`` of the expiries to look at; the caller takes them.
    """

    def __init__(
        self,
        instrument: Instrument,
        fill: FillConfig,
        costs: Costs,
        calendar: Calendar,
        registry: Registry,
    ) -> None:
        self.symbol = instrument.symbol
        self.calendar = calendar
        self.orders: list[Working] = []
        self.positions: dict[str, int] = {}
        self.alarms: list[tuple[int, str]] = []
        self.out: list[Event] = []
        self.woken: list[Working] = []
        self._instrument = instrument
        self._costs = costs
        self._registry = registry
        self._exec_prefix, self._order_prefix = f"{registry.name}-E", f"{registry.name}-O"
        self._working = registry.orders
        self._dirty = False
        self._seq = -1
        self._reducers = 0
        self._known: dict[str, int] | None = None
        self._late: list[tuple[Family, int]] | None = None
        limits = [exact(fill.volume_limit)] if fill.volume_limit else []
        if costs.volume_share is not None:
            limits.append(costs.volume_share)
        self._share: Fraction | None = min(limits, default=None)
        self._volume = [0, 0, 0]  # indexed by sign: 1 buys, -1 sells
        self._used = [0, 0, 0]

    # --- one datum ---

    def begin(self, seq: int, volume_buy: int, volume_sell: int) -> None:
        """Start to work on a datum: its number and what each side may see of its volume."""
        self._seq = seq
        self.out = []
        if self.woken:
            self.woken.clear()
        if self._share is not None:
            self._volume = [0, volume_buy, volume_sell]
            self._used = [0, 0, 0]

    def finish(self) -> list[Event]:
        """End the work on a datum or request: drop what is done and give the events."""
        if self._dirty:
            self.orders = [w for w in self.orders if w.is_open]
            self._dirty = False
        return self.out

    def fill(self, w: Working, px: int, by: PricedBy, ts: int, datum_ts: int) -> None:
        """Fill what may be filled of an order at a datum's price; nothing if that is nothing.

        Args:
            w: the order.
            px: the datum's price, in price units.
            by: which part of the datum it is.
            ts: time of the execution, UTC nanoseconds.
            datum_ts: when the price became known, UTC nanoseconds.
        """
        order, sign, open_qty = w.order, w.sign, w.qty - w.cum_qty
        qty = self._allowed(w, ts) if w.linked else open_qty
        if self._share is not None:
            qty = self._take_room(w, qty, open_qty)
        if qty < open_qty and (qty <= 0 or order.time_in_force is TimeInForce.FOK):
            return
        signed = qty * sign
        costs = self._costs
        last_px, slippage = px, 0
        if costs.slips:
            last_px = costs.slipped(px, sign, self._used[sign], self._volume[sign])
            if w.limit is not None and (last_px - w.limit) * sign > 0:
                last_px = w.limit
            slippage = costs.cash_lost(px, last_px, signed)
        commission = costs.commission(last_px, qty)
        if not costs.flat:
            commission = self._charge(w, commission)
        w.cum_qty = cum_qty = w.cum_qty + qty
        registry = self._registry
        registry.executions = number = registry.executions + 1
        strategy_id = order.strategy_id
        self.out.append(
            OrderFilled(
                order.client_order_id,
                f"{self._exec_prefix}{number}",
                strategy_id,
                self.symbol,
                signed,
                last_px,
                cum_qty,
                open_qty - qty,
                commission,
                slippage,
                _MAKER if px == w.limit else _TAKER,
                ts,
                by,
                self._seq,
                datum_ts,
            )
        )
        positions = self.positions
        before = positions.get(strategy_id, 0)
        positions[strategy_id] = before + signed
        if qty == open_qty:
            self._close(w)
        if w.linked or w.kids is not None:
            self._after_fill(w, qty, px, ts)
        if self._reducers:
            self._end_reducers(strategy_id, before, before + signed, ts)

    def _take_room(self, w: Working, qty: int, open_qty: int) -> int:
        # Take from what this side may still have of the datum's volume, in whole lots.
        share, lot, sign = self._share, self._instrument.lot_size, w.sign
        assert share is not None
        most = self._volume[sign] * share.numerator // share.denominator
        qty = min(qty, (most - self._used[sign]) // lot * lot)
        if qty <= 0 or (qty < open_qty and w.order.time_in_force is TimeInForce.FOK):
            return 0
        self._used[sign] += qty
        return qty

    def _charge(self, w: Working, raw: int) -> int:
        # What the order owes in all (never less than the minimum) minus what it has paid.
        if w.cum_qty == 0:
            raw += self._costs.per_order
        w.raw += raw
        owed = max(w.raw, self._costs.minimum)
        commission, w.charged = owed - w.charged, owed
        return commission

    # --- quantities bound to each other ---

    def _allowed(self, w: Working, ts: int) -> int:
        qty = w.qty - w.cum_qty - w.taken_qty
        if w.family is not None:
            qty = min(qty, room_in(w.family, w, w.family.usable_qty))
        if w.order.reduce_only:
            strategy_id = w.order.strategy_id
            held = -w.sign * self.positions.get(strategy_id, 0)
            if held <= 0:
                self.end(w, OrderCanceled, Reason.REDUCE_ONLY, ts)
                return 0
            if self._known is not None:
                held = min(held, -w.sign * self._known.get(strategy_id, 0))
            qty = min(qty, held)
        return qty

    def _after_fill(self, w: Working, qty: int, px: int, ts: int) -> None:
        if w.group is not None:
            for other in tuple(w.group.members):
                if other is not w and other.is_open:
                    other.taken_qty += qty
                    self._end_if_taken(other, ts)
            if w.is_open:
                self._end_if_taken(w, ts)
        family = w.family
        if family is not None:
            if w.sign != family.parent.sign:
                family.exited_qty += qty
            self._settle(family, ts)
        if w.kids is not None:
            if self._late is not None:
                self._late.append((w.kids, px))
            else:
                self._release(w.kids, px, ts)

    def _end_if_taken(self, w: Working, ts: int) -> None:
        if w.qty - w.cum_qty - w.taken_qty <= 0:
            self.end(w, OrderCanceled, Reason.OCO, ts)

    def _settle(self, family: Family, ts: int) -> None:
        # Once the parent is done, a child that can never get anything more is over.
        if family.parent.is_open:
            return
        for child in tuple(family.children):
            if child.is_open and room_in(family, child, family.parent.cum_qty) <= 0:
                others = family.exited_qty > child.cum_qty
                self.end(child, OrderCanceled, Reason.OCO if others else Reason.PARENT, ts)

    def _release(self, family: Family, px: int, since: int) -> None:
        # The parent has filled at px: its children work from here on.
        family.usable_qty = family.parent.cum_qty
        for child in family.children:
            if child.since == NEVER:
                child.since = max(child.terms_ts, since)
                self.woken.append(child)
                if isinstance(child, Trailing):
                    child.follow(px)

    def defer(self) -> None:
        """Fills from now on happen at an unknown moment of the bar: nothing may build on them."""
        self._late = []
        self._known = dict(self.positions) if self._reducers else None

    def undefer(self, ts: int) -> None:
        """The bar is over: what its fills bought may be worked with."""
        late, self._late, self._known = self._late or (), None, None
        for family, px in late:
            self._release(family, px, ts)

    def stop_in_reach(self, w: Working, low: int, high: int, known_ts: int) -> bool:
        """Tell whether a stop of the same group or bracket lies in a range of prices too."""
        related: list[Working] = []
        if w.group is not None:
            related += w.group.members
        if w.family is not None:
            related += w.family.children
        return any(
            m.is_stop and m is not w and m.is_open and m.since <= known_ts and m.spans(low, high)
            for m in related
        )

    def _end_reducers(self, strategy_id: str, before: int, after: int, ts: int) -> None:
        for w in self.orders:
            if (
                w.order.reduce_only
                and w.is_open
                and w.since != NEVER
                and w.order.strategy_id == strategy_id
                and before * w.sign < 0 <= after * w.sign
            ):
                self.end(w, OrderCanceled, Reason.REDUCE_ONLY, ts)

    # --- ends ---

    def _close(self, w: Working) -> None:
        w.is_open = False
        if len(self.orders) == 1:
            self.orders = []  # a new list: somebody may be going through the old one
        else:
            self._dirty = True
        order = w.order
        del self._working[order.client_order_id]
        if not w.linked:
            return
        if order.reduce_only:
            self._reducers -= 1
        if w.family is not None:
            w.family.children.remove(w)
        if w.group is not None:
            w.group.members.remove(w)
            if not w.group.members:
                assert order.group_id is not None
                del self._registry.groups[order.strategy_id, order.group_id]

    def end(
        self,
        w: Working,
        kind: type[OrderCanceled] | type[OrderExpired],
        reason: Reason,
        ts: int,
    ) -> None:
        """End an order that is not filled, and the children that waited for it."""
        self._close(w)
        self.out.append(kind(w.order.client_order_id, reason.value, ts))
        if w.kids is not None:
            self._settle(w.kids, ts)

    def expire(self, w: Working, ts: int) -> None:
        """End an order whose time is over; a closing order first takes the closing price."""
        closing = w.closing
        if closing is not None:
            px = w.at(closing.px)
            if px is not None:
                self._begin_again(closing.seq, closing.qty)
                self.fill(w, px, closing.by, ts, closing.ts)
            if not w.is_open:
                return
        self.end(w, OrderExpired, Reason(w.order.time_in_force.value), ts)

    def _begin_again(self, seq: int, volume: int) -> None:
        """Go back to an earlier datum, whose price is the day's closing price."""
        self._seq = seq
        self._volume = [0, volume, volume]
        self._used = [0, 0, 0]

    def expire_alone(self, w: Working) -> list[Event]:
        """End an order whose time came while no datum is at work, and give the events."""
        self.out = []
        self.expire(w, w.expire_ts)
        return self.finish()

    def cancel_rest(self, w: Working, ts: int) -> None:
        """End an IOC or FOK order after its one chance."""
        self.end(w, OrderCanceled, Reason(w.order.time_in_force.value), ts)

    # --- requests ---

    def arrive(
        self, order: Order, arrival: int, last: Callable[[str], MarketEvent | None]
    ) -> Event:
        """Accept an order or refuse it.

        Args:
            order: the instruction.
            arrival: when it reaches the venue, UTC nanoseconds.
            last: gives the latest market event of a symbol; asked only by the orders that
                need it (trailing stops for their first price, auctions for the day).
        """
        registry = self._registry
        number = registry.arrivals + 1
        order_id = order.client_order_id
        sign = 1 if order.side is _BUY else -1
        if is_plain(order):
            w = Working(order, sign, number, arrival)
        else:
            w = make_working(order, sign, number, arrival, self._instrument.tick_size)
            reason = refusal(order, arrival) or self._link(w)
            if reason is not None:
                return OrderRejected(order_id, reason.value, arrival)
            self._prepare(w, last)
        registry.arrivals = number
        self._working[order_id] = w
        orders = self.orders
        if orders and orders[-1].arrival > arrival:
            insort(orders, w, key=lambda other: (other.arrival, other.number))
        else:
            orders.append(w)
        return OrderAccepted(order_id, f"{self._order_prefix}{number}", arrival)

    def _link(self, w: Working) -> Reason | None:
        order, registry = w.order, self._registry
        if order.parent_id is None and order.group_id is None and not order.reduce_only:
            return None
        parent: Working | None = None
        if order.parent_id is not None:
            parent = registry.orders.get(order.parent_id)
            if (
                parent is None
                or parent.order.symbol != order.symbol
                or parent.order.strategy_id != order.strategy_id
            ):
                return Reason.PARENT_UNKNOWN
        if order.group_id is not None:
            key = order.strategy_id, order.group_id
            group = registry.groups.get(key)
            if group is None:
                group = registry.groups[key] = Group(order.symbol)
            elif group.symbol != order.symbol:
                return Reason.GROUP_SYMBOL
            group.members.append(w)
            w.group = group
        if parent is not None:
            if parent.kids is None:
                parent.kids = Family(parent)
            w.family = parent.kids
            w.family.children.append(w)
            if not w.family.usable_qty:
                w.since = NEVER
        if order.reduce_only:
            self._reducers += 1
        w.linked = True
        return None

    def _prepare(self, w: Working, last: Callable[[str], MarketEvent | None]) -> None:
        tif = w.order.time_in_force
        if tif is TimeInForce.GTD:
            assert w.order.expire_ts is not None
            self.expire_at(w, w.order.expire_ts)
        elif tif in (TimeInForce.AT_THE_OPENING, TimeInForce.AT_THE_CLOSE):
            w.auction = tif
            event = last(self.symbol)
            if event is not None:
                w.previous_day = self.calendar.day(getattr(event, "ts_open", event.ts_event))
        elif tif in (TimeInForce.IOC, TimeInForce.FOK):
            w.immediate = True
        if isinstance(w, Trailing) and w.since != NEVER:
            event = last(self.symbol)
            if event is not None:
                w.follow(event.last_px)

    def expire_at(self, w: Working, ts: int) -> None:
        """Let an order end at a time, and ask to be reminded then."""
        w.expire_ts = ts
        self.alarms.append((ts, w.order.client_order_id))

    def cancel(self, w: Working, ts: int) -> list[Event]:
        """Cancel a working order for its owner."""
        self.out = []
        self.end(w, OrderCanceled, Reason.USER, ts)
        return self.finish()

    def replace(self, w: Working, replace: ReplaceOrder, ts: int) -> list[Event]:
        """Change a working order for its owner, or refuse to; see docs/fills.md."""
        order_id = w.order.client_order_id
        reason = replace_refusal(w, replace)
        if reason is not None:
            return [ReplaceRejected(order_id, reason.value, ts)]
        less = replace.order_qty is not None and replace.order_qty <= w.qty
        if not less or replace.limit_px is not None or replace.stop_px is not None:
            # What the order is from now on must not meet a price of before.
            w.terms_ts = max(w.terms_ts, ts)
            if w.since != NEVER:
                w.since = max(w.since, ts)
        if replace.order_qty is not None:
            w.qty = replace.order_qty
        if replace.limit_px is not None:
            w.limit = replace.limit_px
        if replace.stop_px is not None:
            w.stop = replace.stop_px
        self.out = [OrderReplaced(order_id, w.qty, w.limit, w.stop, ts)]
        self._end_if_taken(w, ts)
        return self.finish()
