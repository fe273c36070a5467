"""Facts: messages in the past tense. Nothing in them changes after they are sent.

Those of the hot path are encoded as arrays (a third of the bytes and time of maps); a new field
goes last and has a default.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.domain.orders import Liquidity, Order
from engine.domain.risk import Verdict


class OrderDenied(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_denied"):
    """The risk gate refused the order; it was never sent."""

    order: Order
    verdict: Verdict


class ReplaceDenied(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="replace_denied"):
    """The risk gate refused a replacement; it was never sent and the order works on as it was.

    Attributes:
        client_order_id: which order.
        verdict: the gate's answer, on the order as it would have become.
        ts_event: UTC nanoseconds.
    """

    client_order_id: str
    verdict: Verdict
    ts_event: int

    @property
    def reason(self) -> str:
        """The code of the check that failed."""
        return "" if self.verdict.code is None else self.verdict.code.name


class OrderSubmitted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_submitted"):
    """The router handed the order to its venue; PENDING_NEW."""

    client_order_id: str
    ts_event: int


class OrderAccepted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_accepted"):
    """The venue acknowledged the order; it is working.

    Attributes:
        client_order_id: our id.
        venue_order_id: the venue's id.
        ts_event: time of the acknowledgement, UTC nanoseconds.
    """

    client_order_id: str
    venue_order_id: str
    ts_event: int


class OrderRejected(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_rejected"):
    """The venue refused the order; its words are kept verbatim."""

    client_order_id: str
    reason: str
    ts_event: int


class OrderUnknown(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_unknown"):
    """Nobody can say what became of the order: a time-out, a lost connection, an unclear answer.

    It keeps its reservation until the venue says what it is; age never makes it rejected (P3).
    """

    client_order_id: str
    reason: str
    ts_event: int


class PricedBy(StrEnum):
    """Which part of which datum gave a fill its price."""

    BAR_OPEN = "bar.open"
    BAR_RANGE = "bar.range"
    BAR_CLOSE = "bar.close"
    TRADE = "trade"
    QUOTE = "quote"
    REPORT = "report"
    """A real venue's execution report; no datum of ours."""


