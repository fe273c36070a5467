"""``POST /internal/execute`` alone: what every gateway takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from adapters.http.calls import Answer, Call
from adapters.http.wire import EXECUTE, UNREADABLE, Execute, Outcome, encode, reason_of
from engine.domain.events import OrderAccepted, OrderRejected
from engine.domain.orders import Order
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
from engine.link.wire import number_units, words

__all__ = ["PlainDialect", "execute_of"]

_OUTCOME = msgspec.json.Decoder(Outcome)


def execute_of(
    order: Order, sent: SentOrder, sessions: Mapping[str, str], price: int | None
) -> Execute:
    """Give the ten fields that every gateway knows.

    Args:
        order: the order.
        sent: its scales.
        sessions: the gateway's session by strategy; one of the strategy's own name otherwise.
        price: in price units; None when nobody knows one.
    """
    instrument = sent.instrument
    qty = Decimal(order.order_qty).scaleb(-instrument.quantity_decimals)
    return Execute(
        session_id=sessions.get(order.strategy_id, order.strategy_id),
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        action=order.side.name,
        price=None if price is None else Decimal(price).scaleb(-instrument.price_decimals),
        qty=qty,
        quantity=qty,
        confidence=order.confidence,
        client_order_id=order.client_order_id,
    )


class PlainDialect:
    """The contract of every gateway; it answers with the order, and says nothing later.

    Args:
        sessions: see :func:`execute_of`.
        price_of: gives the latest price of a symbol in price units, which a market order goes
            with: the contract has a price and no type of order.
        table: the orders of the link.
        reduce_only: see ``gateway.reduce_only``.
    """

    def __init__(
        self,
        table: OrderTable,
        sessions: Mapping[str, str],
        price_of: Callable[[str], int | None],
        reduce_only: Literal["refuse", "plain"],
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._price_of = price_of
        self._reduce_only = reduce_only

    def encode(self, request: Request, sent: SentOrder | None) -> Call:
        """Give the call of an order; there is no other.

        Raises:
            UnsendableError: any other request, and an order that it cannot say.
        """
        order = plain_order(request, reduce_only=self._reduce_only)
        if sent is None:
            raise UnsendableError("UNKNOWN_ORDER")
        price = order.limit_px if order.limit_px is not None else self._price_of(order.symbol)
        body = encode(execute_of(order, sent, self._sessions, price))
        return Call("order", order.client_order_id, EXECUTE, body)

    def read(self, answer: Answer, now: int) -> Reading:
        """Read an answer; what is executed comes after the acceptance."""
        sent = self._table.get(answer.call.order_id)
        if sent is None:
            return [(None, Unreadable("UNKNOWN_ORDER", "an answer for an order that is forgotten"))]
        order_id = answer.call.order_id
        if answer.is_refused:
            return [(sent, OrderRejected(order_id, reason_of(answer.status, answer.body), now))]
        if not answer.is_done:
            return [(sent, left_open(answer))]
        try:
            outcome = _OUTCOME.decode(answer.body or b"{}")
        except UNREADABLE:
            outcome = Outcome()  # accepted is all that the contract promises
        accepted = OrderAccepted(order_id, words(outcome.order_id, order_id), now)
        try:
            return [(sent, accepted), *_executed(outcome, sent, now)]
        except ValueError as error:
            return [(sent, accepted), (sent, Unreadable("BAD_FILL", str(error)))]


def left_open(answer: Answer) -> Unreadable:
    """Say that nobody knows what became of a call."""
    text = answer.body.decode(errors="replace") if answer.status == 0 else ""
    return Unreadable(
        f"HTTP_{answer.status}" if answer.status else "NO_ANSWER",
        text or reason_of(answer.status, answer.body),
    )


def _executed(outcome: Outcome, sent: SentOrder, now: int) -> Reading:
    if not outcome.filled_qty:
        return []
    cum_qty = number_units(outcome.filled_qty, sent.instrument.quantity_decimals)
    price = outcome.filled_avg_price
    if price is None or cum_qty < 0:
        raise ValueError(f"filledQty {outcome.filled_qty} with filledAvgPrice {price}")
    fill = sent.totals.step(cum_qty, float(price), sent.order_qty, now)
    return [(sent, Received())] if fill is None else [(sent, fill)]
