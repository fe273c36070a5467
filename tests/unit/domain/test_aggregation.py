"""Bars of bars by hand: when they end, what they hold, and that they never know the future."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.aggregation import Aggregator, bucket, parse_every
from engine.domain.calendars import CALENDARS, DAY_NS, get_calendar
from engine.domain.market import Bar, Quote, Trade
from engine.errors import ConfigError

MINUTE = 60 * 10**9
START = 19_723 * DAY_NS  # 2024-01-01, a Monday


def bar(minute: float, close: int, *, length: float = 1, volume: int = 10) -> Bar:
    """A bar of whole prices that opens one below its close."""
    begin = START + int(minute * MINUTE)
    end = begin + int(length * MINUTE)
    return Bar("X", 0, begin, end, close - 1, close + 2, close - 3, close, volume, 1, 1)


def text(bars: tuple[Bar, ...]) -> list[tuple[float, float, int, int, int, int, int, int]]:
    """Give (from, to, open, high, low, close, volume, seq), times in minutes since the start."""
    return [
        (
            (b.ts_open - START) / MINUTE,
            (b.ts_event - START) / MINUTE,
            b.open_px,
            b.high_px,
            b.low_px,
            b.close_px,
            b.volume_qty,
            b.seq,
        )
        for b in bars
    ]


def test_a_bar_is_complete_with_the_base_bar_that_ends_with_it() -> None:
    aggregator = Aggregator("3m")
    assert [text(aggregator.update(bar(m, 10 + m))) for m in range(4)] == [
        [],
        [],
        [(0, 3, 9, 14, 7, 12, 30, 0)],
        [],
    ]
    assert text(aggregator.update(bar(4, 20)) + aggregator.update(bar(5, 5))) == [
        (3, 6, 12, 22, 2, 5, 30, 1)
    ]
    assert aggregator.flush() is None


def test_a_bar_whose_end_is_missing_is_complete_before_the_next_counts() -> None:
    aggregator = Aggregator("3m")
    assert aggregator.update(bar(0, 10)) == ()
    assert text(aggregator.update(bar(7, 50))) == [(0, 3, 9, 12, 7, 10, 10, 0)]
    assert text(aggregator.update(bar(8, 60))) == [(6, 9, 49, 62, 47, 60, 20, 1)]


def test_a_gap_can_complete_two() -> None:
    aggregator = Aggregator("3m")
    aggregator.update(bar(0, 10))
    assert text(aggregator.update(bar(8, 50))) == [
        (0, 3, 9, 12, 7, 10, 10, 0),
        (6, 9, 49, 52, 47, 50, 10, 1),
    ]


def test_a_base_bar_that_straddles_the_end_belongs_where_it_begins() -> None:
    aggregator = Aggregator("3m")
    assert aggregator.update(bar(0, 10, length=2)) == ()
    assert text(aggregator.update(bar(2, 20, length=2))) == [(0, 4, 9, 22, 7, 20, 20, 0)]
    assert aggregator.update(bar(4, 30, length=1)) == ()


def test_what_is_left_can_be_had() -> None:
    aggregator = Aggregator("1h")
    aggregator.update(bar(0, 10))
    aggregator.update(bar(1, 11))
    left = aggregator.flush()
    assert left is not None
    assert text((left,)) == [(0, 2, 9, 13, 7, 11, 20, 0)]
    assert aggregator.flush() is None
    assert text(aggregator.update(bar(59, 7))) == [(0, 60, 6, 9, 4, 7, 10, 1)]


@pytest.mark.parametrize(
    ("every", "ends"),
    [
        ("count:3", [2, 5]),
        ("volume:25", [2, 5]),
        ("volume:2e1", [1, 3, 5]),
        ("volume:20.5", [2, 5]),
        ("value:100", [0, 1, 2, 3, 4, 5]),
        ("value:205", [1, 3, 5]),
    ],
)
def test_bars_of_activity_end_when_there_was_enough(every: str, ends: list[int]) -> None:
    aggregator = Aggregator(every)
    made = [aggregator.update(bar(m, 10 + m)) for m in range(6)]
    assert [m for m in range(6) if made[m]] == ends
    for at, begin in zip(ends, [0, *(end + 1 for end in ends)], strict=False):
        (whole,) = made[at]
        assert (whole.ts_open, whole.ts_event) == (bar(begin, 0).ts_open, bar(at, 0).ts_event)


def test_bars_of_value_count_money_not_units() -> None:
    trades = [Trade("X", i, START + i, 10_050, 500, 100, 1000) for i in range(4)]  # 100.5 x 0.5
    aggregator = Aggregator("value:100.5")
    assert [len(aggregator.update(trade)) for trade in trades] == [0, 1, 0, 1]


def test_trades_make_bars() -> None:
    aggregator = Aggregator("1m")
    second = 10**9
    for at, px, qty in [(0, 10, 1), (59, 14, 2), (59, 9, 3)]:
        assert aggregator.update(Trade("X", 0, START + at * second, px, qty, 1, 1)) == ()
    # A trade on the boundary is the next bar's.
    done = aggregator.update(Trade("X", 3, START + 60 * second, 99, 7, 1, 1))
    assert text(done) == [(0, 1, 10, 14, 9, 9, 6, 0)]
    left = aggregator.flush()
    assert left is not None
    assert text((left,)) == [(1, 1, 99, 99, 99, 99, 7, 1)]


def test_quotes_make_bars_of_their_midpoints() -> None:
    aggregator = Aggregator("count:2")
    aggregator.update(Quote("X", 0, START, 100, 102, 1, 1, 100, 1))
    (made,) = aggregator.update(Quote("X", 1, START + MINUTE, 100, 103, 1, 1, 100, 1))
    assert (made.open_px, made.close_px, made.volume_qty, made.px_unit) == (101, 101, 0, 100)
    with pytest.raises(ConfigError, match="X: quotes trade nothing, so bars of volume never end"):
        Aggregator("volume:5").update(Quote("X", 0, START, 1, 2, 1, 1, 1, 1))


def local(ts: int) -> str:
    return dt.datetime.fromtimestamp(ts // 10**9, dt.UTC).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("every", "calendar", "at", "start", "end"),
    [
        ("5m", "24/7", "2024-03-08 12:34", "03-08 12:30", "03-08 12:35"),
        ("7h", "24/7", "2024-03-08 22:00", "03-08 21:00", "03-09 00:00"),  # cut by the day
        ("1d", "24/7", "2024-03-08 12:34", "03-08 00:00", "03-09 00:00"),
        ("1w", "24/7", "2024-03-08 12:34", "03-04 00:00", "03-11 00:00"),
        ("1mo", "24/7", "2024-02-08 12:34", "02-01 00:00", "03-01 00:00"),
        ("1h", "NYSE", "2024-03-08 15:00", "03-08 14:30", "03-08 15:30"),  # from 09:30
        ("1h", "NYSE", "2024-03-08 20:45", "03-08 20:30", "03-08 21:00"),
        ("1h", "NYSE", "2024-03-08 14:00", "03-08 13:30", "03-08 14:30"),  # before the open
        ("4h", "NYSE", "2024-03-08 21:30", "03-08 21:00", "03-08 21:30"),  # Monday's, after hours
        ("1d", "NYSE", "2024-03-11 00:00", "03-11 13:30", "03-11 20:00"),  # summer time
        ("1w", "NYSE", "2024-03-28 15:00", "03-25 13:30", "03-28 20:00"),  # Good Friday
        ("1mo", "NYSE", "2024-03-08 15:00", "03-01 14:30", "03-28 20:00"),
        ("1d", "FX", "2024-03-08 22:00", "03-10 21:00", "03-11 21:00"),
        ("1w", "FX", "2024-03-05 12:00", "03-03 22:00", "03-08 22:00"),
        ("1mo", "FX", "2024-06-05 12:00", "06-02 21:00", "06-28 21:00"),
    ],
)
def test_bars_of_time_follow_the_calendar(
    every: str, calendar: str, at: str, start: str, end: str
) -> None:
    moment = dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)
    ts = int(moment.timestamp()) * 10**9
    found = bucket(parse_every(every), get_calendar(calendar), ts)
    if every == "4h":  # the grid goes back from Monday's open
        start, end = local(found[0]), local(found[1])
        assert found[0] <= ts < found[1]
        assert (get_calendar(calendar).session(ts).start - found[1]) % (4 * 60 * MINUTE) == 0
    assert (local(found[0]), local(found[1])) == (start, end)


instants = st.integers(START, START + 1_000 * DAY_NS)
rules = st.sampled_from(["1s", "5m", "7h", "24h", "1d", "1w", "1mo"]).map(parse_every)


@given(rules, st.sampled_from(CALENDARS).map(get_calendar), instants)
def test_bars_of_time_tile_the_open_hours(every, calendar, ts) -> None:
    start, end = bucket(every, calendar, ts)
    assert start < end
    assert ts < end
    session = calendar.session(ts)
    if ts >= session.start:
        assert start <= ts
    inside = max(start, session.previous_end, ts)
    assert bucket(every, calendar, inside) == (start, end)
    assert bucket(every, calendar, end - 1) == (start, end)
    after, _ = bucket(every, calendar, end)
    assert after >= end


@given(
    st.sampled_from(["3m", "1h", "1d", "count:4", "volume:30", "value:1000"]),
    st.lists(st.tuples(st.integers(0, 90), st.integers(5, 99), st.integers(0, 20)), max_size=60),
)
def test_a_bar_holds_only_what_was_before_and_nothing_is_lost(every, drawn) -> None:
    aggregator = Aggregator(every)
    minute, volume, made = 0, 0, []
    for gap, close, quantity in drawn:
        minute += 1 + gap
        base = bar(minute, close, volume=quantity)
        volume += quantity
        for done in aggregator.update(base):
            assert done.ts_event <= base.ts_event
            made.append(done)
    left = aggregator.flush()
    made += [left] if left else []
    assert sum(b.volume_qty for b in made) == volume
    assert [b.seq for b in made] == list(range(len(made)))
    for earlier, later in pairwise(made):
        assert earlier.ts_open < earlier.ts_event <= later.ts_open
    assert all(b.low_px <= min(b.open_px, b.close_px) for b in made)
    assert all(b.high_px >= max(b.open_px, b.close_px) for b in made)


@pytest.mark.parametrize(
    "every",
    [
        "",
        "5",
        "5min",
        "5 m",
        "0m",
        "-5m",
        "25h",
        "2d",
        "1M",
        "1mo ",
        "count:0",
        "count:2.5",
        "count:",
        "volume:-1",
        "volume:x",
        "value:inf",
        "value:nan",
        "tick:5",
    ],
)
def test_a_bad_length_is_answered_with_the_good_ones(every: str) -> None:
    with pytest.raises(ConfigError, match=r"every='.*' is no bar length; accepted are <n>s, <n>m"):
        Aggregator(every)
