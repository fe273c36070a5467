"""The order router: the one writer of order state."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from engine.domain.commands import (
    CancelOrder,
    OrderApproved,
    ReplaceApproved,
    SetSymbolState,
)
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    ReplaceRejected,
    RiskEvent,
    Severity,
)
from engine.domain.latch import TradingLatch
from engine.domain.order_state import TRANSITIONS, next_status
from engine.domain.orders import TERMINAL, Order, OrderStatus
from engine.errors import InvariantError
from engine.runtime.actor import Actor, Handler

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_PENDING_NEW, _ACCEPTED = OrderStatus.PENDING_NEW, OrderStatus.ACCEPTED

VenueReport = (
    OrderAccepted
    | OrderCanceled
    | OrderExpired
    | OrderRejected
    | OrderReplaced
    | OrderUnknown
    | CancelRejected
    | ReplaceRejected
)


class OrderRecord:
    """State of one order: what it has become since it was approved.

    ``allowed_qty`` is the largest quantity that was ever approved for it: what fills beyond is an
    overfill.
    """

    __slots__ = ("allowed_qty", "closing", "cum_qty", "exec_ids", "leaves_qty", "order", "status")

    def __init__(self, order: Order, closing: bool) -> None:
        self.order = order
        self.closing = closing
        self.status = _PENDING_NEW
        self.cum_qty = 0
        self.leaves_qty = self.allowed_qty = order.order_qty
        self.exec_ids: set[str] | None = None


class OrderRouter(Actor):
    """Sends approved orders to their venue and turns its reports into events, each once.

    The router accepts nothing but :class:`OrderApproved`, which only the risk gate makes, and
    looks at the trading state and the age of the intent again immediately before it sends.

    Args:
        name: actor name.
        venue: actor name of the venue.
        gate: actor name of the risk gate.
        latch: the trading state; the gate writes it.
        intent_ttl: age of an intent, in nanoseconds, beyond which it is not sent any more.
        keep_closed: how many closed orders stay known, for late fills and duplicates.
    """

    def __init__(
        self,
        name: str,
        *,
        venue: str,
        gate: str,
        latch: TradingLatch,
        intent_ttl: int,
        keep_closed: int,
    ) -> None:
        super().__init__(name)
        self._venue = venue
        self._gate = gate
        self.latch = latch
        self._intent_ttl = intent_ttl
        self._keep_closed = keep_closed
        self._closed: deque[str] = deque()
        self.orders: dict[str, OrderRecord] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """Handle approvals, cancels and every report of a venue."""
        reports = (
            OrderCanceled,
            OrderExpired,
            OrderRejected,
            OrderReplaced,
            OrderUnknown,
            CancelRejected,
            ReplaceRejected,
        )
        return {
            OrderApproved: self.on_order_approved,
            ReplaceApproved: self.on_replace_approved,
            CancelOrder: self.on_cancel_order,
            OrderFilled: self.on_order_filled,
            **dict.fromkeys(reports, self.on_report),
            OrderAccepted: self.on_order_accepted,
        }

    def on_order_approved(self, approved: OrderApproved) -> None:
        """Send an approved order, once, if it may still leave."""
        order = approved.order
        order_id = order.client_order_id
        if order_id in self.orders:
            raise InvariantError(f"order {order_id} was approved twice")
        record = self.orders[order_id] = OrderRecord(order, approved.closing)
        now = self.ctx.now
        if not self.latch.is_open or now - order.ts_init > self._intent_ttl:
            refusal = self._refusal_to_send(record, order.ts_init)
            if refusal is not None:
                record.status = next_status(OrderStatus.INITIALIZED, OrderCanceled, 0, 0)
                self._close(order_id)
                self.ctx.publish(OrderCanceled(order_id, refusal, now))
                return
        self.ctx.publish(OrderSubmitted(order_id, approved.verdict.ts_event))
        self.ctx.send(self._venue, order)

    def _refusal_to_send(self, record: OrderRecord, ts_init: int) -> str | None:
        """Say why something that was approved a moment ago may not leave any more."""
        if self.ctx.now - ts_init > self._intent_ttl:
            return "INTENT_EXPIRED"
        order = record.order
        code = self.latch.refusal(
            order.strategy_id, reduce_only=order.reduce_only, closing=record.closing
        )
        return None if code is None else code.name

    def on_cancel_order(self, cancel: CancelOrder) -> None:
        """Pass a cancel on, or answer it here when there is nothing to cancel."""
        record = self.orders.get(cancel.client_order_id)
        reason = _refusal(record, cancel.strategy_id)
        if record is None or reason is not None:
            rejected = CancelRejected(cancel.client_order_id, reason or "", cancel.ts_init)
            self.ctx.publish(rejected)
            return
        record.status = OrderStatus.PENDING_CANCEL
        self.ctx.send(self._venue, cancel)

    def on_replace_approved(self, approved: ReplaceApproved) -> None:
        """Pass an approved replacement on, or answer it here."""
        replace = approved.replace
        record = self.orders.get(replace.client_order_id)
        reason = _refusal(record, replace.strategy_id)
        if record is not None and reason is None:
            reason = self._refusal_to_send(record, replace.ts_init)
        if record is None or reason is not None:
            rejected = ReplaceRejected(replace.client_order_id, reason or "", replace.ts_init)
            self.ctx.publish(rejected)
            return
        record.allowed_qty = max(record.allowed_qty, replace.order_qty or 0)
        record.status = OrderStatus.PENDING_REPLACE
        self.ctx.send(self._venue, replace)

    def on_order_filled(self, fill: OrderFilled) -> None:
        """Apply an execution once, whenever it arrives, and pass it on."""
        order_id = fill.client_order_id
        record = self.orders.get(order_id)
        if record is None:
            raise InvariantError(f"a fill of unknown order {order_id}: {fill}")
        exec_ids = record.exec_ids
        if exec_ids is None:
            record.exec_ids = {fill.exec_id}
        elif fill.exec_id in exec_ids:
            return
        else:
            exec_ids.add(fill.exec_id)
        cum_qty = record.cum_qty + abs(fill.signed_qty)
        if cum_qty != fill.cum_qty:
            fill = _in_sequence(fill, cum_qty)
        record.cum_qty = cum_qty
        record.leaves_qty = leaves_qty = fill.leaves_qty
        before = record.status
        record.status = next_status(before, OrderFilled, cum_qty, leaves_qty)
        if leaves_qty == 0 and before not in TERMINAL:
            self._close(order_id)
        self.ctx.publish(fill)
        if cum_qty > record.allowed_qty:
            self._halt_symbol(fill, record)

    def _halt_symbol(self, fill: OrderFilled, record: OrderRecord) -> None:
        """Stop trading in a symbol whose venue filled more than was ordered; it is booked (P6)."""
        self.ctx.publish(
            RiskEvent(
                event_type="OVERFILL",
                severity=Severity.CRITICAL,
                strategy_id=fill.strategy_id,
                symbol=fill.symbol,
                value=float(record.cum_qty),
                limit=float(record.allowed_qty),
                action_taken="SYMBOL_HALTED",
                description=f"Order {fill.client_order_id} filled {record.cum_qty} of "
                f"{record.allowed_qty} quantity units: trading in {fill.symbol} is halted.",
                ts_event=self.ctx.now,
            )
        )
        self.ctx.send(
            self._gate,
            SetSymbolState(
                symbol=fill.symbol, halted=True, reason="OVERFILL", ts_init=self.ctx.now
            ),
        )

    def on_order_accepted(self, accepted: OrderAccepted) -> None:
        """Pass an acknowledgement on, once: every order's hot path, else like any report."""
        record = self.orders.get(accepted.client_order_id)
        if record is not None and record.status is _ACCEPTED:
            return
        if record is None or record.status is not _PENDING_NEW:
            self.on_report(accepted)
            return
        record.status = _ACCEPTED
        self.ctx.publish(accepted)

    def on_report(self, report: VenueReport) -> None:
        """Apply any other report and pass it on; a repeated terminal report changes nothing."""
        record = self.orders.get(report.client_order_id)
        kind = type(report)
        if record is None and kind in (CancelRejected, ReplaceRejected):
            # It crossed the end of its order, which has been forgotten since.
            self.ctx.publish(report)
            return
        if record is None:
            raise InvariantError(f"a report on unknown order {report.client_order_id}: {report}")
        before = record.status
        if before in TERMINAL and kind not in TRANSITIONS[before]:
            return
        if type(report) is OrderReplaced:
            record.leaves_qty = report.order_qty - record.cum_qty
        record.status = after = next_status(before, kind, record.cum_qty, record.leaves_qty)
        if after in TERMINAL and before not in TERMINAL:
            self._close(report.client_order_id)
        self.ctx.publish(report)

    def _close(self, order_id: str) -> None:
        self._closed.append(order_id)
        if len(self._closed) > self._keep_closed:
            del self.orders[self._closed.popleft()]


def _in_sequence(fill: OrderFilled, cum_qty: int) -> OrderFilled:
    """Count a fill that came out of its order, or from a reconciliation, where it came."""
    total = fill.cum_qty + fill.leaves_qty
    return msgspec.structs.replace(fill, cum_qty=cum_qty, leaves_qty=max(total - cum_qty, 0))


def _refusal(record: OrderRecord | None, strategy_id: str) -> str | None:
    if record is None:
        return "UNKNOWN_ORDER"
    if record.order.strategy_id != strategy_id:
        return "NOT_OWNER"
    if record.status.is_terminal:
        return f"ALREADY_{record.status.name}"
    if record.status is OrderStatus.PENDING_CANCEL:
        return "ALREADY_PENDING_CANCEL"
    return None
