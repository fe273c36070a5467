"""The gateway's side of the wire: requests read, reports written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import msgspec

from adapters.http import wire
from engine.domain.clients import QueryAnswered
from engine.domain.commands import ReplaceOrder
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
from engine.domain.gateway import AskedOrder, GatewayOrder
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_DECIMALS, format_units
from engine.domain.orders import Order, OrderType, Side, TimeInForce
from engine.link.wire import number_units, units

__all__ = ["MalformedError", "Writer", "outcome_of"]

_Member = TypeVar("_Member", bound=Enum)
_ID_MAX = 200
# Prices and quantities of a symbol that is not traded: it is refused by name, so any scale will do
# that reads what was sent.
_ANY = Instrument(symbol="", price_decimals=9, quantity_decimals=8)
_EXECUTE = msgspec.json.Decoder(wire.Execute)
_REPLACE = msgspec.json.Decoder(wire.ReplaceBody)
_WORDED: Mapping[type, Callable[..., wire.Report]] = {
    OrderRejected: wire.Rejected,
    OrderCanceled: wire.Canceled,
    OrderExpired: wire.Expired,
    CancelRejected: wire.CancelRejected,
    ReplaceRejected: wire.ReplaceRejected,
}


class MalformedError(Exception):
    """A request that is none; the message says what is wrong with it."""


class Writer:
    """Reads what clients ask, and words what they are told.

    Args:
        instruments: what can be traded, by symbol.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._symbols: dict[str, str] = {}

    def recall(self, order: Order) -> None:
        """Take in an order: what is said of it is written by its symbol."""
        self._symbols.setdefault(order.client_order_id, order.symbol)

    def order(self, body: bytes, key: str) -> AskedOrder:
        """Read an order.

        Args:
            body: JSON.
            key: the header ``Idempotency-Key``; empty when there was none.

        Raises:
            MalformedError: it is none, or says what cannot be.
        """
        try:
            asked = _EXECUTE.decode(body)
            return self._order(asked, key)
        except (*wire.UNREADABLE, ValueError) as error:
            raise MalformedError(f"INVALID_ORDER: {error}") from None

    def _order(self, asked: wire.Execute, key: str) -> AskedOrder:
        order_id = asked.client_order_id or key
        if not order_id or key not in ("", order_id):
            raise ValueError("Idempotency-Key and clientOrderId are to be the same, and not empty")
        if len(order_id) > _ID_MAX:
            raise ValueError(f"clientOrderId has more than {_ID_MAX} characters")
        if None not in (asked.qty, asked.quantity) and asked.qty != asked.quantity:
            raise ValueError(f"qty {asked.qty} is not quantity {asked.quantity}")
        qty = asked.qty if asked.quantity is None else asked.quantity
        if qty is None:
            raise ValueError("qty is missing")
        if asked.confidence is not None and not 0 <= asked.confidence <= 1:
            raise ValueError("confidence is to be from 0 to 1")
        instrument = self._instruments.get(asked.symbol, _ANY)
        decimals = instrument.price_decimals
        limit_px, stop_px = _price(asked.limit_price, decimals), _price(asked.stop_price, decimals)
        px = None if asked.price is None else number_units(asked.price, decimals)
        order_type = _order_type(asked)
        if order_type is OrderType.LIMIT and limit_px is None:
            limit_px = px
        at_stake = limit_px or stop_px or px
        if at_stake is None or at_stake <= 0:
            raise ValueError("price is missing: an order without a limit is judged by the last one")
        order_qty = number_units(qty, instrument.quantity_decimals)
        if order_qty <= 0:
            raise ValueError(f"qty {qty} is not above 0")
        order = Order(
            client_order_id=order_id,
            strategy_id=asked.strategy_id or asked.session_id,
            symbol=asked.symbol,
            side=_member("action", asked.action, Side),
            order_type=order_type,
            order_qty=order_qty,
            ts_init=asked.timestamp,
            time_in_force=_member("timeInForce", asked.time_in_force or "GTC", TimeInForce),
            limit_px=limit_px,
            stop_px=stop_px,
            trail_px=_price(asked.trail_distance, decimals),
            trail_bps=asked.trail_bps,
            expire_ts=asked.expire_timestamp,
            reduce_only=asked.reduce_only,
            parent_id=asked.parent_id,
            group_id=asked.group_id,
            confidence=asked.confidence,
        )
        if order.time_in_force is TimeInForce.GTD and order.expire_ts is None:
            raise ValueError("a GTD order without expireTimestamp")
        return AskedOrder(session_id=asked.session_id, order=order, px=at_stake)

    def replacement(self, body: bytes) -> ReplaceOrder:
        """Read a change of an order.

        Raises:
            MalformedError: it is none, or says what cannot be.
        """
        try:
            asked = _REPLACE.decode(body)
            symbol = self._symbols.get(asked.client_order_id, "")
            instrument = self._instruments.get(symbol, _ANY)
            decimals = instrument.price_decimals
            quantity = asked.quantity
            return ReplaceOrder(
                client_order_id=asked.client_order_id,
                strategy_id=asked.strategy_id,
                ts_init=asked.timestamp,
                order_qty=_price(quantity, instrument.quantity_decimals),
                limit_px=_price(asked.limit_price, decimals),
                stop_px=_price(asked.stop_price, decimals),
            )
        except (*wire.UNREADABLE, ValueError) as error:
            raise MalformedError(f"INVALID_ORDER: {error}") from None

    def line(self, event: Any) -> bytes:
        """Give the line of what the desk says."""
        return wire.encode(self._report(event)) + b"\n"

    def _report(self, event: Any) -> wire.Report:
        kind = type(event)
        if kind is OrdersWorking:
            return wire.Working(client_order_ids=event.client_order_ids, timestamp=event.ts_event)
        order_id = event.client_order_id
        if kind is QueryAnswered:
            return wire.QueryDone(client_order_id=order_id)
        ts = event.ts_event
        if kind is OrderFilled:
            return self._executed(event)
        if kind is OrderAccepted:
            return wire.Accepted(
                client_order_id=order_id, venue_order_id=event.venue_order_id, timestamp=ts
            )
        if kind is OrderReplaced:
            return self._replaced(event)
        if kind is OrderNotFound:
            return wire.NotFound(client_order_id=order_id, timestamp=ts)
        return _WORDED[kind](client_order_id=order_id, reason=event.reason, timestamp=ts)

    def _executed(self, fill: OrderFilled) -> wire.Executed:
        instrument = self._instruments[fill.symbol]
        return wire.Executed(
            client_order_id=fill.client_order_id,
            exec_id=fill.exec_id,
            last_quantity=format_units(abs(fill.signed_qty), instrument.quantity_decimals),
            last_price=format_units(fill.last_px, instrument.price_decimals),
            commission=format_units(fill.commission, CASH_DECIMALS),
            liquidity=fill.liquidity.value,
            timestamp=fill.ts_event,
        )

    def _replaced(self, event: OrderReplaced) -> wire.Replaced:
        symbol = self._symbols.get(event.client_order_id, "")
        instrument = self._instruments.get(symbol, _ANY)
        decimals = instrument.price_decimals
        return wire.Replaced(
            client_order_id=event.client_order_id,
            quantity=format_units(event.order_qty, instrument.quantity_decimals),
            limit_price=None if event.limit_px is None else format_units(event.limit_px, decimals),
            stop_price=None if event.stop_px is None else format_units(event.stop_px, decimals),
            timestamp=event.ts_event,
        )


def outcome_of(order: GatewayOrder, instrument: Instrument) -> wire.Outcome:
    """Say what has become of an order; the average price is rounded half to even, 12 digits."""
    average = None
    if order.filled_qty:
        value = Decimal(order.filled_cost).scaleb(-CASH_DECIMALS)
        quantity = Decimal(order.filled_qty).scaleb(-instrument.quantity_decimals)
        average = round(value / quantity / instrument.multiplier, 12).normalize()
    return wire.Outcome(
        client_order_id=order.client_order_id,
        status=order.status,
        order_id=order.venue_order_id,
        filled_qty=Decimal(order.filled_qty).scaleb(-instrument.quantity_decimals),
        filled_avg_price=average,
    )


def _order_type(asked: wire.Execute) -> OrderType:
    """Nothing said is LIMIT at the price: what the contract of every gateway means."""
    return _member("orderType", asked.order_type or "LIMIT", OrderType)


def _member(field: str, name: str, members: type[_Member]) -> _Member:
    try:
        return members[name.upper()]
    except KeyError:
        known = ", ".join(members.__members__)
        raise ValueError(f"{field} {name[:50]!r} is none of {known}") from None


def _price(text: str | None, decimals: int) -> int | None:
    return None if text is None else units(text, decimals)
