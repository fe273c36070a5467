"""The curve by hand: when a fill counts, what the benchmark holds, how long drawdowns last."""

from __future__ import annotations

import polars as pl
import pytest

from engine.analytics import equity as equity_module
from engine.analytics.equity import CURVE_SCHEMA, DAY_NS, EquityBuilder, Extremes
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.errors import InvariantError
from tests.unit.analytics.runs import MONDAY_NS, FillRow, Run, daily_bars

ONE = (Instrument(symbol="A"),)
TWO = (Instrument(symbol="A"), Instrument(symbol="B"))


def build(run: Run, rows: int = 3) -> tuple[pl.DataFrame, Extremes]:
    builder = EquityBuilder(run.instruments, run.fill_frame(), run.initial_cash)
    for chunk in run.chunks(rows):
        builder.add(chunk)
    return builder.finish(), builder.extremes


def test_a_fill_at_a_bars_open_counts_at_that_bars_close_not_at_the_one_before() -> None:
    # Bar 1 opens at the very nanosecond bar 0 closes; bought there at 110, closed at 120.
    run = Run(ONE, daily_bars([10_000, 12_000], opens=[10_000, 11_000]))
    run.fills = [FillRow(symbol="A", qty=5, px=11_000, seq=1, ts=MONDAY_NS + DAY_NS)]
    curve, _ = build(run)
    assert curve["equity"].to_list() == [1_000.0, 1_050.0]
    assert curve["cash"].to_list() == [1_000.0, 450.0]
    assert curve["position_value"].to_list() == [0.0, 600.0]
    assert curve["ts"].to_list() == [MONDAY_NS + DAY_NS, MONDAY_NS + 2 * DAY_NS]


def test_shorts_count_negative_in_value_and_positive_in_exposure() -> None:
    run = Run(ONE, daily_bars([10_000, 9_000]))
    run.fills = [FillRow(symbol="A", qty=-3, px=10_000, seq=0, ts=MONDAY_NS)]
    curve, extremes = build(run)
    assert curve["position_value"].to_list() == [-300.0, -270.0]
    assert curve["exposure"].to_list() == [300.0, 270.0]
    assert curve["equity"].to_list() == [1_000.0, 1_030.0]
    assert extremes.held_ratio == 1.0
    assert extremes.gross_mean == pytest.approx((300 / 1_000 + 270 / 1_030) / 2)


def test_the_multiplier_is_money() -> None:
    run = Run((Instrument(symbol="A", multiplier=50),), daily_bars([10_000, 10_100]))
    run.fills = [FillRow(symbol="A", qty=1, px=10_000, seq=0, ts=MONDAY_NS)]
    curve, _ = build(run)
    assert curve["equity"].to_list() == [1_000.0, 1_050.0]


def test_the_benchmark_buys_a_late_listing_at_its_first_open() -> None:
    run = Run(
        TWO,
        [
            *daily_bars([11_000, 12_000, 12_000], opens=[10_000, 11_000, 12_000]),
            *daily_bars([5_000, 6_000], series=1, first_day=1, opens=[4_000, 5_000]),
        ],
    )
    curve, _ = build(run, rows=2)
    # 500 in A from 100; 500 in cash, then in B from 40.
    assert curve["benchmark"].to_list() == pytest.approx([550 + 500, 600 + 625, 600 + 750])
    assert curve["equity"].to_list() == [1_000.0] * 3


def test_venue_reports_without_a_datum_count_by_time() -> None:
    run = Run(TWO, [*daily_bars([10_000] * 3), *daily_bars([100, 110, 120], series=1)])
    late = MONDAY_NS + DAY_NS + 5
    run.fills = [FillRow(symbol="B", qty=100, px=100, seq=-1, ts=late, commission=CASH_UNIT)]
    curve, _ = build(run, rows=1)
    assert curve["equity"].to_list() == [1_000.0, 1_009.0, 1_019.0]


def test_fills_after_the_last_datum_count_at_the_last_row() -> None:
    run = Run(ONE, daily_bars([10_000, 10_500]))
    run.fills = [
        FillRow(symbol="A", qty=2, px=10_000, seq=0, ts=MONDAY_NS),
        FillRow(symbol="A", qty=-2, px=10_700, seq=2, ts=MONDAY_NS + 3 * DAY_NS),
    ]
    curve, _ = build(run)
    assert curve["equity"].to_list() == [1_000.0, 1_014.0]
    assert curve["exposure"].to_list() == [200.0, 0.0]


