"""The inbox of a cell: bounded, with a stated policy for each type of message.

A ``queue.SimpleQueue`` (implemented in C) carries the messages, because ``queue.Queue`` costs six
times as much a message. Bounds, conflation, the urgent lane and the wait for a timer are put
around it so that a message that meets none of them pays for none.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from engine.errors import EngineHaltedError
from engine.runtime.cell import NEVER
from engine.runtime.clock import Clock

__all__ = ["Mailbox", "MailboxRules", "Overflow"]

WAIT_MAX_S = 3600.0
"""Longest single wait for a timer; far deadlines are waited for in pieces."""


class Overflow(Enum):
    """What becomes of a message for which there is no room, by its type."""

    HALT = "HALT"
    """Never dropped: the producer waits until the deadline, then the engine halts. For orders,
    fills and control."""
    WAIT = "WAIT"
    """Never dropped: the producer waits as long as the engine runs. For bars and trades."""
    CONFLATE = "CONFLATE"
    """At most one waits a symbol: a newer one takes its place, and is counted. For quotes."""
    DROP_OLDEST = "DROP_OLDEST"
    """The oldest of its type makes room, and is counted. For telemetry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxRules:
    """The limits of a mailbox; everything is stated, nothing has a default.

    Attributes:
        capacity: messages that may wait, at least 1. Producers that find the last place at the
            same moment may exceed it by one message each.
        deadline_s: how long a producer of an ``Overflow.HALT`` message waits for room, seconds.
        overflow: policy of every type that may come from outside the cell.
        urgent: types that overtake all others (the kill switch, cancels); they are never held
            up by a full mailbox.
    """

    capacity: int
    deadline_s: float
    overflow: Mapping[type, Overflow]
    urgent: frozenset[type]

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"capacity of a mailbox must be at least 1, got {self.capacity}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s of a mailbox must be above 0, got {self.deadline_s}")


class Letter(Protocol):
    """What the carrier (pykka) puts in: a message, and where a reply goes if there is one."""

    @property
    def message(self) -> Any:
        """The message."""

    @property
    def reply_to(self) -> Any:
        """A future to answer, or None."""


class _Lot:
    """Messages that share one fate when there are too many: a symbol's quotes, or a type."""

    __slots__ = ("letters", "limit")

    def __init__(self, limit: int) -> None:
        self.letters: deque[Any] = deque()
        self.limit = limit


_WAKE = object()  # says that something urgent is in the other queue

Refused = Callable[[Any, str], None]
"""Receives every message that will not be handled: ``(message, reason)``."""


