"""Limits and verdicts of the risk gate.

A verdict keeps what the checks looked at; the list of checks, each with its input, limit and
headroom, is a pure function of those inputs and the limits (:func:`checks`), so it is recomputed
rather than stored and can be audited offline. Limits are inclusive (decision D11).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from engine.domain.money import CASH_UNIT, MAX_UNITS, cash_units, round_units

Unlimited = Literal["unlimited"]
Amount = Annotated[float, Meta(ge=0)] | Unlimited
"""A limit in currency; ``"unlimited"`` must be written out and is shown in the report."""
Share = Annotated[float, Meta(ge=0, le=1)] | Unlimited


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits file of the gate, the same in every profile (defaults of decision D11).

    Attributes:
        min_order_size: smallest order value, currency.
        max_order_size: largest order value, currency.
        max_position_size: largest worst-case position in one symbol, share of equity.
        position_warning: share of ``max_position_size`` at which a WARNING is raised.
        max_total_exposure: largest worst-case gross exposure, currency.
        max_leverage: largest worst-case gross exposure over equity (buying power).
        max_daily_loss: loss since the start of the trading day that halts, share of that equity.
        max_daily_loss_amount: the same in currency.
        daily_loss_warning: share of the daily loss limit at which a WARNING is raised.
        halt_reset: ``next_day`` resumes with the next trading day, ``manual`` by an operator.
        short_selling: whether a position may go below zero.
    """

    min_order_size: Amount = 100.0
    max_order_size: Amount = 100_000.0
    max_position_size: Share = 0.30
    position_warning: Annotated[float, Meta(gt=0, le=1)] = 0.80
    max_total_exposure: Amount = 1_000_000.0
    max_leverage: Annotated[float, Meta(gt=0, le=100)] | Unlimited = 1.0
    max_daily_loss: Share = 0.05
    max_daily_loss_amount: Amount = 50_000.0
    daily_loss_warning: Annotated[float, Meta(gt=0, le=1)] = 0.70
    halt_reset: Literal["next_day", "manual"] = "next_day"
    short_selling: bool = True


class DenyCode(StrEnum):
    """Why an order was denied, in order of precedence: the first failing check names it."""

    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    PARENT_DENIED = "PARENT_DENIED"
    NO_REFERENCE_PRICE = "NO_REFERENCE_PRICE"
    INVALID_ORDER = "INVALID_ORDER"
    REDUCE_ONLY = "REDUCE_ONLY"
    PRICE_PRECISION = "PRICE_PRECISION"
    QUANTITY_PRECISION = "QUANTITY_PRECISION"
    ORDER_VALUE_BELOW_MIN = "ORDER_VALUE_BELOW_MIN"
    ORDER_VALUE_ABOVE_MAX = "ORDER_VALUE_ABOVE_MAX"
    SHORT_SELLING = "SHORT_SELLING"
    POSITION_SIZE = "POSITION_SIZE"
    TOTAL_EXPOSURE = "TOTAL_EXPOSURE"
    BUYING_POWER = "BUYING_POWER"
    DAILY_LOSS = "DAILY_LOSS"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS: dict[DenyCode, str] = {
    DenyCode.TRADING_HALTED: "Trading is halted; no order of a strategy leaves.",
    DenyCode.TRADING_REDUCING: "Trading is reducing; only orders that shrink a position leave.",
    DenyCode.PARENT_DENIED: "The order that would have triggered this one was denied.",
    DenyCode.NO_REFERENCE_PRICE: "No market data of the symbol has arrived; nothing can value it.",
    DenyCode.INVALID_ORDER: "The order contradicts itself (a limit order without a limit price).",
    DenyCode.REDUCE_ONLY: "A reduce-only order that has no position to reduce.",
    DenyCode.PRICE_PRECISION: "A price that is not a multiple of the tick size.",
    DenyCode.QUANTITY_PRECISION: "A quantity that is not a positive multiple of the lot size.",
    DenyCode.ORDER_VALUE_BELOW_MIN: "The order is worth less than risk.min_order_size.",
    DenyCode.ORDER_VALUE_ABOVE_MAX: "The order is worth more than risk.max_order_size.",
    DenyCode.SHORT_SELLING: "The order could open a short position; risk.short_selling is false.",
    DenyCode.POSITION_SIZE: "The position could exceed risk.max_position_size of equity.",
    DenyCode.TOTAL_EXPOSURE: "All positions and orders could exceed risk.max_total_exposure.",
    DenyCode.BUYING_POWER: "All positions and orders could exceed equity x risk.max_leverage.",
    DenyCode.DAILY_LOSS: "The day's loss has reached its limit.",
}


