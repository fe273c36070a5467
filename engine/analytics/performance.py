"""Statistics of a run: returns, risk, trades, costs.

Conventions, the same for every figure:

* Returns are simple returns of equity sampled at the last row of each UTC day; bars longer than a
  day are taken as they are. The first return is from the initial cash to the first sample and is
  kept. A row on the stroke of midnight belongs to the day it closes.
* Standard deviations divide by n - 1. The risk-free rate is zero.
* A year has 365 samples if the data trades on Saturdays, else 252; sampled less often than every
  four days it has 52 (weekly), 12, 4 or 1.
* What is undefined is ``None``: never infinite, NaN or a sentinel.
* Ratios are fractions (0.05 is 5 %), money is in currency units, times are UTC nanoseconds.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from engine.analytics.equity import DAY_NS, Extremes
from engine.analytics.notional import Floats, Ints
from engine.domain.money import CASH_UNIT

_SATURDAY = 5
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


def statistics(
    equity: pl.DataFrame,
    trades: pl.DataFrame,
    fills: pl.DataFrame,
    *,
    initial_cash: int,
    extremes: Extremes,
) -> dict[str, Any]:
    """Compute every figure of a run.

    Args:
        equity: the curve of :meth:`EquityBuilder.finish`.
        trades: round trips of :func:`engine.analytics.trades.round_trips`.
        fills: executions with ``notional``, ``commission`` and ``slippage`` in cash units.
        initial_cash: cash at the start, in cash units.
        extremes: :attr:`EquityBuilder.extremes`, which sees every timestamp where a long curve
            is thinned.

    Returns:
        A flat dictionary that JSON can hold; ``monthly`` and ``yearly`` are lists of
        dictionaries, ``benchmark_*`` are the same figures for the benchmark.
    """
    ts = equity["ts"].to_numpy()
    value, benchmark = equity["equity"].to_numpy(), equity["benchmark"].to_numpy()
    start = initial_cash / CASH_UNIT
    at = daily_rows(ts)
    periods = periods_per_year(ts[at])
    curve = _curve_figures(value[at], start, periods, extremes.drawdown_max)
    other = _curve_figures(benchmark[at], start, periods, extremes.benchmark_drawdown_max)
    final = float(value[-1]) if len(value) else start
    return {
        "start": extremes.ts_first if extremes.rows else None,
        "end": extremes.ts_last if extremes.rows else None,
        "rows": extremes.rows,
        "samples": len(at),
        "periods_per_year": periods,
        "initial_cash": start,
        "final_equity": final,
        "net_profit": final - start,
        **curve,
        "max_drawdown_duration": extremes.drawdown_ns_max / DAY_NS if extremes.rows else None,
        "exposure": extremes.held_ratio,
        "exposure_gross_average": extremes.gross_mean,
        **_cost_figures(fills, value[at], len(at) / periods),
        **trade_figures(trades),
        **{f"benchmark_{name}": figure for name, figure in other.items()},
        "benchmark_return": other["total_return"],
        "yearly": _calendar(ts, value, benchmark, start, by_month=False),
        "monthly": _calendar(ts, value, benchmark, start, by_month=True),
    }


def daily_rows(ts: Ints) -> Ints:
    """Give the index of the last row of each UTC day.

    Args:
        ts: sorted UTC nanoseconds; midnight belongs to the day before.
    """
    if not len(ts):
        return np.zeros(0, dtype=np.int64)
    day = (ts - 1) // DAY_NS
    return np.append(np.flatnonzero(day[1:] != day[:-1]), len(ts) - 1)


def periods_per_year(ts: Ints) -> int:
    """Count the samples of a year.

    Args:
        ts: times of the samples, at most one a day.

    Returns:
        365 or 252 for daily samples, with or without Saturdays; 52, 12, 4 or 1 when the median
        distance between samples is above 4, 10, 45 or 135 days.
    """
    days = (ts - 1) // DAY_NS
    gap = float(np.median(np.diff(days))) if len(days) > 1 else 1.0
    for gap_max, periods in ((135, 1), (45, 4), (10, 12), (4, 52)):
        if gap > gap_max:
            return periods
    return 365 if bool(((days + _EPOCH_WEEKDAY) % 7 == _SATURDAY).any()) else 252


def simple_returns(samples: Floats, start: float) -> Floats | None:
    """Give ``samples[i] / samples[i - 1] - 1``, the first one relative to ``start``.

    Returns:
        As many returns as samples; None when a base is not above zero, where a simple return has
        no meaning.

    >>> simple_returns(np.array([110.0, 99.0]), 100.0).round(12).tolist()
    [0.1, -0.1]
    """
    base = np.concatenate(([start], samples[:-1])) if len(samples) else samples
    if bool((base <= 0).any()):
        return None
    returns: Floats = samples / base - 1
    return returns


def annual_growth(start: float, end: float, years: float) -> float | None:
    """Compound annual growth rate, ``(end / start) ** (1 / years) - 1``.

    Args:
        start: value at the start, above zero.
        end: value at the end.
        years: samples over samples per year, so that it fits the other annualised figures.

    Returns:
        The rate; None for no time, a negative end value, or one beyond a float (a minute's gain
        stretched to a year).

    >>> annual_growth(100.0, 121.0, 2.0)
    0.10000000000000009
    """
    if years <= 0 or end < 0:
        return None
    try:
        return float((end / start) ** (1 / years) - 1)
    except OverflowError:
        return None


def annual_volatility(returns: Floats, periods: int) -> float | None:
    """Sample standard deviation of the returns times ``sqrt(periods)``; None below two.

    >>> round(annual_volatility(np.array([0.01, -0.01, 0.02]), 252), 6)
    0.242487
    """
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(periods)


def sharpe_ratio(returns: Floats, periods: int) -> float | None:
    """Mean over standard deviation, annualised; risk-free rate zero.

    Sharpe, W. F. (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1).

    Returns:
        ``mean(r) / std(r, ddof=1) * sqrt(periods)``; None below two returns or when they do not
        vary.

    >>> round(sharpe_ratio(np.array([0.01, -0.01, 0.02]), 252), 6)
    6.928203
    """
    if len(returns) < 2 or _is_constant(returns):
        return None
    return float(returns.mean() / returns.std(ddof=1)) * math.sqrt(periods)


def sortino_ratio(returns: Floats, periods: int) -> float | None:
    """Mean over downside deviation from zero, annualised.

    Sortino, F. A. and Price, L. N. (1994), "Performance Measurement in a Downside Risk
    Framework", Journal of Investing 3(3): the deviation takes the root of the mean over *all* n
    of ``min(r, 0) ** 2``.

    Returns:
        The ratio; None without returns or without a loss.

    >>> round(sortino_ratio(np.array([0.01, -0.01, 0.02]), 252), 6)
    18.330303
    """
    if not len(returns):
        return None
    downside = math.sqrt(float(np.square(np.minimum(returns, 0)).mean()))
    if downside == 0:
        return None
    return float(returns.mean()) / downside * math.sqrt(periods)


def calmar_ratio(growth: float | None, drawdown_max: float) -> float | None:
    """Annual growth over maximum drawdown, over the whole run.

    Young, T. W. (1991), "Calmar Ratio: A Smoother Tool", Futures 20(1) (who looked at 36 months).

    Returns:
        The ratio; None without a growth rate or without a drawdown.

    >>> calmar_ratio(0.25, 0.5)
    0.5
    """
    if growth is None or drawdown_max <= 0:
        return None
    return growth / drawdown_max


def drawdown_max(samples: Floats, start: float) -> float:
    """Largest ``1 - value / highest value so far``, the start included.

    >>> drawdown_max(np.array([120.0, 90.0, 130.0]), 100.0)
    0.25
    """
    peaks = np.maximum.accumulate(np.concatenate(([start], samples)))[1:]
    return float((1 - samples / peaks).max(initial=0.0))


def system_quality_number(profits: Floats) -> float | None:
    """``sqrt(n) * mean / std(ddof=1)`` of the profits per trade.

    Tharp, V. K. (2008), "Definitive Guide to Position Sizing". His profits are multiples of the
    initial risk, which a backtest does not know; the profits in money are the usual stand-in.

    Returns:
        The number; None below two trades or when the profits do not vary.

    >>> round(system_quality_number(np.array([1.0, 2.0, 3.0])), 6)
    3.464102
    """
    if len(profits) < 2 or _is_constant(profits):
        return None
    return math.sqrt(len(profits)) * float(profits.mean() / profits.std(ddof=1))


def trade_figures(trades: pl.DataFrame) -> dict[str, Any]:
    """Describe closed trades; open ones are only counted.

    Returns:
        ``trades`` and ``trades_open``; ``win_rate``, the share with a profit above zero;
        ``profit_factor``, gains over losses (None without a loss); ``expectancy``, mean profit
        per trade in money, i.e. ``win_rate * average_win + (1 - win_rate) * average_loss``;
        ``average_win`` and ``average_loss`` in money; ``average_trade``, ``best_trade`` and
        ``worst_trade``, returns on the entry notional; ``average_duration`` in days; ``sqn``,
        see :func:`system_quality_number`.
    """
    closed = trades.filter(~pl.col("open"))
    profits = closed["pnl"].to_numpy()
    returns = closed["return"].drop_nulls().to_numpy()
    gains, losses = profits[profits > 0], profits[profits <= 0]
    lost = -float(losses.sum())
    return {
        "trades": len(profits),
        "trades_open": len(trades) - len(profits),
        "win_rate": len(gains) / len(profits) if len(profits) else None,
        "profit_factor": float(gains.sum()) / lost if lost > 0 else None,
        "expectancy": _mean(profits),
        "average_win": _mean(gains),
        "average_loss": _mean(losses),
        "average_trade": _mean(returns),
        "best_trade": float(returns.max()) if len(returns) else None,
        "worst_trade": float(returns.min()) if len(returns) else None,
        "average_duration": _mean(closed["duration_ns"].to_numpy() / DAY_NS),
        "sqn": system_quality_number(profits),
    }


def _curve_figures(
    samples: Floats, start: float, periods: int, drawdown: float
) -> dict[str, float | None]:
    # What is asked of the account and of the benchmark alike.
    end = float(samples[-1]) if len(samples) else start
    growth = annual_growth(start, end, len(samples) / periods)
    returns = simple_returns(samples, start)
    ratios = (annual_volatility, sharpe_ratio, sortino_ratio)
    volatility, sharpe, sortino = (
        None if returns is None else ratio(returns, periods) for ratio in ratios
    )
    return {
        "total_return": end / start - 1,
        "cagr": growth,
        "volatility": volatility,
        "sharpe_ratio": sharpe,
        "sortino_ratio": sortino,
        "calmar_ratio": calmar_ratio(growth, drawdown),
        "max_drawdown": drawdown,
    }


def _cost_figures(fills: pl.DataFrame, samples: Floats, years: float) -> dict[str, float | None]:
    # Turnover: value bought plus value sold, over mean sampled equity, per year.
    commission = int(fills["commission"].sum()) / CASH_UNIT
    slippage = int(fills["slippage"].sum()) / CASH_UNIT
    # Summed in floats: the traded value of a long run may pass 64 bits.
    traded = float(np.abs(fills["notional"].to_numpy().astype(np.float64)).sum()) / CASH_UNIT
    average = float(samples.mean()) if len(samples) else 0.0
    return {
        "fills": len(fills),
        "traded_value": traded,
        "turnover": traded / average / years if average > 0 and years > 0 else None,
        "total_costs": commission + slippage,
        "commission": commission,
        "slippage": slippage,
    }


def _calendar(
    ts: Ints, value: Floats, benchmark: Floats, start: float, *, by_month: bool
) -> list[dict[str, Any]]:
    # Return of each calendar month or year, UTC: last value over the last of the one before.
    if not len(ts):
        return []
    days = ((ts - 1) // DAY_NS).astype("datetime64[D]")
    period = days.astype("datetime64[M]" if by_month else "datetime64[Y]").astype(np.int64)
    last = np.append(np.flatnonzero(period[1:] != period[:-1]), len(ts) - 1)
    rows = []
    before = other_before = start
    for at in last.tolist():
        day = datetime.fromtimestamp((int(ts[at]) - 1) // 10**9, tz=UTC)
        rows.append(
            {
                "year": day.year,
                **({"month": day.month} if by_month else {}),
                "return": float(value[at]) / before - 1 if before > 0 else None,
                "benchmark": float(benchmark[at]) / other_before - 1 if other_before > 0 else None,
            }
        )
        before, other_before = float(value[at]), float(benchmark[at])
    return rows


def _is_constant(values: Floats) -> bool:
    # Equal up to the noise of computing them: a ratio to that noise would mean nothing.
    spread = float(values.max() - values.min())
    return spread <= 1e-12 * max(float(np.abs(values).max()), 1e-3)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
