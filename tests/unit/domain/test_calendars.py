"""Trading calendars against dates known from the exchange, and the laws every calendar obeys."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.calendars import CALENDARS, DAY_NS, Calendar, get_calendar
from engine.errors import ConfigError

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str, zone: dt.tzinfo = NEW_YORK) -> int:
    since = dt.datetime.fromisoformat(text).replace(tzinfo=zone) - dt.datetime(
        1970, 1, 1, tzinfo=dt.UTC
    )
    return (since.days * 86_400 + since.seconds) * 10**9


def local(ts: int) -> str:
    return dt.datetime.fromtimestamp(ts // 10**9, NEW_YORK).strftime("%Y-%m-%d %H:%M")


def date(day: int) -> str:
    return str(dt.date(1970, 1, 1) + dt.timedelta(day))


# Noon of the first date belongs to the second date, which closes at the given time.
NYSE_GOLDEN = [
    ("1990-01-01", "1990-01-02", "16:00"),
    ("1990-11-23", "1990-11-23", "16:00"),  # not yet short
    ("1992-11-27", "1992-11-27", "14:00"),
    ("1992-12-24", "1992-12-24", "14:00"),
    ("1994-04-27", "1994-04-28", "16:00"),  # Nixon
    ("1997-01-20", "1997-01-20", "16:00"),  # no Martin Luther King Jr. Day yet
    ("1998-01-19", "1998-01-20", "16:00"),
    ("1997-12-26", "1997-12-26", "13:00"),
    ("1999-12-31", "1999-12-31", "13:00"),
    ("2001-09-11", "2001-09-17", "16:00"),
    ("2002-07-05", "2002-07-05", "13:00"),
    ("2004-06-11", "2004-06-14", "16:00"),
    ("2007-01-02", "2007-01-03", "16:00"),
    ("2010-12-24", "2010-12-27", "16:00"),  # Christmas on a Saturday
    ("2010-12-31", "2010-12-31", "16:00"),  # New Year on a Saturday is not made up for
    ("2012-10-29", "2012-10-31", "16:00"),
    ("2013-07-03", "2013-07-03", "13:00"),
    ("2018-12-05", "2018-12-06", "16:00"),
    ("2019-07-03", "2019-07-03", "13:00"),
    ("2020-07-03", "2020-07-06", "16:00"),  # 4 July on a Saturday
    ("2021-06-18", "2021-06-18", "16:00"),
    ("2022-06-20", "2022-06-21", "16:00"),  # Juneteenth on a Sunday
    ("2023-01-02", "2023-01-03", "16:00"),  # New Year on a Sunday
    ("2024-03-29", "2024-04-01", "16:00"),  # Good Friday
    ("2024-11-29", "2024-11-29", "13:00"),
    ("2024-12-24", "2024-12-24", "13:00"),
    ("2025-01-09", "2025-01-10", "16:00"),
    ("2035-12-31", "2035-12-31", "16:00"),
]


@pytest.mark.parametrize(("noon", "day", "close"), NYSE_GOLDEN)
def test_the_new_york_exchange_keeps_its_known_days(noon: str, day: str, close: str) -> None:
    calendar = get_calendar("XNYS")
    ts = ns(f"{noon} 12:00")
    assert date(calendar.day(ts)) == day
    assert local(calendar.day_start(ts)) == f"{day} 09:30"
    assert local(calendar.day_end(ts)) == f"{day} {close}"


def test_the_new_york_exchange_has_as_many_days_a_year_as_it_had() -> None:
    calendar = get_calendar("NYSE")
    counts = {}
    for year in (1996, 2001, 2012, 2022, 2023, 2024):
        days = calendar.sessions(ns(f"{year}-01-01 12:00"), ns(f"{year}-12-31 12:00"))
        counts[year] = sum(date(session.day).startswith(str(year)) for session in days)
    assert counts == {1996: 254, 2001: 248, 2012: 250, 2022: 251, 2023: 250, 2024: 252}


def test_daylight_saving_moves_the_open_in_utc() -> None:
    calendar = get_calendar("NASDAQ")
    before, after = ns("2024-03-08 12:00"), ns("2024-03-11 12:00")
    assert calendar.day_start(before) % DAY_NS == 14.5 * 3600 * 10**9
    assert calendar.day_start(after) % DAY_NS == 13.5 * 3600 * 10**9


@pytest.mark.parametrize(
    ("at", "day", "start", "end"),
    [
        ("2024-03-08 16:59", "2024-03-08", "2024-03-07 17:00", "2024-03-08 17:00"),
        ("2024-03-08 17:00", "2024-03-11", "2024-03-10 17:00", "2024-03-11 17:00"),
        ("2024-03-10 16:59", "2024-03-11", "2024-03-10 17:00", "2024-03-11 17:00"),
        ("2024-12-31 17:00", "2025-01-01", "2024-12-31 17:00", "2025-01-01 17:00"),
    ],
)
def test_the_fx_day_turns_at_five_in_new_york(at: str, day: str, start: str, end: str) -> None:
    calendar = get_calendar("24/5")
    ts = ns(at)
    assert date(calendar.day(ts)) == day
    assert (local(calendar.day_start(ts)), local(calendar.day_end(ts))) == (start, end)


def test_daily_bars_stamped_at_midnight_utc_fall_on_their_date() -> None:
    for name in CALENDARS:
        ts = ns("2024-01-03 00:00", dt.UTC)
        assert date(get_calendar(name).day(ts)) == "2024-01-03"


instants = st.integers(ns("1990-01-02 00:00"), ns("2035-12-31 15:59"))
calendars = st.sampled_from(CALENDARS).map(get_calendar)


@given(calendars, instants)
def test_a_day_agrees_about_all_its_instants(calendar: Calendar, ts: int) -> None:
    session = calendar.session(ts)
    assert session.previous_end <= session.start < session.end
    assert session.previous_end <= ts < session.end
    assert (session.day, session.start, session.end) == (
        calendar.day(ts),
        calendar.day_start(ts),
        calendar.day_end(ts),
    )
    for same in (session.previous_end, session.start, session.end - 1):
        assert calendar.session(same) == session


@given(calendars, instants, instants)
def test_days_never_go_back(calendar: Calendar, one: int, other: int) -> None:
    early, late = sorted((one, other))
    assert calendar.day(early) <= calendar.day(late)
    assert calendar.day_end(early) <= calendar.day_end(late)


@given(calendars, instants, st.integers(0, 400 * DAY_NS))
def test_sessions_follow_each_other(calendar: Calendar, ts: int, length: int) -> None:
    last = min(ts + length, ns("2035-12-31 15:59"))
    found = calendar.sessions(ts, last)
    assert found[0] == calendar.session(ts)
    assert found[-1] == calendar.session(last)
    assert all(a.end == b.previous_end and a.day < b.day for a, b in pairwise(found))


def test_years_the_calendar_does_not_know_are_refused() -> None:
    for year in (1989, 2036):
        with pytest.raises(ConfigError, match=f"1990 to 2035, not {year}"):
            get_calendar("XNYS").day(ns(f"{year}-06-01 12:00"))


def test_names_are_found_in_any_case_and_shared() -> None:
    assert get_calendar("nyse") is get_calendar("XNAS") is get_calendar("XNYS")
    assert get_calendar("fx").name == "24/5"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'XNYZ'; did you mean 'XNYS'\? \(known: 24/7,"):
        get_calendar("XNYZ")
