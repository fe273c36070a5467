"""What an actor is: a plain object with typed handlers and a context.

Core actors touch nothing but their own state and the :class:`Context`. The same classes run on
:mod:`engine.runtime.sim_runtime` (one thread, virtual time) and
:mod:`engine.runtime.pykka_runtime` (one thread a cell, real time).

The rule of order, the same in both runtimes: a message from outside a cell is delivered to one
destination at a time, in the order of the routes, and everything that a delivery causes inside
the cell (first in, first out) is settled before the next destination sees the message. So the
venue fills before the strategy decides, and the ledger has booked before either goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["Actor", "Context", "Handler", "Latest"]

Handler = Callable[[Any], None]


class Latest(Protocol):
    """A symbol's latest market event, kept up to date; for those that ask often."""

    @property
    def last(self) -> Any:
        """The latest market event that entered the cell, None before the first."""


class Context(Protocol):
    """All that an actor may do to the world."""

    @property
    def now(self) -> int:
        """Current time, UTC nanoseconds: the time of the event being handled."""

    def publish(self, message: Any) -> None:
        """Queue a message for every actor routed to its type, in route order."""

    def send(self, actor: str, message: Any) -> None:
        """Queue a message for one named actor."""

    def set_timer(self, ts: int, message: Any) -> int:
        """Deliver a message to this very actor at a time; give the timer's number.

        The handler runs with ``now`` equal to ``ts``; a time that has passed fires at once,
        after what is queued. At equal times market events come before timers, and timers fire
        in the order they were set.
        """

    def cancel_timer(self, timer: int) -> None:
        """Forget a timer; a number that has fired or is unknown is ignored."""

    def watch(self, symbol: str) -> None:
        """Receive market events of a symbol, ahead of all other destinations.

        For actors that look at few symbols at a time (the venue: those with open orders, the
        monitor: those with positions), so that the others cost nothing.
        """

    def unwatch(self, symbol: str) -> None:
        """Stop receiving a symbol's market events."""

    def last(self, symbol: str) -> Any:
        """Give the latest market event of a symbol that entered this cell, or None."""

    def lane(self, symbol: str) -> Latest:
        """Give a view of a symbol whose ``last`` is always its latest market event."""

    def admit(self, actor: Actor) -> None:
        """Let an actor into the cell, as the last of the group that this one leads.

        Its ``on_start`` runs at once; from then on it is delivered what is routed to the group,
        beginning with the next message.
        """

    def dismiss(self, actor: str) -> None:
        """Take an actor of the group that this one leads out of the cell."""


class Actor:
    """Base of every actor: a name and a table of handlers.

    A subclass lists its handlers in :meth:`handlers`, one bound method per message type; an
    actor that receives a type it does not list is a wiring error, found at build time.
    """

    name: str
    ctx: Context
    leads: str | None = None
    """Name of the group of actors that this one lets in while the cell works; routes name it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def handlers(self) -> Mapping[type, Handler]:
        """Give the handler of each message type this actor understands."""
        raise NotImplementedError

    def bind(self, ctx: Context) -> None:
        """Receive the context; called once by the runtime before any message."""
        self.ctx = ctx

    def on_start(self) -> None:
        """Run once before the first message."""

    def on_stop(self) -> None:
        """Run once after the last message."""

    def on_release(self) -> None:
        """Let go of what is outside the process; runs last, however the cell ends.

        A run that is only left off, to go on in another process, has no ``on_stop``.
        """

    def on_batch(self) -> None:
        """Run after each batch of input; for actors that buffer (the recorder)."""

    def on_failure(self, message: Any, error: BaseException) -> bool:
        """Deal with an exception that one of this actor's handlers raised.

        Returns:
            True when it is dealt with and the cell goes on (a strategy quarantined); False,
            the default, when it is the engine's own failure and must stop the cell.
        """
        return False
