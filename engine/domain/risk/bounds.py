"""Limits as the gate compares them: integers, scaled once."""

from __future__ import annotations

from typing import NamedTuple

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT, MAX_UNITS, cash_units, round_units
from engine.domain.risk.limits import RiskLimits, Unlimited

NO_LIMIT = 2**200
PPM = 1_000_000
_SECOND = 1_000_000_000


class Bounds(NamedTuple):
    """Limits of the account: cash units, exact millionths of a share, nanoseconds, counts.

    The rates are those of a leaky bucket (GCRA, ITU-T I.371): each order adds ``interval`` to a
    backlog that drains with time; an order may come while the backlog is at most ``burst``.
    """

    min_order: int
    price_age: int
    exposure: int
    leverage_ppm: int
    net_leverage_ppm: int
    sector_ppm: int
    min_cash: int
    margin_ppm: int
    maintenance_ppm: int
    short_selling: bool
    open_orders: int
    day_orders: int
    interval: int
    burst: int
    repeats: int
    repeat_window: int
    loss_ppm: int
    loss_amount: int
    loss_warning_ppm: int
    drawdown_ppm: int
    streak: int
    strategy_exposure: int
    strategy_loss: int
    strategy_streak: int
    strategy_open_orders: int
    strategy_day_orders: int
    strategy_interval: int
    strategy_burst: int
    intent_ttl: int
    position_warning_ppm: int
    stp: bool


class SymbolBounds(NamedTuple):
    """Limits of one symbol: cash units, quantity units, exact millionths."""

    max_order: int
    max_qty: int
    position_ppm: int
    collar_ppm: int
    locate: int
    lot: int


def _cash(amount: float | Unlimited) -> int:
    return NO_LIMIT if amount == "unlimited" else cash_units(float(amount))


def share_ppm(share: float | Unlimited) -> int:
    """Give a share in millionths, rounded to the nearest; ``NO_LIMIT`` without one."""
    return NO_LIMIT if share == "unlimited" else round_units(float(share), 6)


def _margin_ppm(share: float | Unlimited) -> int:
    """Give what must be covered, in millionths: nothing when it is unlimited."""
    return 0 if share == "unlimited" else share_ppm(share)


def _ns(seconds: float | Unlimited) -> int:
    return NO_LIMIT if seconds == "unlimited" else round_units(float(seconds), 9)


def _count(number: int | Unlimited) -> int:
    return NO_LIMIT if number == "unlimited" else int(number)


def _bucket(rate: float | Unlimited, burst: int) -> tuple[int, int]:
    """Give the interval between orders and the backlog that ``burst`` orders may leave."""
    interval = 0 if rate == "unlimited" else round(_SECOND / float(rate))
    return interval, NO_LIMIT if rate == "unlimited" else interval * (burst - 1)


def bounds(limits: RiskLimits) -> Bounds:
    """Scale the limits of an account; shares round to the nearest millionth."""
    each = limits.per_strategy
    interval, burst = _bucket(limits.max_order_rate, limits.order_burst)
    strategy_interval, strategy_burst = _bucket(each.max_order_rate, each.order_burst)
    return Bounds(
        min_order=0 if limits.min_order_size == "unlimited" else _cash(limits.min_order_size),
        price_age=_ns(limits.max_price_age),
        # Beyond 64 bits no column of the outputs holds a value.
        exposure=min(_cash(limits.max_total_exposure), MAX_UNITS),
        leverage_ppm=share_ppm(limits.max_leverage),
        net_leverage_ppm=share_ppm(limits.max_net_leverage),
        sector_ppm=share_ppm(limits.max_sector_exposure),
        min_cash=-NO_LIMIT if limits.min_cash == "unlimited" else _cash(limits.min_cash),
        margin_ppm=_margin_ppm(limits.initial_margin),
        maintenance_ppm=_margin_ppm(limits.maintenance_margin),
        short_selling=limits.short_selling,
        open_orders=_count(limits.max_open_orders),
        day_orders=_count(limits.max_orders_per_day),
        interval=interval,
        burst=burst,
        repeats=_count(limits.max_repeated_orders),
        repeat_window=_ns(limits.repeat_window),
        loss_ppm=share_ppm(limits.max_daily_loss),
        loss_amount=_cash(limits.max_daily_loss_amount),
        loss_warning_ppm=share_ppm(limits.daily_loss_warning),
        drawdown_ppm=share_ppm(limits.max_drawdown),
        streak=_count(limits.max_losing_trades),
        strategy_exposure=min(_cash(each.max_exposure), MAX_UNITS),
        strategy_loss=_cash(each.max_daily_loss),
        strategy_streak=_count(each.max_losing_trades),
        strategy_open_orders=_count(each.max_open_orders),
        strategy_day_orders=_count(each.max_orders_per_day),
        strategy_interval=strategy_interval,
        strategy_burst=strategy_burst,
        intent_ttl=_ns(limits.intent_ttl),
        position_warning_ppm=share_ppm(limits.position_warning),
        stp=limits.self_trade_prevention,
    )


def symbol_bounds(limits: RiskLimits, instrument: Instrument) -> SymbolBounds:
    """Scale the limits of one symbol: its own where it has them, else the account's."""
    own = limits.symbols.get(instrument.symbol)

    def pick(name: str) -> float | Unlimited:
        value = None if own is None else getattr(own, name)
        return getattr(limits, name) if value is None else value  # type: ignore[no-any-return]

    def quantity(amount: float | Unlimited) -> int:
        if amount == "unlimited":
            return NO_LIMIT
        # Towards zero: a limit between two lots allows the smaller.
        return cash_units(float(amount)) * instrument.quantity_unit // CASH_UNIT

    locates = limits.locates
    return SymbolBounds(
        max_order=min(_cash(pick("max_order_size")), MAX_UNITS),
        max_qty=quantity(pick("max_order_quantity")),
        position_ppm=share_ppm(pick("max_position_size")),
        collar_ppm=share_ppm(pick("price_collar")),
        locate=(
            NO_LIMIT if isinstance(locates, str) else quantity(locates.get(instrument.symbol, 0.0))
        ),
        lot=instrument.lot_size,
    )
