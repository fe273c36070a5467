"""The archivist: keeps what entered the core and what came of it, and only then lets orders go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import faults
from engine.domain.commands import (
    CancelOrder,
    OrderMassStatusRequest,
    OrderStatusRequest,
    ReplaceOrder,
)
from engine.domain.orders import Order
from engine.ports import RunStore
from engine.runtime.actor import Actor, Handler
from engine.runtime.inputs import Batch

REQUESTS = (Order, CancelOrder, ReplaceOrder, OrderStatusRequest, OrderMassStatusRequest)
"""What the router asks of a venue."""


class Archivist(Actor):
    """Commits batches to the store: all that have come while it was busy, in one transaction.

    What the router asks of a venue outside this process comes by here. It is sent on when the
    batch that decided it is kept, so that no order ever leaves that a restart would not know of.

    Args:
        name: actor name.
        store: where batches are kept.
        venue: actor name of the venue's gateway; None when the venue is in the core.
    """

    def __init__(self, name: str, *, store: RunStore, venue: str | None) -> None:
        super().__init__(name)
        self._store = store
        self._venue = venue
        self._deciding: list[Any] = []
        self._waiting: list[Batch] = []
        self._leaving: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle batches and requests; the C method of a list takes a request."""
        return {Batch: self.on_recorded, **dict.fromkeys(REQUESTS, self._deciding.append)}

    def on_recorded(self, batch: Batch) -> None:
        """Take a batch, and with it the requests that came before: it has decided them."""
        self._waiting.append(batch)
        if self._deciding:
            self._leaving += self._deciding
            self._deciding.clear()

    def on_batch(self) -> None:
        """Commit what has come since the last time, then let go what that decided."""
        if not self._waiting:
            return
        self._store.commit(tuple(self._waiting))
        self._waiting.clear()
        if self._venue is not None and self._leaving:
            faults.point("outbox.kept")
            for request in self._leaving:
                self.ctx.send(self._venue, request)
            self._leaving.clear()
