"""Statistics against a worked example, an independent library and the conventions' edges."""

from __future__ import annotations

import doctest
import json
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from engine.analytics import notional, performance
from engine.analytics.equity import DAY_NS, EquityBuilder
from engine.analytics.performance import statistics
from engine.analytics.trades import round_trips
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from tests.unit.analytics.runs import MONDAY_NS, FillRow, Run, daily_bars

# Equity of 30 days from 100,000.
SAMPLES = np.array(
    [99622.0, 100520.59, 100194.3, 99513.98, 100175.65, 101027.34, 100069.8, 99399.53, 100853.75,
     101315.76, 99855.09, 99299.1, 100204.51, 100055.81, 99321.2, 99820.69, 100766.09, 99949.08,
     99147.49, 100495.9, 101115.86, 99720.87, 98991.31, 99876.99, 99907.75, 99145.15, 99473.52,
     100488.65, 99827.43, 98914.21]
)  # fmt: skip
START = 100_000.0

# empyrical-reloaded 0.7.1 on those samples' simple returns, the first from 100,000:
# annual_return, annual_volatility, sharpe_ratio, sortino_ratio and calmar_ratio with
# annualization=<key>; max_drawdown and cum_returns_final.
EMPYRICAL = {
    252: (-0.08762585692849478, 0.13527198422845635, -0.6124555251073434, -0.8780968658011477,
          -3.6967293166336788),
    365: (-0.12438332772329319, 0.16279985821947515, -0.737090338564242, -1.0567897415769554,
          -5.247440769342455),
    52: (-0.018745359251592042, 0.061448213623323485, -0.27821206405918814, -0.39888143949003324,
         -0.7908227265924327),
}  # fmt: skip
EMPYRICAL_DRAWDOWN = -0.023703617285208423
EMPYRICAL_TOTAL = -0.010857899999999976


@pytest.mark.parametrize("periods", EMPYRICAL)
def test_the_formulas_agree_with_empyrical(periods: int) -> None:
    returns = performance.simple_returns(SAMPLES, START)
    assert returns is not None
    growth = performance.annual_growth(START, SAMPLES[-1], len(SAMPLES) / periods)
    drawdown = performance.drawdown_max(SAMPLES, START)
    got = (
        growth,
        performance.annual_volatility(returns, periods),
        performance.sharpe_ratio(returns, periods),
        performance.sortino_ratio(returns, periods),
        performance.calmar_ratio(growth, drawdown),
    )
    assert got == pytest.approx(EMPYRICAL[periods], rel=1e-12)
    assert -drawdown == pytest.approx(EMPYRICAL_DRAWDOWN, rel=1e-12)
    assert SAMPLES[-1] / START - 1 == pytest.approx(EMPYRICAL_TOTAL, rel=1e-12)


def figures(run: Run) -> dict[str, object]:
    builder = EquityBuilder(run.instruments, run.fill_frame(), run.initial_cash)
    for chunk in run.chunks():
        builder.add(chunk)
    curve = builder.finish()
    fills = run.fill_frame()
    trades = round_trips(fills, run.instruments, builder.marks)
    return statistics(
        curve, trades, fills, initial_cash=run.initial_cash, extremes=builder.extremes
    )


