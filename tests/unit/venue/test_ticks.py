"""Trades and quotes: the next one fills, whatever the timing says of bars."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import OrderExpired, PricedBy
from engine.domain.matching import FillConfig
from tests.unit.venue.rig import DAY, MINUTE, Rig, brief

TIMINGS = ("next_open", "next_tick", "intrabar_path")

# (what, order, prices of the trades, the fill)
TRADES: list[tuple[str, dict[str, Any], list[int], Any]] = [
    ("market", {"side": "BUY"}, [101, 102], (5, 101, "trade")),
    ("limit at", {"side": "BUY", "kind": "LIMIT", "limit": 99}, [100, 99], (5, 99, "trade")),
    ("limit through", {"side": "BUY", "kind": "LIMIT", "limit": 99}, [100, 97], (5, 97, "trade")),
    ("stop", {"side": "SELL", "kind": "STOP", "stop": 99}, [100, 98, 97], (-5, 98, "trade")),
    ("stop limit", {"side": "SELL", "kind": "STOP_LIMIT", "stop": 99, "limit": 98},
     [100, 97, 98, 99], (-5, 98, "trade")),
    ("trailing", {"side": "SELL", "kind": "TRAILING_STOP", "trail_px": 3},
     [100, 105, 103, 101], (-5, 101, "trade")),
]  # fmt: skip


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("case", TRADES, ids=lambda case: case[0].replace(" ", "-"))
def test_trades(case: tuple[Any, ...], timing: Any) -> None:
    rig = Rig(FillConfig(timing=timing))
    rig.order(qty=5, **case[1])
    for i, px in enumerate(case[2]):
        rig.trade(px, ts=i)
    assert brief(rig.take()) == [("O1", *case[3])]


def test_quotes_buy_at_the_ask_and_sell_at_the_bid() -> None:
    rig = Rig()
    rig.order("BUY", 1)
    rig.order("SELL", 1)
    rig.order("BUY", 1, "LIMIT", limit=101)
    rig.order("SELL", 1, "STOP", stop=98)
    quote = rig.quote(99, 102)
    rig.quote(98, 101)
    assert brief(rig.take()) == [
        ("O1", 1, 102, "quote"),
        ("O2", -1, 99, "quote"),
        ("O3", 1, 101, "quote"),
        ("O4", -1, 98, "quote"),
    ]
    assert quote.ts_event == 0


def test_an_empty_side_fills_nothing() -> None:
    rig = Rig()
    rig.order("SELL", 1)
    rig.quote(0, 102)
    assert brief(rig.take()) == []


def test_the_trade_that_caused_the_order_does_not_fill_it() -> None:
    rig = Rig()
    rig.trade(100)
    rig.order("BUY", 1)
    assert rig.fills() == []
    trade = rig.trade(101)  # at the same nanosecond, but after
    (fill,) = rig.fills()
    assert (fill.last_px, fill.datum_seq, fill.priced_by) == (101, trade.seq, PricedBy.TRADE)


def test_with_latency_only_later_trades_count() -> None:
    rig = Rig(FillConfig(latency_ms=60_000))
    rig.trade(100)
    rig.order("BUY", 1)
    rig.trade(101, ts=MINUTE - 1)
    rig.trade(102, ts=MINUTE)  # delivered before the order that arrives at this moment
    rig.trade(103, ts=MINUTE)
    rig.trade(104, ts=MINUTE + 1)
    assert [fill.last_px for fill in rig.fills()] == [104]


def test_volume_limit_of_trades_and_quotes() -> None:
    rig = Rig(FillConfig(volume_limit=0.5))
    rig.order("BUY", 5)
    rig.trade(100, qty=4)
    rig.quote(99, 101, qty=6)
    assert brief(rig.take()) == [("O1", 2, 100, "trade"), ("O1", 3, 101, "quote")]


def test_immediate_or_cancel() -> None:
    rig = Rig()
    rig.order("BUY", 5, "LIMIT", limit=99, tif="IOC")
    rig.trade(100)
    assert brief(rig.take()) == [("O1", "OrderCanceled", "IOC")]


def test_day_and_gtd_end_on_time() -> None:
    rig = Rig()
    rig.order("BUY", 5, "LIMIT", limit=90, tif="DAY")
    rig.order("BUY", 5, "LIMIT", limit=90, tif="GTD", expire_ts=MINUTE)
    rig.trade(100, ts=1)
    rig.trade(100, ts=2 * MINUTE)
    rig.trade(80, ts=DAY + 1)
    assert [report for report in rig.take() if type(report) is OrderExpired] == [
        OrderExpired("O2", "GTD", MINUTE),
        OrderExpired("O1", "DAY", DAY),
    ]


def test_the_first_trade_of_a_day_is_its_opening() -> None:
    rig = Rig()
    rig.trade(100, ts=1)
    rig.order("BUY", 1, tif="AT_THE_OPENING")
    rig.trade(101, ts=2)
    rig.trade(102, ts=DAY)
    assert brief(rig.take()) == [("O1", 1, 102, "trade")]


def test_the_last_trade_of_a_day_is_its_close() -> None:
    rig = Rig()
    rig.order("BUY", 1, tif="AT_THE_CLOSE")
    rig.order("BUY", 1, "LIMIT", limit=99, tif="AT_THE_CLOSE")
    rig.trade(99, ts=1)
    last = rig.trade(101, ts=2)
    rig.trade(102, ts=DAY + 5)
    reports = rig.take()
    assert brief(reports) == [("O1", 1, 101, "trade"), ("O2", "OrderExpired", "AT_THE_CLOSE")]
    fill = reports[2]
    assert (fill.ts_event, fill.datum_ts, fill.datum_seq) == (DAY, 2, last.seq)


def test_a_trade_of_before_the_arrival_does_not_fill_when_it_is_delivered_late() -> None:
    rig = Rig()
    rig.order("BUY", 1, ts=10)
    rig.trade(100, ts=9)
    rig.trade(101, ts=10)
    assert brief(rig.take()) == [("O1", 1, 101, "trade")]
