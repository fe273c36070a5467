"""Round trips by hand: scaling in and out, flips, open trades, two strategies on one symbol."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.analytics.equity import Mark
from engine.analytics.trades import TRADES_SCHEMA, round_trips
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from tests.unit.analytics.runs import FillRow, Run

A, B = Instrument(symbol="A"), Instrument(symbol="B", quantity_decimals=3)
NO_MARKS: dict[str, Mark] = {}


def trips(*fills: tuple[int, int], marks: dict[str, Mark] = NO_MARKS, **extra: Any) -> pl.DataFrame:
    """Trips of (quantity, price) pairs, one a bar, prices in cents."""
    rows = [
        FillRow(symbol="A", qty=qty, px=px, seq=i, ts=i * 10, tag=f"t{i}", **extra)
        for i, (qty, px) in enumerate(fills)
    ]
    return round_trips(Run((A,), [], rows).fill_frame(), (A,), marks)


def test_a_plain_round_trip() -> None:
    (trade,) = trips((10, 1_000), (-10, 1_200), commission=CASH_UNIT // 2).to_dicts()
    assert trade == {
        "strategy_id": "s",
        "symbol": "A",
        "side": "LONG",
        "open": False,
        "entry_ts": 0,
        "exit_ts": 10,
        "entry_price": 10.0,
        "exit_price": 12.0,
        "quantity": 10.0,
        "pnl": 19.0,
        "return": 0.19,
        "commission": 1.0,
        "slippage": 0.0,
        "duration_ns": 10,
        "bars": 1,
        "fills": 2,
        "entry_order_id": "o0",
        "exit_order_id": "o1",
        "entry_tag": "t0",
        "exit_tag": "t1",
    }


@pytest.mark.parametrize(
    ("fills", "expected"),
    [
        # (side, quantity, entry, exit, pnl) of each trade
        ([(10, 1_000), (10, 1_200), (-20, 1_300)], [("LONG", 20.0, 11.0, 13.0, 40.0)]),
        ([(20, 1_000), (-5, 1_100), (-15, 1_300)], [("LONG", 20.0, 10.0, 12.5, 50.0)]),
        ([(-10, 1_000), (10, 900)], [("SHORT", 10.0, 10.0, 9.0, 10.0)]),
        # reduced, enlarged again, closed: one trade all the way
        (
            [(10, 1_000), (-5, 1_100), (5, 1_200), (-10, 1_300)],
            [("LONG", 10.0, 16_000 / 1_500, 18_500 / 1_500, 25.0)],
        ),
        # a flip ends one trade and begins the next
        (
            [(10, 1_000), (-30, 1_100), (20, 1_000)],
            [("LONG", 10.0, 10.0, 11.0, 10.0), ("SHORT", 20.0, 11.0, 10.0, 20.0)],
        ),
    ],
)
def test_trips_of_one_symbol(
    fills: list[tuple[int, int]], expected: list[tuple[str, float, float, float, float]]
) -> None:
    frame = trips(*fills)
    got = frame.select("side", "quantity", "entry_price", "exit_price", "pnl").rows()
    assert [row[0] for row in got] == [row[0] for row in expected]
    for row, wanted in zip(got, expected, strict=True):
        assert row[1:] == pytest.approx(wanted[1:])
    assert not frame["open"].any()


def test_a_flip_divides_its_costs_by_quantity_and_loses_no_unit() -> None:
    frame = trips((10, 1_000), (-30, 1_100), commission=100, slippage=-7)
    assert frame["commission"].to_list() == [133 / CASH_UNIT, 67 / CASH_UNIT]
    assert frame["slippage"].sum() == pytest.approx(-14 / CASH_UNIT)
    assert frame["exit_order_id"].to_list() == ["o1", None]
    assert frame["entry_order_id"].to_list() == ["o0", "o1"]


def test_an_open_trade_is_valued_at_the_last_price() -> None:
    mark = Mark(px=1_500, seq=9, ts=95)
    (trade,) = trips((10, 1_000), (-4, 1_250), marks={"A": mark}).to_dicts()
    assert trade["open"]
    assert trade["exit_ts"] is None
    assert trade["exit_order_id"] is None
    assert trade["pnl"] == pytest.approx(4 * 2.5 + 6 * 5.0)
    assert trade["exit_price"] == pytest.approx((4 * 12.5 + 6 * 15.0) / 10)
    assert (trade["duration_ns"], trade["bars"]) == (95, 9)


def test_an_open_trade_without_a_price_is_valued_at_its_last_fill() -> None:
    (trade,) = trips((10, 1_000), (10, 1_100)).to_dicts()
    assert trade["pnl"] == pytest.approx(10.0)


def test_strategies_and_symbols_are_kept_apart_and_come_in_order_of_entry() -> None:
    fills = [
        FillRow(symbol="B", qty=2_000, px=500, seq=0, ts=1, strategy="y"),
        FillRow(symbol="A", qty=10, px=1_000, seq=0, ts=2, strategy="x"),
        FillRow(symbol="A", qty=-10, px=1_000, seq=1, ts=3, strategy="y"),
        FillRow(symbol="A", qty=-10, px=1_100, seq=2, ts=4, strategy="x"),
        FillRow(symbol="B", qty=-2_000, px=600, seq=2, ts=5, strategy="y"),
        FillRow(symbol="A", qty=10, px=1_200, seq=4, ts=6, strategy="y"),
    ]
    run = Run((A, B), [], fills)
    frame = round_trips(run.fill_frame(), run.instruments, {})
    assert frame.select("strategy_id", "symbol", "side", "quantity", "pnl").rows() == [
        ("y", "B", "LONG", 2.0, 2.0),
        ("x", "A", "LONG", 10.0, 10.0),
        ("y", "A", "SHORT", 10.0, -20.0),
    ]


def test_no_fills_no_trades() -> None:
    frame = trips()
    assert frame.is_empty()
    assert frame.schema == pl.Schema(TRADES_SCHEMA)


def test_bars_are_unknown_for_a_real_venues_reports() -> None:
    fills = [FillRow(symbol="A", qty=qty, px=100, seq=-1, ts=1) for qty in (1, -1)]
    frame = round_trips(Run((A,), [], fills).fill_frame(), (A,), {})
    assert frame["bars"].to_list() == [None]
