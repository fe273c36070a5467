"""The orders that are watched at the broker."""

from __future__ import annotations

import threading
import time
from collections import deque

from adapters.alpaca.wire import FINAL, OrderSaid

__all__ = ["Book", "Watched"]


class Watched:
    """What is known of one order at the broker; it outlives a connection.

    Attributes:
        wire_id: client order id of its first form.
        chain: its forms, each the replacement of the one before; empty until the broker has said
            that it has it.
        posted_at: when it was sent, by the monotonic clock; None once that was answered.
        cancel_asked: we have asked for its cancel.
        replacing: id of the form that is to replace the last one.
        told: forms and executions that were told last.
        told_forms: how many forms have been told.
        short_since: since when executions are missing, by the monotonic clock.
        is_busy: a request about it is on its way.
        version: how often something was said of it.
    """

    __slots__ = (
        "cancel_asked", "chain", "is_busy", "posted_at", "replacing", "short_since", "told",
        "told_forms", "version", "wire_id",
    )  # fmt: skip

    def __init__(self, wire_id: str) -> None:
        self.wire_id = wire_id
        self.chain: tuple[OrderSaid, ...] = ()
        self.posted_at: float | None = None
        self.cancel_asked = False
        self.replacing: str | None = None
        self.told: object = None
        self.told_forms = 1
        self.short_since: float | None = None
        self.is_busy = False
        self.version = 0

    @property
    def is_over(self) -> bool:
        """True when nothing is expected of it any more."""
        return bool(self.chain) and self.chain[-1].status in FINAL and self.short_since is None


class Book:
    """Watched orders, by our id at the broker and by the broker's; for any thread.

    Args:
        keep_closed: how many that are over stay known, for late executions.
    """

    def __init__(self, keep_closed: int) -> None:
        self._keep_closed = keep_closed
        self._lock = threading.RLock()
        self._by_wire_id: dict[str, Watched] = {}
        self._by_id: dict[str, Watched] = {}
        self._live: dict[str, Watched] = {}
        self._over: deque[Watched] = deque()
        self.ended_at = float("-inf")

    def watch(self, wire_id: str) -> Watched:
        """Give an order, from now on a watched one."""
        with self._lock:
            watched = self._by_wire_id.get(wire_id)
            if watched is None:
                watched = self._by_wire_id[wire_id] = self._live[wire_id] = Watched(wire_id)
            return watched

    def find(self, order_id: str) -> Watched | None:
        """Find the order of one of the broker's ids."""
        with self._lock:
            return self._by_id.get(order_id)

    def get(self, wire_id: str) -> Watched | None:
        """Find an order by our id at the broker."""
        with self._lock:
            return self._by_wire_id.get(wire_id)

    def live(self) -> list[Watched]:
        """Give the orders that something is still expected of."""
        with self._lock:
            return list(self._live.values())

    def note(self, watched: Watched, chain: tuple[OrderSaid, ...]) -> None:
        """Take in what the broker says of an order."""
        with self._lock:
            watched.chain = chain
            watched.version += 1
            for form in chain:
                self._by_id[form.id] = watched

    def settle(self, watched: Watched) -> None:
        """Watch an order less closely once it is over, and forget the one that is so longest."""
        with self._lock:
            if not watched.is_over or self._live.pop(watched.wire_id, None) is None:
                return
            self.ended_at = time.monotonic()
            self._over.append(watched)
            if len(self._over) > self._keep_closed:
                self._forget(self._over.popleft())

    def forget(self, watched: Watched) -> None:
        """Watch an order no longer: the broker does not have it."""
        with self._lock:
            self._live.pop(watched.wire_id, None)
            self._forget(watched)

    def _forget(self, watched: Watched) -> None:
        if self._by_wire_id.get(watched.wire_id) is watched:
            del self._by_wire_id[watched.wire_id]
        for form in watched.chain:
            self._by_id.pop(form.id, None)