@pytest.mark.parametrize(
    ("closes", "drawdown", "days"),
    [
        ([100, 110, 120], 0.0, 0),
        ([100, 90, 80, 100, 100], 0.2, 3),  # back at the peak on the third day
        ([100, 90, 80], 0.2, 2),  # never back: until the end
        ([100, 50, 100, 90, 90, 90, 100], 0.5, 4),  # the deepest is not the longest
        ([90, 80, 120], 0.2, 2),  # below the initial cash from the first row on
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_drawdowns_are_measured_across_chunks(
    closes: list[int], drawdown: float, days: int, rows: int
) -> None:
    opens = [100, *closes[:-1]]
    run = Run(ONE, daily_bars(closes, opens=opens))
    run.fills = [FillRow(symbol="A", qty=1_000, px=100, seq=0, ts=MONDAY_NS)]
    curve, extremes = build(run, rows)
    assert extremes.drawdown_max == pytest.approx(drawdown)
    assert curve["drawdown"].max() == pytest.approx(drawdown)
    assert extremes.drawdown_ns_max == days * DAY_NS
    assert extremes.benchmark_drawdown_max == pytest.approx(drawdown)


def test_a_long_curve_is_thinned_but_its_extremes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    closes = [100 + (i * 37) % 41 for i in range(400)]
    closes[201] = 10
    run = Run(ONE, daily_bars(closes))
    minute = 60_000_000_000
    run.bars = [
        type(bar)(0, bar.seq, *(MONDAY_NS + (i + k) * minute for k in (0, 1)), 100, bar.close_px)
        for i, bar in enumerate(run.bars)
    ]
    run.fills = [FillRow(symbol="A", qty=1_000, px=100, seq=0, ts=MONDAY_NS)]
    whole, full = build(run, rows=64)
    monkeypatch.setattr(equity_module, "ROWS_MAX", 50)
    for rows in (1, 7, 64, 400):
        thin, extremes = build(run, rows)
        assert extremes == full
        # 400 minutes are seven hours; what is kept is the last row of each.
        kept = whole.filter(pl.col("ts").is_in([MONDAY_NS + k * 60 * minute for k in range(1, 7)]))
        assert thin.equals(pl.concat([kept, whole.tail(1)]))
    assert full.drawdown_max > whole.filter(pl.col("ts") != whole["ts"][201])["drawdown"].max()


def test_prices_and_quantities_beyond_64_bits_together_stay_correct() -> None:
    # 10**9 units a coin at 10**8 decimals: px * qty needs 80 bits.
    coin = Instrument(symbol="A", price_decimals=9, quantity_decimals=8)
    run = Run((coin,), daily_bars([60_000 * 10**9, 61_000 * 10**9]), initial_cash=10**16)
    run.fills = [FillRow(symbol="A", qty=1_000 * 10**8, px=60_000 * 10**9, seq=0, ts=MONDAY_NS)]
    curve, _ = build(run)
    assert curve["equity"].to_list() == pytest.approx([1e8, 1.01e8], rel=1e-12)


@pytest.mark.parametrize("kind", ["trade", "quote"])
def test_trades_and_quotes_price_the_curve_too(kind: str) -> None:
    prices = {"price": [100, 130]} if kind == "trade" else {"bid": [90, 120], "ask": [110, 141]}
    chunk = pl.DataFrame(
        {"series": [0, 0], "seq": [0, 1], "ts_event": [5, 9], **prices},
        schema_overrides={"series": pl.UInt16},
    )
    run = Run(ONE, [], [FillRow(symbol="A", qty=100, px=100, seq=0, ts=5)])
    builder = EquityBuilder(run.instruments, run.fill_frame(), run.initial_cash)
    builder.add(chunk)
    curve = builder.finish()
    assert curve["equity"].to_list() == [1_000.0, 1_030.0]
    assert curve["benchmark"].to_list() == pytest.approx([1_000.0, 1_300.0])
    assert builder.marks["A"].px == 130


def test_no_data_gives_an_empty_curve_of_the_same_columns() -> None:
    curve, extremes = build(Run(ONE, []))
    assert curve.schema == pl.Schema(CURVE_SCHEMA)
    assert curve.is_empty()
    assert extremes.rows == 0
    assert extremes.held_ratio is None


def test_what_cannot_be_is_named() -> None:
    run = Run(TWO, [], [FillRow(symbol="B", qty=1, px=1, seq=0, ts=0)])
    with pytest.raises(InvariantError, match=r"\['B'\]"):
        EquityBuilder(ONE, run.fill_frame(), 1)
    with pytest.raises(ValueError, match="must be above zero"):
        EquityBuilder(ONE, Run(ONE, []).fill_frame(), 0)
