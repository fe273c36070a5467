from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.risk import (
    CATALOG,
    NO_LIMIT,
    PPM,
    CheckInputs,
    DenyCode,
    RiskLimits,
    Verdict,
    bounds,
    checks,
    judge,
    loss_limit,
    symbol_bounds,
)
from tests.limits import UNLIMITED, limits

D = DenyCode
A = Instrument(symbol="A", quantity_decimals=0)
SECOND = 10**9
CENT = CASH_UNIT // 100
EQUITY = 1_000_000 * CASH_UNIT
WIDE = UNLIMITED


def inputs(**changes: int) -> CheckInputs:
    """A harmless buy of 1,000 by an account of a million; amounts in cash units."""
    value = changes.pop("order_value", 1_000 * CASH_UNIT)
    given = {
        **dict.fromkeys(CheckInputs._fields, 0),
        "order_qty": 10,
        "reference_px": 10_000,
        "buys": 1,
        "order_value": value,
        "position_after": value,
        "exposure_after": value,
        "net_after": value,
        "strategy_exposure": value,
        "cash_after": EQUITY,
        "equity": EQUITY,
        "day_start_equity": EQUITY,
        "peak_equity": EQUITY,
        **changes,
    }
    return CheckInputs(**given)


def verdict_of(
    given: CheckInputs, limits: RiskLimits, instrument: Instrument = A
) -> DenyCode | None:
    """Judge, and hold the list of checks to the same answer."""
    bound, own = bounds(limits), symbol_bounds(limits, instrument)
    code = judge(given, bound, own)
    failed = [check.code for check in checks(given, bound, own, instrument) if not check.passed]
    assert (failed[0] if failed else None) is code
    return code


DEFAULTS = limits()
RICH = {"equity": 9 * EQUITY, "day_start_equity": 0, "peak_equity": 9 * EQUITY}

