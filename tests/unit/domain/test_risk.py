from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.money import CASH_UNIT
from engine.domain.risk import (
    NO_LIMIT,
    CheckInputs,
    DenyCode,
    RiskLimits,
    Verdict,
    bounds,
    checks,
    judge,
    loss_reached,
)

D = DenyCode
CENT = CASH_UNIT // 100
EQUITY = 1_000_000 * CASH_UNIT
WIDE: dict[str, Any] = {
    "min_order_size": "unlimited",
    "max_order_size": "unlimited",
    "max_position_size": "unlimited",
    "max_total_exposure": "unlimited",
    "max_leverage": "unlimited",
    "max_daily_loss": "unlimited",
    "max_daily_loss_amount": "unlimited",
}


def inputs(**changes: int) -> CheckInputs:
    """A harmless buy of 1,000 by an account of a million; amounts in cash units."""
    value = changes.pop("order_value", 1_000 * CASH_UNIT)
    given = {
        "order_value": value,
        "position_before": 0,
        "position_after": value,
        "exposure_after": value,
        "equity": EQUITY,
        "day_start_equity": EQUITY,
        "exempt": 0,
        "shorts": 0,
        **changes,
    }
    return CheckInputs(**given)


def verdict_of(given: CheckInputs, limits: RiskLimits) -> DenyCode | None:
    """Judge, and hold the list of checks to the same answer."""
    code = judge(given, bounds(limits))
    failed = [check.code for check in checks(given, limits) if not check.passed]
    assert (failed[0] if failed else None) is code
    return code


DEFAULTS = RiskLimits()

