"""Alpaca's REST shape, spoken: requests into calls, what was found out into events."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from adapters.alpaca.calls import Call, Found, Listed, Missing, Refused, Spoiled
from adapters.alpaca.wire import FillSaid, OrderSaid, plain_symbol, time_ns
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
    PricedBy,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.money import div_half_even, format_units
from engine.domain.orders import Liquidity, Order, OrderType, Side, TimeInForce
from engine.link.dialect import (
    ListWorking,
    OrderTable,
    QueryDone,
    Reading,
    Received,
    Request,
    SentOrder,
    Unreadable,
    UnsendableError,
)
from engine.link.wire import units, words

__all__ = ["AlpacaDialect", "Names"]

_NAMESPACE = uuid.UUID("5f1f3b7e-6c0c-5d0e-9a54-0f6b8f6e2c11")
_ID_MAX = 100  # of 128, so that a replacement's id fits too
_EXEC_ID_MAX = 200
_PRICE_DECIMALS = 9
_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}
_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
    OrderType.TRAILING_STOP: "trailing_stop",
}
_TIMES_IN_FORCE = {
    TimeInForce.DAY: "day",
    TimeInForce.GTC: "gtc",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.AT_THE_OPENING: "opg",
    TimeInForce.AT_THE_CLOSE: "cls",
}
_WORKING = frozenset(
    {
        "new", "accepted", "partially_filled", "done_for_day", "pending_cancel", "pending_replace",
        "replaced", "stopped", "suspended", "calculated", "held", "accepted_for_bidding",
        "pending_review",
    }
)  # fmt: skip
_AFTER_WORK = frozenset({"filled", "canceled", "expired"})
_REFUSED: Mapping[str, Callable[[str, str, int], Any]] = {
    "order": OrderRejected,
    "cancel": CancelRejected,
    "replace": ReplaceRejected,
}


class _WrongError(Exception):
    """What was said cannot be; ``args`` are the code and a sentence."""


class Names:
    """Our ids as client order ids there, unique in the account, and back.

    Args:
        client: the run, which its orders begin with; empty for none.
    """

    def __init__(self, client: str) -> None:
        self._prefix = f"{client}:" if client else ""

    def wire_id(self, client_order_id: str) -> str:
        """Give the id that stands for ours: a pure function, at most 100 characters."""
        name = f"{self._prefix}{client_order_id}"
        if len(name) <= _ID_MAX and name.isascii() and name.isprintable() and "~" not in name:
            return name
        return str(uuid.uuid5(_NAMESPACE, name))

    def own(self, wire_id: str) -> str:
        """Give our id back where it can be told from the other; else what it stands for there."""
        return wire_id.removeprefix(self._prefix)


class AlpacaDialect:
    """``/v2/orders`` and ``/v2/account/activities``.

    Args:
        table: the orders of the link.
        names: our ids there.
        reduce_only: see ``alpaca.reduce_only``.
    """

    def __init__(
        self, table: OrderTable, names: Names, reduce_only: Literal["refuse", "plain"]
    ) -> None:
        self._table = table
        self._names = names
        self._refuses_reduce_only = reduce_only == "refuse"
        self._readers: Mapping[type, Callable[[Any, int], Reading]] = {
            Found: self._found,
            Missing: self._missing,
            Refused: self._refused,
            Listed: self._listed,
            Spoiled: self._spoiled,
        }

    def encode(self, request: Request, sent: SentOrder | None) -> Call:
        """Give the call of any request.

        Raises:
            UnsendableError: the broker has no word for it, or it is about an order that is not
                known here; query it first.
        """
        if isinstance(request, ListWorking):
            return Call("list", "", {})
        if sent is None:
            raise UnsendableError("UNKNOWN_ORDER")
        wire_id = self._names.wire_id(sent.order.client_order_id)
        if isinstance(request, Order):
            self._refuse_what_is_lacking(request)
            return Call("order", wire_id, _order_fields(request, sent.instrument, wire_id))
        if isinstance(request, CancelOrder):
            return Call("cancel", wire_id, {})
        if isinstance(request, ReplaceOrder):
            return Call("replace", wire_id, _replace_fields(request, sent, wire_id))
        return Call("query", wire_id, {})

    def _refuse_what_is_lacking(self, order: Order) -> None:
        if order.parent_id is not None or order.group_id is not None:
            raise UnsendableError("VENUE_LACKS_LINKED_ORDERS")
        if order.reduce_only and self._refuses_reduce_only:
            raise UnsendableError("VENUE_LACKS_REDUCE_ONLY")
        if order.time_in_force not in _TIMES_IN_FORCE:
            raise UnsendableError("VENUE_LACKS_TIME_IN_FORCE")
        if order.order_type is OrderType.TRAILING_STOP and order.stop_px is not None:
            raise UnsendableError("VENUE_LACKS_FIRST_STOP_PRICE")

    def read(self, said: Any, now: int) -> Reading:
        """Read what a session has found out."""
        return self._readers[type(said)](said, now)

    def _missing(self, said: Missing, now: int) -> Reading:
        sent = self._table.by_wire_id(said.wire_id)
        if sent is None:
            return []
        order_id = sent.order.client_order_id
        return [(sent, OrderNotFound(client_order_id=order_id, ts_event=now))]

    def _refused(self, said: Refused, now: int) -> Reading:
        sent = self._table.by_wire_id(said.wire_id)
        if sent is None:
            return []
        make = _REFUSED[said.about]
        return [(sent, make(sent.order.client_order_id, words(said.reason, "REJECTED"), now))]

    def _listed(self, said: Listed, now: int) -> Reading:
        ours = []
        for wire_id in said.wire_ids:
            sent = self._table.by_wire_id(wire_id)
            ours.append(self._names.own(wire_id) if sent is None else sent.order.client_order_id)
        working = OrdersWorking(client_order_ids=tuple(ours), refused=None, ts_event=now)
        return [(None, working)]

    def _spoiled(self, said: Spoiled, now: int) -> Reading:
        sent = self._table.by_wire_id(said.wire_id)
        return [(sent, Unreadable(said.code, said.detail))]

    def _found(self, said: Found, now: int) -> Reading:
        sent = self._table.by_wire_id(said.wire_id)
        if sent is None:
            return []  # it ended so long ago that nobody waits for word of it
        try:
            return _reading(said, sent, now)
        except _WrongError as error:
            return [(sent, Unreadable(*error.args))]


def _order_fields(order: Order, instrument: Instrument, wire_id: str) -> dict[str, str]:
    decimals = instrument.price_decimals
    fields = {
        "client_order_id": wire_id,
        "symbol": order.symbol,
        "qty": format_units(order.order_qty, instrument.quantity_decimals),
        "side": _SIDES[order.side],
        "type": _TYPES[order.order_type],
        "time_in_force": _TIMES_IN_FORCE[order.time_in_force],
    }
    if order.limit_px is not None:
        fields["limit_price"] = format_units(order.limit_px, decimals)
    if order.stop_px is not None:
        fields["stop_price"] = format_units(order.stop_px, decimals)
    if order.trail_px is not None:
        fields["trail_price"] = format_units(order.trail_px, decimals)
    if order.trail_bps is not None:
        fields["trail_percent"] = format_units(order.trail_bps, 2)
    return fields


def _replace_fields(replace: ReplaceOrder, sent: SentOrder, wire_id: str) -> dict[str, str]:
    """Give the fields; the id is the order's and the moment, so it leads back to the order."""
    instrument = sent.instrument
    if replace.stop_px is not None and sent.order.order_type is OrderType.TRAILING_STOP:
        raise UnsendableError("VENUE_LACKS_FIRST_STOP_PRICE")
    fields = {"client_order_id": f"{wire_id}~{replace.ts_init}"}
    if replace.order_qty is not None:
        fields["qty"] = format_units(replace.order_qty, instrument.quantity_decimals)
    if replace.limit_px is not None:
        fields["limit_price"] = format_units(replace.limit_px, instrument.price_decimals)
    if replace.stop_px is not None:
        fields["stop_price"] = format_units(replace.stop_px, instrument.price_decimals)
    return fields


