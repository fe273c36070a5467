"""The link to a venue outside: one thread, one connection, every outcome reported."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    BadAnswer,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.domain.instruments import Instrument
from engine.domain.orders import Order
from engine.domain.venue_session import VENUE_DOWN
from engine.errors import EngineHaltedError, InvariantError
from engine.link.connection import Connection
from engine.link.deadlines import Deadlines
from engine.link.dialect import (
    Dialect,
    ListWorking,
    OrderTable,
    Query,
    QueryDone,
    Received,
    Request,
    SentOrder,
    Unreadable,
    UnsendableError,
)
from engine.link.session import Answered, Lost, Opened, Opener, Probed
from engine.sections import RetryConfig

__all__ = ["Link"]

_RAW_MAX = 4096
_NO_ANSWER = "NO_ANSWER"
# What is waited for; the second half of a key is the order.
_ACK, _CANCEL, _REPLACE, _QUERY, _LIST = "ack", "cancel", "replace", "query", "list"
_OF_AN_ORDER = (_ACK, _CANCEL, _REPLACE, _QUERY)
# The requests of an order that an event answers.
_ANSWERS: Mapping[type, tuple[str, ...]] = {
    Received: (_ACK,),
    OrderAccepted: (_ACK,),
    OrderFilled: (_ACK,),
    OrderReplaced: (_REPLACE,),
    CancelRejected: (_CANCEL,),
    ReplaceRejected: (_REPLACE,),
    QueryDone: (_QUERY,),
    OrderRejected: (_ACK, _CANCEL, _REPLACE),
    OrderCanceled: (_ACK, _CANCEL, _REPLACE),
    OrderExpired: (_ACK, _CANCEL, _REPLACE),
    OrderNotFound: _OF_AN_ORDER,
}
_ENDS = (OrderRejected, OrderCanceled, OrderExpired)


class _Close:
    """The last message of a link."""


class Link:
    """What every :class:`~engine.ports.VenueLink` is made of; a technology adds its sessions.

    One thread handles requests, answers and deadlines one after another, so there is nothing to
    lock. Which service the peer offers is asked anew with every connection.

    Args:
        opener: begins a session.
        dialects: what can be spoken, by name of the service.
        table: the orders of the link; the dialects share it.
        target: where the peer is, for people.
        timeout_s: seconds to the first answer to one request, and to a connection.
        retry: how a lost connection is tried again.
        instruments: what can be traded, by symbol; an order in anything else is rejected here.
        on_bad_answer: called from the link's own thread with every answer that cannot be used;
            it must not raise.
        now: gives the time, UTC nanoseconds; for what no venue has stamped.
    """

    def __init__(
        self,
        opener: Opener,
        dialects: Mapping[str, Dialect],
        table: OrderTable,
        *,
        target: str,
        timeout_s: float,
        retry: RetryConfig,
        instruments: Mapping[str, Instrument],
        on_bad_answer: Callable[[BadAnswer], None],
        now: Callable[[], int],
    ) -> None:
        self._timeout_s = timeout_s
        self._instruments = instruments
        self._on_bad_answer = on_bad_answer
        self._now = now
        self._table = table
        self._dialects = dialects
        self._report: Callable[[Any], None] = _unheard
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._deadlines = Deadlines()
        self._connection = Connection(
            opener, target=target, timeout_s=timeout_s, retry=retry, deadlines=self._deadlines,
            post=self._inbox.put, up=self._up, down=self._down,
        )  # fmt: skip
        self._dialect: Dialect | None = None  # None while there is no connection
        self._service = ""
        self._counts: Counter[str] = Counter()
        # Queries that this connection has not answered, and those from before the order was sent.
        self._queries: Counter[str] = Counter()
        self._stale: Counter[str] = Counter()
        self._is_over = False
        self._door = threading.Lock()  # nothing comes in after the last message
        self._thread: threading.Thread | None = None
        self._receive: Mapping[type, Callable[[Any], None]] = {
            Order: self._on_order,
            CancelOrder: self._on_cancel,
            ReplaceOrder: self._on_replace,
            Query: self._on_query,
            ListWorking: self._on_list,
            Opened: self._connection.on_opened,
            Answered: self._on_answered,
            Lost: self._connection.on_lost,
            Probed: self._connection.on_probed,
        }

    @property
    def counts(self) -> Mapping[str, int]:
        """How many answers were of no use, by code; ``REPEATED`` counts those already known."""
        return dict(self._counts)

    # The port; for any thread.

    def open(self, report: Callable[[Any], None]) -> None:
        """Connect, and stay connected until :meth:`close`; see the port."""
        if self._thread is not None:
            raise InvariantError("a link is opened once")
        self._report = report
        self._thread = threading.Thread(target=self._run, name="venue-link", daemon=True)
        self._thread.start()

    def submit(self, order: Order) -> None:
        """Send an order, once."""
        self._ask(order)

    def cancel(self, cancel: CancelOrder) -> None:
        """Ask for an order to be taken off the venue."""
        self._ask(cancel)

    def replace(self, replace: ReplaceOrder) -> None:
        """Ask for an order to be changed."""
        self._ask(replace)

    def query(self, order: Order, fills: Sequence[OrderFilled] = ()) -> None:
        """Ask what became of an order."""
        self._ask(Query(order, tuple(fills)))

    def list_working(self) -> None:
        """Ask which orders are working."""
        self._ask(ListWorking())

    def _ask(self, request: Request) -> None:
        with self._door:
            if self._is_over or self._thread is None:
                state = "closed" if self._is_over else "not open"
                raise EngineHaltedError(f"the link to {self._connection.target} is {state}")
            self._inbox.put(request)

    def close(self, *, timeout_s: float) -> None:
        """Let go of the connection; see the port."""
        if self._thread is None:
            return
        self._inbox.put(_Close())
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(
                f"the link to {self._connection.target} did not end within {timeout_s:g} s"
            )

    # The thread.

    def _run(self) -> None:
        try:
            self._connection.begin()
            while True:
                try:
                    message = self._inbox.get(timeout=self._deadlines.wait_s())
                except Empty:
                    pass
                else:
                    if type(message) is _Close:
                        break
                    self._receive[type(message)](message)
                for key in self._deadlines.due():
                    self._on_due(*key)
            self._shut()
            self._give_up_waiting("CLOSED")
            while not self._inbox.empty():  # what came in meanwhile, and will not be sent
                message = self._inbox.get()
                if isinstance(message, Request):
                    self._receive[type(message)](message)
        finally:
            self._shut()

    def _shut(self) -> None:
        with self._door:
            self._is_over = True
        self._connection.end()
        self._dialect = None

    def _on_due(self, what: str, order_id: str) -> None:
        if what in _OF_AN_ORDER:
            self._unknown(order_id, _NO_ANSWER)
        elif what == _LIST:
            self._report(self._no_list(_NO_ANSWER))
        else:
            self._connection.on_due(what)

    def _up(self, service: str) -> None:
        self._dialect = self._dialects[service]
        self._service = service
        self._queries.clear()
        self._stale.clear()
        self._report(VenueUp(service=service, ts_event=self._now()))

    def _down(self, reason: str, is_news: bool) -> None:
        self._dialect = None
        if is_news:
            self._report(VenueDown(reason=reason, ts_event=self._now()))
        self._give_up_waiting(VENUE_DOWN)

    def _give_up_waiting(self, reason: str) -> None:
        """Report every request that is unanswered: nobody will answer it any more."""
        orders: dict[str, None] = {}
        for key in self._deadlines:
            self._deadlines.drop(key)
            if key[0] == _LIST:
                self._report(self._no_list(reason))
            else:
                orders[key[1]] = None
        for order_id in orders:
            self._unknown(order_id, reason)

    # Requests.

    def _send(self, request: Request, sent: SentOrder | None, wait: str, order_id: str) -> str:
        """Send a request and wait for its answer; give the reason when it cannot be sent."""
        if self._dialect is None:
            return VENUE_DOWN
        try:
            message = self._dialect.encode(request, sent)
        except UnsendableError as error:
            return error.reason
        self._connection.send(message)
        self._deadlines.set((wait, order_id), self._timeout_s)
        return ""

    def _on_order(self, order: Order) -> None:
        order_id = order.client_order_id
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            self._report(OrderRejected(order_id, "UNKNOWN_SYMBOL", self._now()))
            return
        known = self._table.get(order_id)
        sent = known or SentOrder(order, instrument)
        reason = self._send(order, sent, _ACK, order_id)
        if not reason:
            sent.service = self._service
            sent.accepted = sent.ended = False
            self._stale[order_id] = self._queries[order_id]
            self._table.add(sent)
        elif known is not None:
            self._unknown(order_id, reason)
        elif reason == VENUE_DOWN:
            self._report(OrderNotFound(client_order_id=order_id, ts_event=self._now()))
        else:
            self._report(OrderRejected(order_id, reason, self._now()))

    def _on_cancel(self, cancel: CancelOrder) -> None:
        order_id = cancel.client_order_id
        sent = self._table.get(order_id)
        reason = self._send(cancel, sent, _CANCEL, order_id)
        if reason:
            self._report(CancelRejected(order_id, reason, self._now()))

    def _on_replace(self, replace: ReplaceOrder) -> None:
        order_id = replace.client_order_id
        sent = self._table.get(order_id)
        reason = self._send(replace, sent, _REPLACE, order_id)
        if reason:
            self._report(ReplaceRejected(order_id, reason, self._now()))

    def _on_query(self, query: Query) -> None:
        order = query.order
        order_id = order.client_order_id
        sent = self._table.get(order_id)
        if sent is None:
            instrument = self._instruments.get(order.symbol)
            if instrument is None:
                self._unknown(order_id, "UNKNOWN_SYMBOL")
                return
            sent = SentOrder(order, instrument, query.fills)
            self._table.add(sent)
        if self._dialect is not None and sent.service not in (None, self._service):
            # There it has another id: "not found" here would be no proof of anything.
            self._unknown(order_id, "SENT_OVER_ANOTHER_SERVICE")
            return
        reason = self._send(query, sent, _QUERY, order_id)
        if reason:
            self._unknown(order_id, reason)
        else:
            self._queries[order_id] += 1

    def _on_list(self, request: ListWorking) -> None:
        reason = self._send(request, None, _LIST, "")
        if reason:
            self._report(self._no_list(reason))

    def _no_list(self, reason: str) -> OrdersWorking:
        return OrdersWorking(client_order_ids=(), refused=reason, ts_event=self._now())

    def _unknown(self, order_id: str, reason: str) -> None:
        sent = self._table.get(order_id)
        if sent is not None:
            if sent.ended:
                return
            sent.accepted = False  # the next word that it works is news again
        self._report(OrderUnknown(order_id, reason, self._now()))

    # Answers.

    def _on_answered(self, answered: Answered) -> None:
        if self._dialect is None or not self._connection.is_current(answered.session):
            return
        for sent, event in self._dialect.read(answered.said, self._now()):
            if type(event) is Unreadable:
                self._on_unreadable(sent, event, answered.raw)
            elif sent is None:
                self._deadlines.drop((_LIST, ""))
                self._report(event)
            else:
                self._on_event(sent, event, answered.raw)

    def _on_unreadable(self, sent: SentOrder | None, wrong: Unreadable, raw: bytes) -> None:
        order_id = None if sent is None else sent.order.client_order_id
        self._bad(order_id, wrong, raw)
        if order_id is not None:
            for what in (_ACK, _QUERY):  # one word that nobody knows is enough
                self._deadlines.drop((what, order_id))
            self._unknown(order_id, wrong.code)

    def _bad(self, order_id: str | None, wrong: Unreadable, raw: bytes) -> None:
        self._counts[wrong.code] += 1
        self._on_bad_answer(
            BadAnswer(
                code=wrong.code,
                detail=wrong.detail,
                client_order_id=order_id,
                raw=raw[:_RAW_MAX],
                ts_event=self._now(),
            )
        )

    def _on_event(self, sent: SentOrder, event: Any, raw: bytes) -> None:
        order_id = sent.order.client_order_id
        is_asked = (_QUERY, order_id) in self._deadlines
        kind = type(event)
        is_answer = kind in (QueryDone, OrderNotFound)
        if is_answer and self._is_stale(order_id) and kind is OrderNotFound:
            return  # it answers a query from before the order was sent again
        for what in _ANSWERS[kind]:
            self._deadlines.drop((what, order_id))
        if kind is QueryDone:
            self._report(OrderStatusGiven(client_order_id=order_id, ts_event=self._now()))
        if kind in (Received, QueryDone):
            return
        if _is_known(sent, event) and not is_asked:
            self._counts["REPEATED"] += 1
            return
        over = self._note(sent, event)
        self._report(event)
        if over is not None:  # it is booked all the same: the position is real
            self._bad(order_id, over, raw)

    def _is_stale(self, order_id: str) -> bool:
        """Take the end of an answer to a query; True when the order was sent since the query."""
        for count in (self._queries, self._stale):
            count[order_id] -= 1
        is_stale = self._stale[order_id] >= 0
        for count in (self._queries, self._stale):
            if count[order_id] <= 0:
                del count[order_id]
        return is_stale

    def _note(self, sent: SentOrder, event: Any) -> Unreadable | None:
        """Remember what an event says; give what is wrong with a fill beyond the order."""
        kind = type(event)
        if kind is OrderAccepted:
            sent.accepted = True
        elif kind is OrderReplaced:
            sent.order_qty = event.order_qty
        elif kind in _ENDS or kind is OrderNotFound:
            self._end(sent)
        elif kind is OrderFilled and event.exec_id not in sent.fills:
            sent.fills[event.exec_id] = event
            sent.cum_qty = event.cum_qty
            if event.leaves_qty == 0:
                self._end(sent)
            if event.cum_qty > sent.order_qty:
                detail = f"{event.cum_qty} of {sent.order_qty} quantity units filled"
                return Unreadable("OVERFILL", detail)
        return None

    def _end(self, sent: SentOrder) -> None:
        if not sent.ended:
            self._table.end(sent)


def _is_known(sent: SentOrder, event: Any) -> bool:
    if type(event) is OrderAccepted:
        return sent.accepted
    if type(event) is OrderFilled:
        return event.exec_id in sent.fills
    return sent.ended and isinstance(event, _ENDS)


def _unheard(event: Any) -> None:
    """Nobody listens before the link is opened, and nothing happens."""