def worked_example() -> Run:
    # 1,000 in cash. Monday: buy 10 at 50.00, fee 1. Tuesday: sell at 55.00, fee 1.
    # Thursday: short 10 at 60.00, fee 1, still open at the end, marked at 58.00.
    closes = [5_200, 5_600, 6_000, 6_100, 5_800]
    run = Run((Instrument(symbol="A"),), daily_bars(closes, opens=[5_000, 5_500, 0, 6_000, 0]))
    run.fills = [
        FillRow(symbol="A", qty=qty, px=px, seq=seq, ts=MONDAY_NS + seq * DAY_NS,
                commission=CASH_UNIT, slippage=CASH_UNIT // 4)
        for qty, px, seq in ((10, 5_000, 0), (-10, 5_500, 1), (-10, 6_000, 3))
    ]  # fmt: skip
    return run


@pytest.mark.req("R259")
def test_a_worked_example() -> None:
    got = figures(worked_example())
    # equity: 1019, 1048, 1048, 1037, 1067
    returns = [0.019, 29 / 1019, 0.0, -11 / 1048, 30 / 1037]
    mean = sum(returns) / 5
    deviation = (sum((r - mean) ** 2 for r in returns) / 4) ** 0.5
    expected = {
        "start": MONDAY_NS + DAY_NS,
        "end": MONDAY_NS + 5 * DAY_NS,
        "rows": 5,
        "samples": 5,
        "periods_per_year": 252,
        "initial_cash": 1_000.0,
        "final_equity": 1_067.0,
        "net_profit": 67.0,
        "total_return": 0.067,
        "cagr": 1.067 ** (252 / 5) - 1,
        "volatility": deviation * 252**0.5,
        "sharpe_ratio": mean / deviation * 252**0.5,
        "sortino_ratio": mean / ((11 / 1048) ** 2 / 5) ** 0.5 * 252**0.5,
        "max_drawdown": 11 / 1048,
        "calmar_ratio": (1.067 ** (252 / 5) - 1) / (11 / 1048),
        "max_drawdown_duration": 2.0,
        "exposure": 3 / 5,
        "exposure_gross_average": (520 / 1019 + 610 / 1037 + 580 / 1067) / 5,
        "fills": 3,
        "traded_value": 1_650.0,
        "turnover": 1_650 / (5_219 / 5) / (5 / 252),
        "total_costs": 3.75,
        "commission": 3.0,
        "slippage": 0.75,
        "trades": 1,
        "trades_open": 1,
        "win_rate": 1.0,
        "profit_factor": None,
        "expectancy": 48.0,
        "average_win": 48.0,
        "average_loss": None,
        "average_trade": 48 / 500,
        "best_trade": 48 / 500,
        "worst_trade": 48 / 500,
        "average_duration": 1.0,
        "sqn": None,
        "benchmark_return": 0.16,
        "benchmark_max_drawdown": 300 / 6_100,
    }
    for name, value in expected.items():
        wanted = value if value is None else pytest.approx(value, rel=1e-9)
        assert got[name] == wanted, name
    assert got["monthly"] == [
        {
            "year": 2024,
            "month": 1,
            "return": pytest.approx(0.067),
            "benchmark": pytest.approx(0.16),
        }
    ]


def test_every_figure_fits_json() -> None:
    got = figures(worked_example())
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@pytest.mark.parametrize("bars", [0, 1, 40])
def test_without_trades_nothing_is_undefined_by_accident(bars: int) -> None:
    got = figures(Run((Instrument(symbol="A"),), daily_bars([100] * bars)))
    json.dumps(got, allow_nan=False)
    for name in ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "win_rate", "profit_factor",
                 "expectancy", "best_trade", "sqn"):  # fmt: skip
        assert got[name] is None, name
    assert got["trades"] == 0
    assert got["max_drawdown"] == 0.0
    assert got["total_return"] == 0.0


def test_trade_figures_of_wins_and_losses() -> None:
    frame = pl.DataFrame(
        {
            "open": [False, False, False, False, True],
            "pnl": [30.0, -10.0, 20.0, -15.0, 1_000.0],
            "return": [0.3, -0.1, 0.2, -0.15, 9.0],
            "duration_ns": [DAY_NS, DAY_NS, 2 * DAY_NS, 4 * DAY_NS, 0],
        }
    )
    profits = np.array([30.0, -10.0, 20.0, -15.0])
    assert performance.trade_figures(frame) == {
        "trades": 4,
        "trades_open": 1,
        "win_rate": 0.5,
        "profit_factor": 2.0,
        "expectancy": 6.25,
        "average_win": 25.0,
        "average_loss": -12.5,
        "average_trade": pytest.approx(0.0625),
        "best_trade": 0.3,
        "worst_trade": -0.15,
        "average_duration": 2.0,
        "sqn": pytest.approx(2 * 6.25 / profits.std(ddof=1)),
    }


def every(days: int, count: int) -> np.ndarray:
    return MONDAY_NS + DAY_NS * (1 + days * np.arange(count))


@pytest.mark.parametrize(
    ("ts", "periods"),
    [
        (every(1, 5), 252),  # Monday to Friday; Friday's bar closes on Saturday's first stroke
        (every(1, 6), 365),  # Saturday's bar
        (every(7, 9), 52),
        (every(30, 9), 12),
        (every(91, 9), 4),
        (every(365, 9), 1),
        (every(1, 1), 252),
        (every(1, 0), 252),
    ],
)
def test_samples_of_a_year(ts: np.ndarray, periods: int) -> None:
    assert performance.periods_per_year(ts) == periods


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_and_month_it_closes() -> None:
    day = DAY_NS // 4 * np.arange(1, 13) + MONDAY_NS
    assert performance.daily_rows(day).tolist() == [3, 7, 11]
    # 31 bars of January 2024, one of February.
    got = figures(Run((Instrument(symbol="A"),), daily_bars([100] * 31 + [110])))
    assert [(row["year"], row["month"], round(row["benchmark"], 9)) for row in got["monthly"]] == [
        (2024, 1, 0.0),
        (2024, 2, 0.1),
    ]


def test_a_ruined_account_has_no_ratios() -> None:
    run = Run((Instrument(symbol="A"),), daily_bars([100, 2_500, 100]))
    run.fills = [FillRow(symbol="A", qty=-100, px=100, seq=0, ts=MONDAY_NS)]
    got = figures(run)  # owes 1,400 on Tuesday
    assert got["max_drawdown"] == pytest.approx(2.4)
    assert got["sharpe_ratio"] is None
    assert got["volatility"] is None
    assert got["exposure_gross_average"] is None
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize("module", [performance, notional])
def test_worked_values_in_the_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