def _reading(said: Found, sent: SentOrder, now: int) -> Reading:
    """Give what the forms and executions of an order say, in the order in which it came to be."""
    first, last = said.chain[0], said.chain[-1]
    order_qty = _same_order(said.chain, sent)
    order_id = sent.order.client_order_id
    reading: Reading = []
    if last.status in _WORKING or last.status in _AFTER_WORK or said.is_replaced:
        since = time_ns(first.submitted_at or first.created_at, now)
        reading.append((sent, OrderAccepted(order_id, words(first.id, order_id), since)))
    if said.is_replaced:
        reading.append((sent, _replaced(last, sent, order_qty, now)))
    cum_qty = _read_fills(said.fills, sent, order_qty, now, reading)
    if not said.is_whole:
        detail = f"order {first.id[:50]!r} has filled more than its {len(said.fills)} executions"
        return [*reading, (sent, Unreadable("EXECUTIONS_MISSING", detail))]
    if last.status == "filled" and cum_qty < order_qty:
        detail = f"filled with {cum_qty} of {order_qty} quantity units"
        return [*reading, (sent, Unreadable("FILLED_SHORT", detail))]
    reading.append((sent, _outcome(last, sent, said.cancel_asked, now)))
    if said.was_asked:
        reading.append((sent, QueryDone()))
    return reading


