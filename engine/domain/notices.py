"""What operators are told about limits: risk events, made from what was measured (R98).

INFO is informational (an order was denied, trading goes on again), WARNING is near a limit,
CRITICAL is a limit reached and acted upon.
"""

from __future__ import annotations

from engine.domain.commands import ClosePosition, SetSymbolState
from engine.domain.deliveries import SetFeedState
from engine.domain.events import OrderFilled, RiskEvent, Severity
from engine.domain.latch import Hold, TradingState
from engine.domain.orders import Order
from engine.domain.risk import Check, DenyCode
from engine.domain.risk_book import MARGIN_CALL, Reached

__all__ = [
    "denied",
    "feed_state",
    "guarded",
    "held",
    "loss_near",
    "of_venue",
    "overfill",
    "position_near",
    "released",
    "symbol_state",
]

# What a rule measured, and how its numbers are written.
_SAID: dict[str, tuple[str, str]] = {
    DenyCode.DAILY_LOSS.name: ("The day's loss is {value}", ",.2f"),
    DenyCode.STRATEGY_LOSS.name: ("The day's loss of {strategy} is {value}", ",.2f"),
    DenyCode.DRAWDOWN.name: ("Equity is {value} below its peak", ".2%"),
    DenyCode.LOSING_STREAK.name: ("{value} round trips in a row have lost", ".0f"),
    DenyCode.STRATEGY_LOSING_STREAK.name: (
        "{value} round trips of {strategy} in a row have lost", ".0f",
    ),
    DenyCode.REPEATED_ORDER.name: ("{strategy} sent the same order {value} times", ".0f"),
    MARGIN_CALL: ("Equity is {value}, below the maintenance margin", ",.2f"),
}  # fmt: skip
_STATES = {
    TradingState.HALTED: "TRADING_HALTED",
    TradingState.REDUCING: "TRADING_REDUCING",
    TradingState.ACTIVE: "TRADING_RESUMED",
}
_CONSEQUENCES = {
    "TRADING_HALTED": "trading is halted",
    "TRADING_REDUCING": "only orders that shrink a position leave",
    "STRATEGY_HALTED": "the strategy is halted",
    "STRATEGY_REDUCING": "only orders of the strategy that shrink a position leave",
}


def denied(order: Order, code: DenyCode, check: Check | None, now: int) -> RiskEvent:
    """Tell that an order was denied."""
    return RiskEvent(
        event_type=code.name,
        severity=Severity.INFO,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        value=0.0 if check is None else check.value,
        limit=None if check is None else check.limit,
        action_taken="ORDER_DENIED",
        description=f"{code.meaning} Order {order.client_order_id} is denied.",
        ts_event=now,
    )


def position_near(order: Order, share: float, limit: float, now: int) -> RiskEvent:
    """Warn that a position could come near its limit; both are shares of equity."""
    return RiskEvent(
        event_type=DenyCode.POSITION_SIZE.name,
        severity=Severity.WARNING,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        value=share,
        limit=limit,
        action_taken="NONE",
        description=f"The position in {order.symbol} could be {share:.2%} of equity; "
        f"the limit is {limit:.2%}.",
        ts_event=now,
    )


def loss_near(reached: Reached, now: int) -> RiskEvent:
    """Warn that a day's loss, of the account or of a strategy, is near its limit."""
    return RiskEvent(
        event_type=reached.reason,
        severity=Severity.WARNING,
        strategy_id=reached.strategy_id or None,
        symbol=None,
        value=reached.value,
        limit=reached.limit,
        action_taken="NONE",
        description=f"{_measured(reached)}.",
        ts_event=now,
    )


def held(hold: Hold, reached: Reached) -> RiskEvent:
    """Tell that the account or a strategy has entered a stricter state."""
    action = _STATES[hold.state]
    if reached.strategy_id:
        action = action.replace("TRADING", "STRATEGY")
    return RiskEvent(
        event_type=hold.reason,
        severity=Severity.CRITICAL,
        strategy_id=reached.strategy_id or None,
        symbol=None,
        value=reached.value,
        limit=reached.limit,
        action_taken=action,
        description=f"{_measured(reached)}: {_CONSEQUENCES[action]}.",
        ts_event=hold.ts_event,
    )


