from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.calendars import get_calendar
from engine.domain.schedule import next_time
from engine.errors import ConfigError


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("every", "calendar", "now", "expected"),
    [
        ("30s", "24/7", "2024-03-01T12:00:00", "2024-03-01T12:00:30"),
        ("30s", "24/7", "2024-03-01T12:00:29", "2024-03-01T12:00:30"),
        ("5m", "24/7", "2024-03-01T12:04:59", "2024-03-01T12:05:00"),
        ("1h", "24/7", "2024-03-01T23:30:00", "2024-03-02T00:00:00"),
        ("1d", "24/7", "2024-03-01T00:00:00", "2024-03-02T00:00:00"),
        ("day", "24/7", "2024-03-01T00:00:00", "2024-03-02T00:00:00"),
        ("week", "24/7", "2024-03-01T00:00:00", "2024-03-04T00:00:00"),
        ("week", "24/7", "2024-03-04T00:00:00", "2024-03-11T00:00:00"),
        ("month", "24/7", "2024-02-29T23:59:59", "2024-03-01T00:00:00"),
        ("month", "24/7", "2024-03-01T00:00:00", "2024-04-01T00:00:00"),
        # New York: Friday's close is 21:00 UTC in winter; Good Friday 2024-03-29 is closed.
        ("day", "XNYS", "2024-03-01T21:00:00", "2024-03-04T21:00:00"),
        ("week", "XNYS", "2024-03-01T20:59:59", "2024-03-01T21:00:00"),
        ("week", "XNYS", "2024-03-01T21:00:00", "2024-03-08T21:00:00"),
        ("month", "XNYS", "2024-03-05T00:00:00", "2024-03-28T20:00:00"),
        ("week", "XNYS", "2024-12-30T12:00:00", "2025-01-03T21:00:00"),
    ],
)
def test_next_time(every: str, calendar: str, now: str, expected: str) -> None:
    assert next_time(every, ns(now), get_calendar(calendar)) == ns(expected)


@given(
    st.sampled_from(["1s", "7m", "3h", "2d", "day", "week", "month"]),
    st.integers(ns("2000-01-01T00:00:00"), ns("2030-01-01T00:00:00")),
    st.sampled_from(["24/7", "XNYS", "24/5"]),
)
def test_the_next_time_is_later_and_none_is_skipped(every: str, now: int, calendar: str) -> None:
    days = get_calendar(calendar)
    due = next_time(every, now, days)
    assert due > now
    assert next_time(every, due - 1, days) == due


@pytest.mark.parametrize("every", ["", "5", "m5", "0m", "5 m", "1.5h", "-1h", "year", "1w", "5M"])
def test_what_is_no_interval_is_refused(every: str) -> None:
    with pytest.raises(ConfigError, match="is no interval; use 30s, 5m"):
        next_time(every, 0, get_calendar("24/7"))
