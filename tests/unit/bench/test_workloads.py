"""The bench data is what every speed claim rests on: it must be the same for everybody."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.oracle import expected
from tests.bench.workloads import (
    COLUMNS,
    TICK_SIZE,
    W1_BARS,
    W1_SEED,
    W2_BARS,
    W2_SYMBOLS,
    WICK_TICKS_MAX,
    build,
    w1,
    walk,
)

MINUTE_NS = 60_000_000_000
CASH = 10_000_000

PINNED = [
    (1000.0, 1000.75, 999.25, 1000.25, 222),
    (1000.25, 1000.5, 999.5, 999.5, 290),
    (999.5, 1000.75, 999.25, 1000.0, 876),
    (1000.0, 1001.5, 999.5, 1000.75, 952),
    (1000.75, 1001.5, 998.5, 999.25, 352),
    (999.25, 1000.0, 997.75, 998.25, 93),
    (998.25, 998.5, 997.5, 998.25, 34),
    (998.25, 998.5, 997.25, 998.0, 321),
]

seeds = st.integers(min_value=0, max_value=2**32 - 1)
sizes = st.integers(min_value=1, max_value=300)


def column(frame: pl.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy()


@given(seed=seeds, bars=sizes)
def test_same_seed_gives_the_same_bars(seed: int, bars: int) -> None:
    assert walk(seed, bars).equals(walk(seed, bars))


@given(seed=seeds, bars=sizes, more=sizes)
def test_a_shorter_series_is_the_start_of_a_longer_one(seed: int, bars: int, more: int) -> None:
    assert walk(seed, bars + more).head(bars).equals(walk(seed, bars))


def test_another_seed_gives_other_bars() -> None:
    assert not walk(1, 100).equals(walk(2, 100))


@given(seed=seeds, bars=sizes)
def test_prices_are_whole_positive_ticks(seed: int, bars: int) -> None:
    frame = walk(seed, bars)
    for name in ("open", "high", "low", "close"):
        ticks = column(frame, name) / TICK_SIZE
        assert (ticks == np.rint(ticks)).all()
        assert (ticks >= 1).all()


@given(seed=seeds, bars=sizes)
def test_each_open_is_the_previous_close(seed: int, bars: int) -> None:
    frame = walk(seed, bars)
    assert frame["open"][0] == 1000.0
    assert (column(frame, "open")[1:] == column(frame, "close")[:-1]).all()


@given(seed=seeds, bars=sizes)
def test_wicks_enclose_the_body_by_a_few_ticks(seed: int, bars: int) -> None:
    frame = walk(seed, bars)
    top = np.maximum(column(frame, "open"), column(frame, "close"))
    bottom = np.minimum(column(frame, "open"), column(frame, "close"))
    for beyond in (column(frame, "high") - top, bottom - column(frame, "low")):
        assert (beyond >= 0).all()
        assert (beyond <= WICK_TICKS_MAX * TICK_SIZE).all()


def test_bars_stand_one_minute_apart_from_2020() -> None:
    frame = walk(W1_SEED, 200)
    assert frame.columns == list(COLUMNS)
    assert frame.schema["ts"] == pl.Datetime("ns", "UTC")
    stamps = frame["ts"].cast(pl.Int64).to_numpy()
    assert stamps[0] == 1_577_836_800 * 10**9
    assert (np.diff(stamps) == MINUTE_NS).all()
    assert (column(frame, "volume") >= 1).all()


def test_the_first_bars_of_w1_are_pinned() -> None:
    # A numpy that drew or rounded otherwise would move every published figure.
    assert walk(W1_SEED, 8).select("open", "high", "low", "close", "volume").rows() == PINNED


def test_no_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="bars must be at least 1, got 0"):
        walk(1, 0)


def test_a_workload_is_written_once_and_then_found(tmp_path: Path) -> None:
    first = build("W2", tmp_path, bars=50, symbols=3)
    assert [path.name for path in first.paths] == ["S000.parquet", "S001.parquet", "S002.parquet"]
    assert first.bars == 150
    assert pl.read_parquet(first.paths[2]).equals(walk(1002, 50))
    stamps = [path.stat().st_mtime_ns for path in first.paths]
    assert build("W2", tmp_path, bars=50, symbols=3) == first
    assert [path.stat().st_mtime_ns for path in first.paths] == stamps


@pytest.mark.parametrize(("name", "bars"), [("W3", None), ("W0", 10)])
def test_an_unknown_workload_or_size_is_refused(
    tmp_path: Path, name: str, bars: int | None
) -> None:
    with pytest.raises(ValueError, match=f"no workload '{name}' with bars={bars}"):
        build(name, tmp_path, bars=bars)


def test_the_rule_makes_the_known_fills_on_w1_and_w2(tmp_path: Path) -> None:
    for name, fills in (("W1", 38_779), ("W2", 38_482)):
        workload = build(name, tmp_path)
        assert workload.bars == W1_BARS == W2_BARS * W2_SYMBOLS
        assert expected(workload.paths, tick_size=TICK_SIZE, cash=CASH).fills == fills


def closes(tmp_path: Path, px: list[float]) -> Path:
    path = tmp_path / "px.parquet"
    pl.DataFrame({"open": [px[0], *px[:-1]], "close": px}).write_parquet(path)
    return path


def test_the_rule_by_hand(tmp_path: Path) -> None:
    # Flat at 100, up to 110 on bar 30 (averages cross), down to 80 on bar 33 (they cross back).
    path = closes(tmp_path, [100.0] * 30 + [110.0, 110.0, 110.0, 80.0, 80.0, 80.0, 80.0])
    found = expected([path], tick_size=TICK_SIZE, cash=CASH)
    # Bought at the open of bar 31 (110), sold at the open of bar 35 (80): on bar 33 the averages
    # are 101 and 100.333, on bar 34 they are 99 and 99.667.
    assert (found.fills, found.trades) == (2, 1)
    assert found.final_equity == CASH - 30 - Fraction("0.110") - Fraction("0.080")
    at_close = expected(
        [path],
        tick_size=TICK_SIZE,
        cash=CASH,
        fill_rule="signal_close",
        commission="cents_float_half_up",
    )
    assert at_close.final_equity == CASH - 30 - Fraction("0.11") - Fraction("0.08")


def test_a_signal_on_the_last_bar_has_no_next_open(tmp_path: Path) -> None:
    path = closes(tmp_path, [100.0] * 30 + [110.0])
    assert expected([path], tick_size=TICK_SIZE, cash=CASH).fills == 0
    held = expected([path], tick_size=TICK_SIZE, cash=CASH, fill_rule="signal_close")
    assert (held.fills, held.trades) == (1, 0)
    assert held.final_equity == CASH - Fraction("0.110")


@pytest.mark.parametrize(
    ("px", "commission", "paid"),
    [
        (105.0, "exact", "0.105"),
        (105.0, "cents_half_even", "0.10"),
        (105.0, "cents_float_half_up", "0.11"),
        (1025.0, "exact", "1.025"),
        (1025.0, "cents_half_even", "1.02"),
        # 1025 * 0.001 as floats is 1.0249999999999999: no tie any more.
        (1025.0, "cents_float_half_up", "1.02"),
    ],
)
def test_half_a_cent_of_commission(tmp_path: Path, px: float, commission: str, paid: str) -> None:
    path = closes(tmp_path, [100.0] * 30 + [px])
    found = expected(
        [path],
        tick_size=TICK_SIZE,
        cash=CASH,
        fill_rule="signal_close",
        commission=commission,  # type: ignore[arg-type]
    )
    assert found.final_equity == CASH - Fraction(paid)


def test_a_price_off_the_tick_is_refused(tmp_path: Path) -> None:
    path = closes(tmp_path, [100.1] * 40)
    with pytest.raises(ValueError, match="not a multiple of the tick"):
        expected([path], tick_size=TICK_SIZE, cash=CASH)


def test_w1_is_the_walk_of_its_seed(tmp_path: Path) -> None:
    workload = w1(tmp_path / "w1.parquet", bars=40)
    assert pl.read_parquet(workload.paths[0]).equals(walk(W1_SEED, 40))
