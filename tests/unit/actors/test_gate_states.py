"""The trading state of the gate: what enters it, what it stops, who ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.domain.commands import (
    ClosePosition,
    KillSwitch,
    OrderApproved,
    ReplaceOrder,
    SetTradingState,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderReplaced,
    RiskEvent,
    Severity,
)
from engine.domain.latch import Hold, Reset
from engine.domain.orders import Side
from engine.domain.risk import DenyCode
from tests.unit.actors.gate_rig import LIMIT, SECOND, STOP, WIDE, Rig, limit_order

D = DenyCode


@pytest.mark.check("STRATEGY_LOSS")
@pytest.mark.req("P12")
def test_a_strategys_loss_halts_it_alone() -> None:
    rig = Rig(per_strategy={"max_daily_loss": 1_000.0})
    rig.hold(100)
    rig.price("A", 9_300)
    assert rig.risk_events() == [("STRATEGY_LOSS", Severity.WARNING, "NONE")]
    rig.price("A", 9_001)
    assert len(rig.risk_events()) == 1
    rig.price("A", 9_000)
    halted = ("STRATEGY_LOSS", Severity.CRITICAL, "STRATEGY_HALTED")
    assert rig.risk_events()[1:] == [halted]
    assert rig.send(10) is D.STRATEGY_HALTED
    assert rig.send(10, strategy_id="T") is None
    rig.tell(SetTradingState(state=TradingState.ACTIVE, reason="OK", ts_init=0, strategy_id="S"))
    assert rig.send(10) is D.STRATEGY_LOSS
    rig.cell.fire_timers(86_400 * SECOND + 1)
    rig.price("A", 9_000)
    assert rig.send(10) is None


@pytest.mark.check("DRAWDOWN")
def test_a_fall_from_the_peak_halts_until_a_person_resumes() -> None:
    rig = Rig(
        **WIDE,
        max_drawdown=0.10,
        max_leverage=2.0,
        max_daily_loss="unlimited",
        max_daily_loss_amount="unlimited",
    )
    rig.hold(10_000)  # all of the million
    rig.price("A", 20_000)
    rig.cell.fire_timers(86_400 * SECOND + 1)  # two millions, at the end of a day
    rig.price("A", 18_001)
    assert rig.gate.latch.state() is TradingState.ACTIVE
    rig.price("A", 18_000)
    assert rig.gate.latch.state() is TradingState.HALTED
    assert rig.risk_events() == [("DRAWDOWN", Severity.CRITICAL, "TRADING_HALTED")]
    rig.cell.fire_timers(2 * 86_400 * SECOND + 1)
    assert rig.send(-10, "B") is D.TRADING_HALTED
    rig.set_state(TradingState.ACTIVE)
    assert rig.send(-10, "B") is D.DRAWDOWN


def round_trip(rig: Rig, px: int, strategy_id: str = "S") -> None:
    """Buy ten at 100.00 and sell them."""
    rig.price("A", 10_000)
    rig.hold(10, strategy=strategy_id)
    order = rig.order(-10, strategy_id=strategy_id, reduce_only=True)
    rig.submit(order)
    rig.fill(order, 10, 0, px=px, realized=10 * (px - 10_000) * 10**6)
    rig.price("A", 10_000)


@pytest.mark.check("LOSING_STREAK")
@pytest.mark.check("STRATEGY_LOSING_STREAK")
@pytest.mark.parametrize(
    ("changes", "code", "resumed", "other"),
    [
        ({"max_losing_trades": 2}, D.TRADING_HALTED, D.LOSING_STREAK, D.LOSING_STREAK),
        (
            {"per_strategy": {"max_losing_trades": 2}},
            D.STRATEGY_HALTED,
            D.STRATEGY_LOSING_STREAK,
            None,
        ),
    ],
)
def test_losing_in_a_row_halts_for_the_day(
    changes: dict[str, Any], code: DenyCode, resumed: DenyCode, other: DenyCode | None
) -> None:
    rig = Rig(**changes)
    for px in (9_900, 10_000, 9_900):  # breaking even ends a row
        round_trip(rig, px)
    assert rig.send(10) is None
    round_trip(rig, 9_900)
    assert rig.send(11) is code
    rig.tell(SetTradingState(state=TradingState.ACTIVE, reason="OK", ts_init=0,
                             strategy_id="S" if other is None else None))  # fmt: skip
    assert rig.send(11) is resumed
    assert rig.send(11, strategy_id="T") is other
    rig.cell.fire_timers(86_400 * SECOND + 1)
    rig.price("A", 10_000)
    assert rig.send(12) is None


# States that a rule or a person enters.


def test_a_margin_call_lets_positions_shrink_only() -> None:
    rig = Rig(cash=10_000, **WIDE, max_leverage=2.0, max_daily_loss="unlimited",
              max_daily_loss_amount="unlimited")  # fmt: skip
    rig.hold(200)  # 20,000 with 10,000 of one's own
    rig.price("A", 6_667)
    assert rig.gate.latch.state() is TradingState.ACTIVE
    rig.price("A", 6_666)  # 3,332 of 13,332: below a quarter
    assert rig.risk_events() == [("MARGIN_CALL", Severity.CRITICAL, "TRADING_REDUCING")]
    assert rig.send(10, "B") is D.TRADING_REDUCING
    assert rig.send(-10, reduce_only=True) is None
    rig.price("A", 6_600)
    assert len(rig.risk_events()) == 0


@pytest.mark.req("P13")
@pytest.mark.parametrize("flatten", [False, True])
def test_the_kill_switch(flatten: bool) -> None:
    rig = Rig()
    rig.hold(100)
    rig.hold(-20, "B", strategy="T")
    entry = rig.order(10, order_type=LIMIT, limit_px=9_500)
    stop = rig.order(-100, order_type=STOP, stop_px=9_000, reduce_only=True)
    assert (rig.submit(entry), rig.submit(stop)) == (None, None)
    kill = KillSwitch(reason="KILL_SWITCH", ts_init=0, flatten=flatten)
    (told, *closes) = rig.tell(kill)
    assert type(told) is RiskEvent
    assert (told.severity, told.action_taken) == (Severity.CRITICAL, "TRADING_HALTED")
    assert rig.router.canceled == [entry.client_order_id, stop.client_order_id]
    expected = [("S", "A", "KILL_SWITCH"), ("T", "B", "KILL_SWITCH")] if flatten else []
    assert [(c.strategy_id, c.symbol, c.reason) for c in closes] == expected
    assert rig.send(10) is D.TRADING_HALTED
    rig.cell.fire_timers(5 * 86_400 * SECOND)
    assert rig.send(10) is D.TRADING_HALTED
    rig.set_state(TradingState.ACTIVE)
    rig.price("A", 10_000)
    assert rig.send(10) is None


@pytest.mark.req("P13")
def test_what_was_approved_just_before_the_kill_does_not_leave_after_it() -> None:
    rig = Rig()
    order = rig.order(10)
    cell = rig.cell
    cell.send("risk_gate", SubmitOrder(order))
    cell.send("risk_gate", KillSwitch(reason="KILL_SWITCH", ts_init=0))
    cell.drain()
    approved = next(e for e in rig.world.heard if type(e) is OrderApproved)
    # The router reads the same latch when the approval reaches it.
    assert rig.gate.latch.refusal("S", reduce_only=False, closing=approved.closing)
    assert rig.router.canceled == [order.client_order_id]


@pytest.mark.req("P12", "P13")
def test_a_halt_outlives_a_restart() -> None:
    rig = Rig()
    rig.tell(KillSwitch(reason="KILL_SWITCH", ts_init=0))
    again = Rig(store=rig.store)
    assert again.send(10) is D.TRADING_HALTED
    again.set_state(TradingState.ACTIVE)
    assert Rig(store=rig.store).send(10) is None


@pytest.mark.req("D13", "P12")
def test_a_weaker_rule_loosens_nothing() -> None:
    rig = Rig(halt_reset="next_day")
    rig.set_state(TradingState.HALTED)
    rig.hold_anyway(1_000)
    rig.price("A", 5_000)  # the daily loss, which would end with the day
    rig.cell.fire_timers(86_400 * SECOND + 1)
    assert rig.gate.latch.state() is TradingState.HALTED


# What is told.


@pytest.mark.req("R98")
@pytest.mark.parametrize(
    ("act", "code", "value", "limit"),
    [
        (lambda r: r.send(1_001), D.ORDER_VALUE_ABOVE_MAX, 100_100.0, 100_000.0),
        (lambda r: limit_order(r, 10, 12_000), D.PRICE_COLLAR, 0.2, 0.1),
        (lambda r: r.send(0), D.QUANTITY_PRECISION, 0.0, None),
    ],
)
def test_every_denial_is_a_risk_event(
    act: Callable[[Rig], Any], code: DenyCode, value: float, limit: float | None
) -> None:
    rig = Rig()
    assert act(rig) is code
    (event,) = (e for e in rig.world.heard if type(e) is RiskEvent)
    assert (event.event_type, event.severity) == (code.name, Severity.INFO)
    assert (event.value, event.limit, event.action_taken) == (value, limit, "ORDER_DENIED")
    assert (event.strategy_id, event.symbol) == ("S", "A")
    assert event.description.startswith(code.meaning)


def test_a_replacement_may_be_smaller_when_the_limit_is_reached() -> None:
    rig = Rig(cash=10_000, **WIDE)
    order = rig.order(100, order_type=LIMIT, limit_px=10_000)
    assert rig.submit(order) is None
    (denied, _) = rig.tell(ReplaceOrder(order.client_order_id, "S", 0, order_qty=101))
    assert denied.verdict.code is D.LEVERAGE
    rig.tell(ReplaceOrder(order.client_order_id, "S", 0, order_qty=90))
    rig.tell(OrderReplaced(order.client_order_id, 90, 10_000, None, 0))
    assert rig.room() == (90, 0)
    assert rig.send(10) is None
    assert order.side is Side.BUY


@pytest.mark.req("R96")
def test_a_loss_halts_at_its_limit_however_slowly_it_gets_there() -> None:
    """Denied orders mark the symbol on the way; the price that reaches the limit halts."""
    rig = Rig(**WIDE, max_daily_loss_amount=50_000.0)
    rig.hold(1_000)
    halted = []
    for px in range(5_975, 4_975, -25):
        rig.price("A", px)
        rig.send(0)
        if rig.gate.latch.holds:
            halted.append(px)
    assert halted[0] == 5_000


# What is kept for a restart, and told.


def repeat(rig: Rig) -> None:
    for _ in range(4):
        rig.send(10)


def lose(rig: Rig) -> None:
    rig.hold(1_000)
    rig.price("A", 5_000)


def operate(state: TradingState, strategy_id: str | None) -> Callable[[Rig], Any]:
    return lambda rig: rig.tell(
        SetTradingState(state=state, reason="OPERATOR", ts_init=0, strategy_id=strategy_id)
    )


@pytest.mark.req("D13", "P12", "R98")
@pytest.mark.parametrize(
    ("act", "whose", "state", "reason", "reset", "measured"),
    [
        (repeat, "S", TradingState.HALTED, "REPEATED_ORDER", "manual", (3.0, 3.0)),
        (lose, "", TradingState.HALTED, "DAILY_LOSS", "next_day", (50_000.0, 50_000.0)),
        (lambda r: r.tell(KillSwitch(reason="KILL_SWITCH", ts_init=0)),
         "", TradingState.HALTED, "KILL_SWITCH", "manual", (0.0, None)),
        (operate(TradingState.HALTED, "S"), "S", TradingState.HALTED, "OPERATOR", "manual",
         (0.0, None)),
        (operate(TradingState.REDUCING, None), "", TradingState.REDUCING, "OPERATOR", "manual",
         (0.0, None)),
    ],
)  # fmt: skip
def test_what_is_held_is_kept_as_it_was_entered_until_it_ends(
    act: Callable[[Rig], Any],
    whose: str,
    state: TradingState,
    reason: str,
    reset: Reset,
    measured: tuple[float, float | None],
) -> None:
    """The state on the disk, the one CRITICAL event, and what the end of the day leaves of it."""
    rig = Rig(max_repeated_orders=3)
    rig.cell.now = 5
    rig.price("A", 10_000)
    act(rig)
    assert rig.store.load() == {whose: Hold(state, reason, reset, 5)}
    (event,) = (
        e for e in rig.world.heard if type(e) is RiskEvent and e.severity is Severity.CRITICAL
    )
    assert (event.event_type, event.value, event.limit) == (reason, *measured)
    assert (event.strategy_id or "", event.ts_event) == (whose, 5)
    rig.cell.fire_timers(86_400 * SECOND + 1)
    assert set(rig.store.load()) == (set() if reset == "next_day" else {whose})
    operate(TradingState.ACTIVE, whose or None)(rig)
    assert rig.store.load() == {}


# Names of which one begins with the other: a strategy is meant by its whole name only.


def test_a_strategys_halt_takes_back_its_own_orders_and_an_accounts_all() -> None:
    rig = Rig()
    resting = {"order_type": LIMIT, "limit_px": 9_500}
    own, other = rig.order(10, **resting), rig.order(11, strategy_id="S2", **resting)
    assert (rig.submit(own), rig.submit(other)) == (None, None)
    operate(TradingState.HALTED, "S")(rig)
    assert rig.router.canceled == [own.client_order_id]
    rig.router.canceled.clear()
    operate(TradingState.REDUCING, None)(rig)
    assert rig.router.canceled == [own.client_order_id, other.client_order_id]


@pytest.mark.req("D14")
def test_a_strategys_halt_closes_what_it_holds_itself_and_an_accounts_what_all_hold() -> None:
    rig = Rig(on_halt="flatten")
    rig.hold(100)
    rig.hold(-20, "B", strategy="S2")
    assert limit_order(rig, 10, 9_500, symbol="B") is None  # it works there, and holds nothing
    closes = [(e.strategy_id, e.symbol) for e in halted(rig, "S")]
    assert closes == [("S", "A")]
    closes = [(e.strategy_id, e.symbol) for e in halted(rig, None)]
    assert closes == [("S", "A"), ("S2", "B")]


def halted(rig: Rig, strategy_id: str | None) -> list[ClosePosition]:
    """Halt, and give what is asked to be closed."""
    operate(TradingState.HALTED, strategy_id)(rig)
    return [e for e in rig.world.heard if type(e) is ClosePosition]


@pytest.mark.req("D14")
def test_only_a_halt_closes_positions() -> None:
    rig = Rig(on_halt="flatten")
    rig.hold(100)
    operate(TradingState.REDUCING, None)(rig)
    assert [type(e) for e in rig.world.heard] == [RiskEvent]


@pytest.mark.req("P13")
@pytest.mark.parametrize("flatten", [False, True])
def test_a_kill_switch_asks_once_where_every_halt_closes_positions(flatten: bool) -> None:
    rig = Rig(on_halt="flatten")
    rig.hold(100)
    rig.tell(KillSwitch(reason="KILL_SWITCH", ts_init=0, flatten=flatten))
    assert [type(e) for e in rig.world.heard] == [RiskEvent, ClosePosition]


# The end of the day.


@pytest.mark.req("D13")
@pytest.mark.parametrize("start", [0, 5, 86_400 * SECOND - 1])
def test_a_gate_that_starts_within_a_day_ends_that_day(start: int) -> None:
    rig = Rig(start=start)
    assert rig.cell.deadline == 86_400 * SECOND
