"""Deadlines of one thread: what is waited for, and until when."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator

__all__ = ["Deadlines"]

_LONGEST_WAIT_S = 60.0

Key = tuple[str, str]
"""What is waited for, and of which order."""


class Deadlines:
    """Keys with a moment each, by the monotonic clock; for one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Key]] = []
        self._moments: dict[Key, float] = {}

    def set(self, key: Key, seconds: float) -> None:
        """Let a key be due in so many seconds; a second call replaces the first."""
        moment = time.monotonic() + seconds
        self._moments[key] = moment
        heapq.heappush(self._heap, (moment, key))

    def drop(self, key: Key) -> bool:
        """Forget a key; False when there was none."""
        return self._moments.pop(key, None) is not None

    def __contains__(self, key: Key) -> bool:
        return key in self._moments

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._moments))

    def wait_s(self) -> float:
        """Give the seconds until the next key is due, at most a minute."""
        self._skip_dropped()
        if not self._heap:
            return _LONGEST_WAIT_S
        return min(max(self._heap[0][0] - time.monotonic(), 0.0), _LONGEST_WAIT_S)

    def due(self) -> Iterator[Key]:
        """Give and forget the keys whose moment has come, the earliest first."""
        now = time.monotonic()
        self._skip_dropped()
        while self._heap and self._heap[0][0] <= now:
            _, key = heapq.heappop(self._heap)
            del self._moments[key]
            yield key
            self._skip_dropped()

    def _skip_dropped(self) -> None:
        while self._heap and self._moments.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
