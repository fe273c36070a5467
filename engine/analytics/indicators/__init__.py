"""Indicators: declared once, computed over whole columns or one bar at a time, bit for bit alike.

:mod:`~engine.analytics.indicators.ta` is what strategies write, :class:`IndicatorSpec` what it
gives, :class:`Plan` what evaluates a set of them. TA-Lib and numpy are imported when the first
indicator is declared, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.analytics.indicators import ta
from engine.analytics.indicators.spec import COLUMNS, Indicator, IndicatorSpec, Output

if TYPE_CHECKING:
    from engine.analytics.indicators.plan import Plan, PlanStream

__all__ = ["COLUMNS", "Indicator", "IndicatorSpec", "Output", "Plan", "PlanStream", "ta"]


def __getattr__(name: str) -> object:
    if name in {"Plan", "PlanStream"}:
        from engine.analytics.indicators import plan

        return getattr(plan, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
