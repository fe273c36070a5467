"""Declarations of indicators: values that say what to compute, nothing about how."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from engine.errors import ConfigError

__all__ = [
    "COLUMNS",
    "Indicator",
    "IndicatorSpec",
    "Input",
    "Output",
    "crossed",
    "crossed_above",
    "crossed_below",
    "declare",
    "function_names",
    "session_vwap",
]

COLUMNS = ("open", "high", "low", "close", "volume")
"""Columns of a bar an indicator can read."""

SESSION_VWAP = "SESSION_VWAP"
CROSSED = "CROSSED"
CROSSED_ABOVE = "CROSSED_ABOVE"
CROSSED_BELOW = "CROSSED_BELOW"


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """One declared indicator; equal declarations are equal values and are computed once.

    An output of several is an attribute: ``ta.MACD().macdsignal``.

    Attributes:
        name: TA-Lib's name of the function, or one of this engine's (``CROSSED``, ...).
        parameters: every parameter with its value, in TA-Lib's order.
        inputs: what it reads, in TA-Lib's order: columns, outputs of other indicators, numbers.
        outputs: names of its outputs, in TA-Lib's order.
    """

    name: str
    parameters: tuple[tuple[str, int | float], ...]
    inputs: tuple[str | float | Output, ...]
    outputs: tuple[str, ...]

    def __getattr__(self, name: str) -> Output:
        # Copying and pickling ask for special names, before the fields exist.
        if name.startswith("_") or name in self.__slots__:
            raise AttributeError(name)
        if name not in self.outputs:
            raise AttributeError(
                f"{self.name} has no output {name!r}{_hint(name, self.outputs)} (outputs: "
                f"{', '.join(self.outputs)}); values are read from what self.use(...) returns"
            )
        return Output(self, self.outputs.index(name))

    def __str__(self) -> str:
        parameters = (f"{name}={value}" for name, value in self.parameters)
        return f"{self.name}({', '.join([*map(str, self.inputs), *parameters])})"

    @property
    def lookback(self) -> int:
        """Number of leading rows that say nothing yet, those of its sources included.

        They are NaN; those of a crossing are 0.
        """
        sources = (i.spec.lookback for i in self.inputs if isinstance(i, Output))
        return own_lookback(self) + max(sources, default=0)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an indicator.

    Attributes:
        spec: the indicator.
        index: which of its outputs.
    """

    spec: IndicatorSpec
    index: int

    def __str__(self) -> str:
        if len(self.spec.outputs) == 1:
            return str(self.spec)
        return f"{self.spec}.{self.spec.outputs[self.index]}"


Indicator = IndicatorSpec | Output
Input = str | Indicator
"""What an indicator can be computed of: a column by name, an indicator, one of its outputs."""


def declare(
    name: str,
    *args: float,
    price: Input | None = None,
    prices: Sequence[Input] | None = None,
    source: Input | None = None,
    periods: Input | None = None,
    **parameters: float,
) -> IndicatorSpec:
    """Declare a TA-Lib function.

    Args:
        name: TA-Lib's name of it.
        args: its parameters, in TA-Lib's order.
        price: what to compute it of instead of the close, for functions of one price.
        prices: what to compute it of, one for each of its inputs.
        source: the same as ``price``; reads better for an indicator.
        periods: the period of every bar (MAVP only).
        parameters: its parameters by TA-Lib's names.

    Raises:
        ConfigError: no such function, parameter or column, or a value TA-Lib refuses.
    """
    function = _function(name)
    values = _parameters(function, args, parameters)
    inputs = _inputs(function, price, prices, source, periods)
    spec = IndicatorSpec(name, values, inputs, function.outputs)
    own_lookback(spec)  # refuses bad parameters here, where the user can see them
    return spec


def crossed_above(a: Input | float, b: Input | float) -> IndicatorSpec:
    """Give 1 on the bar on which ``a`` comes to lie above ``b``, 0 on all others.

    The rule is ``a[-2] <= b[-2] and a[-1] > b[-1]``; it does not hold while either has no value.

    Args:
        a: an indicator, one of its outputs, a column or a number.
        b: likewise.
    """
    return _crossing(CROSSED_ABOVE, a, b)