class CheckInputs(NamedTuple):
    """What the measured checks of one order looked at; amounts in cash units.

    Attributes:
        order_value: order quantity at its own price, or the reference price without one.
        position_before: worst-case position value in the symbol without the order.
        position_after: the same with it.
        exposure_after: worst-case gross exposure of the account with it.
        equity: cash plus positions at the latest prices.
        day_start_equity: equity at the start of the trading day.
        exempt: 1 for a reduce-only order, which size and exposure limits do not concern.
        shorts: 1 when the worst case holds fewer than zero and fewer than without the order.
    """

    order_value: int
    position_before: int
    position_after: int
    exposure_after: int
    equity: int
    day_start_equity: int
    exempt: int
    shorts: int


class Check(msgspec.Struct, frozen=True, tag="check"):
    """One check of one order.

    Attributes:
        code: what it guards.
        value: the measured input, in the unit of the limit.
        limit: the limit; None when the profile says ``"unlimited"``.
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


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="verdict"):
    """The one answer of the gate to one order.

    Attributes:
        client_order_id: the order it judges.
        ts_event: when, UTC nanoseconds.
        code: the first failing check in order of precedence; None when approved.
        inputs: what the measured checks looked at; None when an earlier check had failed.
    """

    client_order_id: str
    ts_event: int
    code: DenyCode | None
    inputs: CheckInputs | None

    @property
    def approved(self) -> bool:
        """True when every check passed."""
        return self.code is None


class Bounds(NamedTuple):
    """Limits as the gate compares them: cash units, and shares as exact millionths."""

    min_order: int
    max_order: int
    position_ppm: int
    position_warning_ppm: int
    exposure: int
    leverage_ppm: int
    loss_ppm: int
    loss_amount: int
    short_selling: bool


NO_LIMIT = 2**200
PPM = 1_000_000


def bounds(limits: RiskLimits) -> Bounds:
    """Scale limits to integers once; shares round to the nearest millionth."""

    def cash(amount: float | Unlimited) -> int:
        return NO_LIMIT if amount == "unlimited" else cash_units(float(amount))

    def ppm(share: float | Unlimited) -> int:
        return NO_LIMIT if share == "unlimited" else round_units(float(share), 6)

    position = ppm(limits.max_position_size)
    return Bounds(
        min_order=0 if limits.min_order_size == "unlimited" else cash(limits.min_order_size),
        # Beyond 64 bits no column of the outputs holds the value of an order.
        max_order=min(cash(limits.max_order_size), MAX_UNITS),
        position_ppm=position,
        position_warning_ppm=(
            NO_LIMIT if position == NO_LIMIT else round(position * limits.position_warning)
        ),
        exposure=min(cash(limits.max_total_exposure), MAX_UNITS),
        leverage_ppm=ppm(limits.max_leverage),
        loss_ppm=ppm(limits.max_daily_loss),
        loss_amount=cash(limits.max_daily_loss_amount),
        short_selling=limits.short_selling,
    )


def warning_bounds(limits: RiskLimits) -> Bounds:
    """Scale the limits whose reaching raises a WARNING: the daily loss, as a share of itself."""
    bound = bounds(limits)
    share = limits.daily_loss_warning
    return bound._replace(
        loss_ppm=NO_LIMIT if bound.loss_ppm == NO_LIMIT else round(bound.loss_ppm * share),
        loss_amount=(
            NO_LIMIT if bound.loss_amount == NO_LIMIT else round(bound.loss_amount * share)
        ),
    )


def judge(inputs: CheckInputs, bound: Bounds) -> DenyCode | None:
    """Run the measured checks in order of precedence; give the first that fails.

    An order that does not raise the worst case of its symbol passes the position, exposure and
    buying-power checks whatever the limits say: it makes nothing worse.
    """
    value, before, after, exposure, equity, day_start, exempt, shorts = inputs
    if exempt:
        if value > MAX_UNITS:
            return DenyCode.ORDER_VALUE_ABOVE_MAX
    else:
        if value < bound.min_order:
            return DenyCode.ORDER_VALUE_BELOW_MIN
        if value > bound.max_order:
            return DenyCode.ORDER_VALUE_ABOVE_MAX
        if shorts and not bound.short_selling:
            return DenyCode.SHORT_SELLING
        if after > before:
            # Without equity a share allows nothing, but "unlimited" still is.
            if after * PPM > equity * bound.position_ppm and bound.position_ppm != NO_LIMIT:
                return DenyCode.POSITION_SIZE
            if exposure > bound.exposure:
                return DenyCode.TOTAL_EXPOSURE
            if exposure * PPM > equity * bound.leverage_ppm and bound.leverage_ppm != NO_LIMIT:
                return DenyCode.BUYING_POWER
        if loss_reached(day_start - equity, day_start, bound):
            return DenyCode.DAILY_LOSS
    return None


def recordable(inputs: CheckInputs) -> CheckInputs:
    """Bound what an order beyond all measure looked at to what the outputs hold, 64 bits."""
    return CheckInputs(*(max(-MAX_UNITS, min(amount, MAX_UNITS)) for amount in inputs))


def loss_limit(day_start: int, bound: Bounds) -> int:
    """Give the smallest loss of a day that reaches a limit, in cash units, or ``NO_LIMIT``.

    Args:
        day_start: equity at the start of the trading day, in cash units.
        bound: the limits; a share of that equity is rounded up to a whole cash unit.
    """
    if bound.loss_ppm == NO_LIMIT:
        return bound.loss_amount
    return min(bound.loss_amount, -(-day_start * bound.loss_ppm // PPM))


def loss_reached(loss: int, day_start: int, bound: Bounds) -> bool:
    """Say whether a day's loss has reached either limit (decision D13)."""
    return loss > 0 and loss >= loss_limit(day_start, bound)


