"""The gate alone: orders and what became of them in, verdicts and risk events out."""

from __future__ import annotations

from typing import Any

import pytest

from actors.risk_gate import DayEnded
from engine.domain.calendars import DAY_NS
from engine.domain.commands import (
    ClosePosition,
    OrderApproved,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    RiskEvent,
    Severity,
)
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import OrderType
from engine.domain.risk import DenyCode
from tests.unit.actors.gate_rig import SECOND, Rig

STOPPING = {"order_type": OrderType.STOP}
TRAILING = {"order_type": OrderType.TRAILING_STOP, "trail_bps": 50}

D = DenyCode

LIMIT, STOP = OrderType.LIMIT, OrderType.STOP
STOP_LIMIT, TRAIL = OrderType.STOP_LIMIT, OrderType.TRAILING_STOP

# What is sent, by an account of a million with A and B at 100.00, and the code of the verdict.
VERDICTS = [
    (100, "A", {}, None),
    (1_000, "A", {}, None),  # exactly 100,000
    (1_001, "A", {}, D.ORDER_VALUE_ABOVE_MAX),
    (1, "A", {}, None),  # exactly 100
    (1, "A", {"order_type": LIMIT, "limit_px": 9_999}, D.ORDER_VALUE_BELOW_MIN),
    (1, "A", {"order_type": LIMIT, "limit_px": 10_000}, None),
    (0, "A", {}, D.QUANTITY_PRECISION),
    (10, "C", {}, D.NO_REFERENCE_PRICE),
    (10, "B", {}, None),
    (15, "B", {}, D.QUANTITY_PRECISION),
    (10, "B", {"order_type": LIMIT, "limit_px": 10_001}, D.PRICE_PRECISION),
    (10, "B", {"order_type": LIMIT, "limit_px": 10_005}, None),
    (10, "B", {"order_type": STOP, "stop_px": 10_003}, D.PRICE_PRECISION),
    (10, "B", {"order_type": TRAIL, "trail_px": 3}, D.PRICE_PRECISION),
    (10, "A", {"order_type": LIMIT, "limit_px": 0}, D.PRICE_PRECISION),
    (10, "A", {"order_type": LIMIT, "limit_px": -5}, D.PRICE_PRECISION),
    (10, "A", {"order_type": LIMIT}, D.INVALID_ORDER),
    (10, "A", {"order_type": STOP}, D.INVALID_ORDER),
    (10, "A", {"order_type": STOP_LIMIT, "stop_px": 10_000}, D.INVALID_ORDER),
    (10, "A", {"order_type": STOP_LIMIT, "limit_px": 10_000}, D.INVALID_ORDER),
    (10, "A", {"order_type": TRAIL}, D.INVALID_ORDER),
    (10, "A", {"order_type": TRAIL, "trail_px": 5, "trail_bps": 5}, D.INVALID_ORDER),
    (10, "A", {"order_type": TRAIL, "trail_bps": 0}, D.INVALID_ORDER),
    (10, "A", {"order_type": TRAIL, "trail_bps": 5}, None),
    (-10, "A", {"reduce_only": True}, D.REDUCE_ONLY),
    (10, "A", {"reduce_only": True}, D.REDUCE_ONLY),
    (-10, "A", {}, None),
]


@pytest.mark.req("P11", "D11", "R89", "R90")
@pytest.mark.check("QUANTITY_PRECISION")
@pytest.mark.check("PRICE_PRECISION")
@pytest.mark.check("INVALID_ORDER")
@pytest.mark.parametrize(("qty", "symbol", "fields", "code"), VERDICTS)
def test_verdicts(qty: int, symbol: str, fields: dict[str, Any], code: DenyCode | None) -> None:
    assert Rig().send(qty, symbol, **fields) is code


@pytest.mark.req("R91", "D11")
def test_the_position_counts_what_is_held_and_what_works() -> None:
    rig = Rig()
    for _ in range(2):
        assert rig.send(1_000) is None
    rig.hold(900)
    assert rig.send(101) is D.POSITION_SIZE
    assert rig.send(100) is None  # exactly 30 % of a million
    assert rig.send(1) is D.POSITION_SIZE
    assert rig.send(1, "B", order_qty=10) is None


