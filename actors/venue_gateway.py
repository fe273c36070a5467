"""The venue gateway: hands requests to the link of a venue outside this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine import faults
from engine.domain.commands import (
    CancelOrder,
    OrderMassStatusRequest,
    OrderStatusRequest,
    ReplaceOrder,
)
from engine.domain.events import OrdersWorking, VenueDown, VenueUp
from engine.domain.orders import Order
from engine.ports import VenueLink
from engine.runtime.actor import Actor, Handler

_OF_A_VENUE = (VenueUp, VenueDown, OrdersWorking)


class VenueGateway(Actor):
    """Carries requests to a venue; its reports come from the link's own thread.

    Args:
        name: actor name.
        link: the connection.
        venue: name of the venue.
        report: takes what the venue reports, from any thread.
        router: actor name of the order router.
        timeout_s: how long letting go of the connection may take, seconds.

    It needs no cell of its own: a link never waits.
    """

    def __init__(
        self,
        name: str,
        *,
        link: VenueLink,
        venue: str,
        report: Callable[[Any], None],
        router: str,
        timeout_s: float,
    ) -> None:
        super().__init__(name)
        self._link = link
        self._venue = venue
        self._report = report
        self._router = router
        self._timeout_s = timeout_s

    def handlers(self) -> Mapping[type, Handler]:
        """Handle the requests of the router."""
        return {
            Order: self.on_order,
            CancelOrder: self._link.cancel,
            ReplaceOrder: self._link.replace,
            OrderStatusRequest: self.on_status_request,
            OrderMassStatusRequest: self.on_mass_status_request,
        }

    def on_start(self) -> None:
        """Connect. Whatever was before, there is no connection yet."""
        down = VenueDown(reason="STARTING", ts_event=self.ctx.now, venue=self._venue)
        self.ctx.send(self._router, down)
        self._link.open(self._heard)

    def on_release(self) -> None:
        """Let go of the connection; orders work on at the venue."""
        self._link.close(timeout_s=self._timeout_s)

    def _heard(self, event: Any) -> None:
        """Pass a report on; what is about no order must say of which venue it is."""
        if type(event) in _OF_A_VENUE:
            event = msgspec.structs.replace(event, venue=self._venue)
        self._report(event)

    def on_order(self, order: Order) -> None:
        """Send an order."""
        faults.point("outbox.before_send")
        self._link.submit(order)
        faults.point("outbox.sent")

    def on_status_request(self, request: OrderStatusRequest) -> None:
        """Ask what became of an order."""
        self._link.query(request.order, request.fills)

    def on_mass_status_request(self, request: OrderMassStatusRequest) -> None:
        """Ask which orders are working."""
        self._link.list_working()
