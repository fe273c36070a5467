"""The risk gate: the one writer of exposure, reservations and the trading state.

Every order has exactly one verdict. Exposure is worst case: what is held, plus every working
order on the side that hurts, plus the order being judged. Reduce-only orders count for nothing
there, because the venue caps them by the position they reduce.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.domain.calendars import get_calendar
from engine.domain.commands import (
    CancelOrder,
    OrderApproved,
    ReplaceApproved,
    ReplaceOrder,
    SetTradingState,
    SubmitOrder,
    TradingState,
)
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    ReplaceRejected,
    RiskEvent,
    Severity,
)
from engine.domain.exposure import Exposure, ExposureBook
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import (
    NO_LIMIT,
    PPM,
    CheckInputs,
    DenyCode,
    RiskLimits,
    Verdict,
    bounds,
    judge,
    loss_limit,
    loss_reached,
    recordable,
    warning_bounds,
)
from engine.runtime.actor import Actor, Context, Handler

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY, _SELL = Side.BUY, Side.SELL
_ACTIVE, _MARKET = TradingState.ACTIVE, OrderType.MARKET

OrderEnded = OrderCanceled | OrderExpired | OrderRejected


class DayEnded(msgspec.Struct, frozen=True, tag="day_ended"):
    """The gate's own timer: a trading day is over."""

    ts_event: int


class _Open:
    """What an approved order still reserves.

    While replacements are on their way (``pending``) the order has its largest quantity, and
    ``order.order_qty - leaves`` is always what has filled.
    """

    __slots__ = ("exposure", "leaves", "order", "pending")

    def __init__(self, order: Order, exposure: Exposure) -> None:
        self.order = order
        self.exposure = exposure
        self.leaves = order.order_qty
        self.pending = 0


