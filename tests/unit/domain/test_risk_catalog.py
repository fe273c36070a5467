"""The table of checks, written down a second time: what each compares, and how it is shown."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.risk import (
    CATALOG,
    SPEC_OF,
    Check,
    CheckInputs,
    DenyCode,
    RiskLimits,
    bounds,
    check_of,
    symbol_bounds,
)
from tests.limits import SHIPPED, limits
from tests.unit.domain.test_risk import BOUNDARIES, inputs

D = DenyCode
PLAIN = Instrument(symbol="A")
COIN = Instrument(symbol="A", price_decimals=3, quantity_decimals=2)

# Code, setting, what it adds up over, rule, unit, smallest ``exempt`` that it does not concern.
TABLE = [
    ("STALE_REFERENCE_PRICE", "max_price_age", "symbol", "most", "seconds", 2),
    ("ORDER_QUANTITY_ABOVE_MAX", "max_order_quantity", "symbol", "most", "units", 3),
    ("PRICE_COLLAR", "price_collar", "symbol", "most", "share", 3),
    ("SELF_TRADE", "self_trade_prevention", "account", "none", "price", 2),
    ("ORDER_RATE", "max_order_rate", "account", "most", "orders", 2),
    ("STRATEGY_ORDER_RATE", "per_strategy.max_order_rate", "strategy", "most", "orders", 2),
    ("REPEATED_ORDER", "max_repeated_orders", "strategy", "room", "orders", 1),
    ("OPEN_ORDERS", "max_open_orders", "account", "room", "orders", 2),
    ("STRATEGY_OPEN_ORDERS", "per_strategy.max_open_orders", "strategy", "room", "orders", 2),
    ("ORDERS_PER_DAY", "max_orders_per_day", "account", "room", "orders", 2),
    ("STRATEGY_ORDERS_PER_DAY", "per_strategy.max_orders_per_day", "strategy", "room", "orders", 2),
    ("ORDER_VALUE_BELOW_MIN", "min_order_size", "account", "least", "currency", 1),
    ("ORDER_VALUE_ABOVE_MAX", "max_order_size", "symbol", "most", "currency", 3),
    ("SHORT_SELLING", "short_selling", "account", "none", "units", 1),
    ("SHORT_LOCATE", "locates", "symbol", "most", "units", 1),
    ("POSITION_SIZE", "max_position_size", "symbol", "most", "share", 1),
    ("TOTAL_EXPOSURE", "max_total_exposure", "account", "most", "currency", 1),
    ("LEVERAGE", "max_leverage", "account", "most", "share", 1),
    ("NET_LEVERAGE", "max_net_leverage", "account", "most", "share", 1),
    ("SECTOR_EXPOSURE", "max_sector_exposure", "account", "most", "share", 1),
    ("AVAILABLE_CASH", "min_cash", "account", "least", "currency", 1),
    ("BUYING_POWER", "initial_margin", "account", "most", "currency", 1),
    ("STRATEGY_EXPOSURE", "per_strategy.max_exposure", "strategy", "most", "currency", 1),
    ("DAILY_LOSS", "max_daily_loss, max_daily_loss_amount", "account", "below", "currency", 1),
    ("STRATEGY_LOSS", "per_strategy.max_daily_loss", "strategy", "below", "currency", 1),
    ("DRAWDOWN", "max_drawdown", "account", "below", "share", 1),
    ("LOSING_STREAK", "max_losing_trades", "account", "below", "trades", 1),
    ("STRATEGY_LOSING_STREAK", "per_strategy.max_losing_trades", "strategy", "below", "trades", 1),
]  # fmt: skip


def test_the_table() -> None:
    found = [(c.code.name, c.setting, c.scope, c.rule, c.unit, c.exempt_from) for c in CATALOG]
    assert found == TABLE
    assert {spec.code: spec for spec in CATALOG} == SPEC_OF


# How a check is shown: its limits, its inputs, and value, limit and headroom for people.
SHOWN: list[tuple[DenyCode, dict[str, Any], dict[str, int], float, float, float]] = [
    (D.STALE_REFERENCE_PRICE, {"max_price_age": 2.5}, {"reference_age": 10**9}, 1.0, 2.5, 1.5),
    (D.ORDER_QUANTITY_ABOVE_MAX, {"max_order_quantity": 7.5}, {"order_qty": 250}, 2.5, 7.5, 5.0),
    (D.PRICE_COLLAR, {"price_collar": 0.05}, {"through_ppm": 20_000}, 0.02, 0.05, 0.03),
    (D.SELF_TRADE, {}, {"own_px": 12_500}, 12.5, 0.0, -12.5),
    (D.ORDER_RATE, {"max_order_rate": 4.0, "order_burst": 3}, {"backlog": 250_000_000}, 1, 2, 1),
    (D.STRATEGY_ORDER_RATE, {"per_strategy": {"max_order_rate": 4.0, "order_burst": 3}},
     {"strategy_backlog": 750_000_000}, 3, 2, -1),
    (D.REPEATED_ORDER, {"max_repeated_orders": 3}, {"repeats": 1}, 1, 3, 2),
    (D.OPEN_ORDERS, {"max_open_orders": 3}, {"open_orders": 1}, 1, 3, 2),
    (D.ORDER_VALUE_BELOW_MIN, {}, {"order_value": 150 * CASH_UNIT}, 150.0, 100.0, 50.0),
    (D.ORDER_VALUE_ABOVE_MAX, {}, {"order_value": 150 * CASH_UNIT}, 150.0, 100_000.0, 99_850.0),
    (D.SHORT_SELLING, {"short_selling": False}, {"short_after": 150}, 1.5, 0.0, -1.5),
    (D.SHORT_LOCATE, {"locates": {"A": 4}}, {"short_after": 150}, 1.5, 4.0, 2.5),
    (D.POSITION_SIZE, {}, {"position_after": 250_000 * CASH_UNIT}, 0.25, 0.3, 0.05),
    (D.LEVERAGE, {}, {"exposure_after": 250_000 * CASH_UNIT}, 0.25, 1.0, 0.75),
    (D.NET_LEVERAGE, {"max_net_leverage": 2.0}, {"net_after": 500_000 * CASH_UNIT}, 0.5, 2.0, 1.5),
    (D.SECTOR_EXPOSURE, {"max_sector_exposure": 0.4}, {"sector_after": 10**13}, 0.1, 0.4, 0.3),
    (D.AVAILABLE_CASH, {"min_cash": 10.0}, {"cash_after": 30 * CASH_UNIT}, 30.0, 10.0, 20.0),
    (D.BUYING_POWER, {"initial_margin": 0.25}, {"exposure_after": 10**13}, 1e5, 4e6, 3.9e6),
    (D.DAILY_LOSS, {}, {"equity": 990_000 * CASH_UNIT}, 10_000.0, 50_000.0, 40_000.0),
    (D.DRAWDOWN, {"max_drawdown": 0.2}, {"peak_equity": 2 * 10**14}, 0.5, 0.2, -0.3),
    (D.LOSING_STREAK, {"max_losing_trades": 3}, {"losing_streak": 1}, 1, 3, 2),
]  # fmt: skip


def check(
    code: DenyCode, chosen: RiskLimits, given: CheckInputs, instrument: Instrument = COIN
) -> Check:
    found = check_of(code, given, bounds(chosen), symbol_bounds(chosen, instrument), instrument)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("code", "changes", "given", "value", "limit", "room"), SHOWN, ids=[row[0] for row in SHOWN]
)
def test_value_limit_and_headroom_are_in_the_unit_of_the_limit(
    code: DenyCode,
    changes: dict[str, Any],
    given: dict[str, int],
    value: float,
    limit: float,
    room: float,
) -> None:
    found = check(code, limits(**changes), inputs(**given))
    assert (found.value, found.limit) == (value, limit)  # one division each, rounded correctly
    assert found.headroom == pytest.approx(room)
    assert found.passed == (room >= 0)
    assert found.exempt is False


@pytest.mark.parametrize("row", BOUNDARIES, ids=[row[0] for row in BOUNDARIES])
def test_whom_a_check_does_not_concern(row: tuple[DenyCode, dict[str, Any], Any, str, int]) -> None:
    code, changes, given, field, step = row
    chosen, at = limits(**changes), inputs(**given)
    beyond = at._replace(**{field: getattr(at, field) + step})
    for exempt in (0, 1, 2):
        found = check(code, chosen, beyond._replace(exempt=exempt), PLAIN)
        assert found.exempt == (exempt >= SPEC_OF[code].exempt_from)
        assert found.passed == found.exempt
    grows = (
        D.POSITION_SIZE, D.TOTAL_EXPOSURE, D.LEVERAGE, D.NET_LEVERAGE, D.SECTOR_EXPOSURE,
        D.BUYING_POWER, D.STRATEGY_EXPOSURE,
    )  # fmt: skip
    harmless = beyond._replace(position_before=beyond.position_after)
    assert check(code, chosen, harmless, PLAIN).exempt == (code in grows)


def test_cash_concerns_buys_and_locates_shorts() -> None:
    assert check(D.AVAILABLE_CASH, limits(min_cash=1.0), inputs(buys=0)).exempt
    assert check(D.SHORT_LOCATE, limits(locates={}), inputs()).exempt


def test_without_equity_a_share_of_it_is_all_or_nothing() -> None:
    ruined = inputs(equity=0)
    assert check(D.LEVERAGE, limits(), ruined).value == 1.0
    assert check(D.LEVERAGE, limits(), ruined).limit == 0.0
    assert check(D.LEVERAGE, limits(), ruined._replace(exposure_after=0)).value == 0.0


def test_no_limit_has_no_headroom() -> None:
    for code, name in (
        (D.LEVERAGE, "max_leverage"), (D.TOTAL_EXPOSURE, "max_total_exposure"),
        (D.BUYING_POWER, "initial_margin"), (D.ORDER_RATE, "max_order_rate"),
        (D.AVAILABLE_CASH, "min_cash"),
    ):  # fmt: skip
        other = {"maintenance_margin": "unlimited"} if name == "initial_margin" else {}
        found = check(code, limits(**{name: "unlimited", **other}), inputs())
        assert (found.limit, found.headroom, found.passed) == (None, None, True)
    assert check_of(D.TRADING_HALTED, inputs(), bounds(limits()), symbol_bounds(limits(), COIN),
                    COIN) is None  # fmt: skip


# Ranges of the limits: the least and the most that each may be.

AMOUNT, SHARE, OPEN_SHARE = (0, 1e12), (0, 1), (None, 1)
RANGES: dict[str, tuple[float | None, float]] = {
    **dict.fromkeys(("max_order_quantity", "max_total_exposure", "max_daily_loss_amount",
                     "min_cash"), AMOUNT),
    **dict.fromkeys(("max_daily_loss", "max_drawdown", "stop_loss_pct", "stop_loss_buffer",
                     "trailing_stop_pct"), SHARE),
    **dict.fromkeys(("position_warning", "daily_loss_warning", "price_collar"), OPEN_SHARE),
    "max_price_age": (None, 1e9), "intent_ttl": (None, 1e9), "repeat_window": (None, 86_400),
    "max_leverage": (None, 100), "max_net_leverage": (None, 100),
    "max_open_orders": (0, 10**9), "max_orders_per_day": (0, 10**9),
    "max_losing_trades": (0, 10**9), "max_order_rate": (None, 10**6),
    "order_burst": (1, 10**6), "max_repeated_orders": (1, 10**6), "take_profit_pct": (None, 100),
}  # fmt: skip


@pytest.mark.req("P11")
@pytest.mark.parametrize("name", RANGES)
def test_a_limit_has_a_range(name: str) -> None:
    least, most = RANGES[name]
    whole = isinstance(most, int) and isinstance(SHIPPED[name], int)
    step = 1 if whole or name in ("max_open_orders", "max_orders_per_day") else 1e-3
    if name in ("max_losing_trades", "max_repeated_orders", "order_burst"):
        step = 1
    assert getattr(limits(**{name: most}), name) == most
    fits = step if least is None else least
    assert getattr(limits(**{name: fits}), name) == fits
    for beyond in (most + (step if most < 1e9 else 1), 0 if least is None else least - step):
        with pytest.raises(msgspec.ValidationError):
            limits(**{name: beyond})


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min_order_size": 500.0, "max_order_size": 500.0}, None),
        ({"min_order_size": 500.1, "max_order_size": 500.0},
         "min_order_size = 500.1: must not be above max_order_size, which is 500"),
        ({"min_order_size": 500.0, "max_order_size": "unlimited"}, None),
        ({"min_order_size": "unlimited", "max_order_size": 5.0}, None),
        ({"maintenance_margin": 0.5, "initial_margin": 0.5}, None),
        ({"maintenance_margin": 0.6, "initial_margin": 0.5},
         "maintenance_margin = 0.6: must not be above initial_margin, which is 0.5"),
        ({"maintenance_margin": 0.6, "initial_margin": "unlimited"}, None),
        ({"max_position_size": 1.0, "max_leverage": 0.5}, None),
        ({"max_position_size": 1.1, "max_leverage": 0.5},
         "max_position_size = 1.1: a share of equity, 0 to 1; above that it needs max_leverage"),
        ({"max_position_size": 2.0, "max_leverage": 2.0}, None),
        ({"max_position_size": 2.1, "max_leverage": 2.0}, "max_position_size = 2.1: "),
        ({"max_position_size": "unlimited", "max_leverage": 1.0}, None),
        ({"max_position_size": 50.0, "max_leverage": "unlimited"}, None),
        ({"max_sector_exposure": 1.0}, None),
        ({"max_sector_exposure": 1.5}, "max_sector_exposure = 1.5: "),
        ({"symbols": {"A": {"max_position_size": 1.5}}}, "symbols.A.max_position_size = 1.5: "),
        ({"symbols": {"A": {"max_position_size": 0.9}, "B": {"max_order_size": 100.0}}}, None),
        ({"symbols": {"A": {"max_position_size": 0.9}, "B": {"max_order_size": 99.9}}},
         "min_order_size = 100: must not be above symbols.B.max_order_size, which is 99.9"),
    ],
)  # fmt: skip
def test_limits_go_together_or_it_is_said_which_do_not(
    changes: dict[str, Any], said: str | None
) -> None:
    if said is None:
        limits(**changes)
        return
    with pytest.raises(msgspec.ValidationError, match=re.escape(said)):
        limits(**changes)