# What is allowed at the limit and denied one unit beyond (D11): the limit, the inputs at it, the
# input that takes a step too many.
BOUNDARIES: list[tuple[DenyCode, dict[str, Any], dict[str, int], str, int]] = [
    (D.STALE_REFERENCE_PRICE, {"max_price_age": 2.0}, {"reference_age": 2 * SECOND},
     "reference_age", 1),
    (D.ORDER_QUANTITY_ABOVE_MAX, {"max_order_quantity": 50}, {"order_qty": 50}, "order_qty", 1),
    (D.PRICE_COLLAR, {"price_collar": 0.05}, {"through_ppm": 50_000}, "through_ppm", 1),
    (D.SELF_TRADE, {}, {"own_px": 0}, "own_px", 1),
    (D.ORDER_RATE, {"max_order_rate": 10.0, "order_burst": 3}, {"backlog": SECOND // 5},
     "backlog", 1),
    (D.STRATEGY_ORDER_RATE, {"per_strategy": {"max_order_rate": 10.0, "order_burst": 1}},
     {"strategy_backlog": 0}, "strategy_backlog", 1),
    (D.REPEATED_ORDER, {"max_repeated_orders": 3}, {"repeats": 2}, "repeats", 1),
    (D.OPEN_ORDERS, {"max_open_orders": 3}, {"open_orders": 2}, "open_orders", 1),
    (D.STRATEGY_OPEN_ORDERS, {"per_strategy": {"max_open_orders": 3}},
     {"strategy_open_orders": 2}, "strategy_open_orders", 1),
    (D.ORDERS_PER_DAY, {"max_orders_per_day": 3}, {"day_orders": 2}, "day_orders", 1),
    (D.STRATEGY_ORDERS_PER_DAY, {"per_strategy": {"max_orders_per_day": 3}},
     {"strategy_day_orders": 2}, "strategy_day_orders", 1),
    (D.ORDER_VALUE_BELOW_MIN, {}, {"order_value": 100 * CASH_UNIT}, "order_value", -1),
    (D.ORDER_VALUE_ABOVE_MAX, {}, {"order_value": 100_000 * CASH_UNIT}, "order_value", 1),
    (D.SHORT_SELLING, {"short_selling": False}, {"short_after": 0}, "short_after", 1),
    (D.SHORT_LOCATE, {"locates": {"A": 70}}, {"short_after": 70}, "short_after", 1),
    (D.POSITION_SIZE, {}, {"position_after": 300_000 * CASH_UNIT}, "position_after", 1),
    (D.TOTAL_EXPOSURE, {}, {"exposure_after": 1_000_000 * CASH_UNIT, **RICH},
     "exposure_after", 1),
    (D.LEVERAGE, {"max_total_exposure": "unlimited"}, {"exposure_after": EQUITY},
     "exposure_after", 1),
    (D.NET_LEVERAGE, {"max_net_leverage": 0.5}, {"net_after": EQUITY // 2}, "net_after", 1),
    (D.SECTOR_EXPOSURE, {"max_sector_exposure": 0.4}, {"sector_after": EQUITY * 4 // 10},
     "sector_after", 1),
    (D.AVAILABLE_CASH, {"min_cash": 500.0}, {"cash_after": 500 * CASH_UNIT}, "cash_after", -1),
    (D.BUYING_POWER, {"max_leverage": 9.0, "max_total_exposure": "unlimited"},
     {"exposure_after": 2 * EQUITY}, "exposure_after", 1),
    (D.STRATEGY_EXPOSURE, {"per_strategy": {"max_exposure": 2_000.0}},
     {"strategy_exposure": 2_000 * CASH_UNIT}, "strategy_exposure", 1),
    (D.DAILY_LOSS, {}, {"equity": 950_000 * CASH_UNIT + 1}, "equity", -1),
    (D.STRATEGY_LOSS, {"per_strategy": {"max_daily_loss": 300.0}},
     {"strategy_loss": 300 * CASH_UNIT - 1}, "strategy_loss", 1),
    (D.DRAWDOWN, {"max_drawdown": 0.20},
     {"peak_equity": 2 * EQUITY, "day_start_equity": 0, "equity": 1_600_000 * CASH_UNIT + 1},
     "equity", -1),
    (D.LOSING_STREAK, {"max_losing_trades": 3}, {"losing_streak": 2}, "losing_streak", 1),
    (D.STRATEGY_LOSING_STREAK, {"per_strategy": {"max_losing_trades": 3}},
     {"strategy_losing_streak": 2}, "strategy_losing_streak", 1),
]  # fmt: skip


@pytest.mark.req("D11", "P15", "R89", "R90", "R91", "R93")
@pytest.mark.parametrize(
    ("code", "changes", "given_inputs", "field", "step"), BOUNDARIES, ids=[b[0] for b in BOUNDARIES]
)
def test_at_the_limit_passes_and_one_unit_beyond_is_denied(
    code: DenyCode, changes: dict[str, Any], given_inputs: dict[str, int], field: str, step: int
) -> None:
    chosen = limits(**changes)
    at = inputs(**given_inputs)
    assert verdict_of(at, chosen) is None
    assert verdict_of(at._replace(**{field: getattr(at, field) + step}), chosen) is code


def test_every_measured_check_has_a_boundary() -> None:
    assert [spec.code for spec in CATALOG] == [row[0] for row in BOUNDARIES]


@pytest.mark.req("D13", "R94", "R95")
@pytest.mark.parametrize(
    ("day_start", "loss"),
    [
        pytest.param(800_000, 40_000, id="share"),
        pytest.param(1_000_000, 50_000, id="both"),
        pytest.param(2_000_000, 50_000, id="amount"),
    ],
)
def test_the_daily_loss_is_denied_when_reached(day_start: int, loss: int) -> None:
    start, lost = day_start * CASH_UNIT, loss * CASH_UNIT
    reached = inputs(day_start_equity=start, equity=start - lost)
    assert verdict_of(reached, DEFAULTS) is D.DAILY_LOSS
    just_not = inputs(day_start_equity=start, equity=start - lost + 1)
    assert verdict_of(just_not, DEFAULTS) is None


@pytest.mark.req("D13")
@pytest.mark.parametrize("equity", [EQUITY, EQUITY + 1, 2 * EQUITY])
def test_no_loss_reaches_no_limit_of_zero(equity: int) -> None:
    chosen = limits(max_daily_loss=0.0, max_daily_loss_amount=0.0)
    assert verdict_of(inputs(equity=equity), chosen) is None
    assert verdict_of(inputs(equity=EQUITY - 1), chosen) is D.DAILY_LOSS


@pytest.mark.req("D13")
@pytest.mark.parametrize(
    ("code", "changes", "field", "step"),
    [
        (D.STRATEGY_LOSS, {"per_strategy": {"max_daily_loss": 0.0}}, "strategy_loss", 1),
        (D.DRAWDOWN, {"max_drawdown": 0.0}, "equity", -1),
        (D.LOSING_STREAK, {"max_losing_trades": 0}, "losing_streak", 1),
        (D.STRATEGY_LOSING_STREAK, {"per_strategy": {"max_losing_trades": 0}},
         "strategy_losing_streak", 1),
    ],
)  # fmt: skip
def test_a_limit_of_zero_is_reached_by_the_first_loss_and_not_by_none(
    code: DenyCode, changes: dict[str, Any], field: str, step: int
) -> None:
    chosen, calm = limits(**changes), inputs()
    assert verdict_of(calm, chosen) is None
    assert verdict_of(calm._replace(**{field: getattr(calm, field) + step}), chosen) is code


@pytest.mark.req("R88")
def test_the_first_failing_check_names_the_denial() -> None:
    order = [
        (D.ORDER_VALUE_BELOW_MIN, {"order_value": 1}),
        (D.ORDER_VALUE_ABOVE_MAX, {"order_value": EQUITY}),
        (D.SHORT_SELLING, {"short_after": 1}),
        (D.POSITION_SIZE, {"position_after": EQUITY}),
        (D.TOTAL_EXPOSURE, {"exposure_after": 2 * EQUITY}),
        (D.DAILY_LOSS, {"day_start_equity": 2 * EQUITY}),
    ]
    chosen = limits(short_selling=False)
    for at in range(len(order)):
        changes: dict[str, int] = {}
        for _, change in reversed(order[at:]):
            changes |= change
        assert verdict_of(inputs(**changes), chosen) is order[at][0]
    codes = [spec.code for spec in CATALOG]
    assert codes == [code for code in D if code in codes]


@pytest.mark.req("D14")
def test_a_reduce_only_order_is_exempt_from_what_holding_costs() -> None:
    worst = inputs(
        order_value=1, exempt=1, position_after=EQUITY, exposure_after=9 * EQUITY, short_after=1,
        day_start_equity=2 * EQUITY, repeats=10**6, losing_streak=9, peak_equity=9 * EQUITY,
        strategy_loss=EQUITY, cash_after=-EQUITY,
    )  # fmt: skip
    strict = limits(short_selling=False, max_drawdown=0.1, max_losing_trades=1, min_cash=0.0)
    assert verdict_of(worst, strict) is None


@pytest.mark.req("D14", "P15")
@pytest.mark.parametrize(
    ("field", "value", "code", "closing"),
    [
        ("reference_age", 10**18, D.STALE_REFERENCE_PRICE, None),
        ("order_qty", 10**9, D.ORDER_QUANTITY_ABOVE_MAX, D.ORDER_QUANTITY_ABOVE_MAX),
        ("through_ppm", PPM, D.PRICE_COLLAR, D.PRICE_COLLAR),
        ("own_px", 1, D.SELF_TRADE, None),
        ("backlog", 10**12, D.ORDER_RATE, None),
        ("open_orders", 10**5, D.OPEN_ORDERS, None),
        ("order_value", EQUITY, D.ORDER_VALUE_ABOVE_MAX, D.ORDER_VALUE_ABOVE_MAX),
    ],
)
def test_what_holds_for_orders_that_reduce_too(
    field: str, value: int, code: DenyCode, closing: DenyCode | None
) -> None:
    chosen = limits(max_order_quantity=1_000)
    assert verdict_of(inputs(exempt=1, **{field: value}), chosen) is code
    assert verdict_of(inputs(exempt=2, **{field: value}), chosen) is closing


@pytest.mark.req("D14")
@pytest.mark.parametrize(
    ("changes", "value", "code"),
    [
        ({"max_order_quantity": 5}, 0, D.ORDER_QUANTITY_ABOVE_MAX),
        ({}, EQUITY, D.ORDER_VALUE_ABOVE_MAX),
    ],
)
@pytest.mark.parametrize(
    ("quantity", "exempt", "passes"), [(10, 2, True), (11, 2, False), (10, 1, False)]
)
def test_what_closes_one_lot_may_be_as_large_and_as_dear_as_that_is(
    changes: dict[str, Any], value: int, code: DenyCode, quantity: int, exempt: int, passes: bool
) -> None:
    tens = Instrument(symbol="A", lot_size=10)
    given_inputs = inputs(order_qty=quantity, order_value=value, exempt=exempt)
    assert verdict_of(given_inputs, limits(**changes), tens) is (None if passes else code)


def test_what_makes_nothing_worse_passes_the_exposure_checks() -> None:
    over = {"position_after": EQUITY, "exposure_after": 2 * EQUITY}
    assert verdict_of(inputs(**over, position_before=EQUITY), DEFAULTS) is None
    assert verdict_of(inputs(**over, position_before=EQUITY - 1), DEFAULTS) is D.POSITION_SIZE
    margin = limits(**{**WIDE, "initial_margin": 0.5})
    each = limits(**WIDE, per_strategy={"max_exposure": 2_000.0})
    for chosen, change, code in (
        (margin, {"exposure_after": 3 * EQUITY}, D.BUYING_POWER),
        (each, {"strategy_exposure": EQUITY}, D.STRATEGY_EXPOSURE),
    ):
        assert verdict_of(inputs(**change), chosen) is code
        assert verdict_of(inputs(**change, position_before=1_000 * CASH_UNIT), chosen) is None


def test_unlimited_must_be_written_and_limits_nothing() -> None:
    chosen = limits(**WIDE)
    huge = inputs(
        order_value=2**63 - 1, position_after=2**63 - 1, exposure_after=2**63 - 1, equity=1,
        day_start_equity=10**30, peak_equity=10**30, strategy_exposure=2**63 - 1,
    )  # fmt: skip
    assert verdict_of(huge, chosen) is None
    assert verdict_of(huge._replace(order_value=0), chosen) is None
    bound, own = bounds(chosen), symbol_bounds(chosen, A)
    listed = {check.code: check for check in checks(huge, bound, own, A)}
    for code in (D.POSITION_SIZE, D.LEVERAGE, D.BUYING_POWER):
        assert listed[code].limit is None
        assert listed[code].headroom is None


def test_what_no_column_holds_is_denied_without_any_limit() -> None:
    chosen = limits(**WIDE)
    assert verdict_of(inputs(order_value=2**63), chosen) is D.ORDER_VALUE_ABOVE_MAX
    assert verdict_of(inputs(order_value=2**63, exempt=1), chosen) is D.ORDER_VALUE_ABOVE_MAX
    assert verdict_of(inputs(exposure_after=2**63), chosen) is D.TOTAL_EXPOSURE


@pytest.mark.parametrize("equity", [0, -1, -EQUITY])
def test_without_equity_a_share_allows_nothing_and_unlimited_everything(equity: int) -> None:
    ruined = inputs(equity=equity, day_start_equity=equity, peak_equity=1)
    assert verdict_of(ruined, limits(**{**WIDE, "max_leverage": 100.0})) is D.LEVERAGE
    assert verdict_of(ruined, limits(**{**WIDE, "max_position_size": 1.0})) is D.POSITION_SIZE
    assert verdict_of(ruined, limits(**WIDE)) is None
    assert verdict_of(ruined._replace(equity=equity - 1), limits(**WIDE)) is None


@pytest.mark.parametrize(
    ("rate", "burst", "interval", "backlog"),
    [
        (1.0, 1, SECOND, 0),
        (1.0, 3, SECOND, 2 * SECOND),
        (3.0, 2, 333_333_333, 333_333_333),
        ("unlimited", 3, 0, NO_LIMIT),
    ],
)
def test_a_rate_is_an_interval_in_whole_nanoseconds(
    rate: Any, burst: int, interval: int, backlog: int
) -> None:
    each = {"max_order_rate": rate, "order_burst": burst}
    bound = bounds(limits(**each, per_strategy=each))
    assert (bound.interval, bound.burst) == (interval, backlog)
    assert (bound.strategy_interval, bound.strategy_burst) == (interval, backlog)


def test_shares_are_exact_millionths() -> None:
    chosen = limits(max_position_size=0.1234565, max_daily_loss=0.07)
    assert bounds(chosen).loss_ppm == 70_000
    assert symbol_bounds(chosen, A).position_ppm == 123_456
    assert symbol_bounds(limits(min_order_size=0.0, max_order_size=0.01), A).max_order == CENT
    assert symbol_bounds(limits(**WIDE), A).position_ppm == NO_LIMIT


def test_a_symbol_may_have_limits_of_its_own() -> None:
    chosen = limits(
        symbols={"A": {"max_order_size": 500.0, "max_position_size": "unlimited"}},
        max_order_quantity=7,
    )
    own, other = symbol_bounds(chosen, A), symbol_bounds(chosen, Instrument(symbol="B"))
    assert (own.max_order, other.max_order) == (500 * CASH_UNIT, 100_000 * CASH_UNIT)
    assert (own.position_ppm, other.position_ppm) == (NO_LIMIT, 300_000)
    assert own.max_qty == other.max_qty == 7


@pytest.mark.parametrize(
    ("decimals", "limit", "units"), [(0, 2.5, 2), (3, 2.5, 2_500), (8, 1e-8, 1), (0, 0, 0)]
)
def test_quantities_are_scaled_towards_zero(decimals: int, limit: float, units: int) -> None:
    instrument = Instrument(symbol="A", quantity_decimals=decimals)
    assert symbol_bounds(limits(max_order_quantity=limit), instrument).max_qty == units


def test_what_is_not_in_the_locate_list_may_not_be_shorted() -> None:
    chosen = limits(locates={"B": 100})
    assert symbol_bounds(chosen, A).locate == 0
    assert verdict_of(inputs(short_after=1), chosen) is D.SHORT_LOCATE


amounts = st.one_of(
    st.just("unlimited"), st.integers(0, 10**4), st.integers(0, 10**9).map(lambda c: c / 100)
)
shares = st.one_of(st.just("unlimited"), st.integers(0, 10**6).map(lambda p: p / 10**6))


@given(st.integers(1, 10**14), st.integers(-(10**14), 10**14), shares, amounts)
def test_a_loss_is_reached_at_the_smaller_limit(
    start: int, loss: int, share: Any, amount: Any
) -> None:
    bound = bounds(limits(max_daily_loss=share, max_daily_loss_amount=amount))
    by_share = share != "unlimited" and loss * 10**6 >= start * round(share * 10**6)
    by_amount = amount != "unlimited" and loss >= round(amount * CASH_UNIT)
    reached = loss > 0 and loss >= loss_limit(start, bound)
    assert reached == (loss > 0 and (by_share or by_amount))


def test_a_verdict_is_approved_exactly_without_a_code() -> None:
    assert Verdict("O", 0, None, inputs()).approved
    assert not Verdict("O", 0, D.POSITION_SIZE, inputs()).approved


@pytest.mark.parametrize("code", list(D))
def test_every_code_has_a_sentence(code: DenyCode) -> None:
    assert code.meaning.endswith(".")
    assert code.name == code.value
