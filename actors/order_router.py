"""The order router: the one writer of order state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from engine.domain import notices
from engine.domain.commands import (
    CancelOrder,
    OrderApproved,
    OrderMassStatusRequest,
    OrderStatusRequest,
    ReplaceApproved,
    SetSymbolState,
)
from engine.domain.events import (
    BadAnswer,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrderSubmitted,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    Severity,
    VenueDown,
    VenueUp,
)
from engine.domain.latch import TradingLatch
from engine.domain.order_record import WORKING, OrderRecord
from engine.domain.order_state import TRANSITIONS, next_status
from engine.domain.orders import TERMINAL, Order, OrderStatus
from engine.domain.risk import DenyCode
from engine.domain.venue_session import VENUE_DOWN, VenueSession
from engine.errors import InvariantError
from engine.runtime.actor import Actor, Handler

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_PENDING_NEW, _ACCEPTED = OrderStatus.PENDING_NEW, OrderStatus.ACCEPTED
_INITIALIZED, _UNKNOWN = OrderStatus.INITIALIZED, OrderStatus.UNKNOWN

ASK_AGAIN_NS = 1_000_000_000
ASK_AGAIN_MOST = 30
"""An order of unknown outcome is asked about again after the first time, doubled up to so many
times that."""

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


class AskAgain(msgspec.Struct, frozen=True, tag="ask_again"):
    """The router's own timer: an order may still be of unknown outcome."""

    client_order_id: str