def checks(inputs: CheckInputs, limits: RiskLimits) -> list[Check]:
    """List every measured check of a verdict with its input, limit and headroom.

    Values are in currency; POSITION_SIZE and BUYING_POWER are shares of equity. The first that
    did not pass is what :func:`judge` names.
    """
    bound = bounds(limits)
    exempt = bool(inputs.exempt)
    harmless = exempt or inputs.position_after <= inputs.position_before
    equity = inputs.equity
    loss = inputs.day_start_equity - equity
    return [
        _check(
            DenyCode.ORDER_VALUE_BELOW_MIN,
            inputs.order_value,
            bound.min_order,
            exempt,
            floor=True,
        ),
        _check(
            DenyCode.ORDER_VALUE_ABOVE_MAX,
            inputs.order_value,
            bound.max_order,
            exempt and inputs.order_value <= MAX_UNITS,
        ),
        _check(
            DenyCode.SHORT_SELLING,
            inputs.shorts * CASH_UNIT,
            NO_LIMIT if bound.short_selling else 0,
            exempt,
        ),
        _share_check(
            DenyCode.POSITION_SIZE, inputs.position_after, equity, bound.position_ppm, harmless
        ),
        _check(DenyCode.TOTAL_EXPOSURE, inputs.exposure_after, bound.exposure, harmless),
        _share_check(
            DenyCode.BUYING_POWER, inputs.exposure_after, equity, bound.leverage_ppm, harmless
        ),
        _check(
            DenyCode.DAILY_LOSS,
            loss,
            loss_limit(inputs.day_start_equity, bound),
            exempt,
            strict=True,
        ),
    ]


def _check(
    code: DenyCode,
    value: int,
    limit: int,
    exempt: bool,
    *,
    floor: bool = False,
    strict: bool = False,
) -> Check:
    amount = value / CASH_UNIT
    if limit == NO_LIMIT:
        return Check(code, amount, None, None, True, exempt)
    room = value - limit if floor else limit - value
    passed = exempt or room > 0 or (room == 0 and not strict) or (strict and value <= 0)
    return Check(code, amount, limit / CASH_UNIT, room / CASH_UNIT, passed, exempt)


def _share_check(code: DenyCode, value: int, equity: int, ppm: int, exempt: bool) -> Check:
    share = value / equity if equity > 0 else float(value > 0)
    if ppm == NO_LIMIT:
        return Check(code, share, None, None, True, exempt)
    passed = exempt or value * PPM <= equity * ppm
    return Check(code, share, ppm / PPM, ppm / PPM - share, passed, exempt)