def _same_order(chain: tuple[OrderSaid, ...], sent: SentOrder) -> int:
    """See that it is the order that was sent; give its quantity now, in quantity units."""
    order, first, last = sent.order, chain[0], chain[-1]
    decimals = sent.instrument.quantity_decimals
    filled = [_qty("filled_qty", form.filled_qty, decimals) for form in chain[:-1]]
    order_qty = sum(filled) + _above_zero("qty", _qty("qty", last.qty, decimals))
    is_same = plain_symbol(first.symbol) == plain_symbol(order.symbol)
    is_same = is_same and first.side == _SIDES[order.side]
    if not is_same or (len(chain) == 1 and order_qty != order.order_qty):
        there = f"{first.client_order_id!r} is {first.side} {first.qty} {first.symbol}"[:200]
        raise _WrongError(
            "OTHER_ORDER",
            f"{there} there, and {order.side.lower()} {order.order_qty} units of {order.symbol} "
            "here: another run has had the id; give this one a name of its own",
        )
    return order_qty


def _replaced(last: OrderSaid, sent: SentOrder, order_qty: int, now: int) -> OrderReplaced:
    decimals = sent.instrument.price_decimals

    def price(name: str, text: str | None) -> int | None:
        return None if text is None else _price(name, text, decimals)

    is_trailing = sent.order.order_type is OrderType.TRAILING_STOP
    return OrderReplaced(
        sent.order.client_order_id,
        order_qty,
        price("limit_price", last.limit_price),
        None if is_trailing else price("stop_price", last.stop_price),
        time_ns(last.submitted_at or last.created_at, now),
    )


def _read_fills(
    fills: tuple[FillSaid, ...], sent: SentOrder, order_qty: int, now: int, reading: Reading
) -> int:
    """Append executions, what is wrong with one in its place; give what has filled in all."""
    cum_qty = sent.cum_qty
    for said in fills:
        try:
            fill = _filled(said, sent, order_qty, cum_qty, now)
        except _WrongError as error:
            reading.append((sent, Unreadable(*error.args)))
            continue
        if said.id not in sent.fills:
            cum_qty = fill.cum_qty
        reading.append((sent, fill))
    return cum_qty


