"""Indicators against the textbook, and what their declarations accept."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.analytics.indicators import Indicator, Plan, ta
from engine.analytics.sessions import days
from engine.domain.calendars import CALENDARS, DAY_NS, get_calendar
from engine.errors import ConfigError

NAN = math.nan
HOUR = 3600 * 10**9


def walk(rows: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(7)
    close = 50 + np.cumsum(random.normal(0, 0.5, rows))
    open_ = np.concatenate([close[:1], close[:-1]])
    return {
        "open": open_,
        "high": np.maximum(open_, close) + random.random(rows),
        "low": np.minimum(open_, close) - random.random(rows),
        "close": close,
        "volume": random.integers(0, 900, rows).astype(np.float64),
        "ts_open": np.arange(rows, dtype=np.int64) * HOUR,
    }


def batch(spec: Indicator, columns: dict[str, NDArray[Any]], calendar: str = "24/7") -> list[float]:
    plan = Plan([spec], calendar)
    return list(plan.batch(columns)[plan.slot(spec)])


# The definitions, written without TA-Lib. Wilder's averages start at the plain mean of their
# first window (New Concepts in Technical Trading Systems, 1978), exponential ones too.


def sma(x: Sequence[float], n: int) -> list[float]:
    return [NAN if i < n - 1 else math.fsum(x[i - n + 1 : i + 1]) / n for i in range(len(x))]


def smooth(x: Sequence[float], n: int, share: float) -> list[float]:
    start = next(i for i, value in enumerate(x) if not math.isnan(value))
    out = [NAN] * (start + n - 1)
    out.append(math.fsum(x[start : start + n]) / n)
    for value in x[start + n :]:
        out.append(out[-1] + share * (value - out[-1]))
    return out


def ema(x: Sequence[float], n: int) -> list[float]:
    return smooth(x, n, 2 / (n + 1))


def rsi(x: Sequence[float], n: int) -> list[float]:
    change = [NAN, *(b - a for a, b in pairwise(x))]
    ups = smooth([c if math.isnan(c) else max(c, 0.0) for c in change], n, 1 / n)
    downs = smooth([c if math.isnan(c) else max(-c, 0.0) for c in change], n, 1 / n)
    return [100 * u / (u + d) if u + d else 0.0 for u, d in zip(ups, downs, strict=True)]


def atr(high: list[float], low: list[float], close: list[float], n: int) -> list[float]:
    true_range = [NAN]
    for h, lo, before in zip(high[1:], low[1:], close, strict=False):
        true_range.append(max(h, before) - min(lo, before))
    return smooth(true_range, n, 1 / n)


def test_the_averages_and_oscillators_are_those_of_their_definitions() -> None:
    columns = walk(300)
    high, low, close = (columns[name].tolist() for name in ("high", "low", "close"))
    slow = ema(close, 26)
    # TA-Lib starts both averages of MACD on the same row, the first of the slow one.
    fast = [*([NAN] * 14), *ema(close[14:], 12)]
    macd = [f - s for f, s in zip(fast, slow, strict=True)]
    signal = ema(macd, 9)
    table: list[tuple[Indicator, list[float]]] = [
        (ta.SMA(10), sma(close, 10)),
        (ta.EMA(10), ema(close, 10)),
        (ta.RSI(14), rsi(close, 14)),
        (ta.ATR(14), atr(high, low, close, 14)),
        (ta.MACD().macdsignal, signal),
        (ta.MACD().macdhist, [m - s for m, s in zip(macd, signal, strict=True)]),
        (ta.SMA(5, source=ta.RSI(14)), [NAN] * 14 + sma(rsi(close, 14)[14:], 5)),
        (ta.SMA(5, price="high"), sma(high, 5)),
    ]
    for spec, expected in table:
        np.testing.assert_allclose(batch(spec, columns), expected, rtol=1e-9, err_msg=str(spec))


def test_session_vwap_is_money_over_quantity_since_the_open() -> None:
    columns = walk(100)
    columns["volume"][24:27] = 0.0
    expected: list[float] = []
    for row in range(100):
        since = row // 24 * 24
        traded = sum(columns["volume"][since : row + 1])
        money = sum(
            (columns["high"][i] + columns["low"][i] + columns["close"][i])
            / 3
            * columns["volume"][i]
            for i in range(since, row + 1)
        )
        expected.append(money / traded if traded else NAN)
    assert [math.isnan(value) for value in expected[23:28]] == [False, True, True, True, False]
    np.testing.assert_allclose(batch(ta.session_vwap(), columns), expected, rtol=1e-12)


def test_session_vwap_follows_the_calendar() -> None:
    columns = walk(48)
    columns["ts_open"] += 19_723 * DAY_NS  # 2024-01-01
    fx = batch(ta.session_vwap(), columns, "24/5")
    typical = (columns["high"] + columns["low"] + columns["close"]) / 3
    fresh = [row for row in range(48) if math.isclose(fx[row], typical[row], rel_tol=1e-12)]
    assert fresh == [0, 22, 46]  # 22:00 UTC is 17:00 in New York


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 3, 3, 1, 1], [2, 2, 2, 2, 2], [0, 1, 0, -1, 0]),
        ([2, 3, 2, 3, 2], [2, 2, 2, 2, 2], [0, 1, 0, 1, 0]),  # touching is not crossing
        ([2, 1, 2, 1, 2], [2, 2, 2, 2, 2], [0, -1, 0, -1, 0]),
        ([3, 3, 1, 1, 3], [2, 2, 2, 2, 2], [0, 0, -1, 0, 1]),
    ],
)
def test_a_crossing_is_a_change_of_sides(a: list[int], b: list[int], expected: list[int]) -> None:
    columns = walk(len(a)) | {"high": np.array(a, float), "low": np.array(b, float)}
    assert batch(ta.crossed("high", "low"), columns) == expected
    assert batch(ta.crossed("high", 2), columns) == expected
    assert batch(ta.crossed_above("high", "low"), columns) == [float(e == 1) for e in expected]
    assert batch(ta.crossed_below("high", "low"), columns) == [float(e == -1) for e in expected]


def test_nothing_crosses_before_both_sides_have_a_value() -> None:
    columns = walk(8) | {"close": np.array([5.0, 4, 3, 2, 9, 9, 9, 9])}
    assert batch(ta.crossed("close", ta.SMA(4)), columns) == [0, 0, 0, 0, 1, 0, 0, 0]
    assert batch(ta.crossed("close", ta.SMA(5)), columns) == [0] * 8


def test_equal_declarations_are_one() -> None:
    assert ta.SMA() == ta.SMA(30) == ta.SMA(timeperiod=30.0) == ta.SMA(30, price="close")
    assert hash(ta.SMA()) == hash(ta.SMA(30, source="close"))
    assert ta.SMA(10) != ta.SMA(10, price="high")
    assert ta.BBANDS(20, nbdevup=2.5).parameters == (
        ("timeperiod", 20),
        ("nbdevup", 2.5),
        ("nbdevdn", 2.0),
        ("matype", 0),
    )
    spec = ta.EMA(9, source=ta.MACD().macdsignal)
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec
    assert str(spec) == (
        "EMA(MACD(close, fastperiod=12, slowperiod=26, signalperiod=9).macdsignal, timeperiod=9)"
    )


def test_the_lookback_counts_the_sources() -> None:
    assert ta.SMA(10).lookback == 9
    assert ta.SMA(10, source=ta.RSI(14)).lookback == 9 + 14
    assert ta.EMA(9, source=ta.MACD().macdsignal).lookback == 8 + 33
    assert ta.crossed(ta.SMA(10), ta.SMA(30)).lookback == 30
    assert ta.session_vwap().lookback == 0


def test_slots_are_the_outputs_of_what_was_declared() -> None:
    macd = ta.MACD()
    plan = Plan([ta.SMA(10), macd, ta.EMA(9, source=ta.RSI(14)), ta.SMA(10), macd.macdsignal])
    assert plan.slots == 5
    assert [plan.slot(macd, i) for i in range(3)] == [1, 2, 3]
    assert plan.slot(macd.macdsignal) == 2
    assert len(plan.batch(walk(50))) == len(plan.stream().columns) == 5
    only = Plan([macd.macdhist])
    assert only.slots == 1
    with pytest.raises(ConfigError, match=r"RSI\(close, timeperiod=14\) was not declared"):
        plan.slot(ta.RSI(14))


def test_integer_outputs_are_floats_and_indices_count_rows_of_the_series() -> None:
    columns = walk(60)
    doji = batch(ta.CDLDOJI(), columns)
    assert {type(value) for value in doji} == {float}
    assert [math.isnan(value) for value in doji[:11]] == [True] * 10 + [False]
    highest = batch(ta.MAXINDEX(5, source=ta.RSI(14)), columns)
    strength = batch(ta.RSI(14), columns)
    for row in range(18, 60):
        assert strength[int(highest[row])] == max(strength[row - 4 : row + 1])


def test_columns_are_read_where_they_lie() -> None:
    columns = walk(40)
    expected = batch(ta.BBANDS(5).upperband, columns)
    frozen = {name: column.copy() for name, column in columns.items()}
    for column in frozen.values():
        column.setflags(write=False)
    strided = {name: np.repeat(column, 2)[::2] for name, column in columns.items()}
    for other in (frozen, strided):
        np.testing.assert_array_equal(batch(ta.BBANDS(5).upperband, other), expected)
    assert list(Plan([]).batch(columns)) == []


def test_the_namespace_lists_what_there_is() -> None:
    names = dir(ta)
    assert len(names) == len(set(names)) > 200
    assert {"SMA", "MACD", "crossed", "session_vwap"} <= set(names)
    assert not hasattr(ta, "__path__")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: ta.SNA(10), r"ta\.SNA: TA-Lib has no such function; did you mean 'SMA'\?"),
        (lambda: ta.sma(10), r"did you mean 'SMA'\?"),
        (lambda: ta.SMA(timeperiode=3), r"no parameter 'timeperiode'; did you mean 'timeperiod'"),
        (lambda: ta.SMA(3, 4), r"2 parameters given, it has: timeperiod=30"),
        (lambda: ta.SMA(3, timeperiod=4), r"timeperiod is given twice"),
        (lambda: ta.SMA(0), r"TA-Lib refuses timeperiod=0"),
        (lambda: ta.MACD(12, -1), r"ta\.MACD: TA-Lib refuses slowperiod=-1 "),
        (lambda: ta.SMA(10**12), r"timeperiod=1000000000000 is out of range"),
        (lambda: ta.SMA(2.5), r"timeperiod must be a whole number, not 2\.5"),
        (lambda: ta.SMA("9"), r"timeperiod must be a number, not '9'"),
        (lambda: ta.SMA(True), r"timeperiod must be a number, not True"),
        (lambda: ta.BBANDS(nbdevup=NAN), r"nbdevup must be a finite number"),
        (lambda: ta.SMA(3, price="closed"), r"of 'closed'; did you mean 'close'\?; give a column"),
        (lambda: ta.SMA(3, price=7), r"cannot be computed of 7; give a column"),
        (lambda: ta.SMA(3, price="low", source="high"), r"one of price, prices and source"),
        (lambda: ta.ATR(3, price="low"), r"price= is for functions of one price; this reads high"),
        (lambda: ta.ATR(3, prices=("low", "high")), r"prices must name 3 inputs \(high, low, clo"),
        (lambda: ta.SMA(3, source=ta.MACD()), r"MACD has the outputs macd, macdsignal, macdhist"),
        (ta.MAVP, r"ta\.MAVP: needs periods=, an indicator with a value for every bar"),
        (lambda: ta.SMA(3, periods="close"), r"periods= is MAVP's"),
        (lambda: ta.crossed(1, 2), r"ta\.crossed: two numbers never cross"),
        (lambda: ta.crossed_above("close", NAN), r"nan is not a finite number"),
        (lambda: Plan([ta.SMA(3)], "XNYX"), r"unknown calendar 'XNYX'"),
        (lambda: Plan([ta.SMA(3)]).stream(keep=1), r"at least 2 values, not 1"),
    ],
)
def test_a_bad_declaration_says_what_to_do(declare: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        declare()


def test_an_unknown_output_names_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no output 'macdsig'; did you mean 'macdsignal'\?"):
        _ = ta.MACD().macdsig


def test_importing_the_namespace_does_not_import_ta_lib() -> None:
    code = "import sys; from engine.analytics.indicators import ta; print('talib' in sys.modules, "
    code += "'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


def test_days_of_a_column_are_those_of_the_calendar() -> None:
    ts = np.random.default_rng(3).integers(8_000 * DAY_NS, 22_000 * DAY_NS, 2_000)
    for name in CALENDARS:
        calendar = get_calendar(name)
        assert days(ts, calendar).tolist() == [calendar.day(int(instant)) for instant in ts]
        assert days(ts[:0], calendar).tolist() == []
