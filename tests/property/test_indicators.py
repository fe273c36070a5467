"""Batch and stream of every indicator give the same bits, whatever the bars and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.analytics.indicators import COLUMNS, Indicator, IndicatorSpec, Plan, ta
from engine.analytics.indicators.spec import declare, function_names
from engine.errors import ConfigError

Columns = dict[str, NDArray[Any]]
MINUTE = 60 * 10**9
SHAPES = ("walk", "ties", "flat", "quiet", "large", "jumpy")


def make_bars(rows: int, shape: str, seed: int) -> Columns:
    """Draw valid bars: ties and flats reach the divisions by zero, quiet has no volume."""
    random = np.random.default_rng(seed)
    step = {"flat": 0.0, "jumpy": 0.2}.get(shape, 0.01)
    close = 100 * np.exp(np.cumsum(random.normal(0, step, rows)))
    open_ = np.concatenate([close[:1], close[:-1]])
    spread = 0.0 if shape == "flat" else close * step * random.random(rows)
    digits = {"ties": 0, "large": -1}.get(shape, 2)
    scale = 1e6 if shape == "large" else 1.0
    volume = random.integers(0, 1 if shape == "flat" else 2 if shape == "quiet" else 9999, rows)
    prices = [open_, np.maximum(open_, close) + spread, np.minimum(open_, close) - spread, close]
    columns = dict(zip(COLUMNS, [np.round(p * scale, digits) for p in prices], strict=False))
    columns["volume"] = volume.astype(np.float64)
    start = 1_700_000_000 * 10**9
    # Sometimes a gap of hours: sessions must restart.
    gaps = random.choice([1, 1, 1, 1, 1, 1, 1, 1, 1, 600], rows)
    columns["ts_open"] = start + np.cumsum(gaps) * MINUTE
    return columns


def run_stream(plan: Plan, columns: Columns, keep: int | None = None) -> list[list[float]]:
    rows = len(columns["close"])
    stream = plan.stream(keep=max(rows, 2) if keep is None else keep)
    names = (*COLUMNS, "ts_open")
    for row in zip(*(columns[name].tolist() for name in names), strict=True):
        stream.update(*row)
    return stream.columns


def assert_alike(specs: Sequence[Indicator], columns: Columns, calendar: str = "24/7") -> None:
    plan = Plan(specs, calendar)
    batch, stream = plan.batch(columns), run_stream(plan, columns)
    assert len(batch) == len(stream) == plan.slots
    for spec in specs:
        for output in range(len(spec.outputs) if isinstance(spec, IndicatorSpec) else 1):
            slot = plan.slot(spec, output)
            assert batch[slot].format == "d"
            whole, steps = np.asarray(batch[slot]), np.array(stream[slot], dtype=np.float64)
            # Bits, so that the sign of zero counts; NaN is NaN whatever its payload.
            same = (whole.view(np.int64) == steps.view(np.int64)) | (
                np.isnan(whole) & np.isnan(steps)
            )
            if not same.all():
                row = int(np.flatnonzero(~same)[0])
                pytest.fail(f"{spec} output {output} row {row}: {whole[row]!r} != {steps[row]!r}")
            if isinstance(spec, IndicatorSpec) and "CROSSED" not in str(spec):
                assert np.isnan(whole[: spec.lookback]).all()


seeds = st.integers(0, 2**32 - 1)
bars = st.builds(make_bars, st.integers(0, 260), st.sampled_from(SHAPES), seeds)


def every_function() -> list[IndicatorSpec]:
    # HT_DCPERIOD is the textbook source of MAVP's periods.
    return [
        declare(name, periods=ta.HT_DCPERIOD()) if name == "MAVP" else declare(name)
        for name in function_names()
    ]


@given(bars)
@settings(max_examples=15)
def test_every_function_streams_what_it_batches(columns: Columns) -> None:
    specs = every_function()
    assert len(specs) == 201
    assert_alike(specs, columns)


@st.composite
def varied(draw: st.DrawFn, of: Indicator | None = None) -> IndicatorSpec:
    """Draw a function with parameters other than its defaults, of columns or of indicators."""
    spec = draw(st.sampled_from(every_function()))
    values: dict[str, float] = {}
    for name, default in spec.parameters:
        if "matype" in name:
            values[name] = draw(st.integers(0, 8))
        elif isinstance(default, int):
            values[name] = draw(st.integers(1, 25))
        else:
            values[name] = draw(st.sampled_from([default, default * 0.5, default * 1.7]))
    inputs = [draw(st.sampled_from(COLUMNS)) if of is None else of for _ in spec.inputs]
    try:
        return declare(spec.name, prices=inputs, **values)
    except ConfigError:
        assume(False)
        raise


@given(st.lists(varied(), min_size=1, max_size=8), bars)
@settings(max_examples=60)
def test_any_parameters_and_columns_do(specs: list[IndicatorSpec], columns: Columns) -> None:
    assert_alike(specs, columns)


SOURCES = (
    ta.RSI(5),
    ta.MACD(5, 9, 4).macdhist,
    ta.CDLDOJI(),
    # A quotient without a value now and then: rows are left out in the middle.
    ta.DIV(prices=("close", "volume")),
    ta.SMA(4, source=ta.LN(source=ta.MOM(3))),
    ta.session_vwap(),
    ta.crossed("close", ta.SMA(5)),
)


@given(st.lists(st.sampled_from(SOURCES).flatmap(varied), min_size=1, max_size=8), bars)
@settings(max_examples=60)
def test_indicators_of_indicators_do(specs: list[IndicatorSpec], columns: Columns) -> None:
    assert_alike(specs, columns)


@given(bars, st.sampled_from(["24/7", "XNYS", "24/5"]))
@settings(max_examples=60)
def test_our_own_do(columns: Columns, calendar: str) -> None:
    fast, slow = ta.SMA(3), ta.EMA(8)
    pairs = [(fast, slow), ("close", ta.session_vwap()), (ta.RSI(5), 50), (1e2, "high")]
    specs = [
        cross(a, b) for cross in (ta.crossed, ta.crossed_above, ta.crossed_below) for a, b in pairs
    ]
    assert_alike([ta.session_vwap(), *specs], columns, calendar)


@given(bars, st.integers(2, 40))
@settings(max_examples=30)
def test_a_short_memory_changes_no_value(columns: Columns, keep: int) -> None:
    plan = Plan([ta.SMA(7), ta.MACD(), ta.crossed("close", ta.SMA(7))])
    rows = len(columns["close"])
    for whole, tail in zip(run_stream(plan, columns), run_stream(plan, columns, keep), strict=True):
        assert min(rows, keep) <= len(tail) < 2 * keep
        assert np.array_equal(whole[rows - len(tail) :], tail, equal_nan=True)


@given(bars, st.integers(0, 260))
@settings(max_examples=30)
def test_later_bars_change_no_earlier_value(columns: Columns, cut: int) -> None:
    specs = [*every_function(), ta.session_vwap(), ta.crossed(ta.SMA(3), ta.SMA(7))]
    plan = Plan(specs)
    whole = plan.batch(columns)
    part = plan.batch({name: column[:cut] for name, column in columns.items()})
    for slot in range(plan.slots):
        early = np.asarray(part[slot])
        assert np.array_equal(np.asarray(whole[slot])[: len(early)], early, equal_nan=True)
