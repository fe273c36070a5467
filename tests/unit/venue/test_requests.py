"""Cancels, replacements, and requests that come at the wrong moment."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderReplaced,
    ReplaceRejected,
)
from engine.domain.matching import FillConfig
from engine.domain.orders import Order, OrderType, Side
from tests.unit.venue.rig import MINUTE, Rig, brief

FLAT = (100, 100, 100, 100)


def test_cancel() -> None:
    rig = Rig()
    rig.order("BUY", 1, "LIMIT", limit=50)
    rig.bar(FLAT)
    rig.take()
    rig.cancel("O1")
    assert rig.take() == [OrderCanceled("O1", "USER", MINUTE)]
    rig.cancel("O1")
    assert rig.take() == [CancelRejected("O1", "UNKNOWN_ORDER", MINUTE)]


def test_only_the_owner_is_heard() -> None:
    rig = Rig()
    rig.order("BUY", 1, "LIMIT", limit=50)
    rig.take()
    rig.cancel("O1", strategy="thief")
    rig.replace("O1", strategy="thief", order_qty=9)
    assert rig.take() == [
        CancelRejected("O1", "NOT_OWNER", 0),
        ReplaceRejected("O1", "NOT_OWNER", 0),
    ]


def test_cancel_takes_latency() -> None:
    rig = Rig(FillConfig(latency_ms=60_000))
    rig.order("BUY", 1, "LIMIT", limit=50)
    rig.idle(MINUTE)
    rig.take()
    rig.cancel("O1")
    rig.bar((50, 50, 50, 50))  # fills before the cancel arrives
    rig.idle(2 * MINUTE)
    assert brief(rig.take()) == [
        ("O1", 1, 50, "bar.open"),
        ("O1", "CancelRejected", "UNKNOWN_ORDER"),
    ]


def test_replace_changes_what_is_in_force() -> None:
    rig = Rig()
    rig.order("BUY", 1, "STOP_LIMIT", stop=110, limit=111)
    rig.take()
    rig.replace("O1", order_qty=3, limit_px=106, stop_px=105)
    assert rig.take() == [OrderReplaced("O1", 3, 106, 105, 0)]
    rig.bar((100, 106, 100, 100))
    assert brief(rig.take()) == [("O1", 3, 105, "bar.range")]


# What the order is, what the replacement asks for, why it is refused.
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"kind": "LIMIT", "limit": 100}, {"order_qty": 2}, "NOT_ABOVE_FILLED"),
    ({"kind": "LIMIT", "limit": 100}, {"order_qty": 1}, "NOT_ABOVE_FILLED"),
    ({"kind": "LIMIT", "limit": 100}, {"stop_px": 1}, "NO_STOP_PRICE"),
    ({}, {"limit_px": 1}, "NO_LIMIT_PRICE"),
    ({"kind": "STOP", "stop": 100}, {"stop_px": 105}, "ALREADY_TRIGGERED"),
]


@pytest.mark.parametrize(("order", "change", "reason"), REFUSED)
def test_refused_replacements_change_nothing(
    order: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    rig = Rig(FillConfig(volume_limit=0.2))
    rig.order("BUY", 3, **order)
    rig.bar(FLAT, volume=10)  # fills 2
    rig.take()
    rig.replace("O1", **change)
    assert brief(rig.take()) == [("O1", "ReplaceRejected", reason)]
    rig.bar(FLAT)
    assert brief(rig.take()) == [("O1", 1, 100, "bar.open")]


def test_replacing_an_unknown_order() -> None:
    rig = Rig()
    rig.replace("O9", order_qty=1)
    assert rig.take() == [ReplaceRejected("O9", "UNKNOWN_ORDER", 0)]


def test_new_terms_do_not_meet_prices_of_before() -> None:
    # The replacement arrives inside the second bar, whose open the new limit would have met.
    rig = Rig(FillConfig(latency_ms=30_000))
    rig.order("BUY", 1, "LIMIT", limit=50)
    rig.bar(FLAT)
    rig.replace("O1", limit_px=100)
    rig.bar(FLAT)
    assert rig.fills() == []
    bar = rig.bar(FLAT)
    assert [fill.datum_ts for fill in rig.fills()] == [bar.ts_open]


def test_fewer_of_the_same_keeps_its_place() -> None:
    rig = Rig(FillConfig(latency_ms=30_000))
    rig.order("BUY", 5, "LIMIT", limit=101)
    rig.bar((102, 102, 102, 102))
    rig.replace("O1", order_qty=3)
    rig.bar(FLAT)
    assert brief(rig.take()) == [("O1", "OrderReplaced", 3, 101, None), ("O1", 3, 100, "bar.open")]


def test_a_group_member_replaced_to_what_the_others_took_is_over() -> None:
    rig = Rig()
    rig.order("SELL", 4, "LIMIT", limit=105, group_id="g")
    rig.order("SELL", 10, "STOP", stop=95, group_id="g")
    rig.bar((100, 106, 99, 100))
    rig.take()
    rig.replace("O2", order_qty=4)
    assert brief(rig.take()) == [
        ("O2", "OrderReplaced", 4, None, 95),
        ("O2", "OrderCanceled", "OCO"),
    ]


def test_a_resend_of_a_working_order_is_ignored() -> None:
    rig = Rig()
    order = Order("O1", "S", "X", Side.BUY, OrderType.MARKET, 1, 0)
    rig.send(order, order)
    rig.bar(FLAT)
    assert [type(report) for report in rig.reports].count(OrderAccepted) == 1
    assert len(rig.fills()) == 1


def test_late_arrivals_are_put_in_their_place() -> None:
    # Two strategies in real time: the one whose cause is earlier has priority.
    rig = Rig(FillConfig(volume_limit=0.1))
    rig.order("BUY", 1, id="later", ts=10)
    rig.order("BUY", 1, id="earlier", ts=5)
    rig.bar(FLAT, start=10, volume=10)
    assert [fill.client_order_id for fill in rig.fills()] == ["earlier"]