def crossed_below(a: Input | float, b: Input | float) -> IndicatorSpec:
    """Give 1 on the bar on which ``a`` comes to lie below ``b``, 0 on all others.

    The rule is ``a[-2] >= b[-2] and a[-1] < b[-1]``; it does not hold while either has no value.

    Args:
        a: an indicator, one of its outputs, a column or a number.
        b: likewise.
    """
    return _crossing(CROSSED_BELOW, a, b)


def crossed(a: Input | float, b: Input | float) -> IndicatorSpec:
    """Give +1 where ``a`` crosses above ``b``, -1 where it crosses below, 0 elsewhere."""
    return _crossing(CROSSED, a, b)


def session_vwap() -> IndicatorSpec:
    """Declare the volume-weighted average price since the open of the trading day.

    The sum of ``(high + low + close) / 3 * volume`` over the sum of ``volume``, over the bars of
    the trading day of the bar's ``ts_open`` in the plan's calendar, up to and including the bar.
    Without a value until something is traded that day.
    """
    return IndicatorSpec(SESSION_VWAP, (), ("high", "low", "close", "volume"), ("vwap",))


def function_names() -> list[str]:
    """Give the names of TA-Lib's functions."""
    # Looked up by name: TA-Lib's type stubs leave out what is not an indicator.
    return list(import_module("talib").get_functions())


def own_lookback(spec: IndicatorSpec) -> int:
    """Count the leading rows without a value of an indicator, of inputs that always have one."""
    if spec.name == SESSION_VWAP:
        return 0
    if spec.name in {CROSSED, CROSSED_ABOVE, CROSSED_BELOW}:
        return 1
    return _lookback(spec.name, spec.parameters)


@dataclass(frozen=True, slots=True)
class _Function:
    """TA-Lib's own description of a function; an input without a default column has None."""

    name: str
    parameters: Mapping[str, int | float]
    inputs: Mapping[str, str | None]
    outputs: tuple[str, ...]


@lru_cache(maxsize=256)
def _function(name: str) -> _Function:
    names = function_names()
    if name not in names:
        hint = _hint(name.upper(), names)
        raise ConfigError(f"ta.{name}: TA-Lib has no such function{hint}; dir(ta) lists them all")
    info = _abstract(name).info
    inputs: dict[str, str | None] = {}
    for key, default in info["input_names"].items():
        if isinstance(default, str):
            inputs[key] = default if default in COLUMNS else None
        else:
            inputs.update(zip(default, default, strict=True))
    return _Function(name, dict(info["parameters"]), inputs, tuple(info["output_names"]))


def _abstract(name: str) -> Any:
    import_module("engine.analytics.indicators.talib_import")
    return import_module("talib.abstract").Function(name)


@lru_cache(maxsize=4096)
def _lookback(name: str, parameters: tuple[tuple[str, int | float], ...]) -> int:
    def count(values: Mapping[str, int | float]) -> int:
        function = _abstract(name)
        if values:
            function.set_parameters(dict(values))
        rows: int = function.lookback
        return rows  # -1 when TA-Lib refuses the parameters

    rows = count(dict(parameters))
    if rows < 0:
        alone = [f"{key}={value}" for key, value in parameters if count({key: value}) < 0]
        together = [f"{key}={value}" for key, value in parameters]
        raise ConfigError(
            f"ta.{name}: TA-Lib refuses {', '.join(alone or together)} (out of range); "
            f"help(talib.{name}) has the defaults"
        )
    return rows


