"""Every edge of the engine to the world, as a Protocol.

Adapters implement these; :mod:`engine.wiring` chooses which one a profile uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Journal"]


class Journal(Protocol):
    """Where the events of a run are kept, in order."""

    def write(self, events: Sequence[Any]) -> None:
        """Append events; they are kept in this order."""
