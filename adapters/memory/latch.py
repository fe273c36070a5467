"""The trading state kept in memory: for runs that begin anew every time."""

from __future__ import annotations

from collections.abc import Mapping

from engine.domain.latch import Hold

__all__ = ["MemoryLatchStore"]


class MemoryLatchStore:
    """Keeps the trading state for as long as the process lives."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def load(self) -> dict[str, Hold]:
        """Give what was held when it was last saved."""
        return dict(self._holds)

    def save(self, holds: Mapping[str, Hold]) -> None:
        """Keep this state."""
        self._holds = dict(holds)
