"""What strategies write: every TA-Lib function by its name, and the few things it lacks.

::

    ta.SMA(10)                              # of the close, as TA-Lib has it
    ta.BBANDS(20, nbdevup=2.5)              # parameters in TA-Lib's order, or by its names
    ta.SMA(10, price="high")                # of another column
    ta.CORREL(30, prices=("close", "volume"))
    ta.SMA(10, source=ta.RSI(14))           # of another indicator
    ta.EMA(9, source=ta.MACD().macdsignal)  # of one of several outputs
    ta.MAVP(2, 30, periods=ta.HT_DCPERIOD())
    ta.crossed_above(ta.SMA(10), ta.SMA(30))

All 201 functions of TA-Lib 0.8 are there; ``dir(ta)`` lists them and
``help(talib.SMA)`` explains one. Only MAVP has an input that is not a bar's: its ``periods``
must be given. TA-Lib's VWAP runs on from the first bar of the series;
:func:`session_vwap` restarts every trading day.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engine.analytics.indicators.spec import (
    IndicatorSpec,
    Input,
    crossed,
    crossed_above,
    crossed_below,
    declare,
    function_names,
    session_vwap,
)

__all__ = ["Input", "crossed", "crossed_above", "crossed_below", "session_vwap"]


def __getattr__(name: str) -> Callable[..., IndicatorSpec]:
    # The interpreter and tools ask every module for names such as __path__.
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(declare, name)


def __dir__() -> list[str]:
    return [*__all__, *function_names()]
