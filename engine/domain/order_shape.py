"""What an order says by itself and beside the market: pure questions of its numbers."""

from __future__ import annotations

from engine.domain.exposure import Market
from engine.domain.instruments import Instrument
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import PPM, DenyCode

__all__ = ["crossed_px", "shape_error", "through_ppm"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_MARKET, _LIMIT, _BUY = OrderType.MARKET, OrderType.LIMIT, Side.BUY


def shape_error(order: Order, instrument: Instrument) -> DenyCode | None:
    """Check what needs no market: quantities, prices and the fields each order type needs."""
    quantity = order.order_qty
    if quantity <= 0 or (instrument.lot_size != 1 and quantity % instrument.lot_size):
        return DenyCode.QUANTITY_PRECISION
    if order.order_type is _MARKET:
        has_price = order.limit_px is not None or order.stop_px is not None
        has_trail = order.trail_px is not None or order.trail_bps is not None
        return DenyCode.INVALID_ORDER if has_price or has_trail else None
    tick = instrument.tick_size
    for px in (order.limit_px, order.stop_px, order.trail_px):
        if px is not None and (px <= 0 or px % tick):
            return DenyCode.PRICE_PRECISION
    needs_limit = order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    needs_stop = order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    trailing = order.order_type is OrderType.TRAILING_STOP
    has_trail = order.trail_px is not None or order.trail_bps is not None
    # A price that an order has no use for must not be what it is judged by.
    if (
        (order.limit_px is not None and not needs_limit)
        or (order.stop_px is not None and not needs_stop and not trailing)
        or (has_trail and not trailing)
    ):
        return DenyCode.INVALID_ORDER
    if (
        (needs_limit and order.limit_px is None)
        or (needs_stop and order.stop_px is None)
        or (trailing and (order.trail_px is None) == (order.trail_bps is None))
        or (trailing and order.trail_bps is not None and order.trail_bps <= 0)
    ):
        return DenyCode.INVALID_ORDER
    return None


def through_ppm(order: Order, px: int) -> int:
    """Give how far a limit price goes through the market: millionths of it, rounded up.

    A stop-limit order is measured against its stop price, where it will be. 0 without a limit
    price; negative on the passive side.

    Args:
        order: the order.
        px: latest price, in price units, above zero.
    """
    limit_px = order.limit_px
    if limit_px is None:
        return 0
    reference = order.stop_px or px
    distance = limit_px - reference if order.side is _BUY else reference - limit_px
    return -(-distance * PPM // reference)


def crossed_px(order: Order, market: Market) -> int:
    """Give the price of an own working limit order that this one could trade with, 0 if none.

    An order without a limit price is taken to reach the latest price. Orders that wait (for a
    stop price or for a parent) work later, and are judged by what rests then.
    """
    if order.side is _BUY:
        resting = market.asks
        if not resting:
            return 0
        best = resting[0]
        reached = best <= (order.limit_px or market.px)
    else:
        resting = market.bids
        if not resting:
            return 0
        best = resting[-1]
        reached = best >= (order.limit_px or market.px)
    waits = order.parent_id is not None or order.order_type not in (_MARKET, _LIMIT)
    return best if reached and not waits else 0
