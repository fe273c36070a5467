"""Evaluation of a plan one bar at a time, on TA-Lib's streaming handles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan
from operator import itemgetter
from typing import Any

import numpy as np

from engine.analytics.indicators.node import INDEX_FUNCTIONS, TS_OPEN, Node
from engine.analytics.indicators.spec import CROSSED, CROSSED_ABOVE, CROSSED_BELOW, SESSION_VWAP
from engine.analytics.indicators.talib_import import stream
from engine.domain.calendars import Calendar

__all__ = ["PlanStream"]

_NAN = nan


class PlanStream:
    """A plan being computed bar by bar; get one from :meth:`Plan.stream`.

    Attributes:
        columns: one list per slot, oldest value first; the last belongs to the last bar. Lists
            are cut in place to their last ``keep`` values whenever they reach twice as many.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        row: list[float],
        wanted: Sequence[int],
        calendar: Calendar,
        keep: int,
    ) -> None:
        self.columns: list[list[float]] = [[] for _ in wanted]
        self._row = row
        self._appends = [
            (column.append, place) for column, place in zip(self.columns, wanted, strict=True)
        ]
        self._keep = keep
        self._held = 0
        self._steps: list[Callable[[], None]] = []
        for node in nodes:
            self._steps.append(self._step(node, calendar))

    def update(
        self,
        open_: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        ts_open: int,
        /,
    ) -> None:
        """Take one bar and append one value to every column.

        Args:
            open_: first price.
            high: highest price.
            low: lowest price.
            close: last price.
            volume: traded quantity.
            ts_open: start of the bar, UTC nanoseconds.
        """
        row = self._row
        row[:6] = (open_, high, low, close, volume, ts_open)
        for step in self._steps:
            step()
        for append, place in self._appends:
            append(row[place])
        self._held += 1
        if self._held == 2 * self._keep:
            for column in self.columns:
                del column[: self._keep]
            self._held = self._keep

    def _step(self, node: Node, calendar: Calendar) -> Callable[[], None]:
        if node.spec.name == SESSION_VWAP:
            return _vwap_step(self._row, node, calendar)
        if node.spec.name in {CROSSED, CROSSED_ABOVE, CROSSED_BELOW}:
            return _crossing_step(self._row, node)
        return _WarmUp(self._row, node, self._steps).step


class _WarmUp:
    """Collects the rows a TA-Lib handle is opened on, then puts the handle's step in its place."""

    def __init__(self, row: list[float], node: Node, steps: list[Callable[[], None]]) -> None:
        self._row = row
        self._node = node
        self._steps = steps
        self._at = len(steps)
        self._history: list[list[float]] = [[] for _ in node.inputs]
        self._rows = 0
        self._first = 0

    def step(self) -> None:
        row, node = self._row, self._node
        given = [row[place] for place in node.inputs]
        self._rows += 1
        if not all(map(isfinite, given)):
            return
        for past, value in zip(self._history, given, strict=True):
            past.append(value)
        held = len(self._history[0])
        if held == 1:
            self._first = self._rows - 1
        if held <= node.lookback:
            return
        name = node.spec.name
        handle = getattr(stream, name)(
            *map(np.array, self._history), *(value for _, value in node.spec.parameters)
        )
        shift = self._first if name in INDEX_FUNCTIONS else None
        results = _as_floats(handle.value, shift)
        for place, result in zip(node.outputs, results, strict=True):
            row[place] = result
        update = handle.update
        if not all(isinstance(value, float) for value in _as_tuple(handle.value)):
            update = _float_update(update, shift, single=len(results) == 1)
        self._steps[self._at] = _handle_step(row, node, update)


def _as_tuple(value: Any) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _as_floats(value: Any, shift: int | None) -> list[float]:
    if shift is None:
        return [float(result) for result in _as_tuple(value)]
    return [float(result + shift) for result in _as_tuple(value)]


def _float_update(
    update: Callable[..., Any], shift: int | None, *, single: bool
) -> Callable[..., Any]:
    """Make an update that gives floats of one that gives integers too."""
    if single:
        return lambda *given: _as_floats(update(*given), shift)[0]
    return lambda *given: _as_floats(update(*given), shift)


def _handle_step(row: list[float], node: Node, update: Callable[..., Any]) -> Callable[[], None]:
    """Make the step of an open handle: short code for what nearly all of them are."""
    output, source = node.outputs[0], node.inputs[0]
    if len(node.inputs) == len(node.outputs) == 1:
        if node.derived:

            def of_one_derived() -> None:
                value = row[source]
                row[output] = update(value) if isfinite(value) else _NAN

            return of_one_derived

        def of_one() -> None:
            row[output] = update(row[source])

        return of_one
    pick = (
        itemgetter(*node.inputs) if len(node.inputs) > 1 else itemgetter(slice(source, source + 1))
    )
    if len(node.outputs) == 1 and not node.derived:

        def of_many() -> None:
            row[output] = update(*pick(row))

        return of_many
    # The outputs of a node lie side by side: a slice takes them at once.
    span = slice(output, output + len(node.outputs))
    single, nothing = len(node.outputs) == 1, [_NAN] * len(node.outputs)

    def of_any() -> None:
        given = pick(row)
        if not all(map(isfinite, given)):
            row[span] = nothing
        elif single:
            row[output] = update(*given)
        else:
            row[span] = update(*given)

    return of_any


def _crossing_step(row: list[float], node: Node) -> Callable[[], None]:
    left, right = node.inputs
    (output,) = node.outputs
    up = 0.0 if node.spec.name == CROSSED_BELOW else 1.0
    down = {CROSSED: -1.0, CROSSED_ABOVE: 0.0, CROSSED_BELOW: 1.0}[node.spec.name]
    # Comparisons with NaN are false: nothing crosses while a side has no value.
    last_a = last_b = _NAN

    def step() -> None:
        nonlocal last_a, last_b
        a, b = row[left], row[right]
        if a > b:
            row[output] = up if last_a <= last_b else 0.0
        elif a < b:
            row[output] = down if last_a >= last_b else 0.0
        else:
            row[output] = 0.0
        last_a, last_b = a, b

    return step


def _vwap_step(row: list[float], node: Node, calendar: Calendar) -> Callable[[], None]:
    output = node.outputs[0]
    high, low, close, volume = node.inputs
    day_of = calendar.day
    today: int | None = None
    money = traded = 0.0

    def step() -> None:
        nonlocal today, money, traded
        day = day_of(int(row[TS_OPEN]))
        quantity = row[volume]
        amount = (row[high] + row[low] + row[close]) / 3.0 * quantity
        if day == today:
            money += amount
            traded += quantity
        else:
            today, money, traded = day, amount, quantity
        row[output] = money / traded if traded else _NAN

    return step
