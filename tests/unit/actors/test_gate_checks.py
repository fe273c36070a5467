"""Every check of the gate by itself: what just passes, and what is denied by which code."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import (
    OrderApproved,
    ReplaceOrder,
    SetSymbolState,
    SetTradingState,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderCanceled,
    OrderReplaced,
    ReplaceDenied,
    ReplaceRejected,
    Severity,
)
from engine.domain.risk import DenyCode
from tests.unit.actors.gate_rig import LIMIT, SECOND, STOP, STOP_LIMIT, WIDE, Rig, limit_order

D = DenyCode


# What the gate knows without a price.


@pytest.mark.check("TRADING_HALTED")
@pytest.mark.check("TRADING_REDUCING")
@pytest.mark.check("STRATEGY_HALTED")
@pytest.mark.check("STRATEGY_REDUCING")
@pytest.mark.parametrize(
    ("state", "strategy_id", "plain", "reducing", "other"),
    [
        (TradingState.HALTED, None, D.TRADING_HALTED, D.TRADING_HALTED, D.TRADING_HALTED),
        (TradingState.REDUCING, None, D.TRADING_REDUCING, None, D.TRADING_REDUCING),
        (TradingState.HALTED, "S", D.STRATEGY_HALTED, D.STRATEGY_HALTED, None),
        (TradingState.REDUCING, "S", D.STRATEGY_REDUCING, None, None),
    ],
)
def test_trading_states_of_account_and_strategy(
    state: TradingState,
    strategy_id: str | None,
    plain: DenyCode,
    reducing: DenyCode | None,
    other: DenyCode | None,
) -> None:
    rig = Rig()
    rig.hold(10)
    rig.tell(SetTradingState(state=state, reason="TEST", ts_init=0, strategy_id=strategy_id))
    assert rig.send(10) is plain
    assert rig.send(-10, reduce_only=True) is reducing
    assert rig.send(10, strategy_id="T") is other
    rig.tell(
        SetTradingState(
            state=TradingState.ACTIVE, reason="TEST", ts_init=0, strategy_id=strategy_id
        )
    )
    assert rig.send(10) is None


@pytest.mark.req("D17", "P2")
@pytest.mark.check("DUPLICATE_ORDER_ID")
@pytest.mark.parametrize("qty", [10, 100_000])  # approved, and denied, the first time
def test_an_order_id_is_judged_once(qty: int) -> None:
    rig = Rig()
    order = rig.order(qty)
    first = rig.submit(order)
    assert first is (None if qty == 10 else D.ORDER_VALUE_ABOVE_MAX)
    assert rig.submit(order) is D.DUPLICATE_ORDER_ID
    assert rig.room() == ((10, 0) if qty == 10 else (0, 0))


@pytest.mark.req("P7")
@pytest.mark.check("INTENT_EXPIRED")
def test_an_intent_beyond_its_time_to_live_is_denied() -> None:
    rig = Rig(intent_ttl=2.0)
    rig.cell.now = 3 * SECOND
    assert rig.send(10, ts_init=SECOND) is None
    assert rig.send(10, ts_init=SECOND - 1) is D.INTENT_EXPIRED


@pytest.mark.req("P6")
@pytest.mark.check("SYMBOL_HALTED")
def test_nothing_leaves_for_a_halted_symbol_but_what_the_engine_closes() -> None:
    rig = Rig()
    rig.hold(10)
    (told,) = rig.tell(SetSymbolState(symbol="A", halted=True, reason="OVERFILL", ts_init=0))
    assert (told.severity, told.action_taken) == (Severity.CRITICAL, "SYMBOL_HALTED")
    assert rig.tell(SetSymbolState(symbol="A", halted=True, reason="OVERFILL", ts_init=0)) == []
    assert rig.send(10) is D.SYMBOL_HALTED
    assert rig.send(-10, reduce_only=True) is D.SYMBOL_HALTED
    assert rig.send(10, "B") is None
    closing = rig.order(-10, reduce_only=True)
    assert [type(e) for e in rig.tell(SubmitOrder(closing, True))] == [OrderApproved]
    (told,) = rig.tell(SetSymbolState(symbol="A", halted=False, reason="OPERATOR", ts_init=0))
    assert (told.severity, told.action_taken) == (Severity.INFO, "SYMBOL_RESUMED")
    assert rig.send(10) is None
    assert rig.tell(SetSymbolState(symbol="?", halted=True, reason="X", ts_init=0)) == []


@pytest.mark.check("SYMBOL_RESTRICTED")
def test_a_restricted_symbol_may_only_be_reduced() -> None:
    rig = Rig(restricted_symbols=["B"])
    rig.hold(10)
    assert rig.send(10, "B") is D.SYMBOL_RESTRICTED
    assert rig.send(10, "A") is None
    barred = Rig(restricted_symbols=["A"])
    # What was there before the symbol came on the list.
    barred.gate.book.exposure.exposure(barred.gate.book.exposure.markets["A"], "S").quantity = 10
    exposure = barred.gate.book.exposure
    exposure.resize("S", exposure.markets["A"].all["S"])
    assert barred.send(-10) is D.SYMBOL_RESTRICTED
    assert barred.send(-10, reduce_only=True) is None


@pytest.mark.check("SESSION_CLOSED")
def test_orders_leave_only_in_the_session_where_the_limits_say_so() -> None:
    opens = 1_577_975_400 * SECOND  # 2020-01-02 14:30 UTC, half past nine in New York
    closes = opens + 6 * 3600 * SECOND + 1800 * SECOND
    for hours, code in (("session", D.SESSION_CLOSED), ("any", None)):
        rig = Rig(calendar="XNYS", trading_hours=hours, start=opens - 1)
        assert rig.send(10) is code
        for now, expected in ((opens, None), (closes - 1, None), (closes, code)):
            rig.cell.now = now
            assert rig.send(10) is expected


@pytest.mark.check("NO_REFERENCE_PRICE")
@pytest.mark.req("P11")
def test_without_a_price_or_an_instrument_nothing_is_judged() -> None:
    rig = Rig()
    assert rig.send(10, "C") is D.NO_REFERENCE_PRICE
    assert rig.send(10, "NOWHERE") is D.NO_REFERENCE_PRICE
    rig.price("A", 0)
    assert rig.send(10, "A") is D.NO_REFERENCE_PRICE


@pytest.mark.check("UNKNOWN_ORDER")
@pytest.mark.check("NOT_OWNER")
def test_only_an_own_working_order_is_replaced() -> None:
    rig = Rig()
    order = rig.order(10, order_type=LIMIT, limit_px=10_000)
    rig.submit(order)
    for order_id, strategy_id, code in (
        ("?", "S", D.UNKNOWN_ORDER),
        (order.client_order_id, "T", D.NOT_OWNER),
    ):
        (denied,) = rig.tell(ReplaceOrder(order_id, strategy_id, 0, order_qty=20))
        assert (type(denied), denied.verdict.code) == (ReplaceDenied, code)


@pytest.mark.req("D17", "P2")
@pytest.mark.check("INTENT_EXPIRED")
def test_an_intent_older_than_all_that_is_remembered_is_denied_whatever_its_time_to_live() -> None:
    rig = Rig(intent_ttl="unlimited")
    order = rig.order(10)
    assert rig.submit(order) is None
    for day, code in ((1, D.DUPLICATE_ORDER_ID), (2, D.INTENT_EXPIRED)):
        rig.cell.fire_timers(day * 86_400 * SECOND + 1)
        rig.price("A", 10_000)
        assert rig.submit(order) is code
    assert rig.send(11) is None


# What is measured.


@pytest.mark.req("P11", "P23")
@pytest.mark.check("STALE_REFERENCE_PRICE")
def test_an_old_price_judges_nothing() -> None:
    rig = Rig(max_price_age=10.0)
    rig.hold(10)
    rig.cell.now = 10 * SECOND
    assert rig.send(10) is None
    rig.cell.now += 1
    assert rig.send(10) is D.STALE_REFERENCE_PRICE
    assert rig.send(-10, reduce_only=True) is D.STALE_REFERENCE_PRICE
    closing = rig.order(-10, reduce_only=True)
    assert [type(e) for e in rig.tell(SubmitOrder(closing, True))] == [OrderApproved]
    rig.price("A", 10_000)
    assert rig.send(10) is None


@pytest.mark.req("P15")
@pytest.mark.check("ORDER_QUANTITY_ABOVE_MAX")
def test_the_largest_quantity() -> None:
    rig = Rig(max_order_quantity=50, symbols={"B": {"max_order_quantity": 70}})
    assert rig.send(50) is None
    assert rig.send(51) is D.ORDER_QUANTITY_ABOVE_MAX
    assert rig.send(70, "B") is None
    assert rig.send(80, "B") is D.ORDER_QUANTITY_ABOVE_MAX


@pytest.mark.req("P15")
@pytest.mark.check("PRICE_COLLAR")
def test_a_limit_may_not_go_far_through_the_market() -> None:
    rig = Rig(price_collar=0.05, symbols={"B": {"price_collar": 0.20}})
    assert limit_order(rig, 10, 10_500) is None
    assert limit_order(rig, 10, 10_501) is D.PRICE_COLLAR
    assert limit_order(rig, 10, 5_000) is None  # the passive side is harmless
    assert limit_order(rig, 10, 12_000, symbol="B") is None
    assert limit_order(rig, 10, 12_005, symbol="B") is D.PRICE_COLLAR
    sells = Rig(price_collar=0.05)
    assert limit_order(sells, -10, 9_500) is None
    assert limit_order(sells, -10, 9_499) is D.PRICE_COLLAR
    assert limit_order(sells, -10, 20_000) is None


@pytest.mark.check("PRICE_COLLAR")
def test_a_stop_limit_is_measured_against_its_stop() -> None:
    rig = Rig(price_collar=0.05)
    fields = {"order_type": STOP_LIMIT, "stop_px": 12_000}
    assert rig.send(10, limit_px=12_600, **fields) is None
    assert rig.send(10, limit_px=12_601, **fields) is D.PRICE_COLLAR
    assert rig.send(10, order_type=STOP, stop_px=15_000) is None  # it has no price to check


@pytest.mark.check("SELF_TRADE")
def test_an_order_may_not_meet_an_own_one() -> None:
    rig = Rig(**WIDE)
    resting = rig.order(-10, order_type=LIMIT, limit_px=10_100, strategy_id="T")
    assert rig.submit(resting) is None
    assert limit_order(rig, 10, 10_099) is None
    assert limit_order(rig, 10, 10_100) is D.SELF_TRADE
    assert rig.send(10) is None  # the market is at 100.00
    rig.price("A", 10_100)
    assert rig.send(10) is D.SELF_TRADE
    assert rig.send(10, order_type=STOP, stop_px=10_200) is None  # not now
    assert limit_order(rig, 10, 10_100, symbol="B") is None
    rig.tell(OrderCanceled(resting.client_order_id, "USER", 0))
    assert rig.send(10) is None
    allowed = Rig(self_trade_prevention=False)
    assert limit_order(allowed, -10, 10_100) is None
    assert limit_order(allowed, 10, 10_100) is None


@pytest.mark.check("SELF_TRADE")
def test_the_nearest_own_order_counts_and_moves_with_its_replacement() -> None:
    rig = Rig(**WIDE)
    far = rig.order(10, order_type=LIMIT, limit_px=9_000)
    near = rig.order(10, order_type=LIMIT, limit_px=9_500)
    assert (rig.submit(far), rig.submit(near)) == (None, None)
    assert limit_order(rig, -10, 9_600) is None
    assert limit_order(rig, -10, 9_500) is D.SELF_TRADE
    rig.tell(ReplaceOrder(near.client_order_id, "S", 0, limit_px=9_200))
    assert limit_order(rig, -10, 9_500) is D.SELF_TRADE  # it may not have moved yet
    rig.tell(OrderReplaced(near.client_order_id, 10, 9_200, None, 0))
    assert limit_order(rig, -10, 9_300) is None
    rig.tell(ReplaceOrder(near.client_order_id, "S", 0, limit_px=9_400))
    rig.tell(ReplaceRejected(near.client_order_id, "X", 0))
    assert limit_order(rig, -10, 9_300) is None
    rig.fill(near, 10, 0)
    assert limit_order(rig, -10, 9_100) is None
    assert limit_order(rig, -10, 9_000) is D.SELF_TRADE


@pytest.mark.req("P14")
@pytest.mark.check("ORDER_RATE")
def test_orders_come_at_a_rate_with_room_for_a_burst() -> None:
    rig = Rig(**WIDE, max_order_rate=2.0, order_burst=3)
    assert [rig.send(10) for _ in range(4)] == [None, None, None, D.ORDER_RATE]
    assert rig.send(10, strategy_id="T") is D.ORDER_RATE
    rig.cell.now += SECOND // 2 - 1
    assert rig.send(10) is D.ORDER_RATE
    rig.cell.now += 1
    assert rig.send(10) is None
    assert rig.send(10) is D.ORDER_RATE
    rig.cell.now += 60 * SECOND  # a long rest gives no more than the burst
    assert [rig.send(10) for _ in range(4)] == [None, None, None, D.ORDER_RATE]


@pytest.mark.req("P14", "P15")
@pytest.mark.check("STRATEGY_ORDER_RATE")
def test_each_strategy_has_a_rate_and_replacements_count() -> None:
    rig = Rig(**WIDE, per_strategy={"max_order_rate": 1.0, "order_burst": 2})
    order = rig.order(10, order_type=LIMIT, limit_px=9_900)
    assert rig.submit(order) is None
    rig.tell(ReplaceOrder(order.client_order_id, "S", 0, order_qty=20))
    assert rig.send(10) is D.STRATEGY_ORDER_RATE
    assert rig.send(10, strategy_id="T") is None
    (denied, _) = rig.tell(ReplaceOrder(order.client_order_id, "S", 0, order_qty=30))
    assert denied.verdict.code is D.STRATEGY_ORDER_RATE


@pytest.mark.req("P14")
@pytest.mark.check("REPEATED_ORDER")
def test_a_runaway_strategy_is_stopped_until_a_person_lets_it_go_on() -> None:
    rig = Rig(max_repeated_orders=3, repeat_window=1.0)
    assert [rig.send(10) for _ in range(3)] == [None] * 3
    assert rig.send(11) is None  # another order
    assert rig.send(10, strategy_id="T") is None  # another's
    assert rig.send(10) is D.REPEATED_ORDER
    halted = ("REPEATED_ORDER", Severity.CRITICAL, "STRATEGY_HALTED")
    assert rig.risk_events() == [halted]
    assert rig.send(12) is D.STRATEGY_HALTED
    assert rig.send(10, strategy_id="T") is None
    rig.cell.fire_timers(3 * 86_400 * SECOND)  # days do not end it
    rig.price("A", 10_000)
    assert rig.send(12) is D.STRATEGY_HALTED
    resume = SetTradingState(
        state=TradingState.ACTIVE, reason="OPERATOR", ts_init=0, strategy_id="S"
    )
    (told,) = rig.tell(resume)
    assert (told.severity, told.action_taken) == (Severity.INFO, "STRATEGY_RESUMED")
    assert rig.send(10) is None


@pytest.mark.req("P14")
@pytest.mark.check("REPEATED_ORDER")
def test_repetitions_are_counted_in_a_window() -> None:
    rig = Rig(max_repeated_orders=2, repeat_window=1.0)
    assert rig.send(10) is None
    rig.cell.now += SECOND // 2
    assert rig.send(10) is None
    rig.cell.now += SECOND // 2 + 1  # the first is out of it, the second is not
    assert rig.send(10) is None
    assert rig.send(10) is D.REPEATED_ORDER


@pytest.mark.req("P15")
@pytest.mark.check("OPEN_ORDERS")
@pytest.mark.check("STRATEGY_OPEN_ORDERS")
@pytest.mark.parametrize(
    ("changes", "code", "other"),
    [
        ({"max_open_orders": 2}, D.OPEN_ORDERS, D.OPEN_ORDERS),
        ({"per_strategy": {"max_open_orders": 2}}, D.STRATEGY_OPEN_ORDERS, None),
    ],
)
def test_working_orders_are_counted(
    changes: dict[str, Any], code: DenyCode, other: DenyCode | None
) -> None:
    rig = Rig(**changes)
    first = rig.order(10, order_type=LIMIT, limit_px=9_900)
    assert (rig.submit(first), rig.send(11)) == (None, None)
    assert rig.send(12) is code
    assert rig.send(12, strategy_id="T") is other
    # A replacement is of an order that is counted already.
    approved = rig.tell(ReplaceOrder(first.client_order_id, "S", 0, order_qty=20))
    assert [type(e) for e in approved] != [ReplaceDenied]
    rig.tell(OrderCanceled(first.client_order_id, "USER", 0))
    if other is None:
        assert rig.send(12) is None


@pytest.mark.req("P12", "P15")
@pytest.mark.check("ORDERS_PER_DAY")
@pytest.mark.check("STRATEGY_ORDERS_PER_DAY")
@pytest.mark.parametrize(
    ("changes", "code", "other"),
    [
        ({"max_orders_per_day": 2}, D.ORDERS_PER_DAY, D.ORDERS_PER_DAY),
        ({"per_strategy": {"max_orders_per_day": 2}}, D.STRATEGY_ORDERS_PER_DAY, None),
    ],
)
def test_orders_of_a_day_are_counted(
    changes: dict[str, Any], code: DenyCode, other: DenyCode | None
) -> None:
    rig = Rig(**changes)
    order = rig.order(10)
    assert (rig.submit(order), rig.send(11)) == (None, None)
    rig.fill(order, 10, 0)  # that it has ended gives nothing back
    assert rig.send(12) is code
    assert rig.send(12, strategy_id="T") is other
    rig.cell.fire_timers(86_400 * SECOND + 1)
    rig.price("A", 10_000)
    assert rig.send(12) is None


@pytest.mark.req("R89")
@pytest.mark.check("ORDER_VALUE_BELOW_MIN")
@pytest.mark.check("ORDER_VALUE_ABOVE_MAX")
def test_the_value_of_an_order_has_bounds() -> None:
    rig = Rig(symbols={"B": {"max_order_size": 2_000.0}})
    assert rig.send(1) is None
    assert limit_order(rig, 1, 9_999) is D.ORDER_VALUE_BELOW_MIN
    assert rig.send(1_000) is None
    assert rig.send(1_001) is D.ORDER_VALUE_ABOVE_MAX
    assert rig.send(20, "B") is None
    assert rig.send(30, "B") is D.ORDER_VALUE_ABOVE_MAX


@pytest.mark.check("SHORT_SELLING")
@pytest.mark.check("SHORT_LOCATE")
def test_shorts_need_permission_and_a_locate() -> None:
    forbidden = Rig(short_selling=False)
    assert forbidden.send(-1) is D.SHORT_SELLING
    rig = Rig(locates={"A": 50})
    assert rig.send(-30) is None
    assert rig.send(-21, strategy_id="T") is D.SHORT_LOCATE  # strategies share what there is
    assert rig.send(-20, strategy_id="T") is None
    assert rig.send(-10, "B") is D.SHORT_LOCATE
    long = Rig(locates={})
    long.hold(10)
    assert long.send(-10) is None
    assert long.send(-1) is D.SHORT_LOCATE


@pytest.mark.check("POSITION_SIZE")
@pytest.mark.req("R91", "P10")
def test_strategies_do_not_cancel_out() -> None:
    rig = Rig(max_position_size=0.01)  # 10,000 of a million
    rig.hold(60, strategy="S")
    assert rig.send(-41, strategy_id="T") is D.POSITION_SIZE
    assert rig.send(-40, strategy_id="T") is None
    own = Rig(max_position_size=0.01, symbols={"A": {"max_position_size": 0.02}})
    assert own.send(200) is None
    assert own.send(1) is D.POSITION_SIZE


@pytest.mark.check("TOTAL_EXPOSURE")
@pytest.mark.check("LEVERAGE")
@pytest.mark.check("BUYING_POWER")
@pytest.mark.req("R93", "P10")
@pytest.mark.parametrize(
    ("changes", "fits", "code"),
    [
        ({"max_total_exposure": 5_000.0}, 50, D.TOTAL_EXPOSURE),
        ({"max_leverage": 0.5}, 50, D.LEVERAGE),
        ({"max_leverage": 9.0, "initial_margin": 0.5}, 200, D.BUYING_POWER),
    ],
)
def test_gross_exposure_has_three_bounds(
    changes: dict[str, Any], fits: int, code: DenyCode
) -> None:
    rig = Rig(cash=10_000, **{**WIDE, **changes})
    half = fits // 2
    assert rig.send(half) is None
    assert rig.send(half, "B", order_qty=half // 10 * 10) is None
    rest = fits - half - half // 10 * 10
    assert rig.send(rest + 1) is code
    assert rig.send(rest) is None if rest else True


@pytest.mark.check("NET_LEVERAGE")
def test_long_less_short_is_bounded_on_either_side() -> None:
    rig = Rig(cash=10_000, **WIDE, max_leverage=9.0, max_net_leverage=0.5)
    assert rig.send(50) is None
    assert rig.send(1) is D.NET_LEVERAGE
    rig.hold(-20, "B")
    assert rig.send(20) is None  # 70 long less 20 short
    assert rig.send(1) is D.NET_LEVERAGE
    assert rig.send(-30, "B") is None  # if none of the buys fills: 50 short
    assert rig.send(-10, "B") is D.NET_LEVERAGE


@pytest.mark.check("SECTOR_EXPOSURE")
def test_a_sector_is_bounded() -> None:
    rig = Rig(cash=10_000, **WIDE, max_sector_exposure=0.5)
    rig.price("T1", 10_000)
    rig.price("T2", 10_000)
    assert rig.send(30, "T1") is None
    assert rig.send(21, "T2") is D.SECTOR_EXPOSURE
    assert rig.send(-20, "T2") is None
    assert rig.send(30, "A") is None  # of no sector


@pytest.mark.check("AVAILABLE_CASH")
def test_cash_is_reserved_by_what_works() -> None:
    rig = Rig(cash=10_000, **WIDE, max_leverage=9.0, initial_margin="unlimited", min_cash=1_000.0,
              maintenance_margin="unlimited")  # fmt: skip
    first = rig.order(60, order_type=LIMIT, limit_px=10_000)
    assert rig.submit(first) is None
    assert rig.send(31) is D.AVAILABLE_CASH
    assert rig.send(30) is None
    assert rig.send(1) is D.AVAILABLE_CASH
    assert rig.send(-50, "B") is None  # a sell takes no cash, and brings none before it fills
    assert rig.send(1) is D.AVAILABLE_CASH
    rig.tell(OrderCanceled(first.client_order_id, "USER", 0))
    assert rig.send(60) is None


@pytest.mark.check("STRATEGY_EXPOSURE")
def test_each_strategy_has_an_exposure_of_its_own() -> None:
    rig = Rig(per_strategy={"max_exposure": 5_000.0})
    assert rig.send(30) is None
    assert rig.send(30, "B") is D.STRATEGY_EXPOSURE
    assert rig.send(20, "B") is None
    assert rig.send(50, strategy_id="T") is None