def _filled(said: FillSaid, sent: SentOrder, order_qty: int, cum_qty: int, now: int) -> OrderFilled:
    """Read an execution; one that is known comes out as it was.

    Its price is rounded half to even to the instrument's unit: a broker fills between ticks.
    """
    order, instrument = sent.order, sent.instrument
    if not 0 < len(said.id) <= _EXEC_ID_MAX:
        raise _WrongError("BAD_EXEC_ID", f"an execution id of {len(said.id)} characters")
    is_same = plain_symbol(said.symbol) == plain_symbol(order.symbol)
    if not is_same or not said.side.startswith(_SIDES[order.side]):
        what = f"{said.side[:20]} {said.symbol[:20]}"
        raise _WrongError("OTHER_ORDER", f"execution {said.id} is {what}, its order is not")
    qty = _above_zero("qty", _qty("qty", said.qty, instrument.quantity_decimals))
    px = _rounded("price", said.price, instrument.price_decimals)
    known = sent.fills.get(said.id)
    if known is not None:
        if (abs(known.signed_qty), known.last_px) != (qty, px):
            raise _WrongError("CHANGED_EXECUTION", f"{said.id} was another one before")
        return known
    ts = time_ns(said.transaction_time, now)
    return OrderFilled(
        client_order_id=order.client_order_id,
        exec_id=said.id,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        signed_qty=order.side.sign * qty,
        last_px=px,
        cum_qty=cum_qty + qty,
        leaves_qty=max(order_qty - cum_qty - qty, 0),
        commission=0,
        slippage=0,
        liquidity=Liquidity.TAKER,
        ts_event=ts,
        priced_by=PricedBy.REPORT,
        datum_seq=-1,
        datum_ts=ts,
    )


def _outcome(last: OrderSaid, sent: SentOrder, cancel_asked: bool, now: int) -> Any:
    """Give what is left to say of the last form's status."""
    order_id = sent.order.client_order_id
    status = last.status
    if status == "canceled":
        reason = "USER" if cancel_asked else "VENUE"
        return OrderCanceled(order_id, reason, time_ns(last.canceled_at, now))
    if status == "expired":
        return OrderExpired(order_id, "VENUE", time_ns(last.expired_at, now))
    if status == "rejected":
        return OrderRejected(order_id, "REJECTED", time_ns(last.failed_at, now))
    if status in _WORKING or status in ("filled", "pending_new"):
        return Received()
    return Unreadable("BAD_STATUS", f"status {status[:50]!r} is none of the broker's")


def _qty(name: str, text: str | None, decimals: int) -> int:
    try:
        return units(text or "", decimals)
    except ValueError as error:
        raise _WrongError("BAD_QUANTITY", f"{name}: {error}") from None


def _above_zero(name: str, number: int) -> int:
    if number <= 0:
        raise _WrongError("BAD_QUANTITY", f"{name} is {number} quantity units, not above 0")
    return number


def _price(name: str, text: str, decimals: int) -> int:
    try:
        number = units(text, decimals)
    except ValueError as error:
        raise _WrongError("BAD_PRICE", f"{name}: {error}") from None
    if number <= 0:
        raise _WrongError("BAD_PRICE", f"{name} {text[:50]} is not above 0")
    return number


def _rounded(name: str, text: str, decimals: int) -> int:
    """Read a price in the instrument's unit, rounding half to even what is finer."""
    try:
        fine = units(text, max(_PRICE_DECIMALS, decimals))
    except ValueError as error:
        raise _WrongError("BAD_PRICE", f"{name}: {error}") from None
    number = div_half_even(fine, 10 ** max(_PRICE_DECIMALS - decimals, 0))
    if number <= 0:
        raise _WrongError("BAD_PRICE", f"{name} {text[:50]} is not above 0")
    return number
