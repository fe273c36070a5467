"""Laws of the analytics on random runs: an exact slow oracle, conservation, scale, bounds."""

from __future__ import annotations

import math
import statistics as stdlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analytics import performance
from engine.analytics.equity import EquityBuilder
from engine.analytics.trades import round_trips
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from tests.unit.analytics.runs import MONDAY_NS, BarRow, FillRow, Run, slow_curve

PRICES = st.integers(1, 20_000)
STEP_NS = 6 * 3_600_000_000_000


@st.composite
def instruments(draw: st.DrawFn, *, digits_max: int) -> tuple[Instrument, ...]:
    return tuple(
        Instrument(
            symbol=f"S{i}",
            price_decimals=draw(st.integers(0, 5)),
            quantity_decimals=draw(st.integers(0, digits_max - 5)),
            multiplier=draw(st.sampled_from([1, 1, 50])),
        )
        for i in range(draw(st.integers(1, 3)))
    )


@st.composite
def runs(draw: st.DrawFn, digits_max: int = 11) -> Run:
    """Bars of one to three symbols with gaps and late listings, and fills of two strategies.

    Above eight digits of price and quantity together, notionals are rounded.
    """
    run = Run(
        draw(instruments(digits_max=digits_max)),
        [],
        initial_cash=draw(st.integers(1, 10**6)) * CASH_UNIT,
    )
    for series in range(len(run.instruments)):
        steps = sorted(draw(st.sets(st.integers(0, 15), min_size=1, max_size=12)))
        for seq, step in enumerate(steps):
            ts_open = MONDAY_NS + step * STEP_NS
            run.bars.append(
                BarRow(series, seq, ts_open, ts_open + STEP_NS, draw(PRICES), draw(PRICES))
            )
    picks = draw(st.lists(st.sampled_from(run.bars), max_size=25))
    for bar in sorted(picks, key=lambda bar: (bar.ts_open, bar.series)):
        run.fills.append(
            FillRow(
                symbol=run.instruments[bar.series].symbol,
                qty=draw(st.integers(-30, 30).filter(bool)),
                px=draw(PRICES),
                seq=bar.seq,
                ts=bar.ts_open,
                strategy=draw(st.sampled_from("xy")),
                commission=draw(st.integers(-CASH_UNIT, CASH_UNIT)),
                slippage=draw(st.integers(-CASH_UNIT, CASH_UNIT)),
            )
        )
    return run


def fold(run: Run, rows: int) -> tuple[EquityBuilder, pl.DataFrame, pl.DataFrame]:
    fills = run.fill_frame()
    builder = EquityBuilder(run.instruments, fills, run.initial_cash)
    for chunk in run.chunks(rows):
        builder.add(chunk)
    curve = builder.finish()
    return builder, curve, round_trips(fills, run.instruments, builder.marks)


@given(runs(), st.integers(1, 40))
def test_the_curve_is_what_a_slow_exact_walk_gives(run: Run, rows: int) -> None:
    _, curve, _ = fold(run, rows)
    expected = slow_curve(run)
    assert curve["ts"].to_list() == [row[0] for row in expected]
    # Exact: the same integers, divided once.
    assert curve["equity"].to_list() == [float(row[1]) for row in expected]
    assert curve["exposure"].to_list() == [float(row[2]) for row in expected]
    assert curve["benchmark"].to_list() == pytest.approx([float(row[3]) for row in expected])
    assert (curve["cash"] + curve["position_value"]).to_list() == pytest.approx(
        curve["equity"].to_list(), abs=1e-6
    )


@given(runs(), st.integers(1, 40))
def test_how_the_data_is_cut_into_chunks_changes_nothing(run: Run, rows: int) -> None:
    builder, curve, _ = fold(run, rows)
    whole, uncut, _ = fold(run, 1_000)
    assert curve.drop("benchmark").equals(uncut.drop("benchmark"))
    assert builder.marks == whole.marks
    cut, full = builder.extremes, whole.extremes
    assert replace(cut, gross_mean=None, benchmark_drawdown_max=0.0) == replace(
        full, gross_mean=None, benchmark_drawdown_max=0.0
    )
    assert cut.gross_mean == (full.gross_mean and pytest.approx(full.gross_mean))


@given(runs())
def test_what_was_gained_is_what_the_trades_brought(run: Run) -> None:
    _, curve, trades = fold(run, 5)
    gained = curve["equity"][-1] - run.initial_cash / CASH_UNIT
    assert gained == pytest.approx(trades["pnl"].sum(), abs=1e-6)
    assert trades["commission"].sum() == pytest.approx(
        sum(fill.commission for fill in run.fills) / CASH_UNIT, abs=1e-6
    )


