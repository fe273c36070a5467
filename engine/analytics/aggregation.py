"""Whole columns of aggregated bars: the twin of :class:`engine.domain.aggregation.Aggregator`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.aggregation import Every, bucket, parse_every
from engine.domain.calendars import DAY_NS, Calendar, get_calendar

__all__ = ["Aggregated", "aggregate"]

_Ints = NDArray[np.int64]


class Aggregated(NamedTuple):
    """The complete aggregated bars of a series.

    Attributes:
        columns: ``ts_open``, ``ts_event`` as int64, ``open``, ``high``, ``low``, ``close``,
            ``volume`` as float64; row i is the bar with ``seq`` i.
        last: for every base row, int64: the row of the newest aggregated bar that is complete
            when the base bar is, -1 while there is none.
    """

    columns: dict[str, NDArray[Any]]
    last: _Ints


def aggregate(
    columns: Mapping[str, NDArray[Any]],
    every: str,
    calendar: str = "24/7",
    *,
    px_unit: int,
    qty_unit: int,
) -> Aggregated:
    """Aggregate the base bars of one series at once.

    Gives the very bars that an ``Aggregator`` gives one after the other, for volumes up to
    ``2 ** 51`` quantity units a base bar (beyond, the float column no longer holds them all).

    Args:
        columns: base bars in order: ``ts_open``, ``ts_event`` as int64 nanoseconds and
            ``open``, ``high``, ``low``, ``close``, ``volume`` as float64.
        every: when a bar ends; see :func:`engine.domain.aggregation.parse_every`.
        calendar: name of the calendar that bars of time follow.
        px_unit: price units in a price of 1.
        qty_unit: quantity units in a quantity of 1.

    Raises:
        ConfigError: ``every`` or ``calendar`` is unknown, or does not know the years.
    """
    rule = parse_every(every)
    ts_open, ts_event = columns["ts_open"], columns["ts_event"]
    rows = len(ts_open)
    volume: _Ints = np.rint(columns["volume"] * qty_unit).astype(np.int64)
    if rule.timed:
        starts, ends = _buckets(rule, get_calendar(calendar), ts_open)
        done = ts_event >= ends
        first = _first_rows((ends[1:] != ends[:-1]) | done[:-1], rows)
        final = np.append(first[1:], rows)[: len(first)] - 1
        # A bar without its last base bar is complete one row later, with whatever comes.
        known = np.where(done[final], final, final + 1)
        opened = np.minimum(starts[first], ts_open[first])
        closed = np.maximum(ends[first], ts_event[final])
    else:
        known = final = _full_rows(rule, columns["close"], volume, px_unit, qty_unit)
        first = np.append(0, final + 1)[: len(final)]
        opened, closed = ts_open[first], ts_event[final]
    complete = int(np.searchsorted(known, rows))  # all but perhaps the last
    first, final, known = first[:complete], final[:complete], known[:complete]
    result: dict[str, NDArray[Any]] = {
        "ts_open": opened[:complete],
        "ts_event": closed[:complete],
        "open": columns["open"][first],
        "high": _reduce(np.maximum, columns["high"], first, final),
        "low": _reduce(np.minimum, columns["low"], first, final),
        "close": columns["close"][final],
        "volume": _quotient(_reduce(np.add, volume, first, final), qty_unit),
    }
    return Aggregated(result, np.cumsum(np.bincount(known, minlength=rows)) - 1)


def _buckets(every: Every, calendar: Calendar, ts: _Ints) -> tuple[_Ints, _Ints]:
    """Give start and end of the bar of time of every instant; see :func:`bucket`."""
    if every.kind != "time" or not len(ts):
        return _long_buckets(every, calendar, ts)
    if calendar.name == "24/7":
        opens = ts - ts % DAY_NS
        previous_ends, closes = opens, opens + DAY_NS
    else:
        table = np.array(calendar.sessions(int(ts[0]), int(ts[-1])), dtype=np.int64)
        _, starts, ends, previous = table.T
        at = np.searchsorted(ends, ts, side="right")
        opens, closes, previous_ends = starts[at], ends[at], previous[at]
    begin = ts - (ts - opens) % every.step_ns
    return np.maximum(begin, previous_ends), np.minimum(begin + every.step_ns, closes)


def _long_buckets(every: Every, calendar: Calendar, ts: _Ints) -> tuple[_Ints, _Ints]:
    """Do the same for days and longer, of which there are few: bar by bar."""
    starts, ends = np.empty(len(ts), dtype=np.int64), np.empty(len(ts), dtype=np.int64)
    row = 0
    while row < len(ts):
        start, end = bucket(every, calendar, int(ts[row]))
        beyond = row + int(np.searchsorted(ts[row:], end))
        starts[row:beyond], ends[row:beyond] = start, end
        row = beyond
    return starts, ends


def _first_rows(breaks: NDArray[np.bool_], rows: int) -> _Ints:
    return np.append(0, np.flatnonzero(breaks) + 1)[: max(rows, 0)]


def _full_rows(
    every: Every, close: NDArray[np.float64], volume: _Ints, px_unit: int, qty_unit: int
) -> _Ints:
    """Give the rows with which a bar of activity is full."""
    limit = every.limit(px_unit, qty_unit)
    if every.kind == "count":
        return np.arange(limit - 1, len(close), limit, dtype=np.int64)
    # Python's integers: money in units outgrows 64 bits.
    activity = volume.tolist()
    if every.kind == "value":
        prices = np.rint(close * px_unit).astype(np.int64).tolist()
        activity = [price * quantity for price, quantity in zip(prices, activity, strict=True)]
    full, held = [], 0
    for row, amount in enumerate(activity):
        held += amount
        if held >= limit:
            full.append(row)
            held = 0
    return np.array(full, dtype=np.int64)


def _reduce(function: np.ufunc, column: NDArray[Any], first: _Ints, final: _Ints) -> NDArray[Any]:
    """Reduce the rows of every bar; bars follow each other without a gap."""
    if not len(first):
        return column[:0]
    result: NDArray[Any] = function.reduceat(column[: final[-1] + 1], first)
    return result


def _quotient(units: _Ints, unit: int) -> NDArray[np.float64]:
    """Divide as the properties of a bar do: correctly rounded."""
    if not len(units) or units.max() < 2**53:
        return units / unit
    return np.array([quantity / unit for quantity in units.tolist()])