@pytest.mark.req("R93")
def test_the_exposure_counts_every_symbol_at_its_worst() -> None:
    rig = Rig(max_total_exposure=3_000.0, min_order_size=0.0)
    assert rig.send(10) is None
    assert rig.send(-12) is None  # the worst of both sides counts, not their sum
    assert rig.send(10, "B") is None
    assert rig.send(11, "A") is D.TOTAL_EXPOSURE
    assert rig.send(10, "A") is None
    assert rig.send(1, "A") is D.TOTAL_EXPOSURE
    assert rig.send(-8, "A") is None
    assert rig.send(-1, "A") is D.TOTAL_EXPOSURE


def test_a_limit_above_the_market_counts_at_its_own_price() -> None:
    rig = Rig(max_total_exposure=1_000.0, min_order_size=0.0)
    assert rig.send(10, order_type=LIMIT, limit_px=10_001) is D.TOTAL_EXPOSURE
    assert rig.send(10, order_type=LIMIT, limit_px=9_000) is None


def test_leverage_and_the_margin_that_it_takes() -> None:
    rig = Rig(cash=10_000, max_position_size="unlimited", min_order_size=0.0)
    assert rig.send(60) is None
    assert rig.send(40, "B") is None
    assert rig.send(1, "A") is D.LEVERAGE
    rich = Rig(cash=10_000, max_position_size="unlimited", max_leverage=2.0)
    assert rich.send(200) is None
    assert rich.send(1) is D.LEVERAGE
    bold = Rig(cash=10_000, max_position_size="unlimited", max_leverage=3.0)
    assert bold.send(200) is None  # half of it is margin, which is all there is
    assert bold.send(1) is D.BUYING_POWER


def test_a_short_can_be_forbidden() -> None:
    rig = Rig(short_selling=False)
    assert rig.send(-1) is D.SHORT_SELLING
    rig.hold(100)
    assert rig.send(-60) is None
    assert rig.send(-41) is D.SHORT_SELLING
    assert rig.send(-40) is None
    assert rig.send(10) is None


@pytest.mark.req("D14")
@pytest.mark.check("REDUCE_ONLY")
def test_reduce_only_needs_a_position_of_its_own_strategy() -> None:
    rig = Rig()
    rig.hold(10, strategy="T")
    assert rig.send(-10, reduce_only=True) is D.REDUCE_ONLY
    assert rig.send(-10, reduce_only=True, strategy_id="T") is None
    assert rig.send(10, reduce_only=True, strategy_id="T") is D.REDUCE_ONLY
    assert rig.room() == (0, 0)


@pytest.mark.req("D14")
def test_a_reduce_only_order_may_be_small_but_not_too_large() -> None:
    rig = Rig(max_order_size=150.0)
    rig.hold(1)
    rig.price("A", 9_000)
    assert rig.send(-1) is D.ORDER_VALUE_BELOW_MIN
    assert rig.send(-1, reduce_only=True) is None
    assert rig.send(-1_000, reduce_only=True) is D.ORDER_VALUE_ABOVE_MAX


@pytest.mark.req("D14")
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_order_size": 150.0}, D.ORDER_VALUE_ABOVE_MAX),
        ({"max_order_quantity": 0.5}, D.ORDER_QUANTITY_ABOVE_MAX),
    ],
)
def test_no_position_is_too_dear_to_be_closed(limits: dict[str, Any], code: D) -> None:
    """What an order may be is less than a lot: a closing passes lot by lot, all else does not."""
    rig = Rig(**limits)
    rig.fill(rig.order(3), 3, 0)  # from before the limit
    rig.price("A", 20_000)

    def close(qty: int) -> D | None:
        submit = SubmitOrder(rig.order(-qty, reduce_only=True), True)
        return rig.tell(submit)[0].verdict.code

    assert rig.send(-1, reduce_only=True) is code
    assert close(2) is code
    assert close(1) is None


