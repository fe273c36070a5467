"""Tetrad: one event-driven trading engine for live, paper, backtest, screen, alert and replay.

What a strategy file needs is imported from here::

    from engine import Bar, Strategy, ta
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.analytics.indicators import ta
    from engine.analytics.indicators.spec import (
        crossed,
        crossed_above,
        crossed_below,
        session_vwap,
    )
    from engine.domain.market import Bar, Quote, Trade
    from engine.domain.orders import OrderStatus, OrderType, Side, TimeInForce
    from engine.domain.signals import Signal
    from engine.strategy.base import Strategy
    from engine.strategy.parameters import param
    from engine.strategy.views import Bracket, Fill, OrderHandle, Position

__all__ = [
    "Bar",
    "Bracket",
    "Fill",
    "OrderHandle",
    "OrderStatus",
    "OrderType",
    "Position",
    "Quote",
    "Side",
    "Signal",
    "Strategy",
    "TimeInForce",
    "Trade",
    "crossed",
    "crossed_above",
    "crossed_below",
    "param",
    "session_vwap",
    "ta",
]

_HOMES = {
    **dict.fromkeys(("Bar", "Quote", "Trade"), "engine.domain.market"),
    **dict.fromkeys(("OrderStatus", "OrderType", "Side", "TimeInForce"), "engine.domain.orders"),
    **dict.fromkeys(("Bracket", "Fill", "OrderHandle", "Position"), "engine.strategy.views"),
    **dict.fromkeys(
        ("crossed", "crossed_above", "crossed_below", "session_vwap"),
        "engine.analytics.indicators.spec",
    ),
    "Signal": "engine.domain.signals",
    "Strategy": "engine.strategy.base",
    "param": "engine.strategy.parameters",
}


def __getattr__(name: str) -> object:
    # Resolved on first use: `engine --help` must not import half of the package.
    from importlib import import_module

    if name == "ta":
        return import_module("engine.analytics.indicators.ta")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(home), name)
