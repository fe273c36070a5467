"""A gateway with links, spoken: everything an order of ours can say, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from adapters.http.calls import Answer, Call, Line
from adapters.http.plain import execute_of, left_open
from adapters.http.wire import (
    EXECUTE,
    REPORT,
    UNREADABLE,
    CancelBody,
    Executed,
    QueryBody,
    ReplaceBody,
    Working,
    encode,
    reason_of,
)
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import CancelRejected, OrderRejected, OrdersWorking, ReplaceRejected
from engine.domain.instruments import Instrument
from engine.domain.money import format_units
from engine.domain.orders import Liquidity, Order
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

__all__ = ["ExtendedDialect"]

_LIQUIDITIES = {each.value: each for each in Liquidity}
_REFUSED = {"order": OrderRejected, "cancel": CancelRejected, "replace": ReplaceRejected}


class ExtendedDialect:
    """``POST /internal/execute`` with the fields of ours, and the requests of a link.

    Args:
        table: the orders of the link.
        sessions: the gateway's session by strategy; one of the strategy's own name otherwise.
        price_of: gives the latest price of a symbol in price units, which an order without a
            limit price goes with.
    """

    def __init__(
        self,
        table: OrderTable,
        sessions: Mapping[str, str],
        price_of: Callable[[str], int | None],
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._price_of = price_of

    def encode(self, request: Request, sent: SentOrder | None) -> Call:
        """Give the call of any request.

        Raises:
            UnsendableError: it is about an order that is not known here; query it first.
        """
        if isinstance(request, ListWorking):
            return Call("working", "", "/working", b"{}")
        if sent is None:
            raise UnsendableError("UNKNOWN_ORDER")
        if isinstance(request, Order):
            return self._order(request, sent)
        order_id = sent.order.client_order_id
        if isinstance(request, CancelOrder):
            body = CancelBody(
                client_order_id=order_id, strategy_id=request.strategy_id, timestamp=request.ts_init
            )
            return Call("cancel", order_id, "/cancel", encode(body))
        if isinstance(request, ReplaceOrder):
            change = _replace(request, sent.instrument)
            return Call("replace", order_id, "/replace", encode(change))
        return Call("query", order_id, "/query", encode(QueryBody(client_order_id=order_id)))

    def _order(self, order: Order, sent: SentOrder) -> Call:
        decimals = sent.instrument.price_decimals
        price = order.limit_px if order.limit_px is not None else self._price_of(order.symbol)
        body = msgspec.structs.replace(
            execute_of(order, sent, self._sessions, price),
            order_type=order.order_type.name,
            time_in_force=order.time_in_force.name,
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
        return Call("order", order.client_order_id, EXECUTE, encode(body))

    def read(self, said: Answer | Line, now: int) -> Reading:
        """Read a line of reports, or what a call came to."""
        return self._line(said.raw, now) if isinstance(said, Line) else self._answer(said, now)

    def _answer(self, answer: Answer, now: int) -> Reading:
        """A call that the gateway has taken is answered by reports; any other by its status."""
        if answer.is_done:
            return []
        call = answer.call
        reason = reason_of(answer.status, answer.body)
        if call.about == "working":
            refused = OrdersWorking(client_order_ids=(), refused=reason, ts_event=now)
            return [(None, refused)]
        sent = self._table.get(call.order_id)
        refusal = _REFUSED.get(call.about)
        if sent is None or refusal is None or not answer.is_refused:
            return [(sent, left_open(answer))]
        return [(sent, refusal(call.order_id, reason, now))]

    def _line(self, raw: bytes, now: int) -> Reading:
        try:
            report = REPORT.decode(raw)
        except UNREADABLE as error:
            return [(None, Unreadable("UNPARSABLE", f"not a report: {error}"))]
        ts = report.timestamp if report.timestamp > 0 else now
        if isinstance(report, Working):
            working = tuple(report.client_order_ids)
            return [(None, OrdersWorking(client_order_ids=working, refused=None, ts_event=ts))]
        sent = self._table.get(report.client_order_id)
        if sent is None:
            detail = f"a report on {report.client_order_id[:50]!r}, which is no order of ours"
            return [(None, Unreadable("UNKNOWN_ORDER", detail))]
        liquidity = _LIQUIDITIES.get(report.liquidity) if isinstance(report, Executed) else None
        kind = str(report.__struct_config__.tag)
        return [(sent, read_report(kind, report, sent, ts, liquidity))]


def _text(number: int | None, decimals: int) -> str | None:
    return None if number is None else format_units(number, decimals)


def _replace(request: ReplaceOrder, instrument: Instrument) -> ReplaceBody:
    return ReplaceBody(
        client_order_id=request.client_order_id,
        strategy_id=request.strategy_id,
        quantity=_text(request.order_qty, instrument.quantity_decimals),
        limit_price=_text(request.limit_px, instrument.price_decimals),
        stop_price=_text(request.stop_px, instrument.price_decimals),
        timestamp=request.ts_init,
    )
