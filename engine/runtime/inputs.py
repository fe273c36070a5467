"""What enters a cell besides market events, as it is kept to be replayed.

A cell is a sequential machine: the same inputs in the same order bring a new one to the same
state. A market event is an input as it stands, and so is what became of a delivery
(:class:`~engine.domain.deliveries.Consumed`), which changes nothing; the others are these.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.domain.deliveries import Consumed
from engine.domain.market import Bar, Quote, Trade

__all__ = ["Batch", "BatchKept", "BatchTaken", "Finished", "Input", "Started", "Ticked", "Told"]


class Started(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="started"):
    """The actors started.

    Attributes:
        ts: time of the cell, UTC nanoseconds; likewise below.
    """

    ts: int


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """Another cell or an edge sent a message to one actor.

    Attributes:
        actor: name of the actor.
        message: what it was sent.
        ts: time of the sender.
    """

    actor: str
    message: Any
    ts: int


class Ticked(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="ticked"):
    """The clock reached the time of a timer before any event did."""

    ts: int


class Finished(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="finished"):
    """The run ended for good: due timers fired, the actors stopped."""

    ts: int


Input = Bar | Trade | Quote | Started | Told | Ticked | Finished | Consumed
"""Everything that can enter a cell."""


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """What entered the core in a while, handled to the end, and what came of it.

    Attributes:
        inputs: in the order they were handled.
        events: everything recorded, in the order it was made.
    """

    inputs: tuple[Any, ...]
    events: tuple[Any, ...]


class BatchTaken(msgspec.Struct, frozen=True, tag="batch_taken"):
    """The archivist has a batch, and with it what decided every request before it."""


class BatchKept(msgspec.Struct, frozen=True, tag="batch_kept"):
    """The archivist has committed every batch that it had taken."""
