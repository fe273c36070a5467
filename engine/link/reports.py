"""Reports on orders as a venue words them, read into events of the domain.

Every service of ours says the same of an order; the messages differ in how they are packed. Prices,
quantities and commissions are decimal text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    PricedBy,
    ReplaceRejected,
)
from engine.domain.money import CASH_DECIMALS
from engine.domain.orders import Liquidity
from engine.link.dialect import QueryDone, SentOrder, Unreadable
from engine.link.wire import units, words

__all__ = ["read_report"]

_EXEC_ID_MAX = 200

# Reports that are a client order id, a reason and a time.
_REASONED: Mapping[str, tuple[Callable[[str, str, int], Any], str]] = {
    "rejected": (OrderRejected, "REJECTED"),
    "canceled": (OrderCanceled, "VENUE"),
    "expired": (OrderExpired, "VENUE"),
    "cancel_rejected": (CancelRejected, "REJECTED"),
    "replace_rejected": (ReplaceRejected, "REJECTED"),
}


class _WrongError(Exception):
    """A field of a report cannot be; ``args`` are the code and a sentence."""


def read_report(
    kind: str, said: Any, sent: SentOrder, ts: int, liquidity: Liquidity | None = None
) -> Any:
    """Read a report; an execution that is known comes out as it was.

    Args:
        kind: which report: ``accepted``, ``rejected``, ``executed``, ``canceled``, ``expired``,
            ``replaced``, ``cancel_rejected``, ``replace_rejected``, ``not_found``, ``query_done``.
        said: the message, with the fields of ``tetrad.oms.v1`` as attributes; a price that is not
            given is empty or None.
        sent: the order.
        ts: time of the report, UTC nanoseconds.
        liquidity: of an execution.

    Returns:
        An event, ``QueryDone``, or ``Unreadable`` when a field cannot be.
    """
    order_id = sent.order.client_order_id
    if kind in _REASONED:
        make, otherwise = _REASONED[kind]
        return make(order_id, words(said.reason, otherwise), ts)
    if kind == "accepted":
        return OrderAccepted(order_id, words(said.venue_order_id, order_id), ts)
    if kind == "not_found":
        return OrderNotFound(client_order_id=order_id, ts_event=ts)
    if kind == "query_done":
        return QueryDone()
    try:
        if kind == "replaced":
            return _replaced(said, sent, ts)
        return _filled(said, sent, ts, liquidity)
    except _WrongError as error:
        return Unreadable(*error.args)


def _positive(code: str, name: str, text: str, decimals: int) -> int:
    try:
        number = units(text, decimals)
    except ValueError as error:
        raise _WrongError(code, f"{name}: {error}") from None
    if number <= 0:
        raise _WrongError(code, f"{name} {text[:50]} is not above 0")
    return number


def _filled(said: Any, sent: SentOrder, ts: int, liquidity: Liquidity | None) -> OrderFilled:
    order, instrument = sent.order, sent.instrument
    if not 0 < len(said.exec_id) <= _EXEC_ID_MAX:
        raise _WrongError("BAD_EXEC_ID", f"an execution id of {len(said.exec_id)} characters")
    qty = _positive(
        "BAD_QUANTITY", "last_quantity", said.last_quantity, instrument.quantity_decimals
    )
    px = _positive("BAD_PRICE", "last_price", said.last_price, instrument.price_decimals)
    if liquidity is None:
        raise _WrongError("BAD_LIQUIDITY", f"liquidity {said.liquidity} is neither of the two")
    try:
        commission = units(said.commission, CASH_DECIMALS)
    except ValueError as error:
        raise _WrongError("BAD_COMMISSION", f"commission: {error}") from None
    known = sent.fills.get(said.exec_id)
    if known is not None:
        if (abs(known.signed_qty), known.last_px, known.commission) != (qty, px, commission):
            raise _WrongError("CHANGED_EXECUTION", f"{said.exec_id} was another one before")
        return known
    return OrderFilled(
        client_order_id=order.client_order_id,
        exec_id=said.exec_id,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        signed_qty=order.side.sign * qty,
        last_px=px,
        cum_qty=sent.cum_qty + qty,
        leaves_qty=max(sent.order_qty - sent.cum_qty - qty, 0),
        commission=commission,
        slippage=0,
        liquidity=liquidity,
        ts_event=ts,
        priced_by=PricedBy.REPORT,
        datum_seq=-1,
        datum_ts=ts,
    )


def _replaced(said: Any, sent: SentOrder, ts: int) -> OrderReplaced:
    instrument = sent.instrument

    def price(name: str, text: str | None) -> int | None:
        return _positive("BAD_PRICE", name, text, instrument.price_decimals) if text else None

    return OrderReplaced(
        sent.order.client_order_id,
        _positive("BAD_QUANTITY", "quantity", said.quantity, instrument.quantity_decimals),
        price("limit_price", said.limit_price),
        price("stop_price", said.stop_price),
        ts,
    )