class Mailbox:
    """The inbox of one cell: many producers, one consumer.

    A message is either a plain object or a parcel ``(actor, content, now)``; the policy is that
    of the content's type. Types without a policy are the runtime's own and always get in.

    Args:
        rules: the limits.
        clock: says when ``deadline`` has come.
        tick: letter that ``get`` gives when ``deadline`` has come.
        refused: receives every message that comes or is left after ``close``.
        overrun: called with the message for which there was no room by the deadline.
    """

    def __init__(
        self,
        rules: MailboxRules,
        clock: Clock,
        *,
        tick: Any,
        refused: Refused,
        overrun: Callable[[Any], None],
    ) -> None:
        self.deadline = NEVER
        self.peak_depth = 0
        self.conflated = 0
        self.dropped = 0
        self.waits = 0
        self.closed: str | None = None
        self._capacity = rules.capacity
        self._low = rules.capacity // 2
        self._deadline_s = rules.deadline_s
        self._overflow = dict(rules.overflow)
        self._urgent_types = rules.urgent
        lossy = (Overflow.CONFLATE, Overflow.DROP_OLDEST)
        self._special = rules.urgent | {k for k, v in rules.overflow.items() if v in lossy}
        self._clock = clock
        self._tick = tick
        self._refused = refused
        self._overrun = overrun
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._urgent: deque[Any] = deque()
        self._lots: dict[Any, _Lot] = {}
        self._lock = threading.Lock()
        self._room = threading.Condition()
        self._flushing = threading.Lock()
        self._waiting = 0
        self._released = False

    @property
    def depth(self) -> int:
        """Messages waiting."""
        return self._queue.qsize()

    def put(self, letter: Letter, /) -> None:
        """Put a message in, by the policy of its type; called by any thread.

        Raises:
            EngineHaltedError: there was no room by the deadline for a message that must not be
                lost. It has been handed to ``overrun``.
        """
        message = letter.message
        kind = type(message[1]) if type(message) is tuple else type(message)
        depth = self._queue.qsize()
        if depth >= self._capacity or kind in self._special:
            self._put_carefully(letter, kind)
            depth = self._queue.qsize() - 1
        else:
            self._queue.put(letter)
        if depth >= self.peak_depth:
            self.peak_depth = depth + 1
        # The consumer may have closed and emptied the queue since: then this thread empties it.
        if self.closed is not None:
            self.flush()

    def _put_carefully(self, letter: Letter, kind: type) -> None:
        if kind in self._urgent_types:
            self._urgent.append(letter)
            self._queue.put(_WAKE)
            return
        policy = self._overflow.get(kind)
        if policy is Overflow.CONFLATE or policy is Overflow.DROP_OLDEST:
            self._put_in_lot(letter, kind, policy)
            return
        if policy is not None and not self._await_room(policy):
            message = letter.message
            self._overrun(message)
            raise EngineHaltedError(
                f"no room for {kind.__name__} in the mailbox of {self._capacity} within "
                f"{self._deadline_s:g} s"
            )
        self._queue.put(letter)

    def _put_in_lot(self, letter: Letter, kind: type, policy: Overflow) -> None:
        message = letter.message
        key: Any = kind
        if policy is Overflow.CONFLATE:
            content = message[1] if type(message) is tuple else message
            to = message[0] if type(message) is tuple else None
            key = (kind, to, content.symbol)
        with self._lock:
            lot = self._lots.get(key)
            if lot is None:
                lot = _Lot(1 if policy is Overflow.CONFLATE else self._capacity)
                self._lots[key] = lot
            if len(lot.letters) >= lot.limit:
                # Its place in the queue stays: the new one is as early as the one it replaces.
                lot.letters.popleft()
                lot.letters.append(letter)
                if policy is Overflow.CONFLATE:
                    self.conflated += 1
                else:
                    self.dropped += 1
                return
            lot.letters.append(letter)
            self._queue.put(lot)

    def _await_room(self, policy: Overflow) -> bool:
        limit = None if policy is Overflow.WAIT else time.monotonic() + self._deadline_s
        queue = self._queue
        with self._room:
            self.waits += 1
            self._waiting += 1
            try:
                while queue.qsize() >= self._capacity and self.closed is None:
                    if self._released and limit is None:
                        return True
                    left = None if limit is None else limit - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._room.wait(left)
            finally:
                self._waiting -= 1
        return True

    def get(self) -> Any:
        """Take the next message, or the tick when ``deadline`` comes first; for the consumer."""
        while True:
            if self._urgent:
                return self._urgent.popleft()
            item = self._queue.get() if self.deadline == NEVER else self._take()
            # Producers are woken when half is empty: a thread switch a message is too dear.
            if self._waiting and self._queue.qsize() <= self._low:
                with self._room:
                    self._room.notify_all()
            if type(item) is _Lot:
                with self._lock:
                    return item.letters.popleft()
            if item is not _WAKE:
                return item

    def _take(self) -> Any:
        queue = self._queue
        while True:
            wait = self._clock.wait_s(self.deadline)
            if wait is None:
                return queue.get()
            if wait <= 0:
                # What waits comes first: a message of a later time fires the timer anyway, one
                # of an earlier time belongs before it.
                try:
                    return queue.get(False)
                except Empty:
                    return self._tick
            try:
                return queue.get(True, min(wait, WAIT_MAX_S))
            except Empty:
                continue

    def empty(self) -> bool:
        """Tell whether nothing is left for the consumer; always so once closed."""
        return self.closed is not None or (not self._queue.qsize() and not self._urgent)

    def close(self, reason: str) -> None:
        """Refuse what waits and all that comes from now on; the first reason stays."""
        if self.closed is None:
            self.closed = reason
        with self._room:
            self._room.notify_all()
        self.flush()

    def release(self) -> None:
        """Hold up no producer of bars any more: the engine is ending and may handle none."""
        self._released = True
        with self._room:
            self._room.notify_all()

    def flush(self) -> None:
        """Hand everything that waits to ``refused``, in order."""
        reason = self.closed or "FLUSHED"
        with self._flushing:
            while True:
                try:
                    item = self._urgent.popleft() if self._urgent else self._queue.get(False)
                except (Empty, IndexError):
                    if not self._urgent and not self._queue.qsize():
                        return
                    continue
                if item is _WAKE:
                    continue
                if type(item) is _Lot:
                    with self._lock:
                        item = item.letters.popleft()
                if item.reply_to is not None:
                    error = EngineHaltedError(f"the cell did not handle the question: {reason}")
                    item.reply_to.set_exception((EngineHaltedError, error, None))
                self._refused(item.message, reason)
