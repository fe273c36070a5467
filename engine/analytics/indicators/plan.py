"""Evaluation of declared indicators: whole columns at once, or one bar at a time.

Both ways give the same bits. TA-Lib promises it for its streaming handles; the rest is kept
simple enough to promise it too (sums run left to right in both).

Rows are left out, not guessed: where an input of an indicator has no finite value (its source is
still warming up, or divided by zero) the indicator has none either, and goes on afterwards as if
the row had not been. NaN means "no value".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.analytics.indicators.node import INDEX_FUNCTIONS, TS_OPEN, Node
from engine.analytics.indicators.spec import (
    COLUMNS,
    CROSSED,
    CROSSED_ABOVE,
    CROSSED_BELOW,
    SESSION_VWAP,
    Indicator,
    IndicatorSpec,
    Output,
)
from engine.analytics.indicators.stream import PlanStream
from engine.analytics.indicators.talib_import import talib
from engine.analytics.sessions import days
from engine.domain.calendars import get_calendar
from engine.errors import ConfigError

__all__ = ["Plan", "PlanStream"]

_Floats = NDArray[np.float64]
_NAN = math.nan


class Plan:
    """A set of declared indicators, common parts of which are computed once.

    Args:
        specs: the declared indicators, in the order of their slots; repeats share theirs.
        calendar: whose trading days ``session_vwap`` follows.

    Raises:
        ConfigError: the calendar is unknown.

    Attributes:
        slots: number of output columns: one for each output of each declared indicator.
    """

    def __init__(self, specs: Sequence[Indicator], calendar: str = "24/7") -> None:
        self._calendar = get_calendar(calendar)
        self._nodes: dict[IndicatorSpec, Node] = {}
        self._constants: dict[int, float] = {}
        self._width = TS_OPEN + 1
        self._slots: dict[Output, int] = {}
        for spec in specs:
            outputs = (
                [spec]
                if isinstance(spec, Output)
                else [Output(spec, index) for index in range(len(spec.outputs))]
            )
            for output in outputs:
                self._slots.setdefault(output, len(self._slots))
            self._place(outputs[0].spec)
        self.slots = len(self._slots)
        self._wanted = [self._nodes[out.spec].outputs[out.index] for out in self._slots]

    @property
    def columns(self) -> set[str]:
        """Names of the bar columns that :meth:`batch` reads."""
        names = {
            name
            for node in self._nodes.values()
            for name in node.spec.inputs
            if isinstance(name, str)
        }
        sessions = any(node.spec.name == SESSION_VWAP for node in self._nodes.values())
        return {"close", *names, *(("ts_open",) if sessions else ())}

    def slot(self, spec: Indicator, output: int = 0) -> int:
        """Give the column of an output.

        Args:
            spec: a declared indicator, or one output of it.
            output: which output of a declared indicator.

        Raises:
            ConfigError: it was not among the declared ones.
        """
        key = spec if isinstance(spec, Output) else Output(spec, output)
        slot = self._slots.get(key)
        if slot is None:
            declared = ", ".join(map(str, self._slots)) or "none"
            raise ConfigError(f"indicator {key} was not declared (declared: {declared})")
        return slot

    def batch(self, columns: Mapping[str, NDArray[Any]]) -> list[memoryview]:
        """Compute every indicator over whole columns.

        Args:
            columns: ``open``, ``high``, ``low``, ``close``, ``volume`` as float64, of which
                only those that are read must be there, finite and of equal length;
                ``close`` always. ``ts_open`` as int64 when ``session_vwap`` is declared.

        Returns:
            One float64 view per slot, as long as the columns; NaN where there is no value.
        """
        rows = len(columns["close"])
        values: dict[int, _Floats] = {
            place: np.broadcast_to(np.float64(value), rows)
            for place, value in self._constants.items()
        }
        for node in self._nodes.values():
            for name in node.spec.inputs:
                if isinstance(name, str):
                    column = np.ascontiguousarray(columns[name], dtype=np.float64)
                    values[COLUMNS.index(name)] = column
        last_use: dict[int, Node] = {}
        for node in self._nodes.values():
            last_use.update(dict.fromkeys((*node.outputs, *node.inputs), node))
        kept = {*self._wanted, *range(TS_OPEN), *self._constants}
        for node in self._nodes.values():
            values.update(
                zip(node.outputs, self._compute(node, values, columns, rows), strict=True)
            )
            for place in (*node.outputs, *node.inputs):
                if last_use[place] is node and place not in kept:
                    values.pop(place, None)
        return [values[place].data for place in self._wanted]

    def stream(self, keep: int = 1024) -> PlanStream:
        """Begin to compute bar by bar, from the first bar of a series.

        Args:
            keep: how many values of each column stay readable, at least; 2 or more.
        """
        if keep < 2:
            raise ConfigError(f"an indicator keeps at least 2 values, not {keep}")
        row = [_NAN] * self._width
        for place, value in self._constants.items():
            row[place] = value
        return PlanStream(list(self._nodes.values()), row, self._wanted, self._calendar, keep)

    def _place(self, spec: IndicatorSpec) -> Node:
        """Give the node of a spec, adding it after those it reads."""
        node = self._nodes.get(spec)
        if node is None:
            inputs = tuple(self._input(given) for given in spec.inputs)
            node = self._nodes[spec] = Node(spec, inputs, self._width)
            self._width += len(spec.outputs)
        return node

    def _input(self, given: str | float | Output) -> int:
        if isinstance(given, Output):
            return self._place(given.spec).outputs[given.index]
        if isinstance(given, str):
            return COLUMNS.index(given)
        self._constants[self._width] = given
        self._width += 1
        return self._width - 1

    def _compute(
        self,
        node: Node,
        values: Mapping[int, _Floats],
        columns: Mapping[str, NDArray[Any]],
        rows: int,
    ) -> Sequence[_Floats]:
        inputs = [values[place] for place in node.inputs]
        if node.spec.name == SESSION_VWAP:
            return [_session_vwap(inputs, days(columns["ts_open"], self._calendar))]
        if node.spec.name in _CROSSINGS:
            return [_CROSSINGS[node.spec.name](*inputs)]
        return _talib(node, inputs, rows)


def _talib(node: Node, inputs: Sequence[_Floats], rows: int) -> Sequence[_Floats]:
    """Compute a TA-Lib function over the rows on which all its inputs are finite."""
    where: slice | NDArray[np.intp] = slice(0, rows)
    first, count = 0, rows
    if node.derived:
        valid = np.flatnonzero(np.logical_and.reduce([np.isfinite(i) for i in inputs]))
        count = len(valid)
        first = int(valid[0]) if count else 0
        where = slice(first, rows) if count == rows - first else valid
        inputs = [i[where] for i in inputs]
    lookback = node.lookback
    if count <= lookback:
        return [np.full(rows, _NAN) for _ in node.outputs]
    function = getattr(talib, node.spec.name)
    found = function(*inputs, *(value for _, value in node.spec.parameters))
    results: list[_Floats] = []
    for result in found if isinstance(found, tuple) else (found,):
        if node.spec.name in INDEX_FUNCTIONS:
            result = result + float(first)
        if count == rows and result.dtype == np.float64:
            result[:lookback] = _NAN
            results.append(result)
            continue
        padded = np.full(rows, _NAN)
        if isinstance(where, slice):
            padded[first + lookback :] = result[lookback:]
        else:
            padded[where[lookback:]] = result[lookback:]
        results.append(padded)
    return results


def _above(a: _Floats, b: _Floats) -> _Floats:
    result = np.zeros(len(a))
    np.logical_and(a[:-1] <= b[:-1], a[1:] > b[1:], out=result[1:])
    return result


def _below(a: _Floats, b: _Floats) -> _Floats:
    return _above(b, a)


def _both(a: _Floats, b: _Floats) -> _Floats:
    result = _above(a, b)
    result -= _above(b, a)
    return result


_CROSSINGS: dict[str, Callable[[_Floats, _Floats], _Floats]] = {
    CROSSED: _both,
    CROSSED_ABOVE: _above,
    CROSSED_BELOW: _below,
}


def _session_vwap(inputs: Sequence[_Floats], day: NDArray[np.int64]) -> _Floats:
    high, low, close, volume = inputs
    money = high + low
    money += close
    money /= 3.0
    money *= volume
    traded = np.empty(len(day))
    edges = [0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(day)]
    for start, end in pairwise(edges):
        # cumsum adds left to right, as the stream does; np.sum would not.
        np.cumsum(money[start:end], out=money[start:end])
        np.cumsum(volume[start:end], out=traded[start:end])
    with np.errstate(invalid="ignore", divide="ignore"):
        money /= traded
    return money
