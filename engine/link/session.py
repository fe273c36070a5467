"""One connection, from the first byte to its loss, as the link sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

__all__ = ["Answered", "Lost", "Opened", "Opener", "Probed", "Session"]


class Session(Protocol):
    """Carries messages to a venue and posts what happens, from threads of its own.

    It posts :class:`Opened` or :class:`Lost`, then every :class:`Answered`, and the loss last and
    once. A message that was not delivered is never delivered after the session is closed.
    """

    def send(self, message: Any) -> None:
        """Send a message of the dialect; never waits. It may be lost with the connection."""

    def probe(self) -> None:
        """Find out whether the peer is there; :class:`Probed` is posted."""

    def close(self) -> None:
        """Let go of the connection; what comes after this may still be posted."""


class Opened(msgspec.Struct, frozen=True):
    """The connection stands.

    Attributes:
        session: which.
        service: name of what the peer offers.
        watched: the session itself finds out when the peer is gone; otherwise it is to be probed.
    """

    session: Session
    service: str
    watched: bool


class Answered(msgspec.Struct, frozen=True):
    """A message of the peer.

    Attributes:
        session: which.
        said: what the dialect reads.
        raw: the bytes as they came.
    """

    session: Session
    said: Any
    raw: bytes


class Lost(msgspec.Struct, frozen=True):
    """The connection could not be had or is over.

    Attributes:
        session: which.
        reason: a code, and the words of the transport.
    """

    session: Session
    reason: str


class Probed(msgspec.Struct, frozen=True):
    """The peer was asked whether it is there."""

    session: Session
    is_there: bool


Opener = Callable[[Callable[[object], None]], Session]
"""Begins a session that posts to its argument; returns at once."""
