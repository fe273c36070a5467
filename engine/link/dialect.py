"""What all services have in common for the link: orders it knows, and a reading of answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import OrderFilled
from engine.domain.instruments import Instrument
from engine.domain.orders import Order
from engine.domain.totals import Totals

__all__ = [
    "Dialect",
    "ListWorking",
    "OrderTable",
    "Query",
    "QueryDone",
    "Reading",
    "Received",
    "Request",
    "SentOrder",
    "Unreadable",
    "UnsendableError",
]


class Query(msgspec.Struct, frozen=True):
    """What became of an order."""

    order: Order
    fills: tuple[OrderFilled, ...]


class ListWorking(msgspec.Struct, frozen=True):
    """Which orders are working."""


Request = Order | CancelOrder | ReplaceOrder | Query | ListWorking


class SentOrder:
    """What the link knows of one order.

    Attributes:
        order: as it was sent.
        instrument: its scales.
        order_qty: its quantity now, in quantity units.
        cum_qty: filled so far, in quantity units.
        totals: for services that report totals only.
        fills: executions by id, for services that report each.
        service: name of the service it was sent over; None when another process sent it.
        accepted: its acknowledgement has been reported.
        ended: its end has been reported.
    """

    __slots__ = (
        "accepted",
        "cum_qty",
        "ended",
        "fills",
        "instrument",
        "order",
        "order_qty",
        "service",
        "totals",
    )

    def __init__(
        self, order: Order, instrument: Instrument, fills: Sequence[OrderFilled] = ()
    ) -> None:
        self.order = order
        self.instrument = instrument
        self.order_qty = order.order_qty
        self.totals = Totals(order, instrument, fills)
        self.cum_qty = 0
        self.fills: dict[str, OrderFilled] = {}
        self.service: str | None = None
        self.accepted = False
        self.ended = False


class OrderTable:
    """The orders of a link, by our id and by the id in the messages.

    Args:
        keep_closed: how many ended orders stay known, for late and repeated answers.
        wire_id: gives the id that stands for ours in messages.
    """

    def __init__(self, keep_closed: int, wire_id: Callable[[str], str]) -> None:
        self._keep_closed = keep_closed
        self._wire_id = wire_id
        self._by_id: dict[str, SentOrder] = {}
        self._by_wire_id: dict[str, str] = {}
        self._ended: deque[SentOrder] = deque()

    def get(self, client_order_id: str) -> SentOrder | None:
        """Find an order by our id."""
        return self._by_id.get(client_order_id)

    def by_wire_id(self, wire_id: str) -> SentOrder | None:
        """Find an order by the id that stands for ours in messages."""
        return self._by_id.get(self._by_wire_id.get(wire_id, ""))

    def add(self, sent: SentOrder) -> None:
        """Know an order from now on."""
        client_order_id = sent.order.client_order_id
        self._by_id[client_order_id] = sent
        self._by_wire_id[self._wire_id(client_order_id)] = client_order_id

    def end(self, sent: SentOrder) -> None:
        """Note that an order has ended, and forget the one that ended longest ago."""
        sent.ended = True
        self._ended.append(sent)
        if len(self._ended) > self._keep_closed:
            oldest = self._ended.popleft()
            client_order_id = oldest.order.client_order_id
            if oldest.ended:  # not when it has been sent again
                self._by_id.pop(client_order_id, None)
                self._by_wire_id.pop(self._wire_id(client_order_id), None)


class Received(msgspec.Struct, frozen=True):
    """The venue has the order and has not decided on it."""


class QueryDone(msgspec.Struct, frozen=True):
    """All that was asked for has been said."""


class Unreadable(msgspec.Struct, frozen=True):
    """An answer, or a part of one, that nobody can use.

    Attributes:
        code: what is wrong with it.
        detail: one sentence for people.
    """

    code: str
    detail: str


Reading = list[tuple[SentOrder | None, Any]]
"""What one answer says: the order and an event of the domain, or one of the three above."""


class UnsendableError(Exception):
    """A request that cannot be sent; the reason is a code such as VENUE_LACKS_CANCEL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Dialect(Protocol):
    """One service, spoken: requests into messages, messages into events. It sends nothing.

    What a message is (bytes, a call) is between the dialect and the sessions of its link.
    """

    def encode(self, request: Request, sent: SentOrder | None) -> Any:
        """Give the message of a request.

        Args:
            request: the request.
            sent: the order it is about; None for ``ListWorking`` and orders not known here.

        Raises:
            UnsendableError: the service has no word for it, or the order is not known here.
        """

    def read(self, said: Any, now: int) -> Reading:
        """Read an answer; whatever it holds, this raises nothing.

        Args:
            said: the message as it came.
            now: UTC nanoseconds; for answers that carry no time.
        """
