"""The risk gate: the one writer of exposure, reservations and the trading state.

Every order has exactly one verdict. Exposure is worst case: what is held, plus every working
order on the side that hurts, plus the order being judged. Reduce-only orders count for nothing
there, because the venue caps them by the position they reduce.

The gate watches the symbols in which something is held or works, so its totals are those of the
latest prices, and it halts when a loss is reached, not when the next order is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.domain import notices, risk_snapshot
from engine.domain.calendars import get_calendar
from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    KillSwitch,
    OrderApproved,
    ReplaceApproved,
    ReplaceOrder,
    SetSymbolState,
    SetTradingState,
    SubmitOrder,
)
from engine.domain.deliveries import SetFeedState
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
from engine.domain.exposure import Market
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold, TradingLatch, TradingState
from engine.domain.market import Bar, Quote, Trade
from engine.domain.order_shape import shape_error
from engine.domain.orders import Order, Side
from engine.domain.risk import (
    NO_LIMIT,
    PPM,
    CheckInputs,
    DenyCode,
    RiskLimits,
    Verdict,
    check_of,
    judge,
    recordable,
)
from engine.domain.risk.verdict import CLOSING, REDUCING
from engine.domain.risk_book import Reached, RiskBook
from engine.domain.risk_snapshot import RiskSnapshot
from engine.ports import LatchStore
from engine.runtime.actor import Actor, Handler

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY = Side.BUY

Judged = tuple[DenyCode | None, CheckInputs | None]
OrderEnded = OrderCanceled | OrderExpired | OrderRejected


class DayEnded(msgspec.Struct, frozen=True, tag="day_ended"):
    """The gate's own timer: a trading day is over."""

    ts_event: int


