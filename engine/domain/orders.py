"""Orders: the instruction itself, and the words it is made of (FIX 4.4 names).

Enumerations are StrEnum because they key tables on the hot path: a str hashes in C, an Enum in
Python.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Side(StrEnum):
    """Direction of an order (FIX tag 54)."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """What makes an order executable (FIX tag 40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"


class TimeInForce(StrEnum):
    """How long an order stays working (FIX tag 59)."""

    DAY = "DAY"
    GTC = "GTC"
    GTD = "GTD"
    IOC = "IOC"
    FOK = "FOK"
    AT_THE_OPENING = "AT_THE_OPENING"
    AT_THE_CLOSE = "AT_THE_CLOSE"


class OrderStatus(StrEnum):
    """Life of an order (FIX tag 39 where FIX has it; decision D7)."""

    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    PENDING_NEW = "PENDING_NEW"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """True when the order can no longer work (a late fill may still be booked)."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
    }
)
"""Statuses in which an order no longer works."""


class Liquidity(StrEnum):
    """Whether a fill added or took liquidity (FIX tag 851)."""

    MAKER = "MAKER"
    TAKER = "TAKER"


class Order(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order"):
    """One instruction with a quantity. It never changes; its state lives in the router.

    Prices are in price units and quantities in quantity units of the instrument.

    Attributes:
        client_order_id: unique, a pure function of strategy, symbol, input and leg (D17).
        strategy_id: who wants it.
        symbol: instrument.
        side: BUY or SELL; selling more than is held opens a short position.
        order_type: what makes it executable.
        order_qty: quantity, above zero.
        ts_init: time of the event that caused it, UTC nanoseconds.
        time_in_force: how long it works.
        limit_px: for LIMIT and STOP_LIMIT.
        stop_px: for STOP and STOP_LIMIT; optional first stop price of a TRAILING_STOP.
        trail_px: TRAILING_STOP distance in price units.
        trail_bps: TRAILING_STOP distance in basis points of the best price since arrival.
        expire_ts: for GTD: last moment it works, UTC nanoseconds.
        reduce_only: may only shrink the strategy's position, never open or flip one.
        parent_id: one-triggers-other: held by the venue until this order fills, and then for
            no more than what it filled.
        group_id: one-cancels-other: fills of one order take the same quantity off the others
            of the group.
        tag: the strategy's own word for it, carried through to the outputs.
        confidence: the strategy's own certainty in [0, 1], None when it gave none.
    """

    client_order_id: str
    strategy_id: str
    symbol: str
    side: Side
    order_type: OrderType
    order_qty: int
    ts_init: int
    time_in_force: TimeInForce = TimeInForce.GTC
    limit_px: int | None = None
    stop_px: int | None = None
    trail_px: int | None = None
    trail_bps: int | None = None
    expire_ts: int | None = None
    reduce_only: bool = False
    parent_id: str | None = None
    group_id: str | None = None
    tag: str | None = None
    confidence: float | None = None


def price_at_stake(order: Order, px: int) -> int:
    """Give the price that an order is valued at, in price units.

    That is its limit or stop price, and the latest price without one. A buy stop below the market
    triggers at once, so it is valued at the latest price too.

    Args:
        order: the order.
        px: latest price, in price units.
    """
    own_px = order.limit_px or order.stop_px or px
    return px if own_px < px and order.limit_px is None and order.side is Side.BUY else own_px
