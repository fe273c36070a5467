"""Closing orders are no larger than one order may be (decision D14)."""

from __future__ import annotations

import pytest

from engine.domain.orders import Side
from tests.unit.strategy.test_desk import Rig


@pytest.mark.req("D14")
def test_a_position_is_closed_in_orders_that_the_limits_allow() -> None:
    rig = Rig(max_order_size=5_000.0)  # fifty at 100.00
    rig.desk.hold(rig.desk.positions["A"], 120)
    first = rig.strategy.close("A")
    orders = rig.take()
    assert [(o.side, o.order_qty, o.reduce_only) for o in orders] == [
        (Side.SELL, 50, True),
        (Side.SELL, 50, True),
        (Side.SELL, 20, True),
    ]
    assert first is not None
    assert first.id == orders[0].client_order_id
    assert rig.strategy.close("A") is first  # they work already
    assert rig.take() == []


@pytest.mark.req("D14")
def test_slices_are_whole_lots_and_never_nothing() -> None:
    rig = Rig(max_order_size=330.0, min_order_size=0.0)
    rig.bar(10_000, "COIN")
    rig.desk.hold(rig.desk.positions["COIN"], -7_000)  # seven coins, bought back in 3.3 at most
    rig.strategy.close("COIN")
    assert [o.order_qty for o in rig.take()] == [3_300, 3_300, 400]
    dear = Rig(max_order_size=50.0, min_order_size=0.0)
    dear.desk.hold(dear.desk.positions["A"], 2)
    dear.strategy.close("A")
    assert [o.order_qty for o in dear.take()] == [1, 1]  # for the gate to deny


@pytest.mark.req("D14")
def test_a_target_nearer_to_zero_is_reached_in_slices_too() -> None:
    rig = Rig(max_order_quantity=30)
    rig.desk.hold(rig.desk.positions["A"], 100)
    rig.strategy.target_quantity("A", 25)
    assert [o.order_qty for o in rig.take()] == [30, 30, 15]
