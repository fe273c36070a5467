"""The life of an order as one table.

``TRANSITIONS[status][event type]`` is the next status; a pair that is not in the table is
impossible and raises. A fill's row says PARTIALLY_FILLED; :func:`next_status` turns that into
FILLED when nothing is left. A fill after a terminal status (a late fill) is booked and leaves
the status as it is.
"""

from __future__ import annotations

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    ReplaceRejected,
)
from engine.domain.orders import TERMINAL, OrderStatus
from engine.errors import InvariantError

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_S = OrderStatus
_FILLED, _ACCEPTED = _S.FILLED, _S.ACCEPTED

_WORKING: dict[type, OrderStatus] = {
    OrderFilled: _S.PARTIALLY_FILLED,
    OrderCanceled: _S.CANCELED,
    OrderExpired: _S.EXPIRED,
    OrderRejected: _S.REJECTED,
    OrderUnknown: _S.UNKNOWN,
}

TRANSITIONS: dict[OrderStatus, dict[type, OrderStatus]] = {
    _S.INITIALIZED: {
        OrderDenied: _S.DENIED,
        OrderSubmitted: _S.PENDING_NEW,
        OrderCanceled: _S.CANCELED,
    },
    _S.PENDING_NEW: {**_WORKING, OrderAccepted: _S.ACCEPTED},
    _S.ACCEPTED: {
        **_WORKING,
        OrderAccepted: _S.ACCEPTED,
        OrderReplaced: _S.ACCEPTED,
        CancelRejected: _S.ACCEPTED,
        ReplaceRejected: _S.ACCEPTED,
    },
    _S.PARTIALLY_FILLED: {
        **_WORKING,
        OrderAccepted: _S.PARTIALLY_FILLED,
        OrderReplaced: _S.PARTIALLY_FILLED,
        CancelRejected: _S.PARTIALLY_FILLED,
        ReplaceRejected: _S.PARTIALLY_FILLED,
    },
    _S.PENDING_CANCEL: {
        **_WORKING,
        OrderFilled: _S.PENDING_CANCEL,
        OrderAccepted: _S.PENDING_CANCEL,
        OrderReplaced: _S.PENDING_CANCEL,
        CancelRejected: _S.ACCEPTED,
        ReplaceRejected: _S.PENDING_CANCEL,
    },
    _S.PENDING_REPLACE: {
        **_WORKING,
        OrderFilled: _S.PENDING_REPLACE,
        OrderAccepted: _S.PENDING_REPLACE,
        OrderReplaced: _S.ACCEPTED,
        ReplaceRejected: _S.ACCEPTED,
        CancelRejected: _S.PENDING_REPLACE,
    },
    _S.UNKNOWN: {
        **_WORKING,
        OrderAccepted: _S.ACCEPTED,
        OrderReplaced: _S.UNKNOWN,
        CancelRejected: _S.UNKNOWN,
        ReplaceRejected: _S.UNKNOWN,
    },
    _S.DENIED: {},
    _S.REJECTED: {OrderFilled: _S.REJECTED},
    _S.FILLED: {
        OrderFilled: _S.FILLED,
        OrderAccepted: _S.FILLED,
        CancelRejected: _S.FILLED,
        ReplaceRejected: _S.FILLED,
    },
    _S.CANCELED: {
        OrderFilled: _S.CANCELED,
        CancelRejected: _S.CANCELED,
        ReplaceRejected: _S.CANCELED,
    },
    _S.EXPIRED: {
        OrderFilled: _S.EXPIRED,
        CancelRejected: _S.EXPIRED,
        ReplaceRejected: _S.EXPIRED,
    },
}


def next_status(status: OrderStatus, event: type, cum_qty: int, leaves_qty: int) -> OrderStatus:
    """Give the status after an event.

    Args:
        status: the status now.
        event: type of the event.
        cum_qty: quantity filled once the event is applied.
        leaves_qty: quantity open once the event is applied.

    Raises:
        InvariantError: the pair is not in the table.
    """
    try:
        after = TRANSITIONS[status][event]
    except KeyError:
        raise InvariantError(f"{event.__name__} cannot happen to a {status.name} order") from None
    if event is OrderFilled:
        return _FILLED if leaves_qty == 0 and status not in TERMINAL else after
    if after is _ACCEPTED and cum_qty:
        return OrderStatus.PARTIALLY_FILLED
    return after