@pytest.mark.req("P10")
@pytest.mark.parametrize("stop", [STOPPING, TRAILING])
def test_a_stop_that_triggers_at_once_is_worth_what_it_will_cost(stop: dict[str, Any]) -> None:
    """A buy stop far below the market is a market order; a sell stop there is what it says."""
    rig = Rig(max_position_size="unlimited")
    assert rig.send(1_001, stop_px=100, **stop) is D.ORDER_VALUE_ABOVE_MAX
    assert rig.send(1_000, stop_px=100, **stop) is None
    poor = Rig(min_cash=900_000.0)
    assert poor.send(1_000, stop_px=100, **stop) is None
    assert poor.send(10, stop_px=100, **stop) is D.AVAILABLE_CASH
    assert Rig().send(-3_000, stop_px=3_000, **stop) is None


@pytest.mark.check("INVALID_ORDER")
@pytest.mark.parametrize(
    "fields",
    [
        {"limit_px": 100},
        {"stop_px": 100},
        {"trail_px": 5},
        {"trail_bps": 5},
        {"order_type": OrderType.LIMIT, "limit_px": 100, "stop_px": 90},
        {"order_type": OrderType.LIMIT, "limit_px": 100, "trail_bps": 9},
        {"order_type": OrderType.STOP, "stop_px": 100, "limit_px": 90},
        {"order_type": OrderType.STOP_LIMIT, "stop_px": 100, "limit_px": 90, "trail_px": 5},
        {"order_type": OrderType.TRAILING_STOP, "trail_px": 5, "limit_px": 90},
    ],
)
def test_a_price_that_an_order_has_no_use_for_is_refused(fields: dict[str, Any]) -> None:
    assert Rig().send(10, **fields) is D.INVALID_ORDER


@pytest.mark.req("P2")
def test_an_order_judged_at_the_very_end_of_a_day_is_never_judged_anew() -> None:
    day = 86_400 * SECOND
    rig = Rig(intent_ttl="unlimited")
    rig.cell.now = day  # before the timer of the same time
    rig.price("A", 10_000)
    order = rig.order(10)
    assert rig.submit(order) is None
    rig.cell.fire_timers(day + 1)
    assert rig.submit(order) is D.DUPLICATE_ORDER_ID
    rig.cell.fire_timers(2 * day + 1)
    rig.price("A", 10_000)
    assert rig.submit(order) is D.INTENT_EXPIRED


@pytest.mark.check("PARENT_DENIED")
def test_the_child_of_a_denied_order_is_denied() -> None:
    rig = Rig()
    parent = rig.order(10_000)
    assert rig.submit(parent) is D.ORDER_VALUE_ABOVE_MAX
    child = {"parent_id": parent.client_order_id, "reduce_only": True}
    assert rig.send(-10, **child) is D.PARENT_DENIED
    fine = rig.order(10)
    assert rig.submit(fine) is None
    assert rig.send(-10, parent_id=fine.client_order_id, reduce_only=True) is None
    nowhere = rig.order(10, "NOWHERE")
    assert rig.submit(nowhere) is D.NO_REFERENCE_PRICE
    assert rig.send(-10, parent_id=nowhere.client_order_id) is D.PARENT_DENIED


@pytest.mark.req("D14")
@pytest.mark.parametrize(
    ("state", "plain", "reducing"),
    [
        (TradingState.ACTIVE, None, None),
        (TradingState.REDUCING, D.TRADING_REDUCING, None),
        (TradingState.HALTED, D.TRADING_HALTED, D.TRADING_HALTED),
    ],
)
def test_trading_states(
    state: TradingState, plain: DenyCode | None, reducing: DenyCode | None
) -> None:
    rig = Rig()
    rig.hold(10)
    rig.set_state(state)
    assert rig.send(10) is plain
    assert rig.send(-10, reduce_only=True) is reducing
    rig.set_state(TradingState.ACTIVE)
    assert rig.send(10) is None


@pytest.mark.parametrize("end", [OrderCanceled, OrderExpired, OrderRejected])
@pytest.mark.parametrize("qty", [10, -10])
def test_every_end_releases_the_reservation(end: Any, qty: int) -> None:
    rig = Rig()
    order = rig.order(qty)
    rig.submit(order)
    assert rig.room() == ((10, 0) if qty > 0 else (0, 10))
    rig.fill(order, 4, 6)
    assert rig.room() == ((6, 0) if qty > 0 else (0, 6))
    rig.tell(end(order.client_order_id, "X", 0))
    assert rig.room() == (0, 0)
    rig.tell(end(order.client_order_id, "X", 0))
    assert rig.room() == (0, 0)


