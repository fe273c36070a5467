"""What the router knows of one order."""

from __future__ import annotations

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderFilled,
    OrderReplaced,
    OrderUnknown,
    ReplaceRejected,
)
from engine.domain.order_state import next_status
from engine.domain.orders import Order, OrderStatus
from engine.domain.venue_session import VenueSession

__all__ = ["WORKING", "OrderRecord"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_PENDING_NEW, _UNKNOWN = OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN
WORKING = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


class OrderRecord:
    """State of one order: what it has become since it was approved.

    ``session`` is that of the venue it goes to, ``allowed_qty`` the largest quantity that was ever
    approved for it: what fills beyond is an overfill. ``acked`` says that the venue has had it for
    sure, ``in_doubt`` that nobody knows what has become of it since, ``canceling`` that a cancel
    was passed on which the venue has not refused, ``replacing`` how many replacements it has not
    answered, ``replaced_ts`` when the last one came into force, and ``doubts`` after how many
    intervals it is asked about next. ``questions`` are those about it that this connection has not
    answered, ``stale`` those of them that were asked before it was last sent.
    """

    __slots__ = (
        "acked", "allowed_qty", "canceling", "closing", "cum_qty", "doubts", "fills", "in_doubt",
        "leaves_qty", "order", "questions", "replaced_ts", "replacing", "session", "stale",
        "status",
    )  # fmt: skip

    def __init__(self, order: Order, closing: bool, session: VenueSession) -> None:
        self.order = order
        self.session = session
        self.closing = closing
        self.status = _PENDING_NEW
        self.cum_qty = 0
        self.leaves_qty = self.allowed_qty = order.order_qty
        self.fills: dict[str, OrderFilled] | None = None
        self.acked = False
        self.in_doubt = False
        self.canceling = False
        self.replacing = 0
        self.replaced_ts = -1
        self.doubts = 1
        self.questions = self.stale = 0

    def answered(self) -> bool:
        """Take an answer to a question about it; False when it was asked before the last send.

        Answers come in the order of the questions. One from before says nothing of what is sent.
        """
        self.questions = max(self.questions - 1, 0)
        if self.stale:
            self.stale -= 1
            return False
        return True

    def turn(self, kind: type) -> None:
        """Take the status that a report of a type leads to.

        A cancel or a replacement that is refused says nothing about its order: one that the venue
        may never have had, or of which nobody knows, is of unknown outcome as before.
        """
        self.acked = self.acked or kind in (OrderAccepted, OrderReplaced)
        after = next_status(self.status, kind, self.cum_qty, self.leaves_qty)
        if kind in (OrderUnknown, OrderAccepted):
            self.in_doubt = kind is OrderUnknown
        elif kind in (CancelRejected, ReplaceRejected) and after in WORKING:
            known = self.acked or self.cum_qty
            after = _UNKNOWN if self.in_doubt or not known else after
        if kind is CancelRejected:
            self.canceling = False
        self.status = after