class RiskGate(Actor):
    """Judges every order against the limits and lets pass what no outcome can make exceed them.

    Args:
        name: actor name.
        limits: the limits file.
        instruments: scales by symbol.
        initial_cash: opening cash of the account, cash units.
        calendar: trading calendar that ends days (decision D13).
        router: actor name of the order router.
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
    ) -> None:
        super().__init__(name)
        self.state = TradingState.ACTIVE
        self._latched = False
        self._limits = limits
        self._bounds = bounds(limits)
        self._warning_bounds = warning_bounds(limits)
        self._router = router
        self._calendar = get_calendar(calendar)
        self._book = ExposureBook(instruments)
        self._held: dict[tuple[str, str], int] = {}
        self._open: dict[str, _Open] = {}
        self._denied: set[str] = set()
        self._cash = initial_cash
        self._day_start = initial_cash
        self._loss_warned = False

    def handlers(self) -> Mapping[type, Handler]:
        """Handle orders, what became of them, operator states and the end of days."""
        return {
            SubmitOrder: self.on_submit_order,
            ReplaceOrder: self.on_replace_order,
            CancelOrder: self.on_cancel_order,
            PositionChanged: self.on_position_changed,
            OrderCanceled: self.on_order_ended,
            OrderExpired: self.on_order_ended,
            OrderRejected: self.on_order_ended,
            OrderReplaced: self.on_order_replaced,
            SetTradingState: self.on_set_trading_state,
            DayEnded: self.on_day_ended,
        }

    def bind(self, ctx: Context) -> None:
        """Receive the context, and where prices come from: orders may come before the start."""
        super().bind(ctx)
        self._book.latest = ctx.lane

    def on_start(self) -> None:
        """Arm the end of the first trading day."""
        self._arm_day_end()

    def on_submit_order(self, submit: SubmitOrder) -> None:
        """Give the one verdict on an order."""
        order = submit.order
        exposure = self._book.of(order.symbol)
        code, inputs = self._examine(order, exposure, submit.closing)
        if code is not None and inputs is not None:
            inputs = recordable(inputs)
        verdict = Verdict(order.client_order_id, self.ctx.now, code, inputs)
        if code is not None:
            self._denied.add(order.client_order_id)
            self.ctx.publish(OrderDenied(order, verdict))
            self._halt_if_lost(inputs)
            return
        self._reserve(order, exposure)
        self.ctx.publish(OrderApproved(order, verdict))
        if inputs is not None:
            self._warn(order, exposure, inputs)

    def _examine(
        self, order: Order, exposure: Exposure, closing: bool = False
    ) -> tuple[DenyCode | None, CheckInputs | None]:
        if self.state is not _ACTIVE and not (
            order.reduce_only and (closing or self.state is TradingState.REDUCING)
        ):
            halted = self.state is TradingState.HALTED
            return (DenyCode.TRADING_HALTED if halted else DenyCode.TRADING_REDUCING), None
        if order.parent_id is not None and order.parent_id in self._denied:
            return DenyCode.PARENT_DENIED, None
        last = exposure.lane.last  # type: ignore[union-attr]  # the book gave it a lane
        if last is None:
            return DenyCode.NO_REFERENCE_PRICE, None
        code = shape_error(order, exposure.instrument)
        if code is not None:
            return code, None
        if order.reduce_only and order.parent_id is None and not self._reduces(order):
            return DenyCode.REDUCE_ONLY, None
        inputs = self._book.measure(order, exposure, last, self._cash, self._day_start)
        return judge(inputs, self._bounds), inputs

    def _reduces(self, order: Order) -> bool:
        held = self._held.get((order.strategy_id, order.symbol), 0)
        return held < 0 if order.side is _BUY else held > 0

    def _reserve(self, order: Order, exposure: Exposure) -> None:
        self._open[order.client_order_id] = _Open(order, exposure)
        if not order.reduce_only:
            self._book.work(exposure, order.side, order.order_qty)

    def on_position_changed(self, changed: PositionChanged) -> None:
        """Turn a reservation into a position."""
        fill = changed.fill
        exposure = self._book.of(fill.symbol)
        if not exposure.px:
            exposure.px = fill.last_px
        key = (fill.strategy_id, fill.symbol)
        exposure.quantity += changed.quantity - self._held.get(key, 0)
        self._held[key] = changed.quantity
        self._cash = changed.cash
        open_order = self._open.get(fill.client_order_id)
        filled = 0
        if open_order is not None:
            leaves_qty = fill.leaves_qty
            if leaves_qty == 0:
                del self._open[fill.client_order_id]
            elif open_order.pending:
                leaves_qty = open_order.order.order_qty - fill.cum_qty
            if not open_order.order.reduce_only:
                filled = leaves_qty - open_order.leaves
            open_order.leaves = leaves_qty
        self._book.work(exposure, _BUY if fill.signed_qty > 0 else _SELL, filled)

    def on_order_ended(self, event: OrderEnded) -> None:
        """Release what the order still reserved."""
        open_order = self._open.pop(event.client_order_id, None)
        if open_order is not None and not open_order.order.reduce_only:
            self._book.work(open_order.exposure, open_order.order.side, -open_order.leaves)

    def on_cancel_order(self, cancel: CancelOrder) -> None:
        """Pass a cancel on; it comes by here to keep its place behind the order it is about."""
        self.ctx.send(self._router, cancel)

    def on_replace_order(self, replace: ReplaceOrder) -> None:
        """Judge a replacement as the order it would become, and reserve the larger of both."""
        open_order = self._open.get(replace.client_order_id)
        if open_order is None or open_order.order.strategy_id != replace.strategy_id:
            reason = "UNKNOWN_ORDER" if open_order is None else "NOT_OWNER"
            self.ctx.publish(ReplaceRejected(replace.client_order_id, reason, replace.ts_init))
            return
        order = open_order.order
        filled = order.order_qty - open_order.leaves
        quantity = order.order_qty if replace.order_qty is None else replace.order_qty
        changed = msgspec.structs.replace(
            order,
            order_qty=quantity - filled,
            limit_px=order.limit_px if replace.limit_px is None else replace.limit_px,
            stop_px=order.stop_px if replace.stop_px is None else replace.stop_px,
        )
        exposure = open_order.exposure
        if not order.reduce_only:
            self._book.work(exposure, order.side, -open_order.leaves)
        code, inputs = self._examine(changed, exposure)
        kept = open_order.leaves if code is not None else max(open_order.leaves, quantity - filled)
        if not order.reduce_only:
            self._book.work(exposure, order.side, kept)
        open_order.leaves = kept
        if code is not None:
            rejected = ReplaceRejected(replace.client_order_id, code.name, replace.ts_init)
            self.ctx.publish(rejected)
            self._halt_if_lost(inputs)
            return
        open_order.order = msgspec.structs.replace(changed, order_qty=kept + filled)
        open_order.pending += 1
        verdict = Verdict(replace.client_order_id, self.ctx.now, None, inputs)
        self.ctx.publish(ReplaceApproved(replace, verdict))

    def on_order_replaced(self, event: OrderReplaced) -> None:
        """Give back what a replacement no longer needs."""
        open_order = self._open.get(event.client_order_id)
        if open_order is None:
            return
        order = open_order.order
        quantity = event.order_qty
        if open_order.pending > 1:
            quantity = max(quantity, order.order_qty)
        open_order.pending = max(open_order.pending - 1, 0)
        leaves = quantity - (order.order_qty - open_order.leaves)
        if not order.reduce_only:
            self._book.work(open_order.exposure, order.side, leaves - open_order.leaves)
        open_order.leaves = leaves
        open_order.order = msgspec.structs.replace(
            order, order_qty=quantity, limit_px=event.limit_px, stop_px=event.stop_px
        )

    def on_set_trading_state(self, command: SetTradingState) -> None:
        """Enter a trading state; HALTED stays until the next day or an operator."""
        self.state = command.state
        self._latched = False

    def on_day_ended(self, event: DayEnded) -> None:
        """Start the next trading day: new loss baseline, a latched halt ends if it may."""
        self._book.mark()
        self._day_start = self._cash + self._book.held_value
        self._loss_warned = False
        if self._latched and self._limits.halt_reset == "next_day":
            self.state = TradingState.ACTIVE
            self._latched = False
            self._tell_loss(Severity.INFO, 0, "TRADING_RESUMED")
        self._denied.clear()
        self._arm_day_end()

    def _arm_day_end(self) -> None:
        end = self._calendar.day_end(self.ctx.now)
        if end <= self.ctx.now:
            end = self._calendar.day_end(self.ctx.now + 1)
        self.ctx.set_timer(end, DayEnded(end))

    def _halt_if_lost(self, inputs: CheckInputs | None) -> None:
        """Halt when a denied order met a loss at its limit, whichever check denied it."""
        if inputs is None:
            return
        loss = inputs.day_start_equity - inputs.equity
        if loss_reached(loss, inputs.day_start_equity, self._bounds):
            self.state = TradingState.HALTED
            self._latched = True
            self._tell_loss(Severity.CRITICAL, loss, "TRADING_HALTED")

    def _warn(self, order: Order, exposure: Exposure, inputs: CheckInputs) -> None:
        bound = self._bounds
        if bound.position_ppm != NO_LIMIT and inputs.position_after > inputs.position_before:
            near = inputs.position_after * PPM >= inputs.equity * bound.position_warning_ppm
            if near and not exposure.warned:
                self._tell_position(order, inputs.position_after / inputs.equity)
            exposure.warned = near
        loss = inputs.day_start_equity - inputs.equity
        if self._loss_warned or loss <= 0:
            return
        if loss_reached(loss, inputs.day_start_equity, self._warning_bounds):
            self._loss_warned = True
            self._tell_loss(Severity.WARNING, loss, "NONE")

    def _tell_position(self, order: Order, share: float) -> None:
        limit = self._bounds.position_ppm / PPM
        self.ctx.publish(
            RiskEvent(
                event_type="POSITION_SIZE",
                severity=Severity.WARNING,
                strategy_id=order.strategy_id,
                symbol=order.symbol,
                value=share,
                limit=limit,
                action_taken="NONE",
                description=f"The position in {order.symbol} could be {share:.2%} of equity; "
                f"the limit is {limit:.2%}.",
                ts_event=self.ctx.now,
            )
        )

    def _tell_loss(self, severity: Severity, loss: int, action: str) -> None:
        units = loss_limit(self._day_start, self._bounds)
        limit = None if units == NO_LIMIT else units / CASH_UNIT
        amount = "" if limit is None else f"; the limit is {limit:,.2f}"
        self.ctx.publish(
            RiskEvent(
                event_type="DAILY_LOSS",
                severity=severity,
                strategy_id=None,
                symbol=None,
                value=loss / CASH_UNIT,
                limit=limit,
                action_taken=action,
                description=f"The day's loss is {loss / CASH_UNIT:,.2f}{amount}"
                f"{_CONSEQUENCES[action]}.",
                ts_event=self.ctx.now,
            )
        )


_CONSEQUENCES = {
    "NONE": "",
    "TRADING_HALTED": ": trading is halted",
    "TRADING_RESUMED": ": trading is resumed",
}


def shape_error(order: Order, instrument: Instrument) -> DenyCode | None:
    """Check what needs no market: quantities, prices and the fields each order type needs."""
    quantity = order.order_qty
    if quantity <= 0 or (instrument.lot_size != 1 and quantity % instrument.lot_size):
        return DenyCode.QUANTITY_PRECISION
    if order.order_type is _MARKET:
        return None
    tick = instrument.tick_size
    for px in (order.limit_px, order.stop_px, order.trail_px):
        if px is not None and (px <= 0 or px % tick):
            return DenyCode.PRICE_PRECISION
    needs_limit = order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    needs_stop = order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    trailing = order.order_type is OrderType.TRAILING_STOP
    if (
        (needs_limit and order.limit_px is None)
        or (needs_stop and order.stop_px is None)
        or (trailing and (order.trail_px is None) == (order.trail_bps is None))
        or (trailing and order.trail_bps is not None and order.trail_bps <= 0)
    ):
        return DenyCode.INVALID_ORDER
    return None
