"""The desk of the reference Order Management System: between clients and the simulated venue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.domain.clients import (
    ClientGone,
    FromClient,
    ListOrders,
    QueryAnswered,
    QueryOrder,
)
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
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.order_shape import shape_error
from engine.domain.orders import Order
from engine.runtime.actor import Actor, Handler

__all__ = ["OmsDesk"]

Deliver = Callable[[int, Any], None]
"""Carries a report to a client: ``(session, report)``; never waits and never raises."""

_ENDS = (OrderCanceled, OrderExpired, OrderRejected)


class Placed:
    """An order at the desk: what was said of it, and who hears the rest."""

    __slots__ = ("history", "is_open", "order", "session")

    def __init__(self, order: Order, session: int) -> None:
        self.order = order
        self.session: int | None = session
        self.history: list[Any] = []
        self.is_open = True


class OmsDesk(Actor):
    """Takes orders of clients, each client order id once, and reports to whoever asked last.

    An id that comes again is answered with the reports so far. Requests are stamped with the time
    of the venue when they arrive: a client's clock is its own.

    Args:
        name: actor name.
        venue: actor name of the venue.
        instruments: what is traded, by symbol.
        deliver: carries a report to a client.
        keep_closed: how many closed orders stay known.
        keep: keeps what is reported on orders, before anybody is told; None when nobody does.
    """

    def __init__(
        self,
        name: str,
        *,
        venue: str,
        instruments: Mapping[str, Instrument],
        deliver: Deliver,
        keep_closed: int,
        keep: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(name)
        self._keep = keep
        self._venue = venue
        self._instruments = instruments
        self._deliver = deliver
        self._keep_closed = keep_closed
        self._orders: dict[str, Placed] = {}
        self._closed: deque[str] = deque()
        self._requests: Mapping[type, Callable[[int, Any], None]] = {
            Order: self._place,
            CancelOrder: self._cancel,
            ReplaceOrder: self._replace,
            QueryOrder: self._answer,
            ListOrders: self._list,
        }

    def handlers(self) -> Mapping[type, Handler]:
        """Handle clients' requests and the venue's reports."""
        reports = (
            *_ENDS,
            OrderAccepted,
            OrderFilled,
            OrderReplaced,
            CancelRejected,
            ReplaceRejected,
        )
        return {
            FromClient: self.on_request,
            ClientGone: self.on_client_gone,
            **dict.fromkeys(reports, self.on_report),
            **dict.fromkeys((Bar, Trade, Quote), self.on_market),
        }

    def on_market(self, event: MarketEvent) -> None:
        """Do nothing: the venue watches what it needs; the route brings prices into the cell."""

    def on_request(self, asked: FromClient) -> None:
        """Handle what a client asks."""
        self._requests[type(asked.request)](asked.session, asked.request)

    def on_client_gone(self, gone: ClientGone) -> None:
        """Say nothing more to a client; its orders work on."""
        for placed in self._orders.values():
            if placed.session == gone.session:
                placed.session = None

    def _place(self, session: int, order: Order) -> None:
        order_id = order.client_order_id
        placed = self._orders.get(order_id)
        if placed is not None:
            placed.session = session
            for event in placed.history:
                self._deliver(session, event)
            return
        now = self.ctx.now
        self._orders[order_id] = Placed(order, session)
        instrument = self._instruments.get(order.symbol)
        wrong = None if instrument is None else shape_error(order, instrument)
        if wrong is not None:
            self.on_report(OrderRejected(order_id, wrong.name, now))
            return
        self.ctx.send(self._venue, msgspec.structs.replace(order, ts_init=now))

    def _cancel(self, session: int, cancel: CancelOrder) -> None:
        placed = self._orders.get(cancel.client_order_id)
        if placed is None:
            rejected = CancelRejected(cancel.client_order_id, "UNKNOWN_ORDER", self.ctx.now)
            self._deliver(session, rejected)
            return
        placed.session = session
        self.ctx.send(self._venue, msgspec.structs.replace(cancel, ts_init=self.ctx.now))

    def _replace(self, session: int, replace: ReplaceOrder) -> None:
        order_id, now = replace.client_order_id, self.ctx.now
        placed = self._orders.get(order_id)
        if placed is None:
            self._deliver(session, ReplaceRejected(order_id, "UNKNOWN_ORDER", now))
            return
        placed.session = session
        instrument = self._instruments.get(placed.order.symbol)
        changes = {
            name: value
            for name in ("order_qty", "limit_px", "stop_px")
            if (value := getattr(replace, name)) is not None
        }
        changed = msgspec.structs.replace(placed.order, **changes)
        wrong = None if instrument is None else shape_error(changed, instrument)
        if wrong is not None:
            self.on_report(ReplaceRejected(order_id, wrong.name, now))
            return
        self.ctx.send(self._venue, msgspec.structs.replace(replace, ts_init=now))

    def _answer(self, session: int, query: QueryOrder) -> None:
        order_id = query.client_order_id
        placed = self._orders.get(order_id)
        if placed is None:
            not_found = OrderNotFound(client_order_id=order_id, ts_event=self.ctx.now)
            self._deliver(session, not_found)
            return
        placed.session = session
        for event in placed.history:
            self._deliver(session, event)
        self._deliver(session, QueryAnswered(order_id))

    def _list(self, session: int, request: ListOrders) -> None:
        working = tuple(order_id for order_id, each in self._orders.items() if each.is_open)
        answer = OrdersWorking(client_order_ids=working, refused=None, ts_event=self.ctx.now)
        self._deliver(session, answer)

    def on_report(self, report: Any) -> None:
        """Keep a report of the venue, and pass it on.

        Refused cancels and replacements are passed on only: they change nothing of the order.
        """
        placed = self._orders[report.client_order_id]
        kind = type(report)
        if self._keep is not None:
            self._keep(report)
        if kind not in (CancelRejected, ReplaceRejected):
            placed.history.append(report)
        if placed.session is not None:
            self._deliver(placed.session, report)
        is_over = kind in _ENDS or (kind is OrderFilled and report.leaves_qty == 0)
        if is_over and placed.is_open:
            placed.is_open = False
            self._closed.append(report.client_order_id)
            if len(self._closed) > self._keep_closed:
                del self._orders[self._closed.popleft()]
