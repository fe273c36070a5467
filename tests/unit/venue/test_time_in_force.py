"""How long orders live: every time in force, with exact moments of their ends."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import OrderExpired, OrderRejected
from engine.domain.instruments import Instrument
from engine.domain.matching import FillConfig
from tests.unit.venue.rig import DAY, MINUTE, Rig, brief

TIMINGS = ("next_open", "next_tick", "intrabar_path")
# 2024-01-05 is a Friday; New York closes at 21:00 UTC in winter, and opens at 14:30.
FRIDAY = 19_727 * DAY
CLOSE = 21 * 60 * MINUTE
OPEN = 14 * 60 * MINUTE + 30 * MINUTE
NEW_YORK = (Instrument(symbol="X", calendar="XNYS"),)
FLAT = (100, 100, 100, 100)


def at(rig: Rig, ts: int) -> Rig:
    rig.idle(ts)
    return rig


def test_day_ends_with_the_trading_day() -> None:
    rig = at(Rig(), DAY - 3 * MINUTE)
    rig.order("BUY", 1, "LIMIT", limit=50, tif="DAY")
    rig.bar(FLAT)
    rig.bar(FLAT)
    assert brief(rig.take()) == []
    rig.bar(FLAT)  # ends at midnight
    assert rig.take() == [OrderExpired("O1", "DAY", DAY)]


def test_day_without_data_ends_by_its_timer() -> None:
    rig = at(Rig(), DAY - 3 * MINUTE)
    rig.order("BUY", 1, "LIMIT", limit=50, tif="DAY")
    rig.bar(FLAT)
    rig.take()
    rig.idle(DAY - 1)
    assert rig.take() == []
    rig.idle(DAY)
    assert rig.take() == [OrderExpired("O1", "DAY", DAY)]


@pytest.mark.req("D13")
def test_day_sent_after_fridays_close_lives_through_monday() -> None:
    rig = at(Rig(instruments=NEW_YORK), FRIDAY + CLOSE)
    rig.order("BUY", 1, "LIMIT", limit=50, tif="DAY")
    monday = FRIDAY + 3 * DAY
    rig.idle(monday + OPEN)
    rig.bar(FLAT)
    rig.bar(FLAT, start=monday + CLOSE - MINUTE)
    assert rig.take()[1:] == [OrderExpired("O1", "DAY", monday + CLOSE)]


def test_day_on_daily_bars_is_the_next_bar() -> None:
    # Sent on Saturday 00:00, when Friday's bar is complete; Monday is the next one.
    rig = at(Rig(), FRIDAY + DAY)
    rig.order("BUY", 1, "LIMIT", limit=99, tif="DAY")
    rig.order("BUY", 1, "LIMIT", limit=50, tif="DAY")
    rig.bar((100, 101, 98, 100), start=FRIDAY + 3 * DAY, length=DAY)
    assert brief(rig.take()) == [("O1", 1, 99, "bar.range"), ("O2", "OrderExpired", "DAY")]


def test_gtc_stays() -> None:
    rig = Rig()
    rig.order("BUY", 1, "LIMIT", limit=50)
    rig.bar(FLAT, length=DAY)
    rig.idle(400 * DAY)
    rig.bar((50, 50, 50, 50))
    assert brief(rig.take()) == [("O1", 1, 50, "bar.open")]


def test_gtd_ends_at_its_moment() -> None:
    rig = Rig()
    rig.order("BUY", 1, "LIMIT", limit=50, tif="GTD", expire_ts=5 * MINUTE)
    rig.bar(FLAT)
    rig.take()
    rig.idle(5 * MINUTE)
    assert rig.take() == [OrderExpired("O1", "GTD", 5 * MINUTE)]


def test_gtd_inside_a_bar_has_the_open_and_not_the_range() -> None:
    half = MINUTE + MINUTE // 2
    rig = Rig()
    rig.bar(FLAT)
    rig.order("BUY", 1, "LIMIT", limit=99, tif="GTD", expire_ts=half)
    rig.order("BUY", 1, "LIMIT", limit=98, tif="GTD", expire_ts=half)
    rig.bar((99, 101, 97, 100))
    assert brief(rig.take()) == [("O1", 1, 99, "bar.open"), ("O2", "OrderExpired", "GTD")]


def test_gtd_that_has_passed_is_rejected() -> None:
    rig = at(Rig(), MINUTE)
    rig.order("BUY", 1, tif="GTD", expire_ts=MINUTE - 1)
    rig.order("BUY", 1, tif="GTD")
    assert rig.take() == [
        OrderRejected("O1", "EXPIRE_TS_PAST", MINUTE),
        OrderRejected("O2", "NO_EXPIRE_TS", MINUTE),
    ]


# On a bar of (100, 102, 98, 101) that gives 2.
IMMEDIATE: list[tuple[str, dict[str, Any], Any]] = [
    ("next_open", {"tif": "IOC"}, [("O1", 2, 100, "bar.open"), ("O1", "OrderCanceled", "IOC")]),
    ("next_open", {"tif": "FOK"}, [("O1", "OrderCanceled", "FOK")]),
    ("next_tick", {"tif": "IOC"}, [("O1", 2, 101, "bar.close"), ("O1", "OrderCanceled", "IOC")]),
    ("next_tick", {"tif": "FOK"}, [("O1", "OrderCanceled", "FOK")]),
    # the open is the first chance; the range would have been the second
    ("next_open", {"tif": "IOC", "kind": "LIMIT", "limit": 99},
     [("O1", "OrderCanceled", "IOC")]),
    ("intrabar_path", {"tif": "IOC", "kind": "LIMIT", "limit": 99},
     [("O1", "OrderCanceled", "IOC")]),
    ("next_open", {"tif": "IOC", "kind": "LIMIT", "limit": 100},
     [("O1", 2, 100, "bar.open"), ("O1", "OrderCanceled", "IOC")]),
    ("next_open", {"tif": "IOC", "kind": "STOP", "stop": 101}, [("O1", "OrderCanceled", "IOC")]),
]  # fmt: skip


@pytest.mark.parametrize(("timing", "order", "reports"), IMMEDIATE)
def test_immediate(timing: Any, order: dict[str, Any], reports: Any) -> None:
    rig = Rig(FillConfig(timing=timing, volume_limit=0.2))
    rig.order("BUY", 3, **order)
    rig.bar((100, 102, 98, 101), volume=10)
    assert brief(rig.take()) == reports


def test_fill_or_kill_takes_all_when_it_can() -> None:
    rig = Rig(FillConfig(volume_limit=0.3))
    rig.order("BUY", 3, tif="FOK")
    rig.bar(FLAT, volume=10)
    assert brief(rig.take()) == [("O1", 3, 100, "bar.open")]


@pytest.mark.parametrize("timing", TIMINGS)
def test_at_the_opening(timing: Any) -> None:
    rig = at(Rig(FillConfig(timing=timing)), DAY - 2 * MINUTE)
    rig.bar(FLAT)
    rig.order("BUY", 1, tif="AT_THE_OPENING")
    rig.order("BUY", 1, "LIMIT", limit=105, tif="AT_THE_OPENING")
    rig.order("BUY", 1, "LIMIT", limit=101, tif="AT_THE_OPENING")
    rig.bar(FLAT)  # not the first of its day
    assert brief(rig.take()) == []
    rig.bar((102, 103, 100, 101))
    assert brief(rig.take()) == [
        ("O1", 1, 102, "bar.open"),
        ("O2", 1, 102, "bar.open"),
        ("O3", "OrderExpired", "AT_THE_OPENING"),
    ]


def test_an_opening_missed_by_latency_waits_for_the_next_day() -> None:
    rig = at(Rig(FillConfig(latency_ms=1)), DAY - MINUTE)
    rig.bar(FLAT)
    rig.order("BUY", 1, tif="AT_THE_OPENING")
    rig.bar((101, 101, 101, 101))  # opened before the order arrived
    rig.bar((102, 102, 102, 102))
    assert brief(rig.take()) == []
    rig.idle(2 * DAY)
    rig.bar((103, 103, 103, 103))
    assert brief(rig.take()) == [("O1", 1, 103, "bar.open")]


@pytest.mark.parametrize("timing", TIMINGS)
def test_at_the_close(timing: Any) -> None:
    rig = at(Rig(FillConfig(timing=timing)), DAY - 2 * MINUTE)
    rig.order("BUY", 1, tif="AT_THE_CLOSE")
    rig.order("SELL", 1, "LIMIT", limit=101, tif="AT_THE_CLOSE")
    rig.order("SELL", 1, "LIMIT", limit=102, tif="AT_THE_CLOSE")
    rig.bar((100, 104, 98, 103))
    assert brief(rig.take()) == []
    bar = rig.bar((102, 103, 100, 101))
    reports = rig.take()
    assert brief(reports) == [
        ("O1", 1, 101, "bar.close"),
        ("O2", -1, 101, "bar.close"),
        ("O3", "OrderExpired", "AT_THE_CLOSE"),
    ]
    assert [r.ts_event for r in reports] == [bar.ts_event] * 3 == [DAY] * 3


def test_at_the_close_without_a_last_bar_expires() -> None:
    rig = at(Rig(), DAY - 2 * MINUTE)
    rig.order("BUY", 1, tif="AT_THE_CLOSE")
    rig.bar(FLAT)
    rig.take()
    rig.idle(DAY)
    assert rig.take() == [OrderExpired("O1", "AT_THE_CLOSE", DAY)]


@pytest.mark.parametrize("timing", TIMINGS)
def test_auctions_on_daily_bars(timing: Any) -> None:
    rig = Rig(FillConfig(timing=timing))
    rig.bar(FLAT, length=DAY)
    rig.order("BUY", 1, tif="AT_THE_OPENING")
    rig.order("SELL", 1, tif="AT_THE_CLOSE")
    rig.bar((102, 105, 99, 104), length=DAY)
    assert brief(rig.take()) == [("O1", 1, 102, "bar.open"), ("O2", -1, 104, "bar.close")]


def test_a_close_that_is_in_progress_is_not_used() -> None:
    rig = Rig(FillConfig(latency_ms=60_000))
    rig.order("SELL", 1, tif="AT_THE_CLOSE")
    rig.bar(FLAT, length=DAY)
    assert brief(rig.take()) == []
    rig.bar((101, 101, 101, 101), length=DAY)
    assert brief(rig.take()) == [("O1", -1, 101, "bar.close")]


@pytest.mark.parametrize("kind", ["STOP", "STOP_LIMIT", "TRAILING_STOP"])
@pytest.mark.parametrize("tif", ["AT_THE_OPENING", "AT_THE_CLOSE"])
def test_auctions_take_no_stops(kind: str, tif: str) -> None:
    rig = Rig()
    trail = {"trail_px": 1} if kind == "TRAILING_STOP" else {}
    rig.order("SELL", 1, kind, stop=90, limit=89, tif=tif, **trail)
    assert brief(rig.take()) == [("O1", "OrderRejected", "AUCTION_ORDER_TYPE")]


@pytest.mark.parametrize(
    ("kind", "extra", "reason"),
    [
        ("LIMIT", {}, "NO_LIMIT_PRICE"),
        ("STOP_LIMIT", {"stop": 1}, "NO_LIMIT_PRICE"),
        ("STOP_LIMIT", {"limit": 1}, "NO_STOP_PRICE"),
        ("STOP", {}, "NO_STOP_PRICE"),
        ("TRAILING_STOP", {}, "NO_TRAIL"),
        ("TRAILING_STOP", {"trail_px": 1, "trail_bps": 1}, "NO_TRAIL"),
        ("TRAILING_STOP", {"trail_px": 0}, "NO_TRAIL"),
    ],
)
def test_orders_that_say_too_little_are_rejected(
    kind: str, extra: dict[str, Any], reason: str
) -> None:
    rig = Rig()
    rig.order("SELL", 1, kind, **extra)
    rig.order("SELL", 0)
    assert brief(rig.take()) == [
        ("O1", "OrderRejected", reason),
        ("O2", "OrderRejected", "BAD_QUANTITY"),
    ]