# At the limit passes, one cash unit beyond is denied (D11).
BOUNDARIES = [
    pytest.param({"order_value": 100 * CASH_UNIT}, -1, D.ORDER_VALUE_BELOW_MIN, id="min"),
    pytest.param({"order_value": 100_000 * CASH_UNIT}, +1, D.ORDER_VALUE_ABOVE_MAX, id="max"),
    pytest.param({"position_after": 300_000 * CASH_UNIT}, +1, D.POSITION_SIZE, id="position"),
    pytest.param(
        {"exposure_after": 1_000_000 * CASH_UNIT, "equity": 2 * EQUITY, "day_start_equity": 0},
        +1,
        D.TOTAL_EXPOSURE,
        id="exposure",
    ),
    pytest.param(
        {"exposure_after": 500_000 * CASH_UNIT, "equity": EQUITY // 2, "day_start_equity": 0},
        +1,
        D.BUYING_POWER,
        id="leverage",
    ),
]


@pytest.mark.req("D11", "R89", "R90", "R91", "R93")
@pytest.mark.parametrize(("changes", "step", "code"), BOUNDARIES)
def test_at_the_limit_passes_and_one_unit_beyond_is_denied(
    changes: dict[str, int], step: int, code: DenyCode
) -> None:
    at = inputs(**changes)
    assert verdict_of(at, DEFAULTS) is None
    field = next(iter(changes))
    beyond = at._replace(**{field: changes[field] + step})
    assert verdict_of(beyond, DEFAULTS) is code


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
    limits = RiskLimits(max_daily_loss=0.0, max_daily_loss_amount=0.0)
    assert verdict_of(inputs(equity=equity), limits) is None
    assert verdict_of(inputs(equity=EQUITY - 1), limits) is D.DAILY_LOSS


def test_the_defaults_are_those_of_the_decision() -> None:
    assert (
        RiskLimits(
            min_order_size=100.0,
            max_order_size=100_000.0,
            max_position_size=0.30,
            position_warning=0.80,
            max_total_exposure=1_000_000.0,
            max_leverage=1.0,
            max_daily_loss=0.05,
            max_daily_loss_amount=50_000.0,
            daily_loss_warning=0.70,
            halt_reset="next_day",
            short_selling=True,
        )
        == DEFAULTS
    )


@pytest.mark.req("R88")
def test_the_first_failing_check_names_the_denial() -> None:
    order = [
        (D.ORDER_VALUE_BELOW_MIN, {"order_value": 1}),
        (D.ORDER_VALUE_ABOVE_MAX, {"order_value": EQUITY}),
        (D.SHORT_SELLING, {"shorts": 1}),
        (D.POSITION_SIZE, {"position_after": EQUITY}),
        (D.TOTAL_EXPOSURE, {"exposure_after": 2 * EQUITY}),
        (D.DAILY_LOSS, {"day_start_equity": 2 * EQUITY}),
    ]
    limits = RiskLimits(short_selling=False)
    for at in range(len(order)):
        changes: dict[str, int] = {}
        for _, change in reversed(order[at:]):
            changes |= change
        assert verdict_of(inputs(**changes), limits) is order[at][0]
    codes = [check.code for check in checks(inputs(), limits)]
    assert codes == [code for code in D if code in codes]


@pytest.mark.req("D14")
def test_a_reduce_only_order_is_exempt() -> None:
    worst = inputs(
        order_value=1, exempt=1, position_after=EQUITY, exposure_after=9 * EQUITY, shorts=1,
        day_start_equity=2 * EQUITY,
    )  # fmt: skip
    assert verdict_of(worst, RiskLimits(short_selling=False)) is None
    assert all(check.exempt and check.passed for check in checks(worst, DEFAULTS))


def test_what_makes_nothing_worse_passes_the_exposure_checks() -> None:
    over = {"position_after": EQUITY, "exposure_after": 2 * EQUITY}
    assert verdict_of(inputs(**over, position_before=EQUITY), DEFAULTS) is None
    assert verdict_of(inputs(**over, position_before=EQUITY - 1), DEFAULTS) is D.POSITION_SIZE


def test_short_selling_can_be_forbidden() -> None:
    assert verdict_of(inputs(shorts=1), DEFAULTS) is None
    assert verdict_of(inputs(shorts=1), RiskLimits(short_selling=False)) is D.SHORT_SELLING


def test_unlimited_must_be_written_and_limits_nothing() -> None:
    limits = RiskLimits(**WIDE)
    huge = inputs(
        order_value=2**63 - 1, position_after=2**63 - 1, exposure_after=2**63 - 1, equity=1,
        day_start_equity=10**30,
    )  # fmt: skip
    assert verdict_of(huge, limits) is None
    assert verdict_of(huge._replace(order_value=0), limits) is None
    listed = {check.code: check for check in checks(huge, limits)}
    for code in (D.POSITION_SIZE, D.BUYING_POWER):
        assert listed[code].limit is None
        assert listed[code].headroom is None


def test_what_no_column_holds_is_denied_without_any_limit() -> None:
    limits = RiskLimits(**WIDE)
    assert verdict_of(inputs(order_value=2**63), limits) is D.ORDER_VALUE_ABOVE_MAX
    assert verdict_of(inputs(order_value=2**63, exempt=1), limits) is D.ORDER_VALUE_ABOVE_MAX
    assert verdict_of(inputs(exposure_after=2**63), limits) is D.TOTAL_EXPOSURE


@pytest.mark.parametrize("equity", [0, -1, -EQUITY])
def test_without_equity_a_share_allows_nothing_and_unlimited_everything(equity: int) -> None:
    ruined = inputs(equity=equity, day_start_equity=equity)
    assert verdict_of(ruined, RiskLimits(**{**WIDE, "max_leverage": 100.0})) is D.BUYING_POWER
    assert verdict_of(ruined, RiskLimits(**{**WIDE, "max_position_size": 1.0})) is D.POSITION_SIZE
    assert verdict_of(ruined, RiskLimits(**WIDE)) is None
    assert verdict_of(ruined._replace(equity=equity - 1), RiskLimits(**WIDE)) is None


def test_shares_are_exact_millionths() -> None:
    bound = bounds(RiskLimits(max_position_size=0.1234565, max_daily_loss=0.07))
    assert (bound.position_ppm, bound.loss_ppm) == (123_456, 70_000)
    assert bound.position_warning_ppm == round(123_456 * 0.8)
    assert bounds(RiskLimits(max_order_size=0.01)).max_order == CENT
    assert bounds(RiskLimits(**WIDE)).position_warning_ppm == NO_LIMIT


amounts = st.one_of(
    st.just("unlimited"), st.integers(0, 10**4), st.integers(0, 10**9).map(lambda c: c / 100)
)
shares = st.one_of(st.just("unlimited"), st.integers(0, 10**6).map(lambda p: p / 10**6))
cash = st.one_of(st.integers(0, 200), st.integers(0, 10**4).map(lambda c: c * CASH_UNIT))
signed = st.one_of(cash, cash.map(lambda c: -c))


@given(
    st.builds(
        RiskLimits,
        min_order_size=amounts,
        max_order_size=amounts,
        max_position_size=shares,
        max_total_exposure=amounts,
        max_leverage=st.one_of(
            st.just("unlimited"), st.integers(1, 10**8).map(lambda p: p / 10**6)
        ),
        max_daily_loss=shares,
        max_daily_loss_amount=amounts,
        short_selling=st.booleans(),
    ),
    st.builds(
        CheckInputs, cash, cash, cash, cash, signed, signed, st.integers(0, 1), st.integers(0, 1)
    ),
)
def test_the_list_of_checks_agrees_with_the_judgment(
    limits: RiskLimits, given_inputs: CheckInputs
) -> None:
    verdict_of(given_inputs, limits)


@given(st.integers(1, 10**14), st.integers(-(10**14), 10**14), shares, amounts)
def test_a_loss_is_reached_at_the_smaller_limit(
    start: int, loss: int, share: Any, amount: Any
) -> None:
    bound = bounds(RiskLimits(max_daily_loss=share, max_daily_loss_amount=amount))
    by_share = share != "unlimited" and loss * 10**6 >= start * round(share * 10**6)
    by_amount = amount != "unlimited" and loss >= round(amount * CASH_UNIT)
    assert loss_reached(loss, start, bound) == (loss > 0 and (by_share or by_amount))


def test_a_verdict_is_approved_exactly_without_a_code() -> None:
    assert Verdict("O", 0, None, inputs()).approved
    assert not Verdict("O", 0, D.POSITION_SIZE, inputs()).approved


@pytest.mark.parametrize("code", list(D))
def test_every_code_has_a_sentence(code: DenyCode) -> None:
    assert code.meaning.endswith(".")
    assert code.name == code.value
