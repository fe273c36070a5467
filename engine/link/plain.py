"""Orders for venues that know market and limit orders only, good till canceled."""

from __future__ import annotations

from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.orders import Order, OrderType, TimeInForce
from engine.link.dialect import ListWorking, Query, Request, UnsendableError

__all__ = ["plain_order"]

_LACKS: dict[type, str] = {
    CancelOrder: "VENUE_LACKS_CANCEL",
    ReplaceOrder: "VENUE_LACKS_REPLACE",
    Query: "VENUE_LACKS_QUERY",
    ListWorking: "VENUE_LACKS_LIST",
}
_TYPES = (OrderType.MARKET, OrderType.LIMIT)


def plain_order(request: Request, *, reduce_only: str) -> Order:
    """Give the order of a request, when it is one that such a venue can say.

    Args:
        request: the request.
        reduce_only: ``refuse`` an order that may only shrink a position, or take it as ``plain``.

    Raises:
        UnsendableError: it is not an order, or says more.
    """
    if not isinstance(request, Order):
        raise UnsendableError(_LACKS[type(request)])
    if request.order_type not in _TYPES:
        raise UnsendableError("VENUE_LACKS_STOP_ORDERS")
    if request.time_in_force is not TimeInForce.GTC:
        raise UnsendableError("VENUE_LACKS_TIME_IN_FORCE")
    if request.reduce_only and reduce_only == "refuse":
        raise UnsendableError("VENUE_LACKS_REDUCE_ONLY")
    if request.parent_id is not None or request.group_id is not None:
        raise UnsendableError("VENUE_LACKS_LINKED_ORDERS")
    return request