def test_a_fill_turns_the_reservation_into_a_position() -> None:
    rig = Rig()
    order = rig.order(10)
    rig.submit(order)
    rig.fill(order, 10, 0)
    assert rig.room() == (0, 0)
    assert rig.quantity() == 10
    assert not rig.gate.book.reservations.orders


@pytest.mark.req("P6")
def test_a_late_fill_moves_the_position_only() -> None:
    rig = Rig()
    order = rig.order(10)
    rig.submit(order)
    rig.tell(OrderCanceled(order.client_order_id, "USER", 0))
    rig.fill(order, 3, 7)
    assert rig.room() == (0, 0)
    assert rig.quantity() == 3


@pytest.mark.req("R92", "R98")
def test_a_position_near_its_limit_is_warned_of_once() -> None:
    rig = Rig(max_order_size="unlimited")
    assert rig.send(2_399) is None
    assert rig.risk_events() == []
    assert rig.send(1) is None  # exactly 24 %, which is 80 % of 30 %
    assert rig.risk_events() == [("POSITION_SIZE", Severity.WARNING, "NONE")]
    event = next(e for e in rig.world.heard if type(e) is RiskEvent)
    assert (event.value, event.limit, event.symbol) == (0.24, 0.30, "A")
    assert rig.send(1) is None
    assert rig.risk_events() == []
    assert rig.send(2_400, "B") is None
    assert rig.risk_events() == [("POSITION_SIZE", Severity.WARNING, "NONE")]


def lose(rig: Rig, loss: int) -> None:
    """Lose by holding 1,000 of A."""
    rig.hold(1_000)
    rig.price("A", 10_000 - loss // 10)


@pytest.mark.req("D13", "R98")
def test_a_loss_near_its_limit_is_warned_of_once_a_day() -> None:
    rig = Rig()
    lose(rig, 34_990)
    assert rig.risk_events() == []
    rig.price("A", 6_500)  # 35,000 is 70 % of 50,000
    assert rig.risk_events() == [("DAILY_LOSS", Severity.WARNING, "NONE")]
    rig.price("A", 7_000)
    rig.price("A", 6_400)
    assert len(rig.risk_events()) == 1
    assert rig.send(10, "B") is None
    rig.cell.fire_timers(DAY_NS + 1)
    rig.price("A", 2_900)
    assert rig.risk_events() == [("DAILY_LOSS", Severity.WARNING, "NONE")]


@pytest.mark.check("DAILY_LOSS")
@pytest.mark.req("D13", "R88", "R94", "R96", "R98")
def test_reaching_the_daily_loss_halts_until_the_next_day() -> None:
    rig = Rig()
    lose(rig, 49_990)
    assert rig.gate.latch.state() is TradingState.ACTIVE
    rig.price("A", 5_000)
    halted = ("DAILY_LOSS", Severity.CRITICAL, "TRADING_HALTED")
    assert rig.risk_events() == [("DAILY_LOSS", Severity.WARNING, "NONE"), halted]
    assert rig.gate.latch.state() is TradingState.HALTED
    rig.price("A", 20_000)  # a recovery does not unlatch it
    assert rig.send(10, "B") is D.TRADING_HALTED
    rig.world.heard.clear()
    rig.cell.fire_timers(DAY_NS + 1)
    assert rig.risk_events() == [("DAILY_LOSS", Severity.INFO, "TRADING_RESUMED")]
    assert rig.send(10, "B") is None


@pytest.mark.req("D13", "R96")
def test_whoever_resumes_in_spite_of_a_loss_cannot_trade_on() -> None:
    rig = Rig()
    lose(rig, 50_000)
    rig.set_state(TradingState.ACTIVE)
    assert rig.send(10, "B") is D.DAILY_LOSS
    assert rig.send(-10, reduce_only=True) is None


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({}, 50_000.0),  # 5 % of a million, and the amount
        ({"max_daily_loss": 0.03}, 30_000.0),
        ({"max_daily_loss_amount": 20_000.0}, 20_000.0),
        ({"max_daily_loss": 0.03, "max_daily_loss_amount": "unlimited"}, 30_000.0),
        ({"max_daily_loss": "unlimited"}, 50_000.0),
    ],
)
@pytest.mark.req("D13", "R95", "R98")
def test_a_halt_names_the_limit_that_was_reached(limits: dict[str, Any], limit: float) -> None:
    rig = Rig(**limits)
    lose(rig, 50_000)
    (event,) = (e for e in rig.world.heard if type(e) is RiskEvent)
    assert (event.value, event.limit) == (50_000.0, limit)
    assert event.description == (
        f"The day's loss is 50,000.00; the limit is {limit:,.2f}: trading is halted."
    )