class RiskGate(Actor):
    """Judges every order against the limits and lets pass what no outcome can make exceed them.

    Args:
        name: actor name.
        limits: the limits file.
        instruments: scales by symbol.
        initial_cash: opening cash of the account, cash units.
        calendar: trading calendar that ends days (decision D13).
        router: actor name of the order router.
        latch: the trading state, which the router reads too.
        store: keeps the trading state over a restart.
        snapshot: what the gate knew before a restart; None begins anew.
    """

    def __init__(
        self,
        name: str,
        *,
        limits: RiskLimits,
        instruments: Mapping[str, Instrument],
        initial_cash: int,
        calendar: str,
        router: str,
        latch: TradingLatch,
        store: LatchStore,
        snapshot: RiskSnapshot | None = None,
    ) -> None:
        super().__init__(name)
        self.book = RiskBook(limits, instruments, initial_cash)
        self._since = None if snapshot is None else snapshot.ts_event
        if snapshot is not None:
            risk_snapshot.restore(self.book, snapshot)
        self.latch = latch
        self._markets = self.book.exposure.markets
        self._limits = limits
        self._router = router
        self._calendar = get_calendar(calendar)
        self._store = store
        self._restricted = frozenset(limits.restricted_symbols)
        self._in_session_only = limits.trading_hours == "session"

    def handlers(self) -> Mapping[type, Handler]:
        """Handle orders, what became of them, prices, operators and the end of days."""
        return {
            SubmitOrder: self.on_submit_order,
            ReplaceOrder: self.on_replace_order,
            CancelOrder: self.on_cancel_order,
            PositionChanged: self.on_position_changed,
            OrderCanceled: self.on_order_ended,
            OrderExpired: self.on_order_ended,
            OrderRejected: self.on_order_ended,
            OrderReplaced: self.on_order_replaced,
            ReplaceRejected: self.on_replace_rejected,
            SetTradingState: self.on_set_trading_state,
            SetSymbolState: self.on_set_symbol_state,
            SetFeedState: self.on_set_feed_state,
            KillSwitch: self.on_kill_switch,
            DayEnded: self.on_day_ended,
            **dict.fromkeys((Bar, Trade, Quote), self.on_market),
        }

    def on_start(self) -> None:
        """Arm the end of the trading day; catch up with what a restart has missed."""
        for market in self.book.exposure.active.values():
            self._watch(market)
        since, now = self._since, self.ctx.now
        if since is not None and self._calendar.day(since) != self._calendar.day(now):
            self.on_day_ended(DayEnded(now))
        else:
            self._arm_day_end()

    def snapshot(self) -> RiskSnapshot:
        """Give what a gate that takes over from this one must know."""
        return risk_snapshot.take(self.book, self.ctx.now)

    # Orders.

    def price_of(self, symbol: str) -> int | None:
        """Give the price that a symbol's latest order was judged by, in price units.

        For any thread; None before any.
        """
        market = self._markets.get(symbol)
        return None if market is None else market.px or None

    def on_submit_order(self, submit: SubmitOrder) -> None:
        """Give the one verdict on an order."""
        order = submit.order
        order_id = order.client_order_id
        market = self._markets.get(order.symbol)
        if market is not None and market.lane is None:
            market.lane = self.ctx.lane(order.symbol)
        book, now = self.book, self.ctx.now
        if order_id in book.judged or order_id in book.judged_before:
            self._deny(order, DenyCode.DUPLICATE_ORDER_ID, None)
            return
        code, inputs = self._examine(order, market, submit.closing, book.measure)
        book.judged[order_id] = code is None
        if code is not None or market is None:
            self._deny(order, code or DenyCode.NO_REFERENCE_PRICE, inputs)
            return
        book.reserve(order, market, now)
        if not market.is_watched:
            self._watch(market)
        self.ctx.publish(OrderApproved(order, Verdict(order_id, now, None, inputs), submit.closing))
        if inputs is not None and inputs.position_after > inputs.position_before:
            self._warn_of_size(order, market, inputs)

    def _deny(self, order: Order, code: DenyCode, inputs: CheckInputs | None) -> None:
        verdict = self._denial(order, code, inputs)
        self.ctx.publish(OrderDenied(order, verdict))
        self._tell_denial(order, verdict)

    def _denial(self, order: Order, code: DenyCode, inputs: CheckInputs | None) -> Verdict:
        held = None if inputs is None else recordable(inputs)
        return Verdict(order.client_order_id, self.ctx.now, code, held)

    def _tell_denial(self, order: Order, verdict: Verdict) -> None:
        code, inputs, check = verdict.code, verdict.inputs, None
        if code is None:
            return
        if inputs is not None:
            market = self._markets[order.symbol]
            check = check_of(code, inputs, self.book.bound, market.bounds, market.instrument)
        self.ctx.publish(notices.denied(order, code, check, self.ctx.now))
        if code is DenyCode.REPEATED_ORDER and check is not None:
            self._halt(
                Reached(
                    code.name, order.strategy_id, TradingState.HALTED, "manual",
                    check.value, float(check.limit or 0),
                )
            )  # fmt: skip

    def _examine(
        self,
        order: Order,
        market: Market | None,
        closing: bool,
        measure: Callable[[Order, Market, Any, int, int], CheckInputs],
    ) -> Judged:
        """Make every check, those that need no price first."""
        closing = closing and order.reduce_only
        event, book = None, self.book.exposure
        if market is not None and market.lane is not None:
            event = market.lane.last
            rings = book.sync() if book.stale else False
            if event is not None and event is not market.seen:
                rings = book.mark(market, event) or rings
            if rings:
                self._look()
        code = self._refusal(order, market, closing)
        if code is not None or market is None:
            return code, None
        if event is None or market.px <= 0:
            return DenyCode.NO_REFERENCE_PRICE, None
        exempt = (CLOSING if closing else REDUCING) if order.reduce_only else 0
        inputs = measure(order, market, event, self.ctx.now, exempt)
        return judge(inputs, self.book.bound, market.bounds), inputs

    def _refusal(self, order: Order, market: Market | None, closing: bool) -> DenyCode | None:
        """Make the checks that need no price, in order of precedence."""
        if not self.latch.is_open:
            code = self.latch.refusal(
                order.strategy_id, reduce_only=order.reduce_only, closing=closing
            )
            if code is not None:
                return code
        parent_id, now = order.parent_id, self.ctx.now
        if parent_id is not None and self.book.was_denied(parent_id):
            return DenyCode.PARENT_DENIED
        # Of an intent from before what is remembered nobody can say that it is not a duplicate.
        if (
            now - order.ts_init > self.book.bound.intent_ttl
            or order.ts_init <= self.book.known_since
        ):
            return DenyCode.INTENT_EXPIRED
        if market is None:
            return DenyCode.NO_REFERENCE_PRICE
        if market.is_halted and not closing:
            return DenyCode.SYMBOL_HALTED
        if self._restricted and order.symbol in self._restricted and not order.reduce_only:
            return DenyCode.SYMBOL_RESTRICTED
        if self._in_session_only and not closing and now < self._calendar.day_start(now):
            return DenyCode.SESSION_CLOSED
        code = shape_error(order, market.instrument)
        if code is None and order.reduce_only and parent_id is None:
            held = self.book.quantity(market, order.strategy_id)
            if held >= 0 if order.side is _BUY else held <= 0:
                return DenyCode.REDUCE_ONLY
        return code

    def on_cancel_order(self, cancel: CancelOrder) -> None:
        """Pass a cancel on; it comes by here to keep its place behind the order it is about."""
        self.ctx.send(self._router, cancel)

    def on_replace_order(self, replace: ReplaceOrder) -> None:
        """Judge a replacement as the order it would become, and reserve the larger of both."""
        order_id, now = replace.client_order_id, self.ctx.now
        held = self.book.reservations.orders.get(order_id)
        if held is None or held.order.strategy_id != replace.strategy_id:
            code = DenyCode.UNKNOWN_ORDER if held is None else DenyCode.NOT_OWNER
            verdict = Verdict(order_id, now, code, None)
            self.ctx.publish(ReplaceDenied(order_id, verdict, replace.ts_init))
            return
        changed = self.book.reservations.replaced(held, replace)

        def measure(order: Order, market: Market, event: Any, ts: int, exempt: int) -> CheckInputs:
            return self.book.measure_replaced(held, order, event, ts, exempt)

        refused, inputs = self._examine(changed, self._markets[changed.symbol], False, measure)
        if refused is not None:
            verdict = self._denial(changed, refused, inputs)
            self.ctx.publish(ReplaceDenied(order_id, verdict, replace.ts_init))
            self._tell_denial(changed, verdict)
            return
        self._watch(self.book.widen(held, changed, now))
        self.ctx.publish(ReplaceApproved(replace, Verdict(order_id, now, None, inputs)))

    # What became of them.

    def on_position_changed(self, changed: PositionChanged) -> None:
        """Turn a reservation into a position."""
        fill = changed.fill
        market = self._markets[fill.symbol]
        if market.lane is None:
            market.lane = self.ctx.lane(fill.symbol)
        event = market.lane.last
        if event is not None and event is not market.seen:
            self.book.exposure.mark(market, event)
        elif not market.px:
            market.px = fill.last_px
        rings = self.book.book(changed)
        if not market.exposures or not market.is_watched:
            self._watch(market)
        if rings:
            self._look()

    def on_order_ended(self, event: OrderEnded) -> None:
        """Release what the order still reserved."""
        self._watch(self.book.release(event.client_order_id))

    def on_order_replaced(self, event: OrderReplaced) -> None:
        """Give back what a replacement no longer needs."""
        self._watch(self.book.settle(event))

    def on_replace_rejected(self, event: ReplaceRejected) -> None:
        """Give back what a refused replacement would have needed."""
        self._watch(self.book.refuse(event.client_order_id))

    def _watch(self, market: Market | None) -> None:
        """Hear of a symbol's prices exactly while something is held or works in it."""
        if market is None or market.is_watched is bool(market.exposures):
            return
        market.is_watched = bool(market.exposures)
        if market.is_watched:
            if market.lane is None:
                market.lane = self.ctx.lane(market.instrument.symbol)
            self.ctx.watch(market.instrument.symbol)
        else:
            self.ctx.unwatch(market.instrument.symbol)
            market.warned = False

    # Prices and losses.

    def market_handler(self, symbol: str) -> Handler:
        """Give the function that marks one symbol."""
        market, mark = self._markets[symbol], self._mark
        stale = self.book.exposure.stale

        def on_price(event: Bar | Trade | Quote) -> None:
            px = event.close_px if type(event) is Bar else event.last_px
            if market.low < px < market.high:
                if not market.is_stale:
                    market.is_stale = True
                    stale.append(market)
                return
            mark(market, event)

        return on_price

    def on_market(self, event: Bar | Trade | Quote) -> None:
        """Mark a symbol whose event came without a lane."""
        self._mark(self._markets[event.symbol], event)

    def _mark(self, market: Market, event: Any) -> None:
        exposure = self.book.exposure
        rings = exposure.mark(market, event)
        if exposure.grant(market) or rings:
            self._look()

    def _look(self) -> None:
        """See which limits have been reached, and act."""
        now = self.ctx.now
        for reached in self.book.reached():
            if reached.state is not None:
                self._halt(reached)
            else:
                self.ctx.publish(notices.loss_near(reached, now))

    def _warn_of_size(self, order: Order, market: Market, inputs: CheckInputs) -> None:
        limit = market.bounds.position_ppm
        if limit == NO_LIMIT:
            return
        warning = limit * self.book.bound.position_warning_ppm
        near = inputs.position_after * PPM * PPM >= inputs.equity * warning
        if near and not market.warned:
            share = inputs.position_after / inputs.equity
            self.ctx.publish(notices.position_near(order, share, limit / PPM, self.ctx.now))
        market.warned = near

    # The trading state.

    def _halt(self, reached: Reached) -> None:
        """Enter a stricter state because of a rule; none that already is gets looser."""
        if reached.state is None:
            return
        hold = Hold(reached.state, reached.reason, reached.reset, self.ctx.now)
        if self.latch.enter(hold, reached.strategy_id):
            self._held(hold, reached)

    def _held(self, hold: Hold, reached: Reached, *, everything: bool = False) -> None:
        """Act on a state that was just entered: keep it, take orders back, and then tell."""
        self._store.save(self.latch.holds)
        self._take_back(reached.strategy_id, everything=everything)
        self.ctx.publish(notices.held(hold, reached))
        if self._limits.on_halt == "flatten" and hold.state is TradingState.HALTED:
            self._flatten(reached.strategy_id, reached.reason)

    def _take_back(self, strategy_id: str, *, everything: bool) -> None:
        """Cancel the working orders of a strategy, or of all; those that only reduce may stay."""
        now = self.ctx.now
        for order_id, held in self.book.reservations.orders.items():
            owner = held.order.strategy_id
            if strategy_id in ("", owner) and (everything or not held.order.reduce_only):
                self.ctx.send(self._router, CancelOrder(order_id, owner, now))

    def _flatten(self, strategy_id: str, reason: str) -> None:
        now = self.ctx.now
        for symbol, market in self._markets.items():
            for owner, exposure in market.exposures.items():
                if exposure.quantity and strategy_id in ("", owner):
                    self.ctx.publish(
                        ClosePosition(strategy_id=owner, symbol=symbol, reason=reason, ts_init=now)
                    )

    def on_set_trading_state(self, command: SetTradingState) -> None:
        """Enter the state an operator asks for; ACTIVE ends whatever held before."""
        now, strategy_id = self.ctx.now, command.strategy_id or ""
        if command.state is TradingState.ACTIVE:
            if self.latch.release(strategy_id):
                self._store.save(self.latch.holds)
                self.ctx.publish(notices.released(command.reason, strategy_id, now))
            return
        hold = Hold(command.state, command.reason, "manual", now)
        self.latch.set(hold, strategy_id)
        self._held(hold, Reached(command.reason, strategy_id, hold.state, "manual", 0.0, None))

    def on_set_symbol_state(self, command: SetSymbolState) -> None:
        """Halt a symbol, or let it trade again."""
        market = self._markets.get(command.symbol)
        if market is not None and market.is_halted is not command.halted:
            market.is_halted = command.halted
            self.ctx.publish(notices.symbol_state(command, self.ctx.now))

    def on_set_feed_state(self, command: SetFeedState) -> None:
        """Judge no order by the price of a symbol whose prices do not come, or do so again."""
        market = self._markets.get(command.symbol)
        if market is not None and market.is_fed is command.stale:
            market.is_fed = not command.stale
            self.ctx.publish(notices.feed_state(command, self.ctx.now))

    def on_kill_switch(self, command: KillSwitch) -> None:
        """Halt, cancel everything that works and, if asked to, go flat; only a person resumes."""
        hold = Hold(TradingState.HALTED, command.reason, "manual", self.ctx.now)
        self.latch.set(hold)
        reached = Reached(command.reason, "", hold.state, hold.reset, 0.0, None)
        self._held(hold, reached, everything=True)
        if command.flatten and self._limits.on_halt != "flatten":
            self._flatten("", command.reason)

    # Days.

    def on_day_ended(self, event: DayEnded) -> None:
        """Start the next trading day: new loss baseline; what was held for the day is over."""
        held = dict(self.latch.holds)
        self.book.end_day(self.ctx.now)
        released = self.latch.end_day()
        if released:
            self._store.save(self.latch.holds)
        for strategy_id in released:
            self.ctx.publish(notices.released(held[strategy_id].reason, strategy_id, self.ctx.now))
        self._arm_day_end()

    def _arm_day_end(self) -> None:
        end = self._calendar.day_end(self.ctx.now)
        if end <= self.ctx.now:
            end = self._calendar.day_end(self.ctx.now + 1)
        self.ctx.set_timer(end, DayEnded(end))
