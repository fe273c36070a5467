"""The server's side of both services: requests read, reports written. Pure; one per stream."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from adapters.grpc.extended import LIQUIDITIES, SIDES, TIMES_IN_FORCE, TYPES
from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from engine.domain.clients import ClientRequest, ListOrders, QueryAnswered, QueryOrder
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrdersWorking,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_DECIMALS, format_units, to_units
from engine.domain.orders import Order, OrderType, Side
from engine.link.wire import units

__all__ = ["ExtendedWriter", "MalformedError", "PlainWriter", "Writer"]

Instruments = Mapping[str, Instrument]
Symbols = dict[str, str]
"""Client order id -> symbol, for all streams: a report on an order may go to any."""

# Prices and quantities of a symbol that is not traded: the desk rejects the order by name, so any
# scale will do that reads what was sent.
_ANY = Instrument(symbol="", price_decimals=9, quantity_decimals=8)


class MalformedError(Exception):
    """A stream holds what is no message: it cannot go on."""


class Writer(Protocol):
    """One service, for one stream.

    Attributes:
        client: the name that the client has given; empty for none.
    """

    client: str

    def read(self, raw: bytes) -> ClientRequest | bytes | None:
        """Read a message: a request for the desk, an answer at once, or nothing to do.

        Raises:
            MalformedError: it is none.
        """

    def write(self, event: Any) -> bytes | None:
        """Give the message of what the desk says; None when the service has no word for it."""


_STATUSES: Mapping[type, order_pb2.OrderStatus] = {
    OrderAccepted: order_pb2.ACCEPTED,
    OrderFilled: order_pb2.PARTIALLY_FILLED,
    OrderRejected: order_pb2.REJECTED,
    OrderCanceled: order_pb2.CANCELLED,
    OrderExpired: order_pb2.CANCELLED,
}


class PlainWriter:
    """``order.OrderService``: the client order id is the UUID of the request."""

    def __init__(self, instruments: Instruments, symbols: Symbols) -> None:
        self.client = ""
        self._instruments = instruments
        self._symbols = symbols
        self._venue_ids: dict[str, str] = {}
        self._totals: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, raw: bytes) -> ClientRequest | bytes | None:
        """Read an order, or answer it as rejected with what is wrong."""
        try:
            request = order_pb2.OrderRequest.FromString(raw)
        except DecodeError as error:
            raise MalformedError(f"not an OrderRequest: {error}") from error
        try:
            order = self._order(request)
        except ValueError as error:
            return order_pb2.OrderResponse(
                request_id=request.id, status=order_pb2.REJECTED, message=f"INVALID_ORDER: {error}"
            ).SerializeToString()
        self._symbols.setdefault(order.client_order_id, order.symbol)
        return order

    def _order(self, request: order_pb2.OrderRequest) -> Order:
        uuid.UUID(request.id)
        if request.side not in order_pb2.Side.values():
            raise ValueError(f"side {request.side} is neither BUY nor SELL")
        if request.type not in order_pb2.OrderType.values():
            raise ValueError(f"type {request.type} is neither LIMIT nor MARKET")
        instrument = self._instruments.get(request.symbol, _ANY)
        is_limit = request.type == order_pb2.LIMIT
        return Order(
            client_order_id=request.id,
            strategy_id=request.strategy_id,
            symbol=request.symbol,
            side=Side.SELL if request.side == order_pb2.SELL else Side.BUY,
            order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
            order_qty=to_units(request.quantity, instrument.quantity_decimals),
            ts_init=request.timestamp,
            limit_px=to_units(request.price, instrument.price_decimals) if is_limit else None,
        )

    def write(self, event: Any) -> bytes | None:
        """Give the response of an event, with the totals so far; whole quantities, rounded down."""
        kind = type(event)
        if kind not in _STATUSES:
            return None
        order_id = event.client_order_id
        response = order_pb2.OrderResponse(
            request_id=order_id, status=_STATUSES[kind], timestamp=event.ts_event
        )
        if kind is OrderAccepted:
            self._venue_ids[order_id] = event.venue_order_id
        elif kind is not OrderFilled:
            response.message = event.reason
        elif event.leaves_qty == 0:
            response.status = order_pb2.FILLED
        response.order_id = self._venue_ids.get(order_id, "")
        quantity, value = self._totals_at(event)
        if quantity:
            instrument = self._instruments[self._symbols[order_id]]
            response.filled_quantity = quantity // instrument.quantity_unit
            response.filled_price = float(Fraction(value, quantity * instrument.price_unit))
        if kind is OrderFilled and not response.filled_quantity:
            return None
        return response.SerializeToString()

    def _totals_at(self, event: Any) -> tuple[int, int]:
        """Give quantity and value up to an event; a fill that is told again, as it was then."""
        totals = self._totals.setdefault(event.client_order_id, {})
        before = next(reversed(totals.values()), (0, 0))
        if type(event) is not OrderFilled:
            return before
        if event.exec_id not in totals:
            quantity = abs(event.signed_qty)
            totals[event.exec_id] = before[0] + quantity, before[1] + quantity * event.last_px
        return totals[event.exec_id]


def _inverse(table: Mapping[Any, Any]) -> dict[int, Any]:
    return {int(number): each for each, number in table.items()}


_SIDE_OF, _TYPE_OF, _TIF_OF = _inverse(SIDES), _inverse(TYPES), _inverse(TIMES_IN_FORCE)


class ExtendedWriter:
    """``tetrad.oms.v1.OrderLink``."""

    def __init__(self, instruments: Instruments, symbols: Symbols) -> None:
        self.client = ""
        self._instruments = instruments
        self._symbols = symbols

    def read(self, raw: bytes) -> ClientRequest | bytes | None:
        """Read a request, or answer it: a greeting, and what cannot be read as a number."""
        try:
            request = oms_pb2.Request.FromString(raw)
        except DecodeError as error:
            raise MalformedError(f"not a Request: {error}") from error
        kind = request.WhichOneof("request")
        if kind == "hello":
            self.client = request.hello.client
            return _report(welcome=oms_pb2.Welcome())
        if kind == "new_order":
            return self._new_order(request.new_order)
        if kind == "cancel_order":
            cancel = request.cancel_order
            return CancelOrder(cancel.client_order_id, cancel.strategy_id, cancel.timestamp)
        if kind == "replace_order":
            return self._replace_order(request.replace_order)
        if kind == "query_order":
            return QueryOrder(request.query_order.client_order_id)
        return ListOrders() if kind == "list_working" else None

    def _instrument(self, client_order_id: str) -> Instrument:
        return self._instruments.get(self._symbols.get(client_order_id, ""), _ANY)

    def _new_order(self, new: oms_pb2.NewOrder) -> Order | bytes:
        instrument = self._instruments.get(new.symbol, _ANY)
        decimals = instrument.price_decimals
        try:
            order = Order(
                client_order_id=_named("client_order_id", new.client_order_id),
                strategy_id=new.strategy_id,
                symbol=new.symbol,
                side=_member("side", new.side, _SIDE_OF),
                order_type=_member("type", new.type, _TYPE_OF),
                order_qty=units(new.quantity, instrument.quantity_decimals),
                ts_init=new.timestamp,
                time_in_force=_member("time_in_force", new.time_in_force, _TIF_OF),
                limit_px=_price(new, "limit_price", decimals),
                stop_px=_price(new, "stop_price", decimals),
                trail_px=_price(new, "trail_distance", decimals),
                trail_bps=new.trail_bps if new.HasField("trail_bps") else None,
                expire_ts=_expiry(new),
                reduce_only=new.reduce_only,
                parent_id=new.parent_id if new.HasField("parent_id") else None,
                group_id=new.group_id if new.HasField("group_id") else None,
            )
        except ValueError as error:
            rejected = oms_pb2.Rejected(
                client_order_id=new.client_order_id, reason=f"INVALID_ORDER: {error}"
            )
            return _report(rejected=rejected)
        self._symbols.setdefault(order.client_order_id, order.symbol)
        return order

    def _replace_order(self, new: oms_pb2.ReplaceOrder) -> ReplaceOrder | bytes:
        instrument = self._instrument(new.client_order_id)
        try:
            return ReplaceOrder(
                client_order_id=new.client_order_id,
                strategy_id=new.strategy_id,
                ts_init=new.timestamp,
                order_qty=(
                    units(new.quantity, instrument.quantity_decimals)
                    if new.HasField("quantity")
                    else None
                ),
                limit_px=_price(new, "limit_price", instrument.price_decimals),
                stop_px=_price(new, "stop_price", instrument.price_decimals),
            )
        except ValueError as error:
            rejected = oms_pb2.ReplaceRejected(
                client_order_id=new.client_order_id, reason=f"INVALID_ORDER: {error}"
            )
            return _report(replace_rejected=rejected)

    def write(self, event: Any) -> bytes:
        """Give the report of an event."""
        kind = type(event)
        if kind in _REASONED:
            name, message = _REASONED[kind]
            said = message(
                client_order_id=event.client_order_id,
                reason=event.reason,
                timestamp=event.ts_event,
            )
            return _report(**{name: said})
        if kind is OrderAccepted:
            accepted = oms_pb2.Accepted(
                client_order_id=event.client_order_id,
                venue_order_id=event.venue_order_id,
                timestamp=event.ts_event,
            )
            return _report(accepted=accepted)
        if kind is OrderFilled:
            return _report(executed=self._executed(event))
        if kind is OrderReplaced:
            return _report(replaced=self._replaced(event))
        if kind is OrderNotFound:
            not_found = oms_pb2.NotFound(
                client_order_id=event.client_order_id, timestamp=event.ts_event
            )
            return _report(not_found=not_found)
        if kind is OrdersWorking:
            working = oms_pb2.Working(
                client_order_ids=event.client_order_ids, timestamp=event.ts_event
            )
            return _report(working=working)
        assert kind is QueryAnswered
        return _report(query_done=oms_pb2.QueryDone(client_order_id=event.client_order_id))

    def _executed(self, fill: OrderFilled) -> oms_pb2.Executed:
        instrument = self._instruments[fill.symbol]
        return oms_pb2.Executed(
            client_order_id=fill.client_order_id,
            exec_id=fill.exec_id,
            last_quantity=format_units(abs(fill.signed_qty), instrument.quantity_decimals),
            last_price=format_units(fill.last_px, instrument.price_decimals),
            commission=format_units(fill.commission, CASH_DECIMALS),
            liquidity=LIQUIDITIES[fill.liquidity],
            timestamp=fill.ts_event,
        )

    def _replaced(self, event: OrderReplaced) -> oms_pb2.Replaced:
        instrument = self._instrument(event.client_order_id)
        decimals = instrument.price_decimals
        return oms_pb2.Replaced(
            client_order_id=event.client_order_id,
            quantity=format_units(event.order_qty, instrument.quantity_decimals),
            limit_price=None if event.limit_px is None else format_units(event.limit_px, decimals),
            stop_price=None if event.stop_px is None else format_units(event.stop_px, decimals),
            timestamp=event.ts_event,
        )


_REASONED: Mapping[type, tuple[str, Any]] = {
    OrderRejected: ("rejected", oms_pb2.Rejected),
    OrderCanceled: ("canceled", oms_pb2.Canceled),
    OrderExpired: ("expired", oms_pb2.Expired),
    CancelRejected: ("cancel_rejected", oms_pb2.CancelRejected),
    ReplaceRejected: ("replace_rejected", oms_pb2.ReplaceRejected),
}


def _report(**fields: Any) -> bytes:
    return oms_pb2.Report(**fields).SerializeToString()


def _named(field: str, text: str) -> str:
    if not text:
        raise ValueError(f"{field} is empty")
    return text


def _member(field: str, number: int, members: Mapping[int, Any]) -> Any:
    if number not in members:
        raise ValueError(f"{field} {number} is none of tetrad.oms.v1")
    return members[number]


def _expiry(new: oms_pb2.NewOrder) -> int | None:
    if new.HasField("expire_timestamp"):
        return new.expire_timestamp
    if new.time_in_force == oms_pb2.TIME_IN_FORCE_GTD:
        raise ValueError("a GTD order without expire_timestamp")
    return None


def _price(message: Any, field: str, decimals: int) -> int | None:
    return units(getattr(message, field), decimals) if message.HasField(field) else None
