"""The limits file: every limit of the gate, in the units in which people write them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Unlimited = Literal["unlimited"]
Amount = Annotated[float, Meta(ge=0, le=1e12)] | Unlimited
"""A limit in currency or quantity; ``"unlimited"`` must be written out and is in the report."""
Share = Annotated[float, Meta(ge=0, le=1)] | Unlimited
Multiple = Annotated[float, Meta(gt=0, le=100)] | Unlimited
Seconds = Annotated[float, Meta(gt=0, le=1e9)] | Unlimited
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)] | Unlimited
Rate = Annotated[float, Meta(gt=0, le=1_000_000)] | Unlimited


class SymbolLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one symbol that replace those of the account; unset keeps the account's.

    Attributes:
        max_order_size: largest order value, currency.
        max_order_quantity: largest order quantity.
        max_position_size: largest worst-case position, share of equity.
        price_collar: largest distance of a limit through the market, share of the price.
    """

    max_order_size: Amount | None = None
    max_order_quantity: Amount | None = None
    max_position_size: Annotated[float, Meta(ge=0, le=100)] | Unlimited | None = None
    price_collar: Annotated[float, Meta(gt=0, le=1)] | Unlimited | None = None


class StrategyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that hold for each strategy on its own.

    Attributes:
        max_exposure: largest worst-case gross exposure, currency.
        max_daily_loss: loss since the start of the trading day that halts it, currency.
        max_losing_trades: losing round trips in a row that halt it for the day.
        max_open_orders: largest number of working orders.
        max_orders_per_day: largest number of orders sent in a trading day.
        max_order_rate: orders a second, sustained.
        order_burst: orders that may come at once.
    """

    max_exposure: Amount
    max_daily_loss: Amount
    max_losing_trades: Count
    max_open_orders: Count
    max_orders_per_day: Count
    max_order_rate: Rate
    order_burst: Annotated[int, Meta(ge=1, le=1_000_000)]


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits file of the gate, the same in every profile. No limit has a default here.

    Attributes:
        min_order_size: smallest order value, currency.
        max_order_size: largest order value, currency.
        max_order_quantity: largest order quantity.
        price_collar: largest distance of a limit price through the market (a buy above, a sell
            below), share of the latest price.
        max_price_age: age in seconds at which the latest price is too old to judge by.
        intent_ttl: age in seconds at which an order's cause is too old to send it.
        max_position_size: largest worst-case position in one symbol, share of equity; above 1
            only as far as ``max_leverage`` goes.
        position_warning: share of ``max_position_size`` at which a WARNING is raised.
        max_total_exposure: largest worst-case gross exposure, currency.
        max_leverage: largest worst-case gross exposure over equity.
        max_net_leverage: largest worst-case net exposure over equity.
        max_sector_exposure: largest worst-case gross exposure in one sector, share of equity.
        min_cash: least cash once every working buy has filled, currency; 0 is a cash account.
        initial_margin: share of the worst-case gross exposure that equity must cover.
        maintenance_margin: share of the gross positions below which equity is a margin call.
        short_selling: whether a position may go below zero.
        locates: quantity of each symbol that may be sold short; a symbol that is not in the
            table may not.
        restricted_symbols: symbols in which positions may only shrink.
        trading_hours: ``any``, or ``session`` to send only while the trading session is open.
        self_trade_prevention: deny what could trade with an own working order.
        max_open_orders: largest number of working orders.
        max_orders_per_day: largest number of orders sent in a trading day.
        max_order_rate: orders a second, sustained.
        order_burst: orders that may come at once.
        max_repeated_orders: equal orders within ``repeat_window`` that are sent; one more halts
            the strategy until an operator resumes it.
        repeat_window: seconds.
        max_daily_loss: loss since the start of the trading day that halts, share of that equity.
        max_daily_loss_amount: the same in currency.
        daily_loss_warning: share of a daily loss limit at which a WARNING is raised.
        max_drawdown: loss from the highest equity at the end of any trading day that halts until
            an operator resumes, share of that equity.
        max_losing_trades: losing round trips in a row that halt for the day.
        halt_reset: a daily halt ends with ``next_day``, or by an operator (``manual``).
        on_halt: what a halt does to positions: ``keep`` or ``flatten``; working orders that could
            increase a position are canceled in both.
        stop_loss_pct: adverse move from the average entry price that closes a position; the
            buffer comes on top.
        stop_loss_buffer: added to ``stop_loss_pct``, against closing on a touch.
        trailing_stop_pct: adverse move from the best price since entry that closes a position.
        take_profit_pct: favorable move from the average entry price that closes a position.
        per_strategy: limits of each strategy on its own.
        symbols: limits of single symbols that replace the account's.
    """

    min_order_size: Amount
    max_order_size: Amount
    max_order_quantity: Amount
    price_collar: Annotated[float, Meta(gt=0, le=1)] | Unlimited
    max_price_age: Seconds
    intent_ttl: Seconds
    max_position_size: Annotated[float, Meta(ge=0, le=100)] | Unlimited
    position_warning: Annotated[float, Meta(gt=0, le=1)]
    max_total_exposure: Amount
    max_leverage: Multiple
    max_net_leverage: Multiple
    max_sector_exposure: Annotated[float, Meta(ge=0, le=100)] | Unlimited
    min_cash: Amount
    initial_margin: Annotated[float, Meta(gt=0, le=1)] | Unlimited
    maintenance_margin: Annotated[float, Meta(gt=0, le=1)] | Unlimited
    short_selling: bool
    locates: dict[str, Annotated[float, Meta(ge=0, le=1e12)]] | Unlimited
    restricted_symbols: list[str]
    trading_hours: Literal["any", "session"]
    self_trade_prevention: bool
    max_open_orders: Count
    max_orders_per_day: Count
    max_order_rate: Rate
    order_burst: Annotated[int, Meta(ge=1, le=1_000_000)]
    max_repeated_orders: Annotated[int, Meta(ge=1, le=1_000_000)] | Unlimited
    repeat_window: Annotated[float, Meta(gt=0, le=86_400)]
    max_daily_loss: Share
    max_daily_loss_amount: Amount
    daily_loss_warning: Annotated[float, Meta(gt=0, le=1)]
    max_drawdown: Share
    max_losing_trades: Count
    halt_reset: Literal["next_day", "manual"]
    on_halt: Literal["keep", "flatten"]
    stop_loss_pct: Share
    stop_loss_buffer: Annotated[float, Meta(ge=0, le=1)]
    trailing_stop_pct: Share
    take_profit_pct: Annotated[float, Meta(gt=0, le=100)] | Unlimited
    per_strategy: StrategyLimits
    symbols: dict[str, SymbolLimits] = {}

    def __post_init__(self) -> None:
        """Refuse limits that contradict each other; msgspec names the section."""
        _require_order("min_order_size", self.min_order_size, "max_order_size", self.max_order_size)
        for symbol, own in self.symbols.items():
            if own.max_order_size is not None:
                name = f"symbols.{symbol}.max_order_size"
                _require_order("min_order_size", self.min_order_size, name, own.max_order_size)
        _require_order(
            "maintenance_margin", self.maintenance_margin, "initial_margin", self.initial_margin
        )
        shares = {"max_position_size": self.max_position_size}
        shares |= {f"symbols.{s}.max_position_size": x.max_position_size
                   for s, x in self.symbols.items() if x.max_position_size is not None}  # fmt: skip
        shares["max_sector_exposure"] = self.max_sector_exposure
        for name, share in shares.items():
            _require_leverage(name, share, self.max_leverage)


def _require_order(low: str, least: float | str, high: str, most: float | str) -> None:
    if not isinstance(least, str) and not isinstance(most, str) and least > most:
        raise ValueError(f"{low} = {least:g}: must not be above {high}, which is {most:g}")


def _require_leverage(name: str, share: float | str, leverage: float | str) -> None:
    if isinstance(share, str) or isinstance(leverage, str) or share <= max(1.0, leverage):
        return
    raise ValueError(
        f"{name} = {share:g}: a share of equity, 0 to 1; above that it needs max_leverage of at "
        f"least as much, which is {leverage:g}"
    )
