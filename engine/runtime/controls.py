"""What whoever carries a cell says to it, beside the messages of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["OWN", "Finish", "Question", "Start", "Tick", "TickLetter", "content_of"]


@dataclass(frozen=True, slots=True)
class Start:
    """Run ``on_start``; it is asked, so that a failure reaches whoever starts the engine."""

    ts: int | None
    """Time at which the actors start, UTC nanoseconds; None: that of the first market event."""


class Tick:
    """A timer is due."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Handle nothing after this and end."""

    closing: bool
    """Whether it ends for good: due timers fire and ``on_stop`` runs. Otherwise it only leaves
    off, in the state that a kill leaves behind."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message whose handler's result goes back to an edge."""

    actor: str
    message: Any


class TickLetter:
    """A tick as the mailbox gives it."""

    __slots__ = ("message", "reply_to")

    def __init__(self) -> None:
        self.message = Tick()
        self.reply_to = None


OWN = frozenset({Tick, Start, Finish})
"""Messages that carry nothing of anybody's."""


def content_of(message: Any) -> Any:
    """Give what a message carries; None when it is the runtime's own."""
    if type(message) is tuple:
        return message[1]
    if isinstance(message, Question):
        return message.message
    return None if type(message) in OWN else message
