"""The verdict on one order, and the rule that gives it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine.domain.money import MAX_UNITS
from engine.domain.risk.bounds import NO_LIMIT, PPM, Bounds, SymbolBounds
from engine.domain.risk.codes import DenyCode

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_D = DenyCode
_STALE, _MAX_QTY, _COLLAR = _D.STALE_REFERENCE_PRICE, _D.ORDER_QUANTITY_ABOVE_MAX, _D.PRICE_COLLAR

REDUCING, CLOSING = 1, 2
"""Values of ``exempt``: the strategy's reduce-only order, and the engine's own."""


class CheckInputs(NamedTuple):
    """What the measured checks of one order looked at.

    Amounts are in cash units, quantities in quantity units, times in nanoseconds.

    Attributes:
        order_qty: order quantity.
        through_ppm: distance of the limit price through the market (through the stop price of a
            stop-limit order), millionths of it, rounded up; negative on the passive side, 0
            without a limit price.
        reference_px: latest price of the symbol, price units.
        reference_age: how long ago it was.
        own_px: price of an own working order that this one could trade with, 0 without.
        backlog: of the account's order rate, see :class:`~engine.domain.risk.Bounds`.
        strategy_backlog: of the strategy's.
        repeats: equal orders of the strategy within the window, without this one.
        open_orders: working orders of the account, without this one.
        strategy_open_orders: of the strategy.
        day_orders: orders the account has sent today, without this one.
        strategy_day_orders: those of the strategy.
        buys: 1 for a buy.
        order_value: order quantity at its own price, or the latest price without one.
        short_after: worst-case short quantity of a sell with the order, all strategies together;
            0 for a buy.
        position_before: worst-case position value in the symbol without the order.
        position_after: the same with it.
        exposure_after: worst-case gross exposure of the account with it.
        net_after: larger of worst-case net long and net short value of the account with it.
        sector_after: worst-case gross exposure of the symbol's sector with it.
        cash_after: cash once every working buy, and this one, has filled at its own price.
        strategy_exposure: worst-case gross exposure of the strategy with it.
        equity: cash plus positions at the latest prices.
        day_start_equity: equity at the start of the trading day.
        peak_equity: highest equity at the end of any trading day, or the opening cash.
        strategy_loss: the strategy's loss since the start of the trading day.
        losing_streak: losing round trips in a row today.
        strategy_losing_streak: those of the strategy.
        exempt: 0, or 1 for a reduce-only order, or 2 for one by which the engine itself closes.
    """

    order_qty: int
    through_ppm: int
    reference_px: int
    reference_age: int
    own_px: int
    backlog: int
    strategy_backlog: int
    repeats: int
    open_orders: int
    strategy_open_orders: int
    day_orders: int
    strategy_day_orders: int
    buys: int
    order_value: int
    short_after: int
    position_before: int
    position_after: int
    exposure_after: int
    net_after: int
    sector_after: int
    cash_after: int
    strategy_exposure: int
    equity: int
    day_start_equity: int
    peak_equity: int
    strategy_loss: int
    losing_streak: int
    strategy_losing_streak: int
    exempt: int


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


def judge(i: CheckInputs, bound: Bounds, own: SymbolBounds) -> DenyCode | None:
    """Run the measured checks in order of precedence; give the first that fails.

    The same rules as the table of :mod:`engine.domain.risk.catalog`, written out because they
    run once per order; a property test holds the two together.

    Args:
        i: what was measured.
        bound: limits of the account.
        own: limits of the symbol.
    """
    exempt = i.exempt
    if i.reference_age > bound.price_age and exempt != CLOSING:
        return _STALE
    # One lot cannot be sliced: a position must never be too dear to be closed.
    if i.order_qty > own.max_qty and (exempt != CLOSING or i.order_qty > own.lot):
        return _MAX_QTY
    if i.through_ppm > own.collar_ppm:
        return _COLLAR
    # A closing order follows the cancels of what it could meet, and must not wait for them.
    if i.own_px and bound.stp and exempt != CLOSING:
        return _D.SELF_TRADE
    if exempt != CLOSING:
        if i.backlog > bound.burst:
            return _D.ORDER_RATE
        if i.strategy_backlog > bound.strategy_burst:
            return _D.STRATEGY_ORDER_RATE
        if i.repeats >= bound.repeats and not exempt:
            return _D.REPEATED_ORDER
        if i.open_orders >= bound.open_orders:
            return _D.OPEN_ORDERS
        if i.strategy_open_orders >= bound.strategy_open_orders:
            return _D.STRATEGY_OPEN_ORDERS
        if i.day_orders >= bound.day_orders:
            return _D.ORDERS_PER_DAY
        if i.strategy_day_orders >= bound.strategy_day_orders:
            return _D.STRATEGY_ORDERS_PER_DAY
    if i.order_value < bound.min_order and not exempt:
        return _D.ORDER_VALUE_BELOW_MIN
    if i.order_value > own.max_order and (exempt != CLOSING or i.order_qty > own.lot):
        return _D.ORDER_VALUE_ABOVE_MAX
    return None if exempt else _judge_size(i, bound, own)


def _judge_size(i: CheckInputs, bound: Bounds, own: SymbolBounds) -> DenyCode | None:
    """Judge what a reduce-only order is exempt from.

    An order that does not raise the worst case of its symbol passes the position, exposure and
    margin checks whatever the limits say: it makes nothing worse. Without equity a share allows
    nothing, but "unlimited" still is.
    """
    short_after = i.short_after
    if short_after:
        if not bound.short_selling:
            return _D.SHORT_SELLING
        if short_after > own.locate:
            return _D.SHORT_LOCATE
    equity, exposure = i.equity, i.exposure_after
    if i.position_after > i.position_before:
        if i.position_after * PPM > equity * own.position_ppm and own.position_ppm != NO_LIMIT:
            return _D.POSITION_SIZE
        if exposure > bound.exposure:
            return _D.TOTAL_EXPOSURE
        if exposure * PPM > equity * bound.leverage_ppm and bound.leverage_ppm != NO_LIMIT:
            return _D.LEVERAGE
        limit = bound.net_leverage_ppm
        if limit != NO_LIMIT and i.net_after * PPM > equity * limit:
            return _D.NET_LEVERAGE
        limit = bound.sector_ppm
        if limit != NO_LIMIT and i.sector_after * PPM > equity * limit:
            return _D.SECTOR_EXPOSURE
    if i.buys and i.cash_after < bound.min_cash:
        return _D.AVAILABLE_CASH
    if i.position_after > i.position_before:
        margin = bound.margin_ppm
        if margin and exposure * margin > equity * PPM:
            return _D.BUYING_POWER
        if i.strategy_exposure > bound.strategy_exposure:
            return _D.STRATEGY_EXPOSURE
    return _judge_losses(i, bound)


def _judge_losses(i: CheckInputs, bound: Bounds) -> DenyCode | None:
    equity, day_start = i.equity, i.day_start_equity
    if equity < day_start and day_start - equity >= loss_limit(day_start, bound):
        return _D.DAILY_LOSS
    if 0 < i.strategy_loss >= bound.strategy_loss:
        return _D.STRATEGY_LOSS
    peak = i.peak_equity
    if equity < peak and (peak - equity) * PPM >= peak * bound.drawdown_ppm:
        return _D.DRAWDOWN
    if 0 < i.losing_streak >= bound.streak:
        return _D.LOSING_STREAK
    if 0 < i.strategy_losing_streak >= bound.strategy_streak:
        return _D.STRATEGY_LOSING_STREAK
    return None


def loss_limit(day_start: int, bound: Bounds) -> int:
    """Give the smallest loss of a day that reaches a limit, in cash units, or ``NO_LIMIT``.

    Args:
        day_start: equity at the start of the trading day, in cash units.
        bound: the limits; a share of that equity is rounded up to a whole cash unit.
    """
    if bound.loss_ppm == NO_LIMIT:
        return bound.loss_amount
    return min(bound.loss_amount, -(-day_start * bound.loss_ppm // PPM))


def recordable(inputs: CheckInputs) -> CheckInputs:
    """Bound what an order beyond all measure looked at to what the outputs hold, 64 bits."""
    return CheckInputs(*(max(-MAX_UNITS, min(amount, MAX_UNITS)) for amount in inputs))
