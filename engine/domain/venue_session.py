"""What stands between the router and a venue outside this process.

A connection that is new may have lost reports, so every open order is asked about first, and no
new order leaves until all the answers are there (promise: nothing leaves before the venue and the
engine agree). A venue inside this process is always open.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["LACKS_LIST", "VENUE_DOWN", "VenueSession"]

LACKS_LIST = "VENUE_LACKS_LIST"
"""Why a venue that offers no list does not say what is working."""

VENUE_DOWN = "VENUE_DOWN"
"""Why a request is refused while there is no connection."""


class VenueSession:
    """One connection to a venue.

    Args:
        peer: actor name of who takes requests to it.
        is_up: whether there is a connection already.

    Attributes:
        peer: the same.
        is_up: whether there is a connection.
        asked: orders whose status has been asked for and not answered.
        held: approvals that wait until the venue is open, in order.
        is_listed: whether it has said what is working there since it was asked last.
    """

    __slots__ = ("asked", "held", "is_listed", "is_up", "peer")

    def __init__(self, peer: str, *, is_up: bool) -> None:
        self.peer = peer
        self.is_up = self.is_listed = is_up
        self.asked: set[str] = set()
        self.held: deque[Any] = deque()

    @property
    def is_open(self) -> bool:
        """True when new orders may leave."""
        return self.is_up and not self.asked

    def ask(self, order_ids: set[str]) -> None:
        """Note that the venue is connected, and what it is asked."""
        self.is_up = True
        self.is_listed = False
        self.asked = order_ids

    def listed(self, refused: str | None) -> None:
        """Note an answer to what is working; one that cannot say has answered all the same."""
        self.is_listed = refused in (None, LACKS_LIST)

    def lose(self) -> bool:
        """Note that there is no connection; say whether that is news."""
        was_up, self.is_up = self.is_up, False
        self.asked = set()
        return was_up

    def answered(self, order_id: str) -> bool:
        """Note that an order's status is answered; say whether the venue is open by that."""
        if order_id not in self.asked:
            return False
        self.asked.discard(order_id)
        return not self.asked
