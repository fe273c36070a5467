"""Limits at work in the whole core: guards, halts and the kill switch, through every real actor."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import (
    ClosePosition,
    KillSwitch,
    OrderApproved,
    SetTradingState,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
    RiskEvent,
)
from engine.domain.market import Bar
from engine.domain.orders import OrderStatus, OrderType, Side
from engine.strategy.base import Strategy
from tests.simulation.rig import Core

WIDE: dict[str, Any] = {
    "risk.max_position_size": "unlimited",
    "risk.max_order_size": "unlimited",
    "risk.max_daily_loss": "unlimited",
    "risk.max_daily_loss_amount": "unlimited",
    "risk.price_collar": 1.0,
}


class Once(Strategy):
    """Buys A on its first bar and, if it is to, more of it on every later one."""

    quantity: int = 100
    more: bool = False

    def on_start(self) -> None:
        self.bars_seen = 0

    def on_bar(self, bar: Bar) -> None:
        self.bars_seen += 1
        if self.bars_seen == 1 or (self.more and bar.symbol == "A"):
            self.buy("A", self.quantity)


def core_of(**settings: Any) -> Core:
    more = settings.pop("more", False)
    strategy = type("Mine", (Once,), {"more": more})()
    return Core({"S": strategy}, {**WIDE, **settings}).start()


def held(core: Core, symbol: str = "A") -> int:
    quantity: int = core.ledger.position("S", symbol)[0]
    return quantity


def events_of(core: Core, kind: str) -> list[RiskEvent]:
    return [e for e in core.events(RiskEvent) if e.event_type == kind]


@pytest.mark.req("D12", "R55", "R97")
def test_a_stop_loss_closes_at_the_next_open() -> None:
    core = core_of(**{"risk.stop_loss_pct": 0.05})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    assert held(core) == 100
    core.bar("A", 9_301)
    assert core.events(ClosePosition) == []
    core.bar("A", 9_300)
    (close,) = core.events(ClosePosition)
    assert close.reason == "STOP_LOSS"
    core.bar("A", (9_250, 9_400, 9_200, 9_350))
    assert held(core) == 0
    fill = core.events(OrderFilled)[-1]
    assert (fill.last_px, fill.signed_qty) == (9_250, -100)
    order = next(e.order for e in core.events(OrderApproved) if e.closing)
    assert (order.tag, order.reduce_only) == ("STOP_LOSS", True)
    assert len(events_of(core, "STOP_LOSS")) == 1


@pytest.mark.req("D14", "P15")
def test_a_guard_closes_in_slices_and_only_once() -> None:
    core = core_of(**{"risk.stop_loss_pct": 0.05})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    # The limit on orders came after the position was there.
    small = core.gate.book.exposure.markets["A"].bounds._replace(max_qty=30)
    core.gate.book.exposure.markets["A"].bounds = small
    core.host("S").desk._slice_sizes = {"A": small}
    core.bar("A", 9_000)
    closing = [e.order for e in core.events(OrderApproved) if e.closing]
    assert [o.order_qty for o in closing] == [30, 30, 30, 10]
    core.bar("B", 10_000)  # another event while they work sends nothing more
    assert len([e for e in core.events(OrderApproved) if e.closing]) == 4
    core.bar("A", 9_000)
    assert held(core) == 0
    assert len([e for e in core.events(OrderApproved) if e.closing]) == 4


@pytest.mark.req("D13", "R96", "P13")
@pytest.mark.parametrize("on_halt", ["keep", "flatten"])
def test_a_loss_halts_before_the_strategy_sees_the_price(on_halt: str) -> None:
    settings = {"risk.max_daily_loss_amount": 500.0, "risk.on_halt": on_halt, "more": True}
    core = core_of(**settings)
    core.bar("A", 10_000)
    core.bar("A", 10_000)  # a second hundred is bought
    core.bar("A", 10_000)
    approved = len(core.events(OrderApproved))
    core.bar("A", 9_700)  # 200 held at 100.00 lose 600
    assert core.gate.latch.state() is TradingState.HALTED
    denied = core.events(OrderDenied)
    assert [e.verdict.code for e in denied] == ["TRADING_HALTED"]
    plain = [e for e in core.events(OrderApproved)[approved:] if not e.closing]
    assert plain == []
    core.bar("A", 9_700)
    # The order of the bar before was already at the venue, and was canceled before it could fill
    # or had filled at this bar's open; nothing new has left.
    assert held(core) in ((0,) if on_halt == "flatten" else (200, 300))
    halted = [e for e in events_of(core, "DAILY_LOSS") if e.action_taken == "TRADING_HALTED"]
    assert len(halted) == 1


@pytest.mark.req("P13")
@pytest.mark.parametrize("flatten", [False, True])
def test_the_kill_switch_cancels_everything_and_may_go_flat(flatten: bool) -> None:
    core = core_of(more=True)
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    strategy = core.host("S").strategy
    stop = strategy.sell("A", 100, stop=80.0, reduce_only=True)
    core.host("S")._flush()
    core.cell.drain()
    assert stop.status is OrderStatus.ACCEPTED, stop.reason
    core.deliver(
        "risk_gate", KillSwitch(reason="KILL_SWITCH", ts_init=core.cell.now, flatten=flatten)
    )
    assert stop.status is OrderStatus.CANCELED
    working = [r for r in core.router.orders.values() if not r.status.is_terminal]
    assert all(r.order.reduce_only and r.closing for r in working)
    assert bool(working) is flatten
    sent = len(core.events(OrderSubmitted))
    for _ in range(3):
        core.bar("A", 10_000)
    assert held(core) == (0 if flatten else 100)
    assert len(core.events(OrderSubmitted)) == sent
    core.deliver(
        "risk_gate", SetTradingState(state=TradingState.ACTIVE, reason="OPERATOR", ts_init=0)
    )
    core.bar("A", 10_000)
    assert len(core.events(OrderSubmitted)) == sent + 1


@pytest.mark.req("P13")
def test_an_approval_in_the_queue_when_the_switch_is_thrown_does_not_leave() -> None:
    core = core_of()
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    strategy = core.host("S").strategy
    order = strategy.buy("A", 7)
    core.cell.send("risk_gate", SubmitOrder(order.order))
    core.cell.send("risk_gate", KillSwitch(reason="KILL_SWITCH", ts_init=core.cell.now))
    core.cell.drain()
    assert order.id not in {e.client_order_id for e in core.events(OrderSubmitted)}
    (canceled,) = (e for e in core.events(OrderCanceled) if e.client_order_id == order.id)
    assert canceled.reason == "TRADING_HALTED"
    assert order.status is OrderStatus.CANCELED
    assert core.gate.book.reservations.orders == core.ledger.reservations.orders == {}
    assert order.order.side is Side.BUY
    assert order.order.order_type is OrderType.MARKET


@pytest.mark.req("R94", "D13")
def test_the_day_resumes_and_the_strategy_trades_again() -> None:
    core = core_of(**{"risk.max_daily_loss_amount": 500.0, "more": True})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    core.bar("A", 9_000)
    assert core.gate.latch.state() is TradingState.HALTED
    core.idle(core.cell.now + 86_400 * 10**9)
    assert core.gate.latch.state() is TradingState.ACTIVE
    core._next["A"] = core.cell.now
    before = len(core.events(OrderApproved))
    core.bar("A", 9_000)
    assert len(core.events(OrderApproved)) == before + 1