@pytest.mark.req("D13", "R96")
def test_a_halt_takes_back_what_could_increase_a_position() -> None:
    rig = Rig()
    entry = rig.order(10, "B", order_type=LIMIT, limit_px=9_500)
    assert rig.submit(entry) is None
    lose(rig, 49_990)
    stop = rig.order(-1_000, order_type=STOP, stop_px=4_000, reduce_only=True)
    assert rig.submit(stop) is None
    rig.price("A", 5_000)
    assert rig.router.canceled == [entry.client_order_id]


@pytest.mark.req("D14")
def test_a_halt_closes_positions_where_the_limits_say_so() -> None:
    rig = Rig(on_halt="flatten")
    lose(rig, 50_000)
    (close,) = (e for e in rig.world.heard if type(e) is ClosePosition)
    assert (close.strategy_id, close.symbol, close.reason) == ("S", "A", "DAILY_LOSS")
    closing = rig.order(-1_000, reduce_only=True)
    assert rig.submit(closing) is D.TRADING_HALTED  # a strategy's own
    again = rig.order(-1_000, reduce_only=True)
    rig.tell(SubmitOrder(again, True))
    assert [type(e) for e in rig.world.heard] == [OrderApproved]


@pytest.mark.req("D13")
def test_a_manual_halt_waits_for_the_operator() -> None:
    rig = Rig(halt_reset="manual")
    lose(rig, 50_000)
    rig.cell.fire_timers(DAY_NS + 1)
    assert rig.send(10, "B") is D.TRADING_HALTED
    rig.set_state(TradingState.ACTIVE)
    assert rig.send(10, "B") is None


@pytest.mark.req("D13")
def test_an_operators_halt_outlives_the_day() -> None:
    rig = Rig()
    rig.set_state(TradingState.HALTED)
    rig.cell.fire_timers(3 * DAY_NS)
    assert rig.send(10) is D.TRADING_HALTED


@pytest.mark.req("D13")
def test_a_day_starts_with_the_equity_at_its_last_price() -> None:
    rig = Rig()
    lose(rig, 49_990)
    assert rig.send(10, "B") is None
    rig.cell.fire_timers(DAY_NS + 1)
    rig.price("A", 5_000)  # ten more, of a new day
    assert rig.send(10, "B") is None
    inputs = rig.world.heard[0].verdict.inputs
    assert inputs.day_start_equity == (1_000_000 - 49_990) * CASH_UNIT
    assert inputs.equity == (1_000_000 - 50_000) * CASH_UNIT


@pytest.mark.req("D13")
def test_days_follow_one_another() -> None:
    rig = Rig()
    for day in range(1, 4):
        rig.cell.fire_timers(day * DAY_NS + 1)
        assert rig.cell.now == day * DAY_NS
        assert rig.cell.deadline == (day + 1) * DAY_NS
    assert DayEnded in rig.gate.handlers()


def test_scales_with_a_divisor_are_valued_exactly() -> None:
    rig = Rig(min_order_size=0.0)
    rig.cell.deliver_market(Bar("C", 0, 0, 0, 3, 3, 3, 3, 1, 10**5, 10**4))
    assert rig.send(5, "C") is None  # 15 / 10 cash units, half to even
    assert rig.world.heard[0].verdict.inputs.order_value == 2
