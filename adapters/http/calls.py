"""What a link sends over HTTP and what it hears: calls, their answers, lines of reports."""

from __future__ import annotations

import msgspec

__all__ = ["Answer", "Call", "Line"]


class Call(msgspec.Struct, frozen=True):
    """A POST.

    Attributes:
        about: what it asks: ``order``, ``cancel``, ``replace``, ``query`` or ``working``.
        order_id: our id of the order; empty for ``working``.
        path: below the gateway, or below the link.
        body: JSON.
    """

    about: str
    order_id: str
    path: str
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a call came to.

    Attributes:
        call: the call.
        status: status code; 0 when nothing came back.
        body: as it came; the words of the transport when nothing did.
    """

    call: Call
    status: int
    body: bytes

    @property
    def is_done(self) -> bool:
        """True when the gateway has done what it was asked."""
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """True when the gateway has definitely not done it (decision D9)."""
        return 400 <= self.status < 500 and self.status not in _OPEN


class Line(msgspec.Struct, frozen=True):
    """A line of reports."""

    raw: bytes


_OPEN = frozenset({408, 409, 425, 429})
