"""The trading state kept in memory: for runs that begin anew every time."""

from __future__ import annotations

from collections.abc import Mapping

from engine.domain.latch import Hold
from engine.ports import LatchStore

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


class BegunLatchStore:
    """The trading state of a run that is handled again from its beginning after a restart.

    It begins with what was held when the run began, not with what was saved last: the same
    inputs bring it there again, and everything saved on the way goes on to the store behind.

    Args:
        held: what was held when the run began.
        behind: where the state is kept.
    """

    def __init__(self, held: Mapping[str, Hold], behind: LatchStore) -> None:
        self._held = dict(held)
        self._behind = behind

    def load(self) -> dict[str, Hold]:
        """Give what was held when the run began."""
        return dict(self._held)

    def save(self, holds: Mapping[str, Hold]) -> None:
        """Keep this state in the store behind."""
        self._behind.save(holds)
