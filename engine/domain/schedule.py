"""When a repeating timer comes due next."""

from __future__ import annotations

import datetime as dt
import re

from engine.domain.calendars import DAY_NS, Calendar
from engine.errors import ConfigError

__all__ = ["next_time"]

_UNITS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": DAY_NS}
_PERIODS = ("day", "week", "month")


def next_time(every: str, now: int, calendar: Calendar) -> int:
    """Give the first due time strictly after ``now``.

    Args:
        every: ``"30s"``, ``"5m"``, ``"1h"``, ``"2d"``: multiples of the interval since 1970; or
            ``"day"``, ``"week"``, ``"month"``: the close of the last trading day of each period.
        now: UTC nanoseconds.
        calendar: whose trading days count.

    Raises:
        ConfigError: ``every`` is none of these.
    """
    if every in _PERIODS:
        return _period_end(every, now, calendar)
    match = re.fullmatch(r"(\d+)([smhd])", every)
    if match is None or int(match[1]) == 0:
        raise ConfigError(
            f"{every!r} is no interval; use 30s, 5m, 1h, 2d, or one of {', '.join(_PERIODS)}"
        )
    step = int(match[1]) * _UNITS[match[2]]
    return (now // step + 1) * step


def _period_end(every: str, now: int, calendar: Calendar) -> int:
    session = calendar.session(now)
    while True:
        following = calendar.session(session.end)
        if every == "day" or _period(every, session.day) != _period(every, following.day):
            return session.end
        session = following


def _period(every: str, day: int) -> tuple[int, int]:
    date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
    if every == "month":
        return date.year, date.month
    iso = date.isocalendar()
    return iso.year, iso.week