class OrderRouter(Actor):
    """Sends approved orders to their venue and turns its reports into events, each once.

    The router accepts nothing but :class:`OrderApproved`, which only the risk gate makes, and
    looks at the trading state and the age of the intent again immediately before it sends.

    Args:
        name: actor name.
        venues: by name, the actor that takes requests to each; the first is where orders go
            that no rule sends elsewhere.
        gate: actor name of the risk gate.
        latch: the trading state; the gate writes it.
        intent_ttl: age of an intent, in nanoseconds, beyond which it is not sent any more.
        keep_closed: how many closed orders stay known, for late fills and duplicates.
        outside: whether the venue is outside this process. Then it says itself when it is there,
            and is asked about every open order first; and a report that cannot be is its fault, to
            be told and dropped, where one of our own venue would be a bug.
        venue_of: names the venue of an order; None when there is one for all.
        ask_again_ns: how soon an order of unknown outcome is asked about again, nanoseconds;
            doubled each time, up to ``ASK_AGAIN_MOST`` times that.
    """

    def __init__(
        self,
        name: str,
        *,
        venues: Mapping[str, str],
        gate: str,
        latch: TradingLatch,
        intent_ttl: int,
        keep_closed: int,
        outside: bool = False,
        venue_of: Callable[[Order], str] | None = None,
        ask_again_ns: int = ASK_AGAIN_NS,
    ) -> None:
        super().__init__(name)
        self._gate = gate
        self.latch = latch
        self._intent_ttl = intent_ttl
        self._keep_closed = keep_closed
        self._closed: deque[str] = deque()
        self._outside = outside
        self._sessions = {
            name: VenueSession(peer, is_up=not outside) for name, peer in venues.items()
        }
        self._first = next(iter(self._sessions.values()))
        self._venue_of = venue_of
        self._ask_again_ns = ask_again_ns
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
            OrderNotFound: self.on_order_not_found,
            OrderStatusGiven: self.on_order_status_given,
            OrdersWorking: self.on_orders_working,
            VenueUp: self.on_venue_up,
            VenueDown: self.on_venue_down,
            BadAnswer: self.on_bad_answer,
            OrderMassStatusRequest: self.on_mass_status_request,
            AskAgain: self.on_ask_again,
        }

    def on_order_approved(self, approved: OrderApproved) -> None:
        """Send an approved order, once, if it may still leave."""
        order = approved.order
        order_id = order.client_order_id
        if order_id in self.orders:
            raise InvariantError(f"order {order_id} was approved twice")
        venue_of = self._venue_of
        session = self._first if venue_of is None else self._sessions[venue_of(order)]
        record = self.orders[order_id] = OrderRecord(order, approved.closing, session)
        if session.asked or not session.is_up:
            record.status = _INITIALIZED
            session.held.append(order_id)
            return
        if self._may_leave(record):
            self.ctx.publish(OrderSubmitted(order_id, approved.verdict.ts_event))
            self.ctx.send(session.peer, order)

    def _may_leave(self, record: OrderRecord) -> bool:
        """Look once more whether an order may be sent; cancel it here when it may not."""
        order, now = record.order, self.ctx.now
        if self.latch.is_open and now - order.ts_init <= self._intent_ttl:
            return True
        refusal = self._refusal_to_send(record, order.ts_init)
        if refusal is None:
            return True
        self._cancel_here(record, refusal)
        return False

    def _cancel_here(self, record: OrderRecord, reason: str) -> None:
        """End an order that the venue has never had."""
        order_id = record.order.client_order_id
        record.status = next_status(_INITIALIZED, OrderCanceled, 0, 0)
        self._close(order_id)
        self.ctx.publish(OrderCanceled(order_id, reason, self.ctx.now))

    def _refusal_to_send(self, record: OrderRecord, ts_init: int) -> str | None:
        """Say why something that was approved a moment ago may not leave any more."""
        if self.ctx.now - ts_init > self._intent_ttl:
            return "INTENT_EXPIRED"
        code = self._held_back(record)
        return None if code is None else code.name

    def _held_back(self, record: OrderRecord) -> DenyCode | None:
        """Say why the trading state keeps an order from the venue."""
        order = record.order
        return self.latch.refusal(
            order.strategy_id, reduce_only=order.reduce_only, closing=record.closing
        )

    def on_cancel_order(self, cancel: CancelOrder) -> None:
        """Pass a cancel on, or answer it here when there is nothing to cancel."""
        record = self.orders.get(cancel.client_order_id)
        reason = _refusal(record, cancel.strategy_id)
        if record is None or reason is not None:
            rejected = CancelRejected(cancel.client_order_id, reason or "", cancel.ts_init)
            self.ctx.publish(rejected)
            return
        if record.status is _INITIALIZED:
            self._cancel_here(record, "USER")
            return
        record.canceling = True
        self._cancel(record, cancel.ts_init)

    def _cancel(self, record: OrderRecord, ts_init: int) -> None:
        """Ask for an order's cancel, again if need be: to cancel twice is to cancel once."""
        order = record.order
        record.status = OrderStatus.PENDING_CANCEL
        cancel = CancelOrder(order.client_order_id, order.strategy_id, ts_init)
        self.ctx.send(record.session.peer, cancel)

    def on_replace_approved(self, approved: ReplaceApproved) -> None:
        """Pass an approved replacement on, or answer it here."""
        replace = approved.replace
        record = self.orders.get(replace.client_order_id)
        reason = _refusal(record, replace.strategy_id)
        if record is not None and reason is None:
            asked = record.session.asked
            waits = record.status is _INITIALIZED or replace.client_order_id in asked
            reason = "NOT_READY" if waits else self._refusal_to_send(record, replace.ts_init)
        if record is None or reason is not None:
            rejected = ReplaceRejected(replace.client_order_id, reason or "", replace.ts_init)
            self.ctx.publish(rejected)
            return
        record.allowed_qty = max(record.allowed_qty, replace.order_qty or 0)
        record.replacing += 1
        record.status = OrderStatus.PENDING_REPLACE
        self.ctx.send(record.session.peer, replace)

    def on_order_filled(self, fill: OrderFilled) -> None:
        """Apply an execution once, whenever it arrives, and pass it on."""
        order_id = fill.client_order_id
        record = self.orders.get(order_id)
        if record is None:
            self._wrong(fill, "a fill of unknown order")
            self._halt_trading_in(fill.symbol, "UNKNOWN_FILL")
            return
        fills = record.fills
        if fills is None:
            record.fills = {fill.exec_id: fill}
        elif fill.exec_id in fills:
            return
        else:
            fills[fill.exec_id] = fill
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
        if record.canceling and before is _UNKNOWN and leaves_qty:
            self._cancel(record, self.ctx.now)
        if cum_qty > record.allowed_qty:  # it is booked all the same (P6)
            self.ctx.publish(notices.overfill(fill, cum_qty, record.allowed_qty, self.ctx.now))
            self._halt_trading_in(fill.symbol, "OVERFILL")

    def _halt_trading_in(self, symbol: str, reason: str) -> None:
        self.ctx.send(
            self._gate,
            SetSymbolState(symbol=symbol, halted=True, reason=reason, ts_init=self.ctx.now),
        )

    def on_order_accepted(self, accepted: OrderAccepted) -> None:
        """Pass an acknowledgement on, once: every order's hot path, else like any report."""
        record = self.orders.get(accepted.client_order_id)
        if record is not None and record.acked and record.status is not _UNKNOWN:
            return
        if record is None or record.status is not _PENDING_NEW:
            self.on_report(accepted)
            return
        record.acked = True
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
            self._wrong(report, "a report on unknown order")
            return
        before = record.status
        if kind not in TRANSITIONS[before]:
            if before not in TERMINAL:
                self._wrong(report, f"{kind.__name__} cannot happen to a {before.name} order")
            return
        if before is _UNKNOWN and kind is OrderUnknown:
            self._doubt(record)
            return
        if type(report) is CancelRejected and report.reason == VENUE_DOWN and self._outside:
            return  # it has not been there: it is asked for again when there is a venue
        if type(report) is OrderReplaced:
            # Two may come into force at one time, but not when old ones are being said again.
            again = report.client_order_id in record.session.asked or not record.replacing
            if report.ts_event < record.replaced_ts + again:
                return
            record.replaced_ts = report.ts_event
            record.leaves_qty = report.order_qty - record.cum_qty
        if kind in (OrderReplaced, ReplaceRejected) and record.replacing:
            record.replacing -= 1
        record.turn(kind)
        after = record.status
        if after in TERMINAL and before not in TERMINAL:
            self._close(report.client_order_id)
        self.ctx.publish(report)
        if after is _UNKNOWN and before is not _UNKNOWN:
            record.doubts = 1
            self._doubt(record)
        elif after in WORKING and record.canceling:
            self._cancel(record, self.ctx.now)
        elif type(report) is CancelRejected and after not in TERMINAL and self._held_back(record):
            said = f"order {report.client_order_id} works on while trading is held: the venue "
            said += f"refused its cancel ({report.reason})"
            self._tell("CANCEL_REFUSED", Severity.CRITICAL, "REPORTED", said, record.order)

    def _wrong(self, report: VenueReport | OrderFilled, what: str) -> None:
        """Tell of a report that cannot be, of a venue outside; of our own it is a bug."""
        said = f"{what} {report.client_order_id}: {report}"
        if not self._outside:
            raise InvariantError(said)
        self._tell("IMPOSSIBLE_REPORT", Severity.CRITICAL, "REPORT_DROPPED", said)

    # A venue outside this process.

    def on_venue_up(self, up: VenueUp) -> None:
        """Ask a venue that is connected, or again, about every open order; new ones wait."""
        session = self._of_venue(up.venue)
        sent = {
            order_id: record
            for order_id, record in self.orders.items()
            if record.session is session
            and record.status not in TERMINAL
            and record.status is not _INITIALIZED
        }
        session.ask(set(sent))
        self.ctx.send(session.peer, OrderMassStatusRequest())
        for record in sent.values():
            record.questions = record.stale = 0  # nobody answers those of an earlier connection
            self._ask(record)
            if record.canceling:  # whether that arrived nobody knows
                self._cancel(record, self.ctx.now)
        if session.is_open:
            self._release(session)

    def _of_venue(self, venue: str) -> VenueSession:
        return self._sessions[venue] if venue else self._first

    def on_venue_down(self, down: VenueDown) -> None:
        """Hold new orders until the venue is back."""
        if self._of_venue(down.venue).lose():
            said = f"{down.venue}: {down.reason}" if down.venue else down.reason
            self._tell("VENUE_DOWN", Severity.WARNING, "ORDERS_HELD", said)

    def on_order_status_given(self, given: OrderStatusGiven) -> None:
        """Take the end of an answer: a replacement that it does not tell of never came to be."""
        order_id = given.client_order_id
        record = self.orders.get(order_id)
        if record is not None:
            record.answered()
            record.in_doubt = record.status is _UNKNOWN
        while record is not None and record.replacing and record.status not in TERMINAL:
            self.on_report(ReplaceRejected(order_id, "NOT_APPLIED", given.ts_event))
        self._answered(order_id)

    def on_order_not_found(self, missing: OrderNotFound) -> None:
        """Send an order again that the venue has never had, if it may still leave."""
        order_id = missing.client_order_id
        record = self.orders.get(order_id)
        if record is not None and record.answered() and record.status not in TERMINAL:
            if record.acked or record.cum_qty:
                self._lost(record, missing)
            elif record.canceling:
                self._cancel_here(record, "USER")
            elif record.session.is_up and self._may_leave(record):
                record.stale = record.questions
                self.ctx.send(record.session.peer, record.order)
        self._answered(order_id)

    def _lost(self, record: OrderRecord, missing: OrderNotFound) -> None:
        """Keep an order that the venue had and denies: only a person knows what became of it."""
        order = record.order
        self._tell(
            "ORDER_LOST", Severity.CRITICAL, "SYMBOL_HALTED",
            f"the venue no longer knows order {order.client_order_id}, which it had accepted: "
            f"trading in {order.symbol} is halted",
            order,
        )  # fmt: skip
        self._halt_trading_in(order.symbol, "ORDER_LOST")
        self.on_report(OrderUnknown(order.client_order_id, "ORDER_LOST", missing.ts_event))

    @property
    def agrees(self) -> bool:
        """True when nothing is left to be asked of any venue and each has answered the last."""
        return all(each.is_open and each.is_listed for each in self._sessions.values())

    def on_mass_status_request(self, request: OrderMassStatusRequest) -> None:
        """Ask every venue once more: what it had to say before it answers is here by then."""
        for session in self._sessions.values():
            session.is_listed = False
            self.ctx.send(session.peer, request)

    def on_orders_working(self, working: OrdersWorking) -> None:
        """Tell of orders that work at the venue and are not ours."""
        self._of_venue(working.venue).listed(working.refused)
        strangers = [each for each in working.client_order_ids if each not in self.orders]
        if strangers:
            named = ", ".join(strangers[:5]) + (" and more" if len(strangers) > 5 else "")
            self._tell(
                "UNKNOWN_ORDERS", Severity.CRITICAL, "REPORTED",
                f"orders work at the venue that this run has not sent: {named}",
            )  # fmt: skip

    def on_bad_answer(self, bad: BadAnswer) -> None:
        """Tell of an answer of the venue that nobody can use."""
        self._tell(f"BAD_ANSWER_{bad.code}", Severity.WARNING, "ANSWER_DROPPED", bad.detail)

    def on_ask_again(self, again: AskAgain) -> None:
        """Ask about an order of unknown outcome, as long as it is one."""
        record = self.orders.get(again.client_order_id)
        if record is not None and record.status is _UNKNOWN:
            if record.session.is_up:
                self._ask(record)
            else:
                self._doubt(record)

    def _doubt(self, record: OrderRecord) -> None:
        """Look at an order of unknown outcome again in a while; it is never given up by its age."""
        order_id = record.order.client_order_id
        self.ctx.set_timer(self.ctx.now + record.doubts * self._ask_again_ns, AskAgain(order_id))
        record.doubts = min(2 * record.doubts, ASK_AGAIN_MOST)
        self._answered(order_id)

    def _ask(self, record: OrderRecord) -> None:
        record.questions += 1
        booked = tuple((record.fills or {}).values())
        self.ctx.send(record.session.peer, OrderStatusRequest(record.order, booked))

    def _answered(self, order_id: str) -> None:
        for session in self._sessions.values():
            if session.answered(order_id):
                self._release(session)

    def _release(self, session: VenueSession) -> None:
        """Send what has waited for a venue, if it may still leave."""
        held = session.held
        while held:
            record = self.orders.get(held.popleft())
            if record is None or record.status is not _INITIALIZED:
                continue
            if self._may_leave(record):
                record.status = _PENDING_NEW
                order = record.order
                self.ctx.publish(OrderSubmitted(order.client_order_id, self.ctx.now))
                self.ctx.send(session.peer, order)

    def _tell(
        self, event: str, severity: Severity, action: str, said: str, order: Order | None = None
    ) -> None:
        self.ctx.publish(notices.of_venue(event, severity, action, said, order, self.ctx.now))

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
    if record.canceling:
        return "ALREADY_PENDING_CANCEL"
    return None
