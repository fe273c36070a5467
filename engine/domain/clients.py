"""What clients ask of the reference Order Management System, and what it says beside events."""

from __future__ import annotations

import msgspec

from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.orders import Order

__all__ = ["ClientGone", "ClientRequest", "FromClient", "ListOrders", "QueryAnswered", "QueryOrder"]


class QueryOrder(msgspec.Struct, frozen=True, tag="query_order"):
    """What became of an order."""

    client_order_id: str


class ListOrders(msgspec.Struct, frozen=True, tag="list_orders"):
    """Which orders are working."""


ClientRequest = Order | CancelOrder | ReplaceOrder | QueryOrder | ListOrders


class FromClient(msgspec.Struct, frozen=True, tag="from_client"):
    """A request of one client.

    Attributes:
        session: number of the client's connection; the answers go there.
        request: what it asks.
    """

    session: int
    request: ClientRequest


class ClientGone(msgspec.Struct, frozen=True, tag="client_gone"):
    """A connection is over; its orders work on."""

    session: int


class QueryAnswered(msgspec.Struct, frozen=True, tag="query_answered"):
    """All reports on an order have been said."""

    client_order_id: str
