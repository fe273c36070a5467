"""Replacements at the gate: judged like orders, reserved at the larger of both until answered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.domain.commands import ReplaceApproved, ReplaceOrder
from engine.domain.events import OrderCanceled, OrderReplaced, ReplaceDenied, ReplaceRejected
from engine.domain.orders import Order
from engine.domain.risk import DenyCode
from tests.unit.actors.gate_rig import LIMIT, Rig, limit_order

D = DenyCode


def replacement(order: Order, qty: int | None = None, **fields: Any) -> ReplaceOrder:
    return ReplaceOrder(order.client_order_id, "S", 0, order_qty=qty, **fields)


@pytest.mark.req("P10", "P15")
def test_a_replacement_reserves_the_larger_of_both_until_it_is_confirmed() -> None:
    rig = Rig()
    order = rig.order(100, order_type=LIMIT, limit_px=10_000)
    rig.submit(order)
    (approved,) = rig.tell(replacement(order, 200))
    assert type(approved) is ReplaceApproved
    assert rig.room() == (200, 0)
    rig.fill(order, 50, 50)  # of the order as it was
    assert rig.room() == (150, 0)
    rig.tell(OrderReplaced(order.client_order_id, 200, 10_000, None, 0))
    assert rig.room() == (150, 0)
    rig.tell(replacement(order, 120))
    assert rig.room() == (150, 0)
    rig.tell(OrderReplaced(order.client_order_id, 120, 10_000, None, 0))
    assert rig.room() == (70, 0)
    rig.fill(order, 70, 0, total=120)
    assert rig.room() == (0, 0)


@pytest.mark.req("P10")
def test_two_replacements_on_their_way_reserve_the_largest() -> None:
    rig = Rig()
    order = rig.order(100, order_type=LIMIT, limit_px=10_000)
    rig.submit(order)
    rig.tell(replacement(order, 200))
    rig.tell(replacement(order, 300))
    assert rig.room() == (300, 0)
    rig.tell(OrderReplaced(order.client_order_id, 200, 10_000, None, 0))
    assert rig.room() == (300, 0)
    rig.tell(OrderReplaced(order.client_order_id, 300, 10_000, None, 0))
    assert rig.room() == (300, 0)


@pytest.mark.req("P10")
def test_a_refused_replacement_gives_back_what_it_would_have_needed() -> None:
    rig = Rig()
    order = rig.order(100, order_type=LIMIT, limit_px=9_000)
    rig.submit(order)
    rig.tell(replacement(order, 300, limit_px=9_500))
    assert (rig.room(), limit_order(rig, -10, 9_400)) == ((300, 0), D.SELF_TRADE)
    rig.tell(ReplaceRejected(order.client_order_id, "X", 0))
    assert (rig.room(), limit_order(rig, -10, 9_400)) == ((100, 0), None)


def test_after_a_refused_replacement_the_next_one_counts_right() -> None:
    rig = Rig()
    order = rig.order(100, order_type=LIMIT, limit_px=10_000)
    rig.submit(order)
    rig.tell(replacement(order, 200))  # the venue refuses this one
    rig.fill(order, 50, 50)
    (answer,) = rig.tell(replacement(order, 120))
    assert type(answer) is ReplaceApproved
    rig.tell(OrderReplaced(order.client_order_id, 120, 10_000, None, 0))
    rig.tell(OrderCanceled(order.client_order_id, "USER", 0))
    assert rig.room() == (0, 0)


@pytest.mark.req("P15")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"order_qty": 1_041}, "ORDER_VALUE_ABOVE_MAX"),  # 1,001 that may still fill
        ({"order_qty": 40}, "QUANTITY_PRECISION"),  # all of it has filled
        ({"limit_px": 0}, "PRICE_PRECISION"),
        ({"client_order_id": "other"}, "UNKNOWN_ORDER"),
        ({"strategy_id": "T"}, "NOT_OWNER"),
    ],
)
def test_a_replacement_is_judged_like_an_order(fields: dict[str, Any], reason: str) -> None:
    rig = Rig()
    order = rig.order(100, order_type=LIMIT, limit_px=10_000)
    rig.submit(order)
    rig.fill(order, 40, 60)
    before = rig.room()
    replace = msgspec.structs.replace(replacement(order, 150), **fields)
    (denied, *_) = rig.tell(replace)
    assert type(denied) is ReplaceDenied
    assert (denied.client_order_id, denied.reason) == (replace.client_order_id, reason)
    assert rig.room() == before == (60, 0)


@pytest.mark.req("D13", "R96")
def test_a_halt_refuses_replacements_too() -> None:
    rig = Rig()
    order = rig.order(10, "B", order_type=LIMIT, limit_px=9_500)
    assert rig.submit(order) is None
    rig.hold(1_000)
    rig.price("A", 5_000)
    (denied, *_) = rig.tell(replacement(order, 20))
    assert (type(denied), denied.reason) == (ReplaceDenied, "TRADING_HALTED")
