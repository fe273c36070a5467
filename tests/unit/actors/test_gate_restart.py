"""A gate that takes over from another goes on as if nothing had happened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.calendars import DAY_NS
from engine.domain.commands import ReplaceOrder
from engine.domain.events import OrderCanceled, OrderReplaced
from engine.domain.orders import OrderType
from engine.domain.risk import DenyCode
from engine.domain.risk_snapshot import RiskSnapshot
from tests.unit.actors.gate_rig import Rig

D = DenyCode
SECOND = 10**9
TIGHT: dict[str, Any] = {
    "max_order_rate": 4.0,
    "order_burst": 6,
    "max_repeated_orders": 3,
    "max_orders_per_day": 30,
    "max_open_orders": 6,
    "max_position_size": 0.02,
    "max_losing_trades": 2,
    "max_daily_loss_amount": 3_000.0,
    "min_cash": 0.0,
    "max_net_leverage": 0.03,
    "per_strategy": {"max_daily_loss": 2_500.0, "max_exposure": 25_000.0},
}


def restarted(rig: Rig, *, now: int | None = None) -> Rig:
    """Give a rig whose gate was made from the other's snapshot, as bytes."""
    wire = msgspec.msgpack.encode(rig.gate.snapshot())
    snapshot = msgspec.msgpack.decode(wire, type=RiskSnapshot)
    start = rig.cell.now if now is None else now
    again = Rig(store=rig.store, snapshot=snapshot, start=start, prices=rig.prices, **rig.changes)
    again.held, again.cash, again.count = dict(rig.held), rig.cash, rig.count
    return again


Step = tuple[int, int, int]
steps = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(0, 30)), min_size=4, max_size=30
)


class Drive:
    """Does what steps say to a rig, and notes what comes of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.orders: list[Any] = []
        self.noted: list[Any] = []

    def step(self, step: Step) -> None:
        what, which, size = step
        rig = self.rig
        rig.cell.now += (size % 4) * SECOND // 10
        symbol, strategy = "AB"[which % 2], "ST"[which // 2 % 2]
        sign = 1 if which < 5 else -1
        if what < 4 or not self.orders:
            qty = 10 * sign * (1 + size % 12)
            fields: dict[str, Any] = {"strategy_id": strategy}
            if what % 2:
                fields |= {"order_type": OrderType.LIMIT, "limit_px": 9_900 + size * 10}
            order = rig.order(qty, symbol, **fields)
            code = rig.submit(order)
            self.noted.append((order.client_order_id, code))
            if code is None:
                self.orders.append([order, order.order_qty, 0])
            return
        if what < 6:
            rig.price(symbol, 9_500 + size * 30)
            return
        entry = self.orders[which % len(self.orders)]
        order, total, cum = entry
        if what < 8:
            qty = min(1 + size, total - cum)
            entry[2] += qty
            realized = -(10**9) if size % 2 else 10**9
            rig.fill(order, qty, total - cum - qty, total=total, realized=realized)
            if cum + qty == total:
                self.orders.remove(entry)
        elif what == 8:
            rig.tell(OrderCanceled(order.client_order_id, "USER", 0))
            self.orders.remove(entry)
        elif order.order_type is OrderType.LIMIT:
            replace = ReplaceOrder(
                order.client_order_id, order.strategy_id, rig.cell.now, order_qty=total + 10
            )
            answers = [type(e).__name__ for e in rig.tell(replace)]
            self.noted.append(answers)
            if answers[0] == "ReplaceApproved" and size % 2:
                entry[1] = total + 10
                rig.tell(OrderReplaced(order.client_order_id, total + 10, order.limit_px, None, 0))


@pytest.mark.req("P12", "P10", "P18")
@given(steps, st.lists(st.integers(0, 29), max_size=4))
def test_restarts_change_no_verdict_and_no_state(script: list[Step], restarts: list[int]) -> None:
    calm, shaken = Drive(Rig(**TIGHT)), Drive(Rig(**TIGHT))
    for number, step in enumerate(script):
        if number in restarts:
            shaken.rig = restarted(shaken.rig)
        calm.step(step)
        shaken.step(step)
        assert shaken.noted == calm.noted
    assert shaken.rig.gate.snapshot() == calm.rig.gate.snapshot()
    assert shaken.rig.gate.latch.holds == calm.rig.gate.latch.holds


@pytest.mark.req("P12", "D13")
def test_a_loss_is_not_forgotten_by_a_restart() -> None:
    rig = Rig()
    rig.hold(1_000)
    rig.price("A", 5_010)
    again = restarted(rig)
    assert again.send(10, "B") is None
    again.price("A", 5_000)
    assert again.send(10, "B") is D.TRADING_HALTED


@pytest.mark.req("D13")
def test_a_day_that_passed_meanwhile_has_passed() -> None:
    rig = Rig(max_orders_per_day=1)
    assert rig.send(10) is None
    assert restarted(rig).send(11) is D.ORDERS_PER_DAY
    assert restarted(rig, now=DAY_NS + 5).send(11) is None
