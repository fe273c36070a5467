"""The archivist: keeps what entered the core and what came of it, so that a kill loses nothing."""

from __future__ import annotations

from collections.abc import Mapping

from engine.ports import RunStore
from engine.runtime.actor import Actor, Handler
from engine.runtime.inputs import Batch


class Archivist(Actor):
    """Commits batches to the store: all that have come while it was busy, in one transaction.

    Args:
        name: actor name.
        store: where they are kept.
    """

    def __init__(self, name: str, *, store: RunStore) -> None:
        super().__init__(name)
        self._store = store
        self._waiting: list[Batch] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle batches with one append; the C method is the handler itself."""
        return {Batch: self._waiting.append}

    def on_batch(self) -> None:
        """Commit what has come since the last time."""
        if self._waiting:
            self._store.commit(tuple(self._waiting))
            self._waiting.clear()