def _measured(reached: Reached) -> str:
    """Say what was measured, and against which limit."""
    template, unit = _SAID.get(reached.reason, (reached.reason, ""))
    said = template.format(
        value=f"{reached.value:{unit}}" if unit else "", strategy=reached.strategy_id
    )
    return said if reached.limit is None else f"{said}; the limit is {reached.limit:{unit}}"


def guarded(close: ClosePosition, px: float, level: float) -> RiskEvent:
    """Tell that a guard closes a position; price and level in currency."""
    guard = close.reason.lower().replace("_", " ")
    return RiskEvent(
        event_type=close.reason,
        severity=Severity.CRITICAL,
        strategy_id=close.strategy_id,
        symbol=close.symbol,
        value=px,
        limit=level,
        action_taken="POSITION_CLOSED",
        description=f"{close.symbol} at {px:,g} has reached the {guard} of {close.strategy_id} at "
        f"{level:,g}: the position is closed.",
        ts_event=close.ts_init,
    )


def symbol_state(command: SetSymbolState, now: int) -> RiskEvent:
    """Tell that trading in a symbol was halted or goes on."""
    verb = "halted" if command.halted else "resumed"
    return RiskEvent(
        event_type=command.reason,
        severity=Severity.CRITICAL if command.halted else Severity.INFO,
        strategy_id=None,
        symbol=command.symbol,
        value=0.0,
        limit=None,
        action_taken=f"SYMBOL_{verb.upper()}",
        description=f"Trading in {command.symbol} is {verb}.",
        ts_event=now,
    )


def feed_state(command: SetFeedState, now: int) -> RiskEvent:
    """Tell that prices of a symbol do not come, or do so again."""
    what = "does not come: its price is stale" if command.stale else "comes again"
    return RiskEvent(
        event_type=command.reason,
        severity=Severity.WARNING if command.stale else Severity.INFO,
        strategy_id=None,
        symbol=command.symbol,
        value=0.0,
        limit=None,
        action_taken="SYMBOL_STALE" if command.stale else "SYMBOL_FED",
        description=f"Market data of {command.symbol} {what}.",
        ts_event=now,
    )


def released(reason: str, strategy_id: str, now: int) -> RiskEvent:
    """Tell that the account (no strategy) or a strategy is ACTIVE again."""
    whose = f"strategy {strategy_id}" if strategy_id else "trading"
    return RiskEvent(
        event_type=reason,
        severity=Severity.INFO,
        strategy_id=strategy_id or None,
        symbol=None,
        value=0.0,
        limit=None,
        action_taken="STRATEGY_RESUMED" if strategy_id else "TRADING_RESUMED",
        description=f"{whose[0].upper()}{whose[1:]} is resumed.",
        ts_event=now,
    )


def overfill(fill: OrderFilled, cum_qty: int, allowed_qty: int, now: int) -> RiskEvent:
    """Tell that a venue filled more than was ordered; quantities in units."""
    return RiskEvent(
        event_type="OVERFILL",
        severity=Severity.CRITICAL,
        strategy_id=fill.strategy_id,
        symbol=fill.symbol,
        value=float(cum_qty),
        limit=float(allowed_qty),
        action_taken="SYMBOL_HALTED",
        description=f"Order {fill.client_order_id} filled {cum_qty} of {allowed_qty} quantity "
        f"units: trading in {fill.symbol} is halted.",
        ts_event=now,
    )


def of_venue(
    event: str, severity: Severity, action: str, said: str, order: Order | None, now: int
) -> RiskEvent:
    """Tell of something at the venue, of one order or of the whole of it."""
    return RiskEvent(
        event_type=event,
        severity=severity,
        strategy_id=None if order is None else order.strategy_id,
        symbol=None if order is None else order.symbol,
        value=0.0,
        limit=None,
        action_taken=action,
        description=said,
        ts_event=now,
    )
