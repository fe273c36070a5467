"""Bars of bars: longer bars, or bars of equal activity, from base bars, trades or quotes.

========================== ===================================================================
``every``                  a bar ends
========================== ===================================================================
``30s`` ``5m`` ``4h``      that long after the one before, counted from the open of the trading
                           day; the last one of a day ends with the day; up to ``24h``
``1d``                     with the trading day of the calendar
``1w`` ``1mo``             with the last trading day of the week (from Monday) or month
``count:100``              after 100 base events
``volume:1e6``             once a quantity of a million has been traded
``value:5e6``              once price times quantity comes to five million (of a base bar, its
                           close times its volume; a contract's multiplier does not count)
========================== ===================================================================

A bar is never known before it has ended. One of a length of time covers ``[a, b)`` and is
complete with the first base bar that ends at ``b`` or later; when that one is missing, with the
first base event that begins at ``b`` or later, before that event counts. A base event belongs
to the bar in which it begins and is never divided.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from engine.domain.calendars import DAY_NS, Calendar, get_calendar
from engine.domain.market import Bar, MarketEvent, Quote
from engine.errors import ConfigError

__all__ = ["Aggregator", "Every", "bucket", "parse_every"]

Kind = Literal["time", "day", "week", "month", "count", "volume", "value"]
_CALENDAR_KINDS: dict[str, Kind] = {"1d": "day", "1w": "week", "1mo": "month"}
_ACTIVITY_KINDS: dict[str, Kind] = {"count": "count", "volume": "volume", "value": "value"}
_STEP_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Every:
    """When an aggregated bar ends.

    Attributes:
        kind: which rule.
        step_ns: length of a ``time`` bar, nanoseconds; 0 for the others.
        amount: base events, quantity or money in a bar; 0 for bars of time.
    """

    kind: Kind
    step_ns: int = 0
    amount: Decimal = Decimal(0)

    @property
    def timed(self) -> bool:
        """Whether bars end with time, rather than with activity."""
        return self.kind in {"time", "day", "week", "month"}

    def limit(self, px_unit: int, qty_unit: int) -> int:
        """Give the activity that ends a bar as a whole number of events or units.

        Args:
            px_unit: price units in a price of 1.
            qty_unit: quantity units in a quantity of 1.

        Returns:
            Events, quantity units or price units times quantity units; rounded up, as the bar
            ends when the amount is reached.
        """
        unit = {"volume": qty_unit, "value": px_unit * qty_unit}.get(self.kind, 1)
        return math.ceil(self.amount * unit)


def parse_every(text: str) -> Every:
    """Read when aggregated bars end.

    >>> parse_every("5m").step_ns
    300000000000

    Args:
        text: one of the forms of the table above.

    Raises:
        ConfigError: it has another form, or an amount that is not positive.
    """
    if text in _CALENDAR_KINDS:
        return Every(_CALENDAR_KINDS[text])
    if match := re.fullmatch(r"([1-9]\d*)([smh])", text):
        step_ns = int(match[1]) * _STEP_NS[match[2]]
        if step_ns <= DAY_NS:
            return Every("time", step_ns)
    word, _, number = text.partition(":")
    if kind := _ACTIVITY_KINDS.get(word):
        try:
            amount = Decimal(number)
        except InvalidOperation:
            amount = Decimal(0)
        if amount.is_finite() and amount > 0 and (kind != "count" or amount == int(amount)):
            return Every(kind, amount=amount)
    raise ConfigError(
        f"every={text!r} is no bar length; accepted are <n>s, <n>m, <n>h (up to 24h), 1d, 1w, "
        "1mo, count:<n>, volume:<quantity> and value:<money>, as in '5m' or 'volume:1e6'"
    )


def bucket(every: Every, calendar: Calendar, ts: int) -> tuple[int, int]:
    """Give the ``[start, end)`` of the bar of time that an instant belongs to.

    Args:
        every: a rule of time.
        calendar: whose trading days.
        ts: UTC nanoseconds; when the venue is closed, ``1d``, ``1w`` and ``1mo`` give the bar of
            the next trading day, whose start is then later than ``ts``.

    Returns:
        Start and end, UTC nanoseconds.

    Raises:
        ConfigError: an instant outside the years the calendar knows.
    """
    session = calendar.session(ts)
    if every.kind == "time":
        start = ts - (ts - session.start) % every.step_ns
        # Outside the session the grid goes on, but not into the trading day before.
        return max(start, session.previous_end), min(start + every.step_ns, session.end)
    if every.kind == "day":
        return session.start, session.end
    if every.kind == "week":
        first = session.day - (session.day + 3) % 7  # 1970-01-01 was a Thursday
        beyond = first + 7
    else:
        date = (_EPOCH + dt.timedelta(session.day)).replace(day=1)
        first = (date - _EPOCH).days
        beyond = ((date + dt.timedelta(31)).replace(day=1) - _EPOCH).days
    # At midnight UTC every calendar is in, or before, the trading day of that date.
    start = calendar.session(first * DAY_NS).start
    return start, calendar.session(beyond * DAY_NS).previous_end


class Aggregator:
    """Makes the aggregated bars of one series, event by event.

    Args:
        every: when a bar ends; see :func:`parse_every`.
        calendar: name of the calendar that bars of time follow.

    Raises:
        ConfigError: ``every`` or ``calendar`` is unknown.
    """

    __slots__ = (
        "_activity",
        "_calendar",
        "_close",
        "_end",
        "_every",
        "_high",
        "_last",
        "_limit",
        "_low",
        "_open",
        "_seq",
        "_start",
        "_ts_event",
        "_volume",
    )

    def __init__(self, every: str, calendar: str = "24/7") -> None:
        self._every = parse_every(every)
        self._calendar = get_calendar(calendar)
        self._seq = 0
        self._last: MarketEvent | None = None  # of the bar being made; None between bars
        self._start = self._end = self._ts_event = 0
        self._open = self._high = self._low = self._close = self._volume = 0
        self._activity = self._limit = 0

    def update(self, event: MarketEvent) -> tuple[Bar, ...]:
        """Take the next event of the series and give the bars that are complete with it.

        Bars of quotes are of their midpoints, rounded down to a price unit, with no volume.

        Args:
            event: a base bar, trade or quote; not earlier than the one before.

        Returns:
            No bar as a rule, or one; two when this event shows that the bar before ended in a
            gap of the data and completes its own as well.

        Raises:
            ConfigError: quotes, which trade nothing, for bars of volume or value.
        """
        begins = event.ts_open if isinstance(event, Bar) else event.ts_event
        timed = self._every.timed
        before = None
        if timed and self._last is not None and begins >= self._end:
            before = self._finish(self._last, self._end)
        if self._last is None:
            self._begin(event, begins)
        self._add(event)
        complete = event.ts_event >= self._end if timed else self._activity >= self._limit
        if not complete:
            return () if before is None else (before,)
        ts_event = max(self._end, self._ts_event) if timed else self._ts_event
        bar = self._finish(event, ts_event)
        return (bar,) if before is None else (before, bar)

    def flush(self) -> Bar | None:
        """Give up the bar being made, incomplete as it is, and begin anew.

        Returns:
            The bar until the end of its last event; None between bars.
        """
        return None if self._last is None else self._finish(self._last, self._ts_event)

    def _begin(self, event: MarketEvent, begins: int) -> None:
        if self._every.timed:
            start, self._end = bucket(self._every, self._calendar, begins)
            self._start = min(start, begins)
        else:
            if isinstance(event, Quote) and self._every.kind != "count":
                raise ConfigError(
                    f"{event.symbol}: quotes trade nothing, so bars of {self._every.kind} never "
                    "end; use bars of time or count:<n>"
                )
            self._start = begins
            self._limit = self._every.limit(event.px_unit, event.qty_unit)
        self._open = event.open_px if isinstance(event, Bar) else event.last_px
        self._high = event.high_px if isinstance(event, Bar) else event.last_px
        self._low = event.low_px if isinstance(event, Bar) else event.last_px
        self._volume = self._activity = 0

    def _add(self, event: MarketEvent) -> None:
        close = event.last_px
        if isinstance(event, Bar):
            high, low, volume = event.high_px, event.low_px, event.volume_qty
        else:
            high = low = close
            volume = 0 if isinstance(event, Quote) else event.qty
        if high > self._high:
            self._high = high
        if low < self._low:
            self._low = low
        self._close = close
        self._volume += volume
        self._ts_event = event.ts_event
        self._last = event
        kind = self._every.kind
        if kind == "count":
            self._activity += 1
        elif kind == "volume":
            self._activity += volume
        elif kind == "value":
            self._activity += volume * close

    def _finish(self, last: MarketEvent, ts_event: int) -> Bar:
        bar = Bar(
            last.symbol,
            self._seq,
            self._start,
            ts_event,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume,
            last.px_unit,
            last.qty_unit,
        )
        self._seq += 1
        self._last = None
        return bar
