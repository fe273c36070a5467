"""``tetrad.oms.v1.OrderLink``, spoken: everything an order of ours can say, exactly."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import OrdersWorking
from engine.domain.money import format_units
from engine.domain.orders import Liquidity, Order, OrderType, Side, TimeInForce
from engine.link.dialect import (
    ListWorking,
    OrderTable,
    Reading,
    Request,
    SentOrder,
    Unreadable,
    UnsendableError,
)
from engine.link.reports import read_report

__all__ = ["LIQUIDITIES", "SIDES", "TIMES_IN_FORCE", "TYPES", "ExtendedDialect"]

SIDES = {Side.BUY: oms_pb2.SIDE_BUY, Side.SELL: oms_pb2.SIDE_SELL}
TYPES = {each: getattr(oms_pb2, f"ORDER_TYPE_{each.name}") for each in OrderType}
TIMES_IN_FORCE = {each: getattr(oms_pb2, f"TIME_IN_FORCE_{each.name}") for each in TimeInForce}
LIQUIDITIES = {each: getattr(oms_pb2, f"LIQUIDITY_{each.name}") for each in Liquidity}
_LIQUIDITY_OF = {number: each for each, number in LIQUIDITIES.items()}


class ExtendedDialect:
    """The service of our own.

    Args:
        table: the orders of the link.
    """

    def __init__(self, table: OrderTable) -> None:
        self._table = table

    def encode(self, request: Request, sent: SentOrder | None) -> bytes:
        """Give the message of any request.

        Raises:
            UnsendableError: it is about an order that is not known here; query it first.
        """
        if isinstance(request, ListWorking):
            message = oms_pb2.Request(list_working=oms_pb2.ListWorking())
        elif sent is None:
            raise UnsendableError("UNKNOWN_ORDER")
        elif isinstance(request, Order):
            message = oms_pb2.Request(new_order=_new_order(request, sent))
        elif isinstance(request, CancelOrder):
            message = oms_pb2.Request(
                cancel_order=oms_pb2.CancelOrder(
                    client_order_id=request.client_order_id,
                    strategy_id=request.strategy_id,
                    timestamp=request.ts_init,
                )
            )
        elif isinstance(request, ReplaceOrder):
            message = oms_pb2.Request(replace_order=_replace_order(request, sent))
        else:
            order_id = request.order.client_order_id
            message = oms_pb2.Request(query_order=oms_pb2.QueryOrder(client_order_id=order_id))
        return message.SerializeToString()

    def read(self, raw: bytes, now: int) -> Reading:
        """Read a report."""
        try:
            report = oms_pb2.Report.FromString(raw)
        except DecodeError as error:
            return [(None, Unreadable("UNPARSABLE", f"not a Report: {error}"))]
        kind = report.WhichOneof("report")
        if kind is None or kind == "welcome":
            return [(None, Unreadable("UNEXPECTED", f"a report that is {kind or 'empty'}"))]
        said = getattr(report, kind)
        ts = getattr(said, "timestamp", now)
        ts = ts if ts > 0 else now
        if kind == "working":
            return [
                (
                    None,
                    OrdersWorking(
                        client_order_ids=tuple(said.client_order_ids), refused=None, ts_event=ts
                    ),
                )
            ]
        sent = self._table.get(said.client_order_id)
        if sent is None:
            detail = f"a report on {said.client_order_id[:50]!r}, which is no order of ours"
            return [(None, Unreadable("UNKNOWN_ORDER", detail))]
        liquidity = _LIQUIDITY_OF.get(said.liquidity) if kind == "executed" else None
        return [(sent, read_report(kind, said, sent, ts, liquidity))]


def _text(number: int | None, decimals: int) -> str | None:
    return None if number is None else format_units(number, decimals)


def _new_order(order: Order, sent: SentOrder) -> oms_pb2.NewOrder:
    decimals = sent.instrument.price_decimals
    return oms_pb2.NewOrder(
        client_order_id=order.client_order_id,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        side=SIDES[order.side],
        type=TYPES[order.order_type],
        quantity=format_units(order.order_qty, sent.instrument.quantity_decimals),
        time_in_force=TIMES_IN_FORCE[order.time_in_force],
        limit_price=_text(order.limit_px, decimals),
        stop_price=_text(order.stop_px, decimals),
        trail_distance=_text(order.trail_px, decimals),
        trail_bps=order.trail_bps,
        expire_timestamp=order.expire_ts,
        reduce_only=order.reduce_only,
        parent_id=order.parent_id,
        group_id=order.group_id,
        timestamp=order.ts_init,
    )


def _replace_order(replace: ReplaceOrder, sent: SentOrder) -> oms_pb2.ReplaceOrder:
    instrument = sent.instrument
    return oms_pb2.ReplaceOrder(
        client_order_id=replace.client_order_id,
        strategy_id=replace.strategy_id,
        quantity=_text(replace.order_qty, instrument.quantity_decimals),
        limit_price=_text(replace.limit_px, instrument.price_decimals),
        stop_price=_text(replace.stop_px, instrument.price_decimals),
        timestamp=replace.ts_init,
    )
