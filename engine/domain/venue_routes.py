"""Which venue an order goes to: rules by symbol and strategy, the first that fits (one table)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.domain.orders import Order

__all__ = ["VenueRoutes", "VenueRule"]


class VenueRule(NamedTuple):
    """Orders that go to a venue; None stands for every one.

    Attributes:
        venue: where they go.
        symbol: of which instrument.
        strategy_id: of which strategy.
    """

    venue: str
    symbol: str | None = None
    strategy_id: str | None = None


class VenueRoutes:
    """Where orders go.

    Args:
        default: venue of the orders that no rule fits.
        rules: in the order they are tried.

    Attributes:
        venues: every venue that orders may go to, the default first.
    """

    def __init__(self, default: str, rules: Sequence[VenueRule] = ()) -> None:
        self._default = default
        self._rules = tuple(rules)
        self.venues = tuple(dict.fromkeys((default, *(rule.venue for rule in rules))))

    def venue_of(self, order: Order) -> str:
        """Give the venue of an order; the same one as often as it is asked."""
        for venue, symbol, strategy_id in self._rules:
            if symbol in (None, order.symbol) and strategy_id in (None, order.strategy_id):
                return venue
        return self._default