class OrderFilled(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_filled"):
    """One execution (FIX ExecType TRADE); partial or full follows from ``leaves_qty``.

    Attributes:
        client_order_id: our id.
        exec_id: the venue's id of this execution; a fill is applied once per exec_id.
        strategy_id: owner of the order.
        symbol: instrument.
        signed_qty: quantity of this execution, positive bought, negative sold.
        last_px: price of this execution, in price units.
        cum_qty: filled so far, unsigned.
        leaves_qty: still open, unsigned.
        commission: cost of this execution in cash units, positive paid.
        slippage: cash units lost against the datum's price, included in ``last_px``.
        liquidity: maker or taker.
        ts_event: time of the execution, UTC nanoseconds.
        priced_by: which part of the datum gave the price.
        datum_seq: ``seq`` of that market event; -1 for a real venue's report.
        datum_ts: when that price became known, UTC nanoseconds; never before the order arrived.
    """

    client_order_id: str
    exec_id: str
    strategy_id: str
    symbol: str
    signed_qty: int
    last_px: int
    cum_qty: int
    leaves_qty: int
    commission: int
    slippage: int
    liquidity: Liquidity
    ts_event: int
    priced_by: PricedBy
    datum_seq: int
    datum_ts: int


class OrderCanceled(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_canceled"):
    """The order is off the venue; ``reason`` is a short code such as ``USER`` or ``OCO``."""

    client_order_id: str
    reason: str
    ts_event: int


class OrderExpired(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_expired"):
    """The order's time in force ended."""

    client_order_id: str
    reason: str
    ts_event: int


class OrderReplaced(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_replaced"):
    """The venue changed the order; the values are those now in force."""

    client_order_id: str
    order_qty: int
    limit_px: int | None
    stop_px: int | None
    ts_event: int


class CancelRejected(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="cancel_rejected"):
    """A cancel came too late or named an unknown order."""

    client_order_id: str
    reason: str
    ts_event: int


class ReplaceRejected(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="replace_rejected"
):
    """A replace was refused by the router or the venue; the order works on as it was."""

    client_order_id: str
    reason: str
    ts_event: int


class VenueUp(msgspec.Struct, frozen=True, kw_only=True, tag="venue_up"):
    """The connection to a venue outside this process stands: orders may be sent.

    Attributes:
        service: what the venue serves, such as ``tetrad.oms.v1.OrderLink``.
        ts_event: UTC nanoseconds, by our own clock.
        venue: which one; empty for the one that orders go to without a rule.
    """

    service: str
    ts_event: int
    venue: str = ""


class VenueDown(msgspec.Struct, frozen=True, kw_only=True, tag="venue_down"):
    """There is no connection to the venue; said again while it stays so.

    Attributes:
        reason: a short code, then the words of whoever refused.
        ts_event: UTC nanoseconds, by our own clock.
        venue: which one; empty for the one that orders go to without a rule.
    """

    reason: str
    ts_event: int
    venue: str = ""


class OrderNotFound(msgspec.Struct, frozen=True, kw_only=True, tag="order_not_found"):
    """The venue does not have the order: it never reached it. It may be sent again or given up."""

    client_order_id: str
    ts_event: int


class OrderStatusGiven(msgspec.Struct, frozen=True, kw_only=True, tag="order_status_given"):
    """The venue has said all it has to say about an order it was asked about."""

    client_order_id: str
    ts_event: int


class OrdersWorking(msgspec.Struct, frozen=True, kw_only=True, tag="orders_working"):
    """What the venue says is working there, whoever sent it.

    Attributes:
        client_order_ids: the orders; empty when there is none, and when ``refused`` is set.
        refused: why there is no answer, such as ``VENUE_LACKS_LIST``; None when there is one.
        ts_event: UTC nanoseconds.
        venue: which one; empty for the one that orders go to without a rule.
    """

    client_order_ids: tuple[str, ...]
    refused: str | None
    ts_event: int
    venue: str = ""


class BadAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="bad_answer"):
    """What a venue sent and nobody can use: a dead letter.

    Attributes:
        code: what is wrong with it, such as ``UNKNOWN_ORDER`` or ``BAD_PRICE``.
        detail: one sentence for people.
        client_order_id: the order it is about; None when it names none of ours.
        raw: the bytes as they came, the first 4096.
        ts_event: UTC nanoseconds, by our own clock.
    """

    code: str
    detail: str
    client_order_id: str | None
    raw: bytes
    ts_event: int


class PositionChanged(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="position_changed"
):
    """The ledger booked a fill: the position and cash that it left.

    Attributes:
        fill: the execution that was booked.
        quantity: signed position of (strategy, symbol) now, in quantity units.
        cost: signed cost basis of that position, in cash units.
        realized: profit this fill realised before commission, in cash units.
        cash: cash balance of the strategy's account now, in cash units.
    """

    fill: OrderFilled
    quantity: int
    cost: int
    realized: int
    cash: int


class Severity(StrEnum):
    """How bad a risk event is (R98)."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class RiskEvent(msgspec.Struct, frozen=True, kw_only=True, tag="risk_event"):
    """Something the operator should know about limits.

    Attributes:
        event_type: the rule, such as ``POSITION_SIZE`` or ``DAILY_LOSS``.
        severity: INFO, WARNING (near a limit) or CRITICAL (violated, action taken).
        strategy_id: whom it concerns; None for the whole account.
        symbol: which instrument; None when not about one.
        limit: the limit, in the unit of ``value``.
        value: the measured value.
        action_taken: what the engine did, such as ``ORDER_DENIED`` or ``TRADING_HALTED``.
        description: one sentence for people.
        ts_event: UTC nanoseconds.
    """

    event_type: str
    severity: Severity
    strategy_id: str | None
    symbol: str | None
    limit: float | None
    value: float
    action_taken: str
    description: str
    ts_event: int


class StrategyStopped(msgspec.Struct, frozen=True, kw_only=True, tag="strategy_stopped"):
    """Strategy host to executor: a strategy that was stopped has no order working.

    Attributes:
        strategy_id: which strategy.
        is_flat: whether it holds nothing; always so when it was to be flattened.
        ts_event: UTC nanoseconds.
    """

    strategy_id: str
    is_flat: bool
    ts_event: int


class StrategyFailed(msgspec.Struct, frozen=True, kw_only=True, tag="strategy_failed"):
    """A hook raised; the strategy is quarantined and its orders are canceled.

    Attributes:
        strategy_id: which strategy.
        hook: name of the hook.
        event: the event it was handling, rendered for people.
        error: ``Type: message``.
        traceback: full traceback text of the user's code.
        ts_event: UTC nanoseconds.
    """

    strategy_id: str
    hook: str
    event: str
    error: str
    traceback: str
    ts_event: int