@given(runs())
def test_a_trade_is_open_exactly_when_its_position_is(run: Run) -> None:
    _, _, trades = fold(run, 5)
    held: dict[tuple[str, str], int] = {}
    closed = 0
    for fill in run.fills:
        key = fill.strategy, fill.symbol
        before = held.get(key, 0)
        held[key] = before + fill.qty
        closed += before != 0 and before * held[key] <= 0
    assert trades.filter("open").height == sum(map(bool, held.values()))
    assert trades.filter(~pl.col("open")).height == closed
    assert (trades["quantity"] > 0).all()


@given(runs())
def test_drawdown_is_a_fraction_of_a_solvent_account(run: Run) -> None:
    builder, curve, _ = fold(run, 5)
    assert (curve["drawdown"] >= 0).all()
    assert builder.extremes.drawdown_max == curve["drawdown"].max()
    if (curve["equity"] >= 0).all():
        assert (curve["drawdown"] <= 1).all()


@given(runs(digits_max=5), st.integers(2, 1_000))
def test_an_account_ten_times_as_large_has_the_same_ratios(run: Run, times: int) -> None:
    # Shares of a cost are rounded to a cash unit: of a million of them nobody can tell.
    run = replace(
        run,
        fills=[
            replace(
                fill,
                px=max(fill.px, 1_000),
                commission=fill.commission * 1_000_000,
                slippage=fill.slippage * 1_000_000,
            )
            for fill in run.fills
        ],
    )
    large = replace(
        run,
        initial_cash=run.initial_cash * times,
        fills=[
            replace(
                fill,
                qty=fill.qty * times,
                commission=fill.commission * times,
                slippage=fill.slippage * times,
            )
            for fill in run.fills
        ],
    )
    small_figures, large_figures = (_figures(each) for each in (run, large))
    for name in ("total_return", "cagr", "volatility", "sharpe_ratio", "sortino_ratio",
                 "calmar_ratio", "max_drawdown", "max_drawdown_duration", "exposure",
                 "exposure_gross_average", "turnover", "win_rate", "profit_factor", "best_trade",
                 "worst_trade", "average_trade", "trades", "sqn", "benchmark_return"):  # fmt: skip
        small, scaled = small_figures[name], large_figures[name]
        rel = 1e-5
        if name == "profit_factor" and small is not None:
            # Each trade is rounded to a cash unit: of next to no losses that is a share.
            rel += 1e-6 / _losses(run)
        assert scaled == (small if small is None else pytest.approx(small, rel=rel, abs=1e-9)), name


def _losses(run: Run) -> float:
    trades = fold(run, 5)[2]
    return -float(trades.filter(~pl.col("open"), pl.col("pnl") < 0)["pnl"].sum())


def _figures(run: Run) -> dict[str, object]:
    builder, curve, trades = fold(run, 5)
    return performance.statistics(
        curve,
        trades,
        run.fill_frame(),
        initial_cash=run.initial_cash,
        extremes=builder.extremes,
    )


RETURNS = st.lists(st.integers(-400, 400).map(lambda n: n / 1_000), min_size=2, max_size=60)


def _sharpe(returns: list[Fraction], periods: int) -> float:
    return float(stdlib.mean(returns)) / _deviation(returns) * math.sqrt(periods)


def _deviation(returns: list[Fraction]) -> float:
    return math.sqrt(stdlib.variance(returns))


def _sortino(returns: list[Fraction], periods: int) -> float:
    downside = math.sqrt(sum(r * r for r in returns if r < 0) / Fraction(len(returns)))
    return float(stdlib.mean(returns)) / downside * math.sqrt(periods)


@pytest.mark.parametrize(
    ("ours", "exact", "is_defined"),
    [
        (performance.sharpe_ratio, _sharpe, lambda returns: len(set(returns)) > 1),
        (performance.sortino_ratio, _sortino, lambda returns: min(returns) < 0),
        (
            performance.annual_volatility,
            lambda returns, periods: _deviation(returns) * math.sqrt(periods),
            lambda _: True,
        ),
    ],
)
@given(values=RETURNS, periods=st.sampled_from([52, 252, 365]))
def test_ratios_agree_with_exact_fractions(
    ours: Callable[..., float | None],
    exact: Callable[..., float],
    is_defined: Callable[[list[float]], bool],
    values: list[float],
    periods: int,
) -> None:
    got = ours(np.array(values), periods)
    if not is_defined(values):
        assert got is None or got == pytest.approx(0, abs=1e-12)
        return
    wanted = exact([Fraction(value) for value in values], periods)
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(RETURNS)
def test_samples_and_returns_are_two_ways_to_say_the_same(values: list[float]) -> None:
    samples = 1_000 * np.cumprod(1 + np.array(values))
    returns = performance.simple_returns(samples, 1_000.0)
    assert returns is not None
    assert returns.tolist() == pytest.approx(values, abs=1e-9)
    growth = performance.annual_growth(1_000.0, samples[-1], len(values) / 252)
    log_growth = math.fsum(map(math.log1p, values)) / len(values) * 252
    assert growth == pytest.approx(math.expm1(log_growth), rel=1e-6, abs=1e-9)
