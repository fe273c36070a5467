"""Working orders: the state of each at the venue, and when a price makes it executable.

One class per order type, chosen once when the order arrives, so that looking at a datum costs
one call. Three questions are asked of an order:

* ``at(px)``: does it execute at a price that is there now (an open, a close, a trade, a quote)?
* ``touch(low, high, close)``: at which price did it execute somewhere inside a bar whose open
  did not make it executable?
* ``along(cur, to)``: at which price does it execute while the price moves from one to the other?

Each gives the datum's price, in price units, before slippage, or None.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple

from engine.domain.commands import ReplaceOrder
from engine.domain.events import PricedBy
from engine.domain.orders import Order, OrderType, TimeInForce

__all__ = [
    "NEVER",
    "Family",
    "Group",
    "Reason",
    "Trailing",
    "Working",
    "is_plain",
    "make_working",
    "refusal",
    "replace_refusal",
    "room_in",
]

NEVER = 2**63 - 1
"""A time that does not come: an order without expiry, a child that is still held."""


class Reason(StrEnum):
    """Why the simulated venue refused or ended something."""

    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    """The venue has no such instrument."""
    BAD_QUANTITY = "BAD_QUANTITY"
    """The quantity is not above zero."""
    NO_LIMIT_PRICE = "NO_LIMIT_PRICE"
    """A LIMIT or STOP_LIMIT without ``limit_px``, or a new limit for an order that has none."""
    NO_STOP_PRICE = "NO_STOP_PRICE"
    """A STOP or STOP_LIMIT without ``stop_px``, or a new stop for an order that has none."""
    NO_TRAIL = "NO_TRAIL"
    """A TRAILING_STOP needs exactly one of ``trail_px`` and ``trail_bps``, above zero."""
    NO_EXPIRE_TS = "NO_EXPIRE_TS"
    """A GTD order without ``expire_ts``."""
    EXPIRE_TS_PAST = "EXPIRE_TS_PAST"
    """A GTD order whose ``expire_ts`` is before its arrival."""
    AUCTION_ORDER_TYPE = "AUCTION_ORDER_TYPE"
    """AT_THE_OPENING and AT_THE_CLOSE take MARKET and LIMIT orders only."""
    PARENT_UNKNOWN = "PARENT_UNKNOWN"
    """``parent_id`` names no working order of the same strategy, symbol and venue."""
    GROUP_SYMBOL = "GROUP_SYMBOL"
    """The group has orders in another symbol."""
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    """No such working order: it never arrived, or it is filled, canceled or expired."""
    NOT_OWNER = "NOT_OWNER"
    """The order belongs to another strategy."""
    NOT_ABOVE_FILLED = "NOT_ABOVE_FILLED"
    """The new quantity is not above what is filled; cancel the order instead."""
    ALREADY_TRIGGERED = "ALREADY_TRIGGERED"
    """The stop has triggered; its stop price no longer means anything."""
    USER = "USER"
    """The owner canceled it."""
    OCO = "OCO"
    """Fills of the other orders of its group or bracket took its whole quantity."""
    PARENT = "PARENT"
    """Its parent ended and left nothing for it."""
    REDUCE_ONLY = "REDUCE_ONLY"
    """There is no position left that it could reduce."""
    IOC = "IOC"
    """Immediate-or-cancel: what the first eligible datum did not give."""
    FOK = "FOK"
    """Fill-or-kill: the first eligible datum did not give all of it."""
    DAY = "DAY"
    """The trading day is over."""
    GTD = "GTD"
    """Its ``expire_ts`` has come."""
    AT_THE_OPENING = "AT_THE_OPENING"
    """The opening is over."""
    AT_THE_CLOSE = "AT_THE_CLOSE"
    """The close is over."""


class Closing(NamedTuple):
    """The latest trade or quote an AT_THE_CLOSE order has seen: the close, if none follows."""

    px: int
    qty: int
    ts: int
    seq: int
    by: PricedBy


class Group:
    """Orders of which the fills of one take the same quantity off the others.

    Attributes:
        symbol: the one symbol they all trade.
        members: the working ones, in order of arrival.
    """

    __slots__ = ("members", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.members: list[Working] = []


class Family:
    """A parent order and the children it triggers.

    Attributes:
        parent: the parent, working or done.
        children: the working ones, in order of arrival.
        usable_qty: what the parent has filled and the children may work on already.
        exited_qty: what all children on the other side have filled together.
    """

    __slots__ = ("children", "exited_qty", "parent", "usable_qty")

    def __init__(self, parent: Working) -> None:
        self.parent = parent
        self.children: list[Working] = []
        self.usable_qty = parent.cum_qty
        self.exited_qty = 0


# Class attributes are the defaults of what most orders never set: an order then costs the few
# assignments of __init__, and instances stay small.
class Working:
    """A working MARKET order, and the base of the others.

    Attributes:
        order: the instruction as it was sent.
        sign: +1 buy, -1 sell.
        number: arrivals so far at this venue; breaks ties of ``arrival``.
        arrival: when the order reached the venue.
        terms_ts: when its present terms did: ``arrival``, or the last replacement's.
        since: the earliest datum that may fill it: ``terms_ts``, for a child not before its
            activation, NEVER while it is held.
        qty: order quantity now in force.
        cum_qty: filled so far.
        taken_qty: taken off by fills of the others in its group.
        limit: limit price or None; stop: stop price or None.
        expire_ts: when it ends, NEVER as long as that is unknown.
        is_open: False once it is done.
        immediate: IOC or FOK.
        auction: the opening or closing time in force, None for the others.
        previous_day: trading day of the latest datum an opening order has seen.
        closing: see :class:`Closing`.
        family: the family it is a child in; kids: the family it is the parent of.
        linked: True when group, family or position bound its quantity.
        raw: commission before the minimum; charged: commission charged so far.
    """

    is_stop: ClassVar[bool] = False

    cum_qty: int = 0
    taken_qty: int = 0
    limit: int | None = None
    stop: int | None = None
    triggered: bool = False
    expire_ts: int = NEVER
    is_open: bool = True
    immediate: bool = False
    auction: TimeInForce | None = None
    previous_day: int | None = None
    closing: Closing | None = None
    family: Family | None = None
    kids: Family | None = None
    group: Group | None = None
    linked: bool = False
    raw: int = 0
    charged: int = 0

    def __init__(self, order: Order, sign: int, number: int, arrival: int) -> None:
        self.order = order
        self.sign = sign
        self.number = number
        self.arrival = self.terms_ts = self.since = arrival
        self.qty = order.order_qty

    def at(self, px: int) -> int | None:
        """Give ``px`` if it makes the order executable; a stop that it reaches is triggered."""
        return px

    def touch(self, low: int, high: int, close: int) -> int | None:
        """Give the price inside a bar at which the order executed; a stop is triggered."""
        return None

    def along(self, cur: int, to: int) -> int | None:
        """Give the price at which the order acts between ``cur`` and ``to``; changes nothing."""
        return cur

    def spans(self, low: int, high: int) -> bool:
        """Tell whether a stop lies in a range of prices or is passed by all of it."""
        return False


class Limit(Working):
    """A LIMIT order."""

    limit: int

    def at(self, px: int) -> int | None:
        """Execute at a price at least as good as the limit."""
        return px if (px - self.limit) * self.sign <= 0 else None

    def touch(self, low: int, high: int, close: int) -> int | None:
        """Execute at the limit when the range reaches it."""
        limit = self.limit
        return limit if (low <= limit if self.sign > 0 else high >= limit) else None

    def along(self, cur: int, to: int) -> int | None:
        """Execute at once when good enough, else at the limit when the move reaches it."""
        limit, sign = self.limit, self.sign
        if (cur - limit) * sign <= 0:
            return cur
        return limit if (to - limit) * sign <= 0 else None


class Stop(Working):
    """A STOP order: a market order from the moment its price is reached."""

    is_stop = True
    stop: int

    def at(self, px: int) -> int | None:
        """Execute at a price at or through the stop."""
        if self.triggered or (px - self.stop) * self.sign >= 0:
            self.triggered = True
            return px
        return None

    def touch(self, low: int, high: int, close: int) -> int | None:
        """Execute at the stop when the range reaches it."""
        stop = self.stop
        if high >= stop if self.sign > 0 else low <= stop:
            self.triggered = True
            return stop
        return None

    def along(self, cur: int, to: int) -> int | None:
        """Execute at once when through the stop, else at the stop when the move reaches it."""
        stop, sign = self.stop, self.sign
        if self.triggered or (cur - stop) * sign >= 0:
            return cur
        return stop if (to - stop) * sign >= 0 else None

    def spans(self, low: int, high: int) -> bool:
        """Tell whether the range reaches the stop."""
        return high >= self.stop if self.sign > 0 else low <= self.stop


class StopLimit(Stop):
    """A STOP_LIMIT order: a limit order from the moment its stop price is reached."""

    limit: int

    def at(self, px: int) -> int | None:
        """Trigger at or through the stop, and execute if the limit allows the price."""
        sign = self.sign
        if not self.triggered:
            if (px - self.stop) * sign < 0:
                return None
            self.triggered = True
        return px if (px - self.limit) * sign <= 0 else None

    def touch(self, low: int, high: int, close: int) -> int | None:
        """Execute inside a bar only where no order of its prices could contradict it.

        Triggered before: at the limit, like a LIMIT order. Triggered inside this bar: at the
        stop when the limit allows that price; else (the price must come back first) at the
        limit, if the close proves that it did.
        """
        limit, sign = self.limit, self.sign
        if self.triggered:
            return limit if (low <= limit if sign > 0 else high >= limit) else None
        if not self.spans(low, high):
            return None
        self.triggered = True
        if (self.stop - limit) * sign <= 0:
            return self.stop
        return limit if (close - limit) * sign <= 0 else None

    def along(self, cur: int, to: int) -> int | None:
        """Give the price that triggers it, and once triggered the one that executes it."""
        if not self.triggered:
            return super().along(cur, to)
        limit, sign = self.limit, self.sign
        if (cur - limit) * sign <= 0:
            return cur
        return limit if (to - limit) * sign <= 0 else None


class Trailing(Stop):
    """A TRAILING_STOP order: a stop that follows the best price and never goes back.

    Attributes:
        best: best price since arrival (highest for a sell), None before the first.
    """

    stop: int | None  # type: ignore[assignment]  # None until there is a price to trail
    best: int | None = None
    tick: int = 1

    def at(self, px: int) -> int | None:
        """Execute at or through the stop; the first price ever seen only sets it."""
        if self.stop is None:
            self.follow(px)
            return None
        return super().at(px)

    def touch(self, low: int, high: int, close: int) -> int | None:
        """Execute at the stop as it stood before the bar."""
        return None if self.stop is None else super().touch(low, high, close)

    def along(self, cur: int, to: int) -> int | None:
        """Execute at the stop as it stands now."""
        return None if self.stop is None else super().along(cur, to)

    def spans(self, low: int, high: int) -> bool:
        """Tell whether the range reaches the stop as it stands now."""
        return self.stop is not None and super().spans(low, high)

    def follow(self, px: int) -> None:
        """Take a price into account: move the stop if this is the best one so far."""
        sign = self.sign
        if self.best is not None and (px - self.best) * sign >= 0:
            return
        self.best = px
        stop = self._level(px)
        if self.stop is None or (stop - self.stop) * sign < 0:
            self.stop = stop

    def _level(self, px: int) -> int:
        # Rounded to the tick away from the price, so that it never triggers early.
        order, sign, tick = self.order, self.sign, self.tick
        if order.trail_px is not None:
            exact, base = px + sign * order.trail_px, 1
        else:
            exact, base = px * 10_000 + sign * abs(px) * (order.trail_bps or 0), 10_000
        step = base * tick
        return -(-exact // step) * tick if sign > 0 else exact // step * tick


_CLASSES: dict[OrderType, type[Working]] = {
    OrderType.MARKET: Working,
    OrderType.LIMIT: Limit,
    OrderType.STOP: Stop,
    OrderType.STOP_LIMIT: StopLimit,
    OrderType.TRAILING_STOP: Trailing,
}


def make_working(order: Order, sign: int, number: int, arrival: int, tick: int) -> Working:
    """Make the working order of an order; :func:`refusal` tells whether it may be used."""
    working = _CLASSES[order.order_type](order, sign, number, arrival)
    if order.limit_px is not None and order.order_type in _LIMITED:
        working.limit = order.limit_px
    if working.is_stop:
        working.stop = order.stop_px
        if type(working) is Trailing:
            working.tick = tick
    return working


_MARKET, _GTC, _DAY = OrderType.MARKET, TimeInForce.GTC, TimeInForce.DAY
_LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_AUCTIONS = (TimeInForce.AT_THE_OPENING, TimeInForce.AT_THE_CLOSE)


def is_plain(order: Order) -> bool:
    """Tell whether an order is sound and needs nothing but a :class:`Working`: the hot path."""
    return (
        order.order_type is _MARKET
        and (order.time_in_force is _GTC or order.time_in_force is _DAY)
        and order.parent_id is None
        and order.group_id is None
        and not order.reduce_only
        and order.order_qty > 0
    )


def refusal(order: Order, arrival: int) -> Reason | None:
    """Tell what is wrong with an order in itself, or None."""
    if order.order_qty <= 0:
        return Reason.BAD_QUANTITY
    kind, tif = order.order_type, order.time_in_force
    if kind is not OrderType.MARKET:
        if kind in _LIMITED and order.limit_px is None:
            return Reason.NO_LIMIT_PRICE
        if kind is OrderType.TRAILING_STOP:
            trails = [t for t in (order.trail_px, order.trail_bps) if t is not None]
            if len(trails) != 1 or trails[0] <= 0:
                return Reason.NO_TRAIL
        elif kind is not OrderType.LIMIT and order.stop_px is None:
            return Reason.NO_STOP_PRICE
        if tif in _AUCTIONS and kind is not OrderType.LIMIT:
            return Reason.AUCTION_ORDER_TYPE
    if tif is TimeInForce.GTD:
        if order.expire_ts is None:
            return Reason.NO_EXPIRE_TS
        if order.expire_ts < arrival:
            return Reason.EXPIRE_TS_PAST
    return None


def replace_refusal(w: Working, replace: ReplaceOrder) -> Reason | None:
    """Tell what is wrong with a replacement of a working order, or None."""
    if replace.order_qty is not None and replace.order_qty <= w.cum_qty:
        return Reason.NOT_ABOVE_FILLED
    if replace.limit_px is not None and w.limit is None:
        return Reason.NO_LIMIT_PRICE
    if replace.stop_px is not None:
        if not w.is_stop:
            return Reason.NO_STOP_PRICE
        if w.triggered:
            return Reason.ALREADY_TRIGGERED
    return None


def room_in(family: Family, child: Working, filled_qty: int) -> int:
    """Give what a child may still fill when its parent has filled ``filled_qty``.

    Exits (children on the other side) share it, grouped or not, so that together they never
    sell more than was bought; a child on the parent's side has it for itself.
    """
    exits = child.sign != family.parent.sign
    return filled_qty - (family.exited_qty if exits else child.cum_qty)
