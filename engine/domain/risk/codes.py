"""Why an order is denied: a closed list of codes in the order in which the checks are made."""

from __future__ import annotations

from enum import StrEnum


class DenyCode(StrEnum):
    """Why an order was denied, in order of precedence: the first failing check names it."""

    # What the gate knows without looking at the market.
    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    STRATEGY_HALTED = "STRATEGY_HALTED"
    STRATEGY_REDUCING = "STRATEGY_REDUCING"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    NOT_OWNER = "NOT_OWNER"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    PARENT_DENIED = "PARENT_DENIED"
    INTENT_EXPIRED = "INTENT_EXPIRED"
    SYMBOL_HALTED = "SYMBOL_HALTED"
    SYMBOL_RESTRICTED = "SYMBOL_RESTRICTED"
    SESSION_CLOSED = "SESSION_CLOSED"
    QUANTITY_PRECISION = "QUANTITY_PRECISION"
    PRICE_PRECISION = "PRICE_PRECISION"
    INVALID_ORDER = "INVALID_ORDER"
    REDUCE_ONLY = "REDUCE_ONLY"
    NO_REFERENCE_PRICE = "NO_REFERENCE_PRICE"
    # What is measured.
    STALE_REFERENCE_PRICE = "STALE_REFERENCE_PRICE"
    ORDER_QUANTITY_ABOVE_MAX = "ORDER_QUANTITY_ABOVE_MAX"
    PRICE_COLLAR = "PRICE_COLLAR"
    SELF_TRADE = "SELF_TRADE"
    ORDER_RATE = "ORDER_RATE"
    STRATEGY_ORDER_RATE = "STRATEGY_ORDER_RATE"
    REPEATED_ORDER = "REPEATED_ORDER"
    OPEN_ORDERS = "OPEN_ORDERS"
    STRATEGY_OPEN_ORDERS = "STRATEGY_OPEN_ORDERS"
    ORDERS_PER_DAY = "ORDERS_PER_DAY"
    STRATEGY_ORDERS_PER_DAY = "STRATEGY_ORDERS_PER_DAY"
    ORDER_VALUE_BELOW_MIN = "ORDER_VALUE_BELOW_MIN"
    ORDER_VALUE_ABOVE_MAX = "ORDER_VALUE_ABOVE_MAX"
    SHORT_SELLING = "SHORT_SELLING"
    SHORT_LOCATE = "SHORT_LOCATE"
    POSITION_SIZE = "POSITION_SIZE"
    TOTAL_EXPOSURE = "TOTAL_EXPOSURE"
    LEVERAGE = "LEVERAGE"
    NET_LEVERAGE = "NET_LEVERAGE"
    SECTOR_EXPOSURE = "SECTOR_EXPOSURE"
    AVAILABLE_CASH = "AVAILABLE_CASH"
    BUYING_POWER = "BUYING_POWER"
    STRATEGY_EXPOSURE = "STRATEGY_EXPOSURE"
    DAILY_LOSS = "DAILY_LOSS"
    STRATEGY_LOSS = "STRATEGY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    LOSING_STREAK = "LOSING_STREAK"
    STRATEGY_LOSING_STREAK = "STRATEGY_LOSING_STREAK"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_D = DenyCode
_MEANINGS: dict[DenyCode, str] = {
    _D.TRADING_HALTED: "Trading is halted; no order of a strategy leaves.",
    _D.TRADING_REDUCING: "Trading is reducing; only orders that shrink a position leave.",
    _D.STRATEGY_HALTED: "The strategy is halted; none of its orders leaves.",
    _D.STRATEGY_REDUCING: "The strategy is reducing; only its orders that shrink a position leave.",
    _D.UNKNOWN_ORDER: "A replacement of an order that is not working.",
    _D.NOT_OWNER: "A replacement of another strategy's order.",
    _D.DUPLICATE_ORDER_ID: "An order with this client order id was judged before.",
    _D.PARENT_DENIED: "The order that would have triggered this one was denied.",
    _D.INTENT_EXPIRED: "The intent is older than risk.intent_ttl.",
    _D.SYMBOL_HALTED: "Trading in the symbol is halted.",
    _D.SYMBOL_RESTRICTED: "The symbol is on risk.restricted_symbols; positions may only shrink.",
    _D.SESSION_CLOSED: "The trading session is closed; risk.trading_hours is session.",
    _D.QUANTITY_PRECISION: "A quantity that is not a positive multiple of the lot size.",
    _D.PRICE_PRECISION: "A price that is not a positive multiple of the tick size.",
    _D.INVALID_ORDER: "The order contradicts itself: it lacks a price that its type needs, or has "
    "one that its type has no use for.",
    _D.REDUCE_ONLY: "A reduce-only order that has no position to reduce.",
    _D.NO_REFERENCE_PRICE: "No market data of the symbol has arrived; nothing can value it.",
    _D.STALE_REFERENCE_PRICE: "The latest price is older than risk.max_price_age.",
    _D.ORDER_QUANTITY_ABOVE_MAX: "The order is for more than risk.max_order_quantity.",
    _D.PRICE_COLLAR: "The limit price is further through the market than risk.price_collar.",
    _D.SELF_TRADE: "The order could trade with a working order of the same account.",
    _D.ORDER_RATE: "Orders of the account come faster than risk.max_order_rate.",
    _D.STRATEGY_ORDER_RATE: "Orders of the strategy come faster than per_strategy.max_order_rate.",
    _D.REPEATED_ORDER: "The same order was sent risk.max_repeated_orders times already.",
    _D.OPEN_ORDERS: "The account already has risk.max_open_orders working.",
    _D.STRATEGY_OPEN_ORDERS: "The strategy already has per_strategy.max_open_orders working.",
    _D.ORDERS_PER_DAY: "The account has sent risk.max_orders_per_day today.",
    _D.STRATEGY_ORDERS_PER_DAY: "The strategy has sent per_strategy.max_orders_per_day today.",
    _D.ORDER_VALUE_BELOW_MIN: "The order is worth less than risk.min_order_size.",
    _D.ORDER_VALUE_ABOVE_MAX: "The order is worth more than risk.max_order_size.",
    _D.SHORT_SELLING: "The order could open a short position; risk.short_selling is false.",
    _D.SHORT_LOCATE: "The short position could exceed what risk.locates has of the symbol.",
    _D.POSITION_SIZE: "The position could exceed risk.max_position_size of equity.",
    _D.TOTAL_EXPOSURE: "All positions and orders could exceed risk.max_total_exposure.",
    _D.LEVERAGE: "All positions and orders could exceed equity x risk.max_leverage.",
    _D.NET_LEVERAGE: "Long less short could exceed equity x risk.max_net_leverage.",
    _D.SECTOR_EXPOSURE: "The sector could exceed risk.max_sector_exposure of equity.",
    _D.AVAILABLE_CASH: "Cash could fall below risk.min_cash once all working buys have filled.",
    _D.BUYING_POWER: "The initial margin of positions and orders could exceed equity.",
    _D.STRATEGY_EXPOSURE: "The strategy could exceed per_strategy.max_exposure.",
    _D.DAILY_LOSS: "The day's loss has reached its limit.",
    _D.STRATEGY_LOSS: "The strategy's loss of the day has reached per_strategy.max_daily_loss.",
    _D.DRAWDOWN: "Equity has fallen by risk.max_drawdown from its peak.",
    _D.LOSING_STREAK: "risk.max_losing_trades in a row have lost today.",
    _D.STRATEGY_LOSING_STREAK: "per_strategy.max_losing_trades of it in a row have lost today.",
}
