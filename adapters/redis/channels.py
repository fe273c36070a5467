"""Channels and keys, as the source documents name them."""

from __future__ import annotations

__all__ = ["ACTIVE", "CONTROL", "TOPICS", "channel_of"]

CONTROL = "system:subscription_updates"
"""Sessions that begin and end."""
ACTIVE = ("active_subscriptions:stock", "active_subscriptions:crypto")
"""Sets of the symbols that have a running session."""
TOPICS = {"bar": "market_data", "trade": "market_trades", "quote": "market_quotes"}
"""Kind of event -> what its channels begin with."""


def channel_of(kind: str, symbol: str) -> str:
    """Give the channel of a symbol's events.

    >>> channel_of("bar", "IBM")
    'market_data:IBM'
    """
    return f"{TOPICS[kind]}:{symbol}"