def _parameters(
    function: _Function, args: tuple[float, ...], named: Mapping[str, float]
) -> tuple[tuple[str, int | float], ...]:
    """Resolve every parameter, so that equal declarations compare equal."""
    names = list(function.parameters)
    label = f"ta.{function.name}"
    known = ", ".join(f"{k}={v}" for k, v in function.parameters.items()) or "none"
    if len(args) > len(names):
        raise ConfigError(f"{label}: {len(args)} parameters given, it has: {known}")
    given: dict[str, object] = dict(zip(names, args, strict=False))
    for name, number in named.items():
        if name not in function.parameters:
            raise ConfigError(
                f"{label}: no parameter {name!r}{_hint(name, names)} (parameters: {known})"
            )
        if name in given:
            raise ConfigError(f"{label}: {name} is given twice, by position and by name")
        given[name] = number
    resolved: list[tuple[str, int | float]] = []
    for name, default in function.parameters.items():
        value = given.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"{label}: {name} must be a number, not {value!r}")
        if not math.isfinite(value) or (isinstance(default, int) and value != int(value)):
            kind = "a whole" if isinstance(default, int) else "a finite"
            raise ConfigError(f"{label}: {name} must be {kind} number, not {value!r}")
        if abs(value) >= 2**31:
            raise ConfigError(f"{label}: {name}={value!r} is out of range")
        resolved.append((name, int(value) if isinstance(default, int) else float(value)))
    return tuple(resolved)


def _inputs(
    function: _Function,
    price: Input | None,
    prices: Sequence[Input] | None,
    source: Input | None,
    periods: Input | None,
) -> tuple[str | Output, ...]:
    label = f"ta.{function.name}"
    chosen: dict[str, Input | None] = dict(function.inputs)
    reads = ", ".join(chosen)
    if sum(given is not None for given in (price, prices, source)) > 1:
        raise ConfigError(f"{label}: give one of price, prices and source")
    one = price if price is not None else source
    if prices is not None:
        if isinstance(prices, str) or len(prices) != len(chosen):
            raise ConfigError(f"{label}: prices must name {len(chosen)} inputs ({reads})")
        chosen = dict(zip(chosen, prices, strict=True))
    elif one is not None:
        if "price" not in chosen:
            word = "price" if price is not None else "source"
            raise ConfigError(
                f"{label}: {word}= is for functions of one price; this reads {reads}: "
                f"give prices=(...) with {len(chosen)} inputs"
            )
        chosen["price"] = one
    if periods is not None:
        if "periods" not in chosen:
            raise ConfigError(f"{label}: periods= is MAVP's; this reads {reads}")
        chosen["periods"] = periods
    missing = [key for key, value in chosen.items() if value is None]
    if missing:
        raise ConfigError(f"{label}: needs {missing[0]}=, an indicator with a value for every bar")
    return tuple(_input(label, value) for value in chosen.values())


def _input(label: str, value: object) -> str | Output:
    if isinstance(value, Output):
        return value
    if isinstance(value, IndicatorSpec):
        if len(value.outputs) > 1:
            raise ConfigError(
                f"{label}: {value.name} has the outputs {', '.join(value.outputs)}; choose one, "
                f"as in ta.{value.name}(...).{value.outputs[0]}"
            )
        return Output(value, 0)
    if isinstance(value, str) and value in COLUMNS:
        return value
    hint = _hint(value, COLUMNS) if isinstance(value, str) else ""
    raise ConfigError(
        f"{label}: cannot be computed of {value!r}{hint}; give a column "
        f"({', '.join(COLUMNS)}) or an indicator"
    )


def _crossing(name: str, a: Input | float, b: Input | float) -> IndicatorSpec:
    label = f"ta.{name.lower()}"
    sides: list[str | float | Output] = []
    for side in (a, b):
        if isinstance(side, int | float) and not isinstance(side, bool):
            if not math.isfinite(side):
                raise ConfigError(f"{label}: {side!r} is not a finite number")
            sides.append(float(side))
        else:
            sides.append(_input(label, side))
    if all(isinstance(side, float) for side in sides):
        raise ConfigError(f"{label}: two numbers never cross; give an indicator or a column")
    return IndicatorSpec(name, (), tuple(sides), ("crossed",))


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
