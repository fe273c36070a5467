"""Every measured check as one row of a table: its input, its limit, whom it concerns.

The table explains verdicts (:func:`checks`) and fills docs/risk.md; :func:`judge` is the same
rules written out for the hot path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT, MAX_UNITS
from engine.domain.risk.bounds import NO_LIMIT, PPM, Bounds, SymbolBounds
from engine.domain.risk.codes import DenyCode
from engine.domain.risk.verdict import CLOSING, REDUCING, CheckInputs, loss_limit

Unit = Literal["currency", "share", "units", "seconds", "orders", "trades", "price"]
Rule = Literal["most", "least", "room", "below", "none"]
Get = Callable[[CheckInputs], int]
Limit = Callable[[Bounds, SymbolBounds, CheckInputs], int]
Scale = Callable[[Bounds, CheckInputs], int]

_D = DenyCode


class Check(msgspec.Struct, frozen=True, tag="check"):
    """One check of one order.

    Attributes:
        code: what it guards.
        value: the measured input, in the unit of the limit.
        limit: the limit; None when the limits file says ``"unlimited"``.
        headroom: distance to the limit, negative when broken; None without a limit.
        passed: the outcome; limits are inclusive.
        exempt: True when the limit does not concern this order.
    """

    code: DenyCode
    value: float
    limit: float | None
    headroom: float | None
    passed: bool
    exempt: bool = False


class CheckSpec(NamedTuple):
    """How one code is measured.

    Attributes:
        code: what it guards.
        setting: the limit's name in the limits file.
        scope: what it adds up over: an account, a strategy or a symbol.
        formula: what is compared, for people.
        rule: ``most``: the value may reach the limit; ``least``: it may fall to it; ``room``: one
            more must be allowed; ``below``: a loss must not reach it; ``none``: it must be zero.
        unit: of value and limit.
        value: what is compared, an integer.
        limit: with what, on the same scale; ``NO_LIMIT`` (or its negative) without one.
        scale: what both are divided by for people; None takes that of the unit.
        exempt_from: smallest ``exempt`` of orders that the limit does not concern.
        concerns: whether the limit concerns an order that is not exempt.
    """

    code: DenyCode
    setting: str
    scope: Literal["account", "strategy", "symbol"]
    formula: str
    rule: Rule
    unit: Unit
    value: Get
    limit: Limit
    scale: Scale | None = None
    exempt_from: int = REDUCING
    concerns: Get = lambda i: 1


NEVER_EXEMPT = CLOSING + 1


def _closes_a_lot(i: CheckInputs, own: SymbolBounds) -> bool:
    """Say whether an order closes what cannot be sliced any further (decision D14)."""
    return i.exempt == CLOSING and i.order_qty <= own.lot


def _grows(i: CheckInputs) -> int:
    return i.position_after > i.position_before


def _share(ppm: int, of: int) -> int:
    return NO_LIMIT if ppm == NO_LIMIT else of * ppm


def _per_equity(b: Bounds, i: CheckInputs) -> int:
    return i.equity * PPM


def _covered(b: Bounds, i: CheckInputs) -> int:
    # Whole cash units, rounded down: the largest exposure whose margin equity covers.
    return i.equity * PPM // b.margin_ppm if b.margin_ppm else NO_LIMIT


CATALOG: tuple[CheckSpec, ...] = (
    CheckSpec(
        _D.STALE_REFERENCE_PRICE, "max_price_age", "symbol",
        "now - time of the latest price", "most", "seconds",
        lambda i: i.reference_age, lambda b, s, i: b.price_age, exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.ORDER_QUANTITY_ABOVE_MAX, "max_order_quantity", "symbol",
        "order quantity; a closing order of one lot passes", "most", "units",
        lambda i: i.order_qty, lambda b, s, i: NO_LIMIT if _closes_a_lot(i, s) else s.max_qty,
        exempt_from=NEVER_EXEMPT,
    ),
    CheckSpec(
        _D.PRICE_COLLAR, "price_collar", "symbol",
        "(limit - latest price) / latest price of a buy, the negative of that of a sell; "
        "stop-limit orders against their stop price", "most", "share",
        lambda i: i.through_ppm, lambda b, s, i: s.collar_ppm, exempt_from=NEVER_EXEMPT,
    ),
    CheckSpec(
        _D.SELF_TRADE, "self_trade_prevention", "account",
        "price of an own working limit order that the order reaches", "none", "price",
        lambda i: i.own_px, lambda b, s, i: 0 if b.stp else NO_LIMIT, exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.ORDER_RATE, "max_order_rate", "account",
        "backlog of a bucket that holds order_burst orders and drains at the rate",
        "most", "orders",
        lambda i: i.backlog, lambda b, s, i: b.burst, lambda b, i: b.interval, CLOSING,
    ),
    CheckSpec(
        _D.STRATEGY_ORDER_RATE, "per_strategy.max_order_rate", "strategy",
        "the same of the strategy", "most", "orders",
        lambda i: i.strategy_backlog, lambda b, s, i: b.strategy_burst,
        lambda b, i: b.strategy_interval, CLOSING,
    ),
    CheckSpec(
        _D.REPEATED_ORDER, "max_repeated_orders", "strategy",
        "orders equal in symbol, side, type, quantity and prices within repeat_window",
        "room", "orders",
        lambda i: i.repeats, lambda b, s, i: b.repeats,
    ),
    CheckSpec(
        _D.OPEN_ORDERS, "max_open_orders", "account",
        "working orders, those of unknown outcome included", "room", "orders",
        lambda i: i.open_orders, lambda b, s, i: b.open_orders, exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.STRATEGY_OPEN_ORDERS, "per_strategy.max_open_orders", "strategy",
        "the same of the strategy", "room", "orders",
        lambda i: i.strategy_open_orders, lambda b, s, i: b.strategy_open_orders,
        exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.ORDERS_PER_DAY, "max_orders_per_day", "account",
        "orders sent since the trading day began", "room", "orders",
        lambda i: i.day_orders, lambda b, s, i: b.day_orders, exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.STRATEGY_ORDERS_PER_DAY, "per_strategy.max_orders_per_day", "strategy",
        "the same of the strategy", "room", "orders",
        lambda i: i.strategy_day_orders, lambda b, s, i: b.strategy_day_orders,
        exempt_from=CLOSING,
    ),
    CheckSpec(
        _D.ORDER_VALUE_BELOW_MIN, "min_order_size", "account",
        "quantity x own price, or the latest price without one and for a buy stop below it",
        "least", "currency",
        lambda i: i.order_value, lambda b, s, i: b.min_order,
    ),
    CheckSpec(
        _D.ORDER_VALUE_ABOVE_MAX, "max_order_size", "symbol",
        "quantity x own price, or the latest price without one and for a buy stop below it; "
        "a closing order of one lot passes",
        "most", "currency",
        lambda i: i.order_value, lambda b, s, i: NO_LIMIT if _closes_a_lot(i, s) else s.max_order,
        exempt_from=NEVER_EXEMPT,
    ),
    CheckSpec(
        _D.SHORT_SELLING, "short_selling", "account",
        "worst-case short quantity of a sell", "none", "units",
        lambda i: i.short_after, lambda b, s, i: NO_LIMIT if b.short_selling else 0,
    ),
    CheckSpec(
        _D.SHORT_LOCATE, "locates", "symbol",
        "worst-case short quantity of a sell", "most", "units",
        lambda i: i.short_after, lambda b, s, i: s.locate,
        concerns=lambda i: i.short_after,
    ),
    CheckSpec(
        _D.POSITION_SIZE, "max_position_size", "symbol",
        "worst-case position value / equity", "most", "share",
        lambda i: i.position_after * PPM, lambda b, s, i: _share(s.position_ppm, i.equity),
        _per_equity, concerns=_grows,
    ),
    CheckSpec(
        _D.TOTAL_EXPOSURE, "max_total_exposure", "account",
        "worst-case gross exposure", "most", "currency",
        lambda i: i.exposure_after, lambda b, s, i: b.exposure, concerns=_grows,
    ),
    CheckSpec(
        _D.LEVERAGE, "max_leverage", "account",
        "worst-case gross exposure / equity", "most", "share",
        lambda i: i.exposure_after * PPM, lambda b, s, i: _share(b.leverage_ppm, i.equity),
        _per_equity, concerns=_grows,
    ),
    CheckSpec(
        _D.NET_LEVERAGE, "max_net_leverage", "account",
        "larger of worst-case net long and net short value / equity", "most", "share",
        lambda i: i.net_after * PPM, lambda b, s, i: _share(b.net_leverage_ppm, i.equity),
        _per_equity, concerns=_grows,
    ),
    CheckSpec(
        _D.SECTOR_EXPOSURE, "max_sector_exposure", "account",
        "worst-case gross exposure of the symbol's sector / equity", "most", "share",
        lambda i: i.sector_after * PPM, lambda b, s, i: _share(b.sector_ppm, i.equity),
        _per_equity, concerns=_grows,
    ),
    CheckSpec(
        _D.AVAILABLE_CASH, "min_cash", "account",
        "cash - what working buys and this one reserve", "least", "currency",
        lambda i: i.cash_after, lambda b, s, i: b.min_cash, concerns=lambda i: i.buys,
    ),
    CheckSpec(
        _D.BUYING_POWER, "initial_margin", "account",
        "worst-case gross exposure, against equity / initial_margin", "most", "currency",
        lambda i: i.exposure_after, lambda b, s, i: _covered(b, i), concerns=_grows,
    ),
    CheckSpec(
        _D.STRATEGY_EXPOSURE, "per_strategy.max_exposure", "strategy",
        "worst-case gross exposure of the strategy", "most", "currency",
        lambda i: i.strategy_exposure, lambda b, s, i: b.strategy_exposure, concerns=_grows,
    ),
    CheckSpec(
        _D.DAILY_LOSS, "max_daily_loss, max_daily_loss_amount", "account",
        "equity at the start of the day - equity", "below", "currency",
        lambda i: i.day_start_equity - i.equity,
        lambda b, s, i: loss_limit(i.day_start_equity, b),
    ),
    CheckSpec(
        _D.STRATEGY_LOSS, "per_strategy.max_daily_loss", "strategy",
        "the strategy's loss since the start of the day", "below", "currency",
        lambda i: i.strategy_loss, lambda b, s, i: b.strategy_loss,
    ),
    CheckSpec(
        _D.DRAWDOWN, "max_drawdown", "account",
        "(peak - equity) / peak", "below", "share",
        lambda i: (i.peak_equity - i.equity) * PPM,
        lambda b, s, i: _share(b.drawdown_ppm, i.peak_equity),
        lambda b, i: i.peak_equity * PPM,
    ),
    CheckSpec(
        _D.LOSING_STREAK, "max_losing_trades", "account",
        "losing round trips in a row today", "below", "trades",
        lambda i: i.losing_streak, lambda b, s, i: b.streak,
    ),
    CheckSpec(
        _D.STRATEGY_LOSING_STREAK, "per_strategy.max_losing_trades", "strategy",
        "the same of the strategy", "below", "trades",
        lambda i: i.strategy_losing_streak, lambda b, s, i: b.strategy_streak,
    ),
)  # fmt: skip
"""The measured checks, in order of precedence."""

SPEC_OF = {spec.code: spec for spec in CATALOG}


def checks(
    inputs: CheckInputs, bound: Bounds, own: SymbolBounds, instrument: Instrument
) -> list[Check]:
    """List every measured check of a verdict with its input, limit and headroom.

    Values are in the unit of the check's row in :data:`CATALOG`, quantities in units of the
    instrument. The first that did not pass is what :func:`judge` names.
    """
    return [_check(spec, inputs, bound, own, instrument) for spec in CATALOG]


def check_of(
    code: DenyCode, inputs: CheckInputs, bound: Bounds, own: SymbolBounds, instrument: Instrument
) -> Check | None:
    """Give one check of a verdict; None for a code that nothing measures."""
    spec = SPEC_OF.get(code)
    return None if spec is None else _check(spec, inputs, bound, own, instrument)


def _check(
    spec: CheckSpec, i: CheckInputs, bound: Bounds, own: SymbolBounds, instrument: Instrument
) -> Check:
    value, limit = spec.value(i), spec.limit(bound, own, i)
    exempt = i.exempt >= spec.exempt_from or (not i.exempt and not spec.concerns(i))
    passed = exempt or _passes(spec.rule, value, limit)
    scale = _UNITS[spec.unit](instrument) if spec.scale is None else spec.scale(bound, i)
    shown = value / scale if scale > 0 else float(value > 0)
    # Without a limit of its own an amount is bounded by what a column of the outputs holds.
    bounded = spec.unit == "currency" and limit >= MAX_UNITS
    if abs(limit) >= NO_LIMIT or bounded:
        return Check(spec.code, shown, None, None, passed, exempt)
    bar = limit / scale if scale > 0 else 0.0
    room = shown - bar if spec.rule == "least" else bar - shown
    return Check(spec.code, shown, bar, room, passed, exempt)


def _passes(rule: Rule, value: int, limit: int) -> bool:
    if limit == NO_LIMIT:
        return True
    if rule == "least":
        return value >= limit
    if rule == "most":
        return value <= limit
    if rule == "none":
        return value == 0
    return value < limit or (rule == "below" and value <= 0)


_UNITS: dict[Unit, Callable[[Instrument], int]] = {
    "currency": lambda instrument: CASH_UNIT,
    "share": lambda instrument: PPM,
    "units": lambda instrument: instrument.quantity_unit,
    "price": lambda instrument: instrument.price_unit,
    "seconds": lambda instrument: 1_000_000_000,
    "orders": lambda instrument: 1,
    "trades": lambda instrument: 1,
}
