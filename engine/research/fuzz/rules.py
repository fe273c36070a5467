"""The measured checks once more, straight from the words of a limits file and in fractions.

Nothing here is shared with the gate: neither its table nor its scaled integers. What an order was
measured at goes in, and the codes of the limits that it breaks come out.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT, MAX_UNITS
from engine.domain.risk import CheckInputs, DenyCode, RiskLimits

__all__ = ["broken", "first_broken", "interval_of", "loss_bar", "share_of"]

_D = DenyCode
PPM = 1_000_000
SECOND = 1_000_000_000
CLOSING = 2

Number = Fraction | int
Bar = Number | None
"""A limit; None for no limit."""


def share_of(value: float | str | None) -> Bar:
    """Give a share or a multiple to its sixth digit; None without a limit."""
    if value is None or isinstance(value, str):
        return None
    return Fraction(round(Fraction(repr(float(value))) * PPM), PPM)


def cash_of(value: float | str | None) -> Bar:
    """Give an amount in cash units; None without a limit."""
    if value is None or isinstance(value, str):
        return None
    return round(Fraction(repr(float(value))) * CASH_UNIT)


def interval_of(rate: float | str) -> int:
    """Give the nanoseconds between two orders of a rate; 0 without a rate."""
    return 0 if isinstance(rate, str) else round(SECOND / float(rate))


def loss_bar(limits: RiskLimits, day_start: int) -> Bar:
    """Give the loss that halts a day which began with that equity, in cash units."""
    share, amount = share_of(limits.max_daily_loss), cash_of(limits.max_daily_loss_amount)
    bars = [
        bar for bar in (None if share is None else share * day_start, amount) if bar is not None
    ]
    return min(bars, default=None)


def first_broken(limits: RiskLimits, instrument: Instrument, i: CheckInputs) -> DenyCode | None:
    """Give the code with which an order must be denied; None when it must pass.

    Args:
        limits: the limits file.
        instrument: what the order is in.
        i: what the order was measured at.
    """
    codes = broken(limits, instrument, i)
    return next((code for code in DenyCode if code in codes), None)


def broken(limits: RiskLimits, instrument: Instrument, i: CheckInputs) -> set[DenyCode]:
    """Give the codes of all limits that an order breaks; arguments as of :func:`first_broken`."""
    found = _of_every_order(limits, instrument, i)
    if i.exempt != CLOSING:
        found += _of_traffic(limits, i)
    if not i.exempt:
        found += _of_what_may_grow(limits, instrument, i) + _of_losses(limits, i)
    return {code for code, is_broken in found if is_broken}


Found = list[tuple[DenyCode, bool]]


def _own(limits: RiskLimits, symbol: str, name: str) -> Any:
    own = limits.symbols.get(symbol)
    value = None if own is None else getattr(own, name)
    return getattr(limits, name) if value is None else value


def _above(value: Number, bar: Bar) -> bool:
    return bar is not None and value > bar


def _column(bar: Bar) -> Number:
    """Bound an amount by what a column of the outputs holds."""
    return MAX_UNITS if bar is None else min(bar, MAX_UNITS)


def _units(instrument: Instrument, quantity: float | str) -> Bar:
    amount = cash_of(quantity)
    return None if amount is None else int(amount * instrument.quantity_unit // CASH_UNIT)


def _of_every_order(limits: RiskLimits, instrument: Instrument, i: CheckInputs) -> Found:
    symbol = instrument.symbol
    age = limits.max_price_age
    oldest = None if isinstance(age, str) else round(Fraction(repr(float(age))) * SECOND)
    collar, least = share_of(_own(limits, symbol, "price_collar")), cash_of(limits.min_order_size)
    most = cash_of(_own(limits, symbol, "max_order_size"))
    quantity = _units(instrument, _own(limits, symbol, "max_order_quantity"))
    closes_a_lot = i.exempt == CLOSING and i.order_qty <= instrument.lot_size
    return [
        (_D.STALE_REFERENCE_PRICE, i.exempt != CLOSING and _above(i.reference_age, oldest)),
        (_D.ORDER_QUANTITY_ABOVE_MAX, not closes_a_lot and _above(i.order_qty, quantity)),
        (_D.PRICE_COLLAR, collar is not None and Fraction(i.through_ppm, PPM) > collar),
        (_D.SELF_TRADE, i.exempt != CLOSING and limits.self_trade_prevention and i.own_px > 0),
        (_D.ORDER_VALUE_BELOW_MIN, not i.exempt and i.order_value < (least or 0)),
        (_D.ORDER_VALUE_ABOVE_MAX, not closes_a_lot and i.order_value > _column(most)),
    ]


def _of_traffic(limits: RiskLimits, i: CheckInputs) -> Found:
    each = limits.per_strategy

    def too_fast(backlog: int, rate: float | str, burst: int) -> bool:
        # So many orders are on their way out that one more would be above the burst.
        return not isinstance(rate, str) and backlog + interval_of(rate) > burst * interval_of(rate)

    def full(count: int, most: int | str) -> bool:
        return not isinstance(most, str) and count + 1 > most

    repeated = not i.exempt and full(i.repeats, limits.max_repeated_orders)
    return [
        (_D.ORDER_RATE, too_fast(i.backlog, limits.max_order_rate, limits.order_burst)),
        (
            _D.STRATEGY_ORDER_RATE,
            too_fast(i.strategy_backlog, each.max_order_rate, each.order_burst),
        ),
        (_D.REPEATED_ORDER, repeated),
        (_D.OPEN_ORDERS, full(i.open_orders, limits.max_open_orders)),
        (_D.STRATEGY_OPEN_ORDERS, full(i.strategy_open_orders, each.max_open_orders)),
        (_D.ORDERS_PER_DAY, full(i.day_orders, limits.max_orders_per_day)),
        (_D.STRATEGY_ORDERS_PER_DAY, full(i.strategy_day_orders, each.max_orders_per_day)),
    ]


def _of_what_may_grow(limits: RiskLimits, instrument: Instrument, i: CheckInputs) -> Found:
    grows, equity = i.position_after > i.position_before, i.equity
    locates = limits.locates
    locate = (
        None
        if isinstance(locates, str)
        else _units(instrument, locates.get(instrument.symbol, 0.0))
    )

    def too_much(value: int, share: float | str) -> bool:
        bar = share_of(share)
        return grows and bar is not None and value > bar * equity

    exposure = cash_of(limits.max_total_exposure)
    each = cash_of(limits.per_strategy.max_exposure)
    least, margin = cash_of(limits.min_cash), share_of(limits.initial_margin)
    position = _own(limits, instrument.symbol, "max_position_size")
    return [
        (_D.SHORT_SELLING, not limits.short_selling and i.short_after > 0),
        (_D.SHORT_LOCATE, i.short_after > 0 and _above(i.short_after, locate)),
        (_D.POSITION_SIZE, too_much(i.position_after, position)),
        (_D.TOTAL_EXPOSURE, grows and i.exposure_after > _column(exposure)),
        (_D.LEVERAGE, too_much(i.exposure_after, limits.max_leverage)),
        (_D.NET_LEVERAGE, too_much(i.net_after, limits.max_net_leverage)),
        (_D.SECTOR_EXPOSURE, too_much(i.sector_after, limits.max_sector_exposure)),
        (_D.AVAILABLE_CASH, bool(i.buys) and least is not None and i.cash_after < least),
        (_D.BUYING_POWER, grows and margin is not None and i.exposure_after * margin > equity),
        (_D.STRATEGY_EXPOSURE, grows and i.strategy_exposure > _column(each)),
    ]


def _of_losses(limits: RiskLimits, i: CheckInputs) -> Found:
    def reached(loss: Number, bar: Bar) -> bool:
        return bar is not None and loss > 0 and loss >= bar

    def streak(count: int, most: int | str) -> bool:
        return not isinstance(most, str) and 0 < count >= most

    fall, drawdown = i.peak_equity - i.equity, share_of(limits.max_drawdown)
    each = limits.per_strategy
    return [
        (
            _D.DAILY_LOSS,
            reached(i.day_start_equity - i.equity, loss_bar(limits, i.day_start_equity)),
        ),
        (_D.STRATEGY_LOSS, reached(i.strategy_loss, cash_of(each.max_daily_loss))),
        (_D.DRAWDOWN, reached(fall, None if drawdown is None else drawdown * i.peak_equity)),
        (_D.LOSING_STREAK, streak(i.losing_streak, limits.max_losing_trades)),
        (_D.STRATEGY_LOSING_STREAK, streak(i.strategy_losing_streak, each.max_losing_trades)),
    ]
