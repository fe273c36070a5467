"""Trading calendars: which trading day an instant belongs to, and when that day opens and closes.

A trading day is named by the number of days from 1970-01-01 to its date and covers
``[start, end)``. Instants when the venue is closed belong to the next trading day, so every
instant has exactly one. Three calendars are built in:

======== ================================================ ======================================
name     trading day                                      also called
======== ================================================ ======================================
``24/7`` every UTC day                                    UTC, CRYPTO
``XNYS`` 09:30 to 16:00 New York, with its holidays and   NYSE, NASDAQ, XNAS
         early closes; 1990 to 2035
``24/5`` the FX week: 17:00 to 17:00 New York, from       FX
         Sunday to Friday, named after the day it ends on
======== ================================================ ======================================

The rules of XNYS are those of NYSE Rule 7.2 and its predecessors; days that follow no rule
(funerals, storms, 2001-09-11) are tables below. A delayed open or a halt during the day does not
change the session.
"""

from __future__ import annotations

import datetime as dt
import difflib
from abc import ABC, abstractmethod
from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from engine.errors import ConfigError

__all__ = ["CALENDARS", "DAY_NS", "Calendar", "Session", "get_calendar"]

DAY_NS = 86_400 * 10**9
"""Length of a UTC day, nanoseconds."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
_NEW_YORK = "America/New_York"


class Session(NamedTuple):
    """One trading day.

    Attributes:
        day: days from 1970-01-01 to its date.
        start: its open, UTC nanoseconds.
        end: its close, UTC nanoseconds, exclusive.
        previous_end: close of the trading day before; instants from here to ``end`` are its own.
    """

    day: int
    start: int
    end: int
    previous_end: int


class Calendar(ABC):
    """Trading days of a venue. Instances are shared; get one from :func:`get_calendar`.

    Attributes:
        name: canonical name.
    """

    name: str

    @abstractmethod
    def session(self, ts: int) -> Session:
        """Give the trading day that contains ``ts``, or the next one when closed.

        Args:
            ts: an instant, UTC nanoseconds.

        Raises:
            ConfigError: ``ts`` is outside the years the calendar knows.
        """

    def day(self, ts: int) -> int:
        """Give the number of that trading day: days from 1970-01-01 to its date."""
        return self.session(ts).day

    def day_start(self, ts: int) -> int:
        """Give the open of that trading day, UTC nanoseconds; later than ``ts`` when closed."""
        return self.session(ts).start

    def day_end(self, ts: int) -> int:
        """Give the close of that trading day, UTC nanoseconds, exclusive."""
        return self.session(ts).end

    def sessions(self, first_ts: int, last_ts: int) -> list[Session]:
        """Give the trading days of all instants from ``first_ts`` to ``last_ts``, inclusive."""
        found = [self.session(first_ts)]
        while found[-1].end <= last_ts:
            found.append(self.session(found[-1].end))
        return found


class _Continuous(Calendar):
    """Never closed; the day is the UTC day."""

    name = "24/7"

    def session(self, ts: int) -> Session:
        day = ts // DAY_NS
        start = day * DAY_NS
        return Session(day, start, start + DAY_NS, start)

    # Repeated without the tuple: these are asked per event.
    def day(self, ts: int) -> int:
        return ts // DAY_NS

    def day_start(self, ts: int) -> int:
        return ts - ts % DAY_NS

    def day_end(self, ts: int) -> int:
        return ts - ts % DAY_NS + DAY_NS


class _Scheduled(Calendar):
    """Sessions generated a year at a time from rules, and kept.

    The session asked for last is remembered: events come in time order, so nearly every
    question is answered by two comparisons. It is one tuple, replaced as a whole, which keeps
    threads that share the calendar safe.
    """

    first_year = 1678  # what nanoseconds in 64 bits can name
    last_year = 2261

    def __init__(self) -> None:
        self._last = Session(0, 0, 0, 0)
        self._years: dict[int, tuple[list[Session], list[int]]] = {}

    @abstractmethod
    def _hours(self, year: int) -> list[tuple[dt.date, int, int]]:
        """Give ``(date, start, end)`` of the sessions whose date is in ``year``, in order."""

    def session(self, ts: int) -> Session:
        last = self._last
        if last.previous_end <= ts < last.end:
            return last
        # Every session ends within its date's UTC year, so this year's table or the next's
        # first row has the answer.
        year = (_EPOCH + dt.timedelta(seconds=ts // 10**9)).year
        rows, ends = self._year(year)
        at = bisect_right(ends, ts)
        last = rows[at] if at < len(rows) else self._year(year + 1)[0][0]
        self._last = last
        return last

    def day(self, ts: int) -> int:
        last = self._last
        if last.previous_end <= ts < last.end:
            return last.day
        return self.session(ts).day

    def _year(self, year: int) -> tuple[list[Session], list[int]]:
        table = self._years.get(year)
        if table is None:
            if not self.first_year <= year <= self.last_year:
                raise ConfigError(
                    f"calendar {self.name!r} knows the years {self.first_year} to "
                    f"{self.last_year}, not {year}; for such data set the calendar to '24/7'"
                )
            if year - 1 < self.first_year:
                previous_end = _utc_ns(dt.date(year, 1, 1))
            else:
                previous_end = self._hours(year - 1)[-1][2]
            rows = []
            for date, start, end in self._hours(year):
                rows.append(Session(_day_number(date), start, end, previous_end))
                previous_end = end
            table = self._years[year] = (rows, [row.end for row in rows])
        return table


class _FxWeek(_Scheduled):
    """Open from Sunday 17:00 to Friday 17:00 New York; days change at 17:00."""

    name = "24/5"

    def _hours(self, year: int) -> list[tuple[dt.date, int, int]]:
        zone = ZoneInfo(_NEW_YORK)
        days = (date for date in _dates(year) if date.weekday() < 5)
        evening = dt.time(17)
        return [
            (day, _local_ns(day - dt.timedelta(1), evening, zone), _local_ns(day, evening, zone))
            for day in days
        ]


class _NewYork(_Scheduled):
    """The New York Stock Exchange, which Nasdaq follows."""

    name = "XNYS"
    first_year = 1990
    last_year = 2035

    def _hours(self, year: int) -> list[tuple[dt.date, int, int]]:
        zone = ZoneInfo(_NEW_YORK)
        holidays = _nyse_holidays(year) | _NYSE_CLOSED
        closes = _nyse_early_closes(year) | _NYSE_CLOSES
        opening, closing = dt.time(9, 30), dt.time(16)
        return [
            (
                date,
                _local_ns(date, opening, zone),
                _local_ns(date, closes.get(date, closing), zone),
            )
            for date in _dates(year)
            if date.weekday() < 5 and date not in holidays
        ]


def _nyse_holidays(year: int) -> frozenset[dt.date]:
    """Give the full-day holidays of a year that follow a rule."""
    new_year = dt.date(year, 1, 1)
    days = [
        # On a Saturday it is not made up for: the last trading day of a year stays open.
        new_year + dt.timedelta(1) if new_year.weekday() == 6 else new_year,
        _nth_weekday(year, 2, 0, 3),
        _easter(year) - dt.timedelta(2),
        _nth_weekday(year, 6, 0, 1) - dt.timedelta(7),
        _observed(dt.date(year, 7, 4)),
        _nth_weekday(year, 9, 0, 1),
        _nth_weekday(year, 11, 3, 4),
        _observed(dt.date(year, 12, 25)),
    ]
    if year >= 1998:  # Martin Luther King Jr. Day
        days.append(_nth_weekday(year, 1, 0, 3))
    if year >= 2022:  # Juneteenth
        days.append(_observed(dt.date(year, 6, 19)))
    return frozenset(days)


def _nyse_early_closes(year: int) -> dict[dt.date, dt.time]:
    """Give the early closes of a year that follow a rule (holidays among them do no harm)."""
    time = dt.time(13) if year >= 1993 else dt.time(14)
    closes = {}
    if year >= 1992:
        closes[_nth_weekday(year, 11, 3, 4) + dt.timedelta(1)] = time
    eve = dt.date(year, 12, 24)
    if eve.weekday() < 4:
        closes[eve] = time
    fourth = dt.date(year, 7, 4)
    if year >= 1995:
        if fourth.weekday() in {1, 2, 4}:
            closes[fourth - dt.timedelta(1)] = time
        elif fourth.weekday() == 3:  # until 2012 the Friday after was short instead
            closes[fourth + dt.timedelta(1 if year < 2013 else -1)] = time
    return closes


_NYSE_CLOSED = frozenset(
    dt.date.fromisoformat(day)
    for day in (
        "1994-04-27",  # funeral of Richard Nixon
        "2001-09-11",
        "2001-09-12",
        "2001-09-13",
        "2001-09-14",
        "2004-06-11",  # funeral of Ronald Reagan
        "2007-01-02",  # mourning for Gerald Ford
        "2012-10-29",  # hurricane Sandy
        "2012-10-30",
        "2018-12-05",  # funeral of George H. W. Bush
        "2025-01-09",  # funeral of Jimmy Carter
    )
)
_NYSE_CLOSES = {
    dt.date(1997, 12, 26): dt.time(13),
    dt.date(1999, 12, 31): dt.time(13),
    dt.date(2003, 12, 26): dt.time(13),
}


def _easter(year: int) -> dt.date:
    """Give Easter Sunday: the anonymous Gregorian computus (Meeus, Astronomical Algorithms, 8)."""
    century, rest = divmod(year, 100)
    golden = year % 19
    skipped, left = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    moon = (19 * golden + century - skipped - correction + 15) % 30
    quads, odd = divmod(rest, 4)
    sunday = (32 + 2 * left + 2 * quads - moon - odd) % 7
    late = (golden + 11 * moon + 22 * sunday) // 451
    month, day = divmod(moon + sunday - 7 * late + 114, 31)
    return dt.date(year, month, day + 1)


def _nth_weekday(year: int, month: int, weekday: int, n: int) -> dt.date:
    """Give the n-th (from 1) weekday (Monday is 0) of a month."""
    first = dt.date(year, month, 1)
    return first + dt.timedelta((weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(date: dt.date) -> dt.date:
    """Move a holiday on a weekend to the nearest weekday."""
    return date + dt.timedelta({5: -1, 6: 1}.get(date.weekday(), 0))


def _dates(year: int) -> list[dt.date]:
    first = dt.date(year, 1, 1).toordinal()
    last = dt.date(year, 12, 31).toordinal()
    return [dt.date.fromordinal(n) for n in range(first, last + 1)]


def _day_number(date: dt.date) -> int:
    return date.toordinal() - _EPOCH_ORDINAL


def _utc_ns(date: dt.date) -> int:
    return _day_number(date) * DAY_NS


def _local_ns(date: dt.date, time: dt.time, zone: ZoneInfo) -> int:
    """Give the UTC nanoseconds of a local wall-clock time."""
    since = dt.datetime.combine(date, time, zone) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9


CALENDARS = ("24/7", "XNYS", "24/5")
"""Canonical names of the built-in calendars."""

_NAMES = {
    "24/7": "24/7",
    "UTC": "24/7",
    "CRYPTO": "24/7",
    "XNYS": "XNYS",
    "XNAS": "XNYS",
    "NYSE": "XNYS",
    "NASDAQ": "XNYS",
    "24/5": "24/5",
    "FX": "24/5",
}
_CLASSES: dict[str, type[Calendar]] = {"24/7": _Continuous, "XNYS": _NewYork, "24/5": _FxWeek}


@lru_cache(maxsize=len(CALENDARS))
def _shared(canonical: str) -> Calendar:
    return _CLASSES[canonical]()


def get_calendar(name: str) -> Calendar:
    """Give a trading calendar by name or alias, in any case.

    Args:
        name: one of ``24/7``, ``XNYS`` (``NYSE``, ``NASDAQ``, ``XNAS``), ``24/5`` (``FX``).

    Raises:
        ConfigError: no calendar has this name; the message lists those that exist.
    """
    canonical = _NAMES.get(name.upper())
    if canonical is None:
        near = difflib.get_close_matches(name.upper(), _NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown calendar {name!r}{hint} (known: {', '.join(_NAMES)})")
    return _shared(canonical)
