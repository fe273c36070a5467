"""Requests: imperative messages that ask an actor to do something."""

from __future__ import annotations

import msgspec

from engine.domain.events import OrderFilled
from engine.domain.executions import EndExecution, OnStop
from engine.domain.latch import TradingState
from engine.domain.orders import Order
from engine.domain.risk import Verdict

__all__ = [
    "CancelOrder",
    "ClosePosition",
    "KillSwitch",
    "OperatorCommand",
    "OrderApproved",
    "ReplaceApproved",
    "ReplaceOrder",
    "SetSymbolState",
    "SetTradingState",
    "StopStrategy",
    "SubmitOrder",
    "TradingState",
]


class SubmitOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="submit_order"):
    """Strategy host to risk gate: check this order and, if it passes, send it.

    Attributes:
        order: the order.
        closing: the engine itself closes a position, which it may when trading is halted.
    """

    order: Order
    closing: bool = False


class OrderApproved(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order_approved"):
    """Risk gate to router: the permission to send exactly this order. Only the gate makes one.

    Attributes:
        order: the order.
        verdict: the gate's answer.
        closing: the engine itself closes a position; it may leave when trading is halted.
    """

    order: Order
    verdict: Verdict
    closing: bool = False


class CancelOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="cancel_order"):
    """Take an order off the venue.

    Attributes:
        client_order_id: which order.
        strategy_id: whose order; only the owner's cancel is honoured.
        ts_init: time of the event that caused the request, UTC nanoseconds.
    """

    client_order_id: str
    strategy_id: str
    ts_init: int


class ReplaceOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="replace_order"):
    """Change quantity or prices of a working order; None keeps the present value.

    Attributes:
        client_order_id: which order; it keeps its id.
        strategy_id: whose order.
        ts_init: time of the event that caused the request, UTC nanoseconds.
        order_qty: new total quantity (what is filled already counts), in quantity units.
        limit_px: new limit, in price units.
        stop_px: new stop, in price units.
    """

    client_order_id: str
    strategy_id: str
    ts_init: int
    order_qty: int | None = None
    limit_px: int | None = None
    stop_px: int | None = None


class ReplaceApproved(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="replace_approved"
):
    """Risk gate to router: the permission to send exactly this replacement."""

    replace: ReplaceOrder
    verdict: Verdict


class OrderStatusRequest(msgspec.Struct, frozen=True, array_like=True, tag="order_status_request"):
    """Router to venue: say again what became of an order (FIX OrderStatusRequest).

    Attributes:
        order: the order as it was sent.
        fills: what is booked of it.
    """

    order: Order
    fills: tuple[OrderFilled, ...]


class OrderMassStatusRequest(
    msgspec.Struct, frozen=True, array_like=True, tag="order_mass_status_request"
):
    """Router to venue: say which orders are working, whoever sent them."""


class SetTradingState(msgspec.Struct, frozen=True, kw_only=True, tag="set_trading_state"):
    """Operator to risk gate: enter a state; ACTIVE resumes whatever has halted.

    Attributes:
        state: the state to enter; it holds until an operator sets another.
        reason: why, for the record.
        ts_init: time of the cause, UTC nanoseconds.
        strategy_id: whose state; None is the account's.
    """

    state: TradingState
    reason: str
    ts_init: int
    strategy_id: str | None = None


class KillSwitch(msgspec.Struct, frozen=True, kw_only=True, tag="kill_switch"):
    """Operator to risk gate: halt, cancel every working order and, if asked to, go flat.

    Attributes:
        reason: why, for the record.
        ts_init: time of the cause, UTC nanoseconds.
        flatten: close every position too, in slices of at most ``risk.max_order_size``.
    """

    reason: str
    ts_init: int
    flatten: bool = False


class SetSymbolState(msgspec.Struct, frozen=True, kw_only=True, tag="set_symbol_state"):
    """Venue, router or operator to risk gate: trading in a symbol halts or goes on.

    Attributes:
        symbol: which.
        halted: whether no order in it may leave.
        reason: why, for the record.
        ts_init: time of the cause, UTC nanoseconds.
    """

    symbol: str
    halted: bool
    reason: str
    ts_init: int


class ClosePosition(msgspec.Struct, frozen=True, kw_only=True, tag="close_position"):
    """Gate or monitor to strategy host: cancel its orders in the symbol and go flat there.

    The closing orders are sliced to ``risk.max_order_size``.

    Attributes:
        strategy_id: whose position.
        symbol: which.
        reason: code of the rule that asks for it, such as ``STOP_LOSS``; becomes the order's tag.
        ts_init: time of the cause, UTC nanoseconds.
    """

    strategy_id: str
    symbol: str
    reason: str
    ts_init: int


class StopStrategy(msgspec.Struct, frozen=True, kw_only=True, tag="stop_strategy"):
    """Executor to strategy host: run ``on_stop``, deliver nothing more and wind down.

    Attributes:
        strategy_id: which strategy.
        positions: ``keep`` or ``flatten`` (decision D15); open orders are canceled in both.
        ts_init: time of the cause, UTC nanoseconds.
    """

    strategy_id: str
    positions: str
    ts_init: int


class OperatorCommand(msgspec.Struct, frozen=True):
    """What a person tells an engine at work.

    Attributes:
        command: ``halt``, ``reduce``, ``resume``, ``flatten``, or to end a strategy that began by
            a message ``stop``, ``stop-keep`` or ``stop-flatten``.
        strategy_id: whose trading; None is the account's.
        reason: why, for the record.
    """

    command: str
    strategy_id: str | None
    reason: str

    def message(self, now: int) -> SetTradingState | KillSwitch | EndExecution:
        """Give what the engine is told; halting the account is the kill switch."""
        if self.command in _STOPS:
            return EndExecution(
                strategy_id=self.strategy_id or "",
                reason=self.reason,
                on_stop=_STOPS[self.command],
                ts_init=now,
            )
        if self.command == "flatten" or (self.command == "halt" and self.strategy_id is None):
            return KillSwitch(reason=self.reason, ts_init=now, flatten=self.command == "flatten")
        return SetTradingState(
            state=_STATES[self.command],
            reason=self.reason,
            ts_init=now,
            strategy_id=self.strategy_id,
        )


_STOPS: dict[str, OnStop | None] = {
    "stop": None,
    "stop-keep": "keep",
    "stop-flatten": "flatten",
}
_STATES = {
    "halt": TradingState.HALTED,
    "reduce": TradingState.REDUCING,
    "resume": TradingState.ACTIVE,
}
