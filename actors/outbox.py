"""The outbox: what the router asks of one venue, let go when the batch that decided it is kept."""

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
from engine.runtime.actor import Actor, Handler
from engine.runtime.inputs import BatchKept, BatchTaken

REQUESTS = (Order, CancelOrder, ReplaceOrder, OrderStatusRequest, OrderMassStatusRequest)
"""What the router asks of a venue."""


class Outbox(Actor):
    """Holds requests until the archivist has kept what decided them.

    No order ever leaves that a restart would not know of. It shares a cell with the archivist, so
    that requests and the batches behind them stay in their order.

    Args:
        name: actor name.
        gateway: actor name of the venue's gateway.
    """

    def __init__(self, name: str, *, gateway: str) -> None:
        super().__init__(name)
        self._gateway = gateway
        self._deciding: list[Any] = []
        self._leaving: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle requests and the archivist's word; the C method of a list takes a request."""
        return {
            **dict.fromkeys(REQUESTS, self._deciding.append),
            BatchTaken: self.on_batch_taken,
            BatchKept: self.on_batch_kept,
        }

    def on_batch_taken(self, taken: BatchTaken) -> None:
        """Note that the batch is there that has decided all requests so far."""
        if self._deciding:
            self._leaving += self._deciding
            self._deciding.clear()

    def on_batch_kept(self, kept: BatchKept) -> None:
        """Let go what the batches decided that are kept now."""
        if self._leaving:
            faults.point("outbox.kept")
            for request in self._leaving:
                self.ctx.send(self._gateway, request)
            self._leaving.clear()
