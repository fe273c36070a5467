"""The venues outside: which of them an order goes to, and how each is reached."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from actors.venue_gateway import VenueGateway
from engine.config import Config
from engine.domain.venue_routes import VenueRoutes, VenueRule
from engine.ports import VenueLink

__all__ = ["gateway_name", "new_gateway", "outbox_name", "venue_routes"]

PriceOf = Callable[[str], int | None]
LINK_CLOSE_S = 5.0
"""How long letting go of a venue may take."""


def venue_routes(config: Config) -> VenueRoutes:
    """Give where the orders of a profile go."""
    rules = [VenueRule(each.kind, each.symbol, each.strategy) for each in config.venue.routes]
    return VenueRoutes(config.venue.kind, rules)


def outbox_name(venue: str) -> str:
    """Name the actor that takes requests to a venue outside."""
    return f"outbox.{venue}"


def gateway_name(venue: str) -> str:
    """Name the actor that hands requests to the link of a venue."""
    return f"venue_gateway.{venue}"


def new_gateway(
    config: Config,
    venue: str,
    report: Callable[[Any], None],
    *,
    router: str,
    price_of: PriceOf,
    **common: Any,
) -> VenueGateway:
    """Make the actor that hands requests to a venue, and its link.

    Args:
        config: the resolved profile.
        venue: which one.
        report: takes what the venue reports, from any thread.
        router: actor name of the order router.
        price_of: gives the latest price of a symbol in price units; for any thread.
        common: what every link is told.
    """
    link = _LINKS[venue](
        config, price_of, keep_closed=config.orders.keep_closed, on_bad_answer=report, **common
    )
    return VenueGateway(
        gateway_name(venue), link=link, venue=venue, report=report, router=router,
        timeout_s=LINK_CLOSE_S,
    )  # fmt: skip


# What a link needs is imported with it: gRPC and HTTP take a while, and nothing else needs them.


def _grpc_link(config: Config, price_of: PriceOf, **common: Any) -> VenueLink:
    from adapters.grpc.link import GrpcVenueLink

    return GrpcVenueLink(config.oms_grpc, **common)


def _http_link(config: Config, price_of: PriceOf, **common: Any) -> VenueLink:
    from adapters.http.link import HttpVenueLink

    return HttpVenueLink(config.gateway, price_of=price_of, **common)


def _alpaca_link(config: Config, price_of: PriceOf, **common: Any) -> VenueLink:
    from adapters.alpaca.link import AlpacaVenueLink

    return AlpacaVenueLink(config.alpaca, environment=os.environ, **common)


_LINKS: Mapping[str, Callable[..., VenueLink]] = {
    "grpc": _grpc_link,
    "http": _http_link,
    "alpaca": _alpaca_link,
}
"""How a venue outside this process is reached, by ``venue.kind``."""
