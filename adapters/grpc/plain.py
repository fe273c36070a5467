"""``order.OrderService``, spoken: totals become executions, our ids become UUIDs."""

from __future__ import annotations

import math
import uuid
from typing import Literal

from google.protobuf.message import DecodeError

from adapters.grpc.pb import order_pb2
from engine.domain.events import OrderAccepted, OrderCanceled, OrderRejected
from engine.domain.money import MAX_UNITS
from engine.domain.orders import OrderType, Side
from engine.link.dialect import (
    OrderTable,
    Reading,
    Received,
    Request,
    SentOrder,
    Unreadable,
    UnsendableError,
)
from engine.link.plain import plain_order
from engine.link.wire import epoch_ns, words

__all__ = ["PlainDialect", "request_id"]

_NAMESPACE = uuid.UUID("0c8b1f52-6a1e-5c4f-9d27-4b9b3a7d5e10")
_SIDES = {Side.BUY: order_pb2.BUY, Side.SELL: order_pb2.SELL}
_TYPES = {OrderType.LIMIT: order_pb2.LIMIT, OrderType.MARKET: order_pb2.MARKET}


def request_id(client_order_id: str) -> str:
    """Give the UUID that stands for our id: a pure function, the same in every process."""
    return str(uuid.uuid5(_NAMESPACE, client_order_id))


class PlainDialect:
    """The contract that every Order Management System serves.

    Args:
        table: the orders of the link.
        reduce_only: see ``oms_grpc.reduce_only``.
    """

    def __init__(self, table: OrderTable, reduce_only: Literal["refuse", "plain"]) -> None:
        self._table = table
        self._reduce_only = reduce_only

    def encode(self, request: Request, sent: SentOrder | None) -> bytes:
        """Give the message of an order; the service has no other request.

        A limit price goes as the double nearest to it.

        Raises:
            UnsendableError: any other request, and an order that it cannot say.
        """
        order = plain_order(request, reduce_only=self._reduce_only)
        if sent is None:
            raise UnsendableError("UNKNOWN_ORDER")
        instrument = sent.instrument
        if order.order_qty % instrument.quantity_unit:
            raise UnsendableError("VENUE_LACKS_FRACTIONS")
        message = order_pb2.OrderRequest(
            id=request_id(order.client_order_id),
            symbol=order.symbol,
            side=_SIDES[order.side],
            type=_TYPES[order.order_type],
            quantity=order.order_qty // instrument.quantity_unit,
            strategy_id=order.strategy_id,
            timestamp=order.ts_init,
        )
        if order.limit_px is not None:
            message.price = order.limit_px / instrument.price_unit
        return message.SerializeToString()

    def read(self, raw: bytes, now: int) -> Reading:
        """Read a response; its executions come before what it says of the order."""
        try:
            answer = order_pb2.OrderResponse.FromString(raw)
        except DecodeError as error:
            return [(None, Unreadable("UNPARSABLE", f"not an OrderResponse: {error}"))]
        sent = self._table.by_wire_id(answer.request_id)
        if sent is None:
            detail = f"an answer for {answer.request_id[:50]!r}, which is no order of ours"
            return [(None, Unreadable("UNKNOWN_ORDER", detail))]
        wrong = _wrong(answer, sent)
        if wrong is not None:
            return [(sent, wrong)]
        ts = epoch_ns(answer.timestamp, now)
        reading: Reading = []
        cum_qty = answer.filled_quantity * sent.instrument.quantity_unit
        if cum_qty > 0:
            try:
                fill = sent.totals.step(cum_qty, answer.filled_price, sent.order_qty, ts)
            except ValueError as error:
                return [(sent, Unreadable("BAD_PRICE", str(error)))]
            if fill is not None:
                reading.append((sent, fill))
        if reading and answer.status == order_pb2.PARTIALLY_FILLED:
            return reading
        return reading + _said(answer, sent, ts)


def _wrong(answer: order_pb2.OrderResponse, sent: SentOrder) -> Unreadable | None:
    if answer.status not in order_pb2.OrderStatus.values():
        return Unreadable("BAD_STATUS", f"status {answer.status} is none of the contract")
    filled = answer.filled_quantity
    if not 0 <= filled <= MAX_UNITS // sent.instrument.quantity_unit:
        return Unreadable("BAD_QUANTITY", f"filled_quantity {filled} cannot be")
    fills = answer.status in (order_pb2.PARTIALLY_FILLED, order_pb2.FILLED)
    if fills and filled == 0:
        return Unreadable("BAD_QUANTITY", "a fill without a quantity")
    if filled and not (math.isfinite(answer.filled_price) and answer.filled_price > 0):
        return Unreadable("BAD_PRICE", f"filled_price {answer.filled_price!r} cannot be")
    return None


def _said(answer: order_pb2.OrderResponse, sent: SentOrder, ts: int) -> Reading:
    """Give what a response says beside its totals; a part that is known says that it works."""
    order_id = sent.order.client_order_id
    if answer.status in (order_pb2.ACCEPTED, order_pb2.PARTIALLY_FILLED):
        return [(sent, OrderAccepted(order_id, words(answer.order_id, order_id), ts))]
    if answer.status == order_pb2.REJECTED:
        return [(sent, OrderRejected(order_id, words(answer.message, "REJECTED"), ts))]
    if answer.status == order_pb2.CANCELLED:
        return [(sent, OrderCanceled(order_id, words(answer.message, "VENUE"), ts))]
    if answer.status == order_pb2.FILLED and sent.totals.cum_qty < sent.order_qty:
        detail = f"FILLED with {sent.totals.cum_qty} of {sent.order_qty} quantity units"
        return [(sent, Unreadable("FILLED_SHORT", detail))]
    return [(sent, Received())]
