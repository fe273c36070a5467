"""Aggregated columns are the aggregated bars, and indicators on them agree bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.analytics.aggregation import aggregate
from engine.analytics.indicators import COLUMNS, Plan, ta
from engine.domain.aggregation import Aggregator
from engine.domain.calendars import CALENDARS, DAY_NS
from engine.domain.market import Bar

MINUTE = 60 * 10**9
EVERY = (
    "3m",
    "5m",
    "1h",
    "7h",
    "24h",
    "1d",
    "1w",
    "1mo",
    "count:1",
    "count:7",
    "volume:150.5",
    "value:25000",
)


@st.composite
def series(draw: st.DrawFn) -> list[Bar]:
    """Draw base bars with gaps, some long, whose length need not divide the aggregated one."""
    rows = draw(st.integers(0, 200))
    length = draw(st.sampled_from([1, 2, 5, 60, 1440])) * MINUTE
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    choices = draw(st.sampled_from([[0], [0, 0, 0, 1], [0, 0, 1, 7, 15]]))
    opens = 19_700 * DAY_NS + np.cumsum((1 + random.choice(choices, rows)) * length)
    length *= draw(st.sampled_from([1, 1, 1, 2]))  # some overlap: files of doubtful origin
    close = random.integers(9_000, 11_000, rows)
    volume = random.integers(0, draw(st.sampled_from([10, 900_000, 2**45])), rows)
    return [
        Bar("X", seq, begin, begin + length, px - 5, px + 9, px - 9, px, qty, 100, 1000)
        for seq, (begin, px, qty) in enumerate(
            zip(opens.tolist(), close.tolist(), volume.tolist(), strict=True)
        )
    ]


def to_columns(bars: list[Bar]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        name: np.array([getattr(b, name) for b in bars], dtype=np.int64)
        for name in ("ts_open", "ts_event")
    }
    for name in COLUMNS:
        columns[name] = np.array([getattr(b, name) for b in bars], dtype=np.float64)
    return columns


@given(series(), st.sampled_from(EVERY), st.sampled_from(CALENDARS))
@settings(max_examples=200)
def test_columns_are_the_bars(bars: list[Bar], every: str, calendar: str) -> None:
    aggregator = Aggregator(every, calendar)
    plan = Plan([ta.SMA(3), ta.session_vwap(), ta.crossed("close", ta.SMA(3))], calendar)
    stream = plan.stream()
    made: list[Bar] = []
    last: list[int] = []
    for base in bars:
        for done in aggregator.update(base):
            made.append(done)
            stream.update(done.open, done.high, done.low, done.close, done.volume, done.ts_open)
        last.append(len(made) - 1)

    found = aggregate(to_columns(bars), every, calendar, px_unit=100, qty_unit=1000)
    assert found.last.tolist() == last
    for name, expected in to_columns(made).items():
        assert found.columns[name].dtype == expected.dtype
        assert found.columns[name].tolist() == expected.tolist(), name
    for whole, steps in zip(plan.batch(found.columns), stream.columns, strict=True):
        assert np.array_equal(np.asarray(whole), np.array(steps, dtype=float), equal_nan=True)
