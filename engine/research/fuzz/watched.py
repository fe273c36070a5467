"""An attack that is watched: a shadow of the gate hears what it hears, when it hears it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from engine.domain.commands import (
    KillSwitch,
    OrderApproved,
    ReplaceApproved,
    ReplaceOrder,
    SetSymbolState,
    SetTradingState,
)
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    ReplaceDenied,
    ReplaceRejected,
)
from engine.domain.latch import TradingState
from engine.domain.money import MAX_UNITS
from engine.domain.orders import Order, Side
from engine.domain.risk import CheckInputs, DenyCode, RiskLimits
from engine.research.fuzz import steps as s
from engine.research.fuzz.rules import SECOND, cash_of, first_broken, loss_bar, share_of
from engine.research.fuzz.shadow import Key, Shadow
from engine.research.fuzz.world import CASH, INSTRUMENTS, World

__all__ = ["WatchedWorld"]

VERDICTS = (OrderApproved, OrderDenied, ReplaceApproved, ReplaceDenied)
HEARD = (
    PositionChanged, OrderCanceled, OrderExpired, OrderRejected, OrderReplaced, ReplaceRejected,
    SetSymbolState, SetTradingState, KillSwitch,
)  # fmt: skip
STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
Rule = tuple[str, str]
"""Whose limit (``""`` is the account's) and the code of the rule."""


class Tap(deque[Any]):
    """The queue of a cell, which tells what is put into it and what is taken out."""

    def __init__(self, put: Callable[[Any], None], took: Callable[[Any], None]) -> None:
        super().__init__()
        self._put, self._took = put, took

    def append(self, item: Any) -> None:
        """Put a message into the queue."""
        super().append(item)
        self._put(item[1])

    def popleft(self) -> Any:
        """Take the next message out."""
        item = super().popleft()
        self._took(item[1])
        return item


class WatchedWorld(World):
    """An attack with a shadow.

    Args:
        limits: the limits under attack.

    Attributes:
        shadow: what the gate was told, in lists.
        doubts: verdicts that are not the shadow's, in words.
        due: the strictest state that a rule demands now, by rule.
        awaited: ``(strategy, symbol, guard)`` that prices of the last step have triggered.
        killed: orders that worked when the kill switch was thrown in the last step.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.shadow = Shadow(limits, {i.symbol: i for i in INSTRUMENTS}, CASH)
        self.doubts: list[str] = []
        self.due: dict[Rule, TradingState] = {}
        self.awaited: list[tuple[str, str, str]] = []
        self.killed: list[str] = []
        self._priced_at = dict.fromkeys((i.symbol for i in INSTRUMENTS), 0)
        self._changing: ReplaceOrder | None = None
        self._best: dict[Key, int] = {}
        self._reached: set[Rule] = set()
        self._called = False
        super().__init__(limits)

    def _open_cell(self, now: int) -> None:
        super()._open_cell(now)
        self.cell.queue = Tap(self._put, self._took)

    # What the gate hears and says.

    def _put(self, message: Any) -> None:
        if isinstance(message, VERDICTS):
            self._look_at_prices()
            if isinstance(message, (OrderApproved, OrderDenied)):
                self._check_order(message)
            else:
                self._check_change(message)
            self.shadow.hear(message, self.cell.now)

    def _took(self, message: Any) -> None:
        if isinstance(message, HEARD):
            self._hear(message)

    def _hear(self, message: Any) -> None:
        self._look_at_prices()
        match message:
            case SetSymbolState():
                change = self.shadow.halted.add if message.halted else self.shadow.halted.discard
                change(message.symbol)
                if not message.halted:
                    self.shadow.overfilled.discard(message.symbol)
            case SetTradingState():
                whose = message.strategy_id or ""
                self.due = {rule: state for rule, state in self.due.items() if rule[0] != whose}
            case KillSwitch():
                self.killed = [k for k, at in self.venue.orders.items() if at.is_open]
                self.due["", message.reason] = TradingState.HALTED
            case PositionChanged():
                key = message.fill.strategy_id, message.fill.symbol
                before = self.shadow.held[key]
                self.shadow.hear(message, self.cell.now)
                if before * self.shadow.held[key] <= 0:
                    self._best[key] = message.fill.last_px
            case _:
                self.shadow.hear(message, self.cell.now)

    def _look_at_prices(self) -> None:
        for symbol, px in self.px.items():
            self.shadow.px[symbol] = px, self._priced_at[symbol]

    def _deliver(self, actor: str, message: Any) -> None:
        if actor == "risk_gate":
            if isinstance(message, ReplaceOrder):
                self._changing = message
            elif isinstance(message, HEARD):
                self._hear(message)
        super()._deliver(actor, message)

    # Verdicts.

    def _check_order(self, event: OrderApproved | OrderDenied) -> None:
        order = event.order
        order_id = order.client_order_id
        is_closing = order_id in self.closing and order.reduce_only
        if order_id in self.shadow.judged:
            self._compare(order_id, event.verdict.code, DenyCode.DUPLICATE_ORDER_ID)
            return
        exempt = (2 if is_closing else 1) if order.reduce_only else 0
        self._check(order, event.verdict, exempt, None)
        self.shadow.verdict(order_id, isinstance(event, OrderApproved))

    def _check_change(self, event: ReplaceApproved | ReplaceDenied) -> None:
        change = self._changing
        order_id = event.verdict.client_order_id
        found = self.shadow.working.get(order_id)
        if change is None or found is None:
            self._compare(order_id, event.verdict.code, DenyCode.UNKNOWN_ORDER)
            return
        changed = self.shadow.changed(found, change)
        self._check(changed, event.verdict, int(changed.reduce_only), order_id)

    def _check(self, order: Order, verdict: Any, exempt: int, less: str | None) -> None:
        code, inputs = self._refusal(order, exempt), None
        if code is None:
            inputs = self.shadow.measure(order, self.cell.now, exempt, less=less)
            code = first_broken(self.limits, self.instruments[order.symbol], inputs)
        self._compare(order.client_order_id, verdict.code, code)
        if inputs is not None and verdict.inputs is not None:
            for name, mine, its in zip(CheckInputs._fields, inputs, verdict.inputs, strict=True):
                if max(-MAX_UNITS, min(mine, MAX_UNITS)) != max(-MAX_UNITS, min(its, MAX_UNITS)):
                    self.doubts.append(f"{order.client_order_id}: {name} {its}, should be {mine}")

    def _compare(self, order_id: str, code: DenyCode | None, mine: DenyCode | None) -> None:
        if code is not mine:
            self.doubts.append(f"{order_id}: {code or 'passed'}, should be {mine or 'passed'}")

    def _refusal(self, order: Order, exempt: int) -> DenyCode | None:
        """Give what forbids an order whatever the market says, in the order of the codes."""
        account, mine = self.latch.state(), self.latch.state(order.strategy_id)
        held, ttl = (
            self.shadow.held.get((order.strategy_id, order.symbol), 0),
            (self.limits.intent_ttl),
        )
        is_late = not isinstance(ttl, str) and self.cell.now - order.ts_init > ttl * SECOND
        reduces = held > 0 if order.side is Side.SELL else held < 0
        restricted = order.symbol in self.limits.restricted_symbols
        closes, any_state = exempt == 2, TradingState
        rules = {
            DenyCode.TRADING_HALTED: not closes and account is any_state.HALTED,
            DenyCode.TRADING_REDUCING: not exempt and account is any_state.REDUCING,
            DenyCode.STRATEGY_HALTED: not closes and mine is any_state.HALTED,
            DenyCode.STRATEGY_REDUCING: not exempt and mine is any_state.REDUCING,
            DenyCode.PARENT_DENIED: self.shadow.judged.get(order.parent_id or "") is False,
            DenyCode.INTENT_EXPIRED: is_late,
            DenyCode.SYMBOL_HALTED: not closes and order.symbol in self.shadow.halted,
            DenyCode.SYMBOL_RESTRICTED: not exempt and restricted,
            DenyCode.QUANTITY_PRECISION: order.order_qty <= 0,
            DenyCode.REDUCE_ONLY: exempt > 0 and order.parent_id is None and not reduces,
        }
        return next((code for code, forbids in rules.items() if forbids), None)

    # Prices, days and rules.

    def _price(self, step: s.Price | str) -> None:
        symbol = step if isinstance(step, str) else s.SYMBOLS[step.symbol]
        px = self.px[symbol]
        if not isinstance(step, str):
            px = max(100 * self.instruments[symbol].price_unit * step.level // 1_000, 1)
        self._priced_at[symbol] = self.cell.now
        for key, quantity in self.shadow.held.items():
            if key[1] == symbol and quantity:
                guard = self._guard(key, quantity, px)
                self.awaited += [] if guard is None else [(*key, guard)]
        super()._price(step)

    def _guard(self, key: Key, quantity: int, px: int) -> str | None:
        """Give the guard that a price triggers, worked out from shares of the cost."""
        limits, way = self.limits, 1 if quantity > 0 else -1
        best = self._best[key] = max(self._best[key] * way, px * way) * way
        cost = self.ledger.position(*key)[1]
        gain = self.shadow.worth(key[1], quantity, px) - cost
        stop, trail = share_of(limits.stop_loss_pct), share_of(limits.trailing_stop_pct)
        take, buffer = share_of(limits.take_profit_pct), share_of(limits.stop_loss_buffer) or 0
        if stop is not None and -gain >= (stop + buffer) * abs(cost):
            return "STOP_LOSS"
        if trail is not None and Fraction((best - px) * way) >= trail * best:
            return "TRAILING_STOP"
        if take is not None and gain >= take * abs(cost):
            return "TAKE_PROFIT"
        return None

    def _nextday(self, step: s.NextDay) -> None:
        self._look_at_prices()
        self.shadow.end_day()
        daily = {"LOSING_STREAK", "STRATEGY_LOSING_STREAK"}
        if self.limits.halt_reset == "next_day":
            daily |= {"DAILY_LOSS", "STRATEGY_LOSS", "MARGIN_CALL"}
        self.due = {rule: state for rule, state in self.due.items() if rule[1] not in daily}
        self._called = False
        super()._nextday(step)

    def run(self, step: s.Step) -> None:
        """Do one step and note which limits it has reached."""
        self.awaited, self.killed = [], []
        super().run(step)
        self._look_at_prices()
        reached = self._rules_reached()
        for rule in reached - self._reached:
            margin = rule[1] == "MARGIN_CALL"
            if not (margin and self._called):
                self.due[rule] = TradingState.REDUCING if margin else TradingState.HALTED
            self._called = self._called or margin
        self._reached = reached

    def _rules_reached(self) -> set[Rule]:
        shadow, limits, each = self.shadow, self.limits, self.limits.per_strategy
        equity = shadow.equity()
        loss, bar = shadow.day_start - equity, loss_bar(limits, shadow.day_start)
        fall, deep = shadow.peak - equity, share_of(limits.max_drawdown)
        margin = share_of(limits.maintenance_margin)
        exact = shadow.cash + shadow.held_worth()
        rules: dict[Rule, bool] = {
            ("", "DAILY_LOSS"): bar is not None and 0 < loss >= bar,
            ("", "DRAWDOWN"): deep is not None and 0 < fall >= deep * shadow.peak,
            ("", "MARGIN_CALL"): margin is not None and exact < margin * shadow.gross(),
            ("", "LOSING_STREAK"): _streak(shadow.streaks[""], limits.max_losing_trades),
        }
        for name in s.STRATEGIES:
            loss, own = (
                shadow.earned_before[name] - shadow.earned(name),
                cash_of(each.max_daily_loss),
            )
            rules[name, "STRATEGY_LOSS"] = own is not None and 0 < loss >= own
            streak = _streak(shadow.streaks[name], each.max_losing_trades)
            rules[name, "STRATEGY_LOSING_STREAK"] = streak
        return {rule for rule, is_reached in rules.items() if is_reached}

    def too_loose(self) -> list[str]:
        """List the rules whose state is not in force although nobody has ended it."""
        return [
            f"{name or 'account'} {code}: {self.latch.state(name)}, should be {state}"
            for (name, code), state in self.due.items()
            if STRICTNESS[self.latch.state(name)] < STRICTNESS[state]
        ]


def _streak(count: int, most: int | str) -> bool:
    return not isinstance(most, str) and 0 < count >= most
