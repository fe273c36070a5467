"""Which venue an order goes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import load_config
from engine.domain.orders import Order, OrderType, Side
from engine.domain.venue_routes import VenueRoutes, VenueRule
from engine.errors import ConfigError

RULES = (
    VenueRule("http", "A", "S"),
    VenueRule("alpaca", "A"),
    VenueRule("http", None, "T"),
    VenueRule("grpc", "B", "T"),
)


def order(symbol: str, strategy: str) -> Order:
    return Order("O", strategy, symbol, Side.BUY, OrderType.MARKET, 1, 0)


@pytest.mark.parametrize(
    ("symbol", "strategy", "venue"),
    [
        ("A", "S", "http"),
        ("A", "T", "alpaca"),
        ("B", "S", "grpc"),
        ("B", "T", "http"),  # the first rule that fits
        ("C", "S", "grpc"),
    ],
)
def test_the_first_rule_that_fits_holds(symbol: str, strategy: str, venue: str) -> None:
    assert VenueRoutes("grpc", RULES).venue_of(order(symbol, strategy)) == venue


def test_without_rules_there_is_one_venue() -> None:
    routes = VenueRoutes("http")
    assert routes.venues == ("http",)
    assert routes.venue_of(order("A", "S")) == "http"


@given(
    st.lists(
        st.builds(
            VenueRule,
            st.sampled_from(["grpc", "http", "alpaca"]),
            st.none() | st.sampled_from("AB"),
            st.none() | st.sampled_from("ST"),
        )
    ),
    st.sampled_from("ABC"),
    st.sampled_from("STU"),
)
def test_an_order_goes_to_one_of_the_venues(
    rules: list[VenueRule], symbol: str, strategy: str
) -> None:
    routes = VenueRoutes("grpc", rules)
    assert routes.venues[0] == "grpc"
    assert len(set(routes.venues)) == len(routes.venues)
    assert routes.venue_of(order(symbol, strategy)) in routes.venues


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"venue.routes": [{"kind": "http", "symbol": "A"}]}, "set venue.kind to one of them"),
        (
            {"venue.kind": "grpc", "venue.routes": [{"kind": "http"}]},
            "symbol and strategy are both unset",
        ),
        (
            {"venue.kind": "grpc", "venue.routes": [{"kind": "simulated", "symbol": "A"}]},
            r"venue\.routes\[0\]\.kind = 'simulated'",
        ),
        ({"venue.kind": "grpc", "venue.routes": [{"kind": "http", "symbl": "A"}]}, "symbl"),
        ({"venue.kind": "grpc", "venue.routes": [{"symbol": "A"}]}, "kind"),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        load_config("paper", settings=settings)
    assert "venue" in str(raised.value)
