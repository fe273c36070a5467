"""The archivist: keeps what entered the core and what came of it, and only then lets orders go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.ports import RunStore
from engine.runtime.actor import Actor, Handler
from engine.runtime.inputs import Batch, BatchKept, BatchTaken


class Archivist(Actor):
    """Commits batches to the store: all that have come while it was busy, in one transaction.

    Args:
        name: actor name.
        store: where batches are kept.
        outboxes: actor names of those that let requests go when their batches are kept; none when
            the venue is in the core.
    """

    def __init__(self, name: str, *, store: RunStore, outboxes: Sequence[str] = ()) -> None:
        super().__init__(name)
        self._store = store
        self._outboxes = tuple(outboxes)
        self._waiting: list[Batch] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle batches."""
        return {Batch: self.on_recorded}

    def on_recorded(self, batch: Batch) -> None:
        """Take a batch, and with it the requests that came before: it has decided them."""
        self._waiting.append(batch)
        for outbox in self._outboxes:
            self.ctx.send(outbox, BatchTaken())

    def on_batch(self) -> None:
        """Commit what has come since the last time, then let go what that decided."""
        if not self._waiting:
            return
        self._store.commit(tuple(self._waiting))
        self._waiting.clear()
        for outbox in self._outboxes:
            self.ctx.send(outbox, BatchKept())
