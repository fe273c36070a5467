"""From what happened in a run to what is told of it.

A pure function of the sequence of events: the messages, their order and their numbers are the
same however the events come in batches, and however often a run is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.domain.commands import OrderApproved
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderUnknown,
    PositionChanged,
    RiskEvent,
    StrategyFailed,
)
from engine.domain.executions import ExecutionBegan, ExecutionEnded, ExecutionRefused, WireId
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.orders import TERMINAL, Order, OrderStatus, Side, price_at_stake
from engine.domain.publications import (
    Destination,
    ErrorTold,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionStopped,
    Fill,
    InitialOrder,
    Message,
    OrderChanged,
    PositionMoved,
    Publication,
    RefusalTold,
    RiskTold,
    amount,
    average,
    price,
    quantity,
    render,
    shortened,
)
from engine.domain.wire_time import write_time

__all__ = ["Announcer"]

_WIRE = {
    OrderStatus.INITIALIZED: "PENDING",
    OrderStatus.UNKNOWN: "PENDING",
    OrderStatus.ACCEPTED: "ACCEPTED",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.DENIED: "REJECTED",
    OrderStatus.REJECTED: "REJECTED",
    OrderStatus.CANCELED: "CANCELLED",
    OrderStatus.EXPIRED: "CANCELLED",
}
"""The word of the wire for each status that is told (decision D7)."""


class _Execution:
    """One execution, and what is held back until it is told to have started.

    Args:
        key: its id.
        strategy_id: of which strategy, as it is told.
        user_id: whose it is.
        began: when it began, UTC nanoseconds; None when that is not known yet.
    """

    def __init__(
        self, key: str, strategy_id: WireId, user_id: WireId | None, began: int | None
    ) -> None:
        self.key = key
        self.strategy_id = strategy_id
        self.user_id = user_id
        self.began = began
        self.first: int | None = None
        """Its first moment, UTC nanoseconds; None when that is not known yet."""
        self.has_started = False
        self.is_over = False
        self.initial: list[InitialOrder] = []
        self.held: list[tuple[Destination, str, Message]] = []


class _Told:
    """What has been told of an order; quantities and prices in units."""

    __slots__ = (
        "execution", "filled", "instrument", "limit_px", "order", "order_qty", "reason", "status",
        "stop_px", "value", "venue_order_id",
    )  # fmt: skip

    def __init__(
        self, order: Order, instrument: Instrument, status: OrderStatus, execution: _Execution
    ) -> None:
        self.order = order
        self.execution = execution
        self.instrument = instrument
        self.status = status
        self.order_qty = order.order_qty
        self.limit_px, self.stop_px = order.limit_px, order.stop_px
        self.filled = 0
        self.value = 0
        """Of what is filled: price units times quantity units."""
        self.reason: str | None = None
        self.venue_order_id: str | None = None

    @property
    def working(self) -> OrderStatus:
        """Status of an order that the venue has."""
        return OrderStatus.PARTIALLY_FILLED if self.filled else OrderStatus.ACCEPTED


class Announcer:
    """Turns the events of one run into messages.

    An execution is told to have started when its first moment is over, so that the orders it began
    with are known; what happens to its orders until then is told after that. The first moment is
    that of the first market data for one that begins with the run, and that of its beginning for
    one that begins while the run is at work.

    Args:
        run_name: the run.
        executions: the id of the execution of each strategy that begins with the run.
        instruments: scales by symbol.
        user_id: whose those strategies are; None when nobody said.
        told: how many messages of the run have been told before; those are not given again.
    """

    def __init__(
        self,
        run_name: str,
        executions: Mapping[str, str],
        instruments: Mapping[str, Instrument],
        *,
        user_id: str | None,
        told: int,
    ) -> None:
        self._run_name = run_name
        self._executions = {
            strategy_id: _Execution(key, strategy_id, user_id, None)
            for strategy_id, key in executions.items()
        }
        self._starting = list(self._executions.values())
        """Those that have not been told to have started, in order."""
        self._instruments = instruments
        self._user_id = user_id
        self._told = told
        self._sequence = 0
        self._latest = 0
        self._orders: dict[str, _Told] = {}
        self._out: list[Publication] = []
        self._tell: Mapping[type, Callable[[Any], None]] = {
            OrderApproved: self._approved,
            OrderDenied: self._denied,
            OrderAccepted: self._accepted,
            OrderUnknown: self._ended(OrderStatus.UNKNOWN),
            OrderRejected: self._ended(OrderStatus.REJECTED),
            OrderCanceled: self._ended(OrderStatus.CANCELED),
            OrderExpired: self._ended(OrderStatus.EXPIRED),
            OrderReplaced: self._replaced,
            PositionChanged: self._filled,
            RiskEvent: self._risk,
            StrategyFailed: self._strategy_failed,
            ExecutionBegan: self._execution_began,
            ExecutionRefused: self._execution_refused,
            ExecutionEnded: self._execution_ended,
        }

    def begin(self, ts: int) -> None:
        """Note when the strategies were started, UTC nanoseconds."""
        for execution in self._starting:
            if execution.began is None:
                execution.began = ts

    def market(self, ts: int) -> None:
        """Note the time of a market event, UTC nanoseconds."""
        for execution in self._starting:
            if execution.first is None:
                execution.first = ts
        self._latest = max(self._latest, ts)

    def passed(self, ts: int) -> None:
        """Note that the clock of the run has come to a time, UTC nanoseconds."""
        self._latest = max(self._latest, ts)

    def take(self, events: Iterable[Any]) -> None:
        """Take in events, in order."""
        for event in events:
            tell = self._tell.get(type(event))
            if tell is not None:
                tell(event)

    def settle(self) -> None:
        """Note that every event has been taken in that came of the times that were noted."""
        self._moment(self._latest)

    def end(self) -> None:
        """Note that the run has ended for good."""
        for execution in tuple(self._starting):
            self._start(execution)
        for execution in self._executions.values():
            if not execution.is_over:
                about = _about(execution, self._latest)
                self._say("execution", execution, ExecutionCompleted(**about))

    def drain(self) -> list[Publication]:
        """Give what there is to tell since the last time, in order."""
        out, self._out = self._out, []
        return out

    # The way out.

    def _say(self, topic: Destination, execution: _Execution, message: Message) -> None:
        """Tell something about an execution; all but errors come after its start."""
        key = str(execution.strategy_id)
        if execution.has_started or topic == "errors":
            self._put(topic, key, message)
        else:
            execution.held.append((topic, key, message))

    def _put(self, topic: Destination, key: str, message: Message) -> None:
        if self._sequence >= self._told:
            self._out.append(Publication(self._sequence, topic, key, render(message)))
        self._sequence += 1

    def _start(self, execution: _Execution) -> None:
        if execution.has_started:
            return
        self._starting.remove(execution)
        execution.has_started = True
        ts = execution.began if execution.began is not None else execution.first or 0
        started = ExecutionStarted(**_about(execution, ts), initial_orders=execution.initial)
        self._say("execution", execution, started)
        for held in execution.held:
            self._put(*held)
        execution.held.clear()

    def _moment(self, ts: int) -> None:
        """Note the time of an event: a later one ends the first moment of an execution."""
        if self._starting:
            for execution in tuple(self._starting):
                if execution.first is not None and ts > execution.first:
                    self._start(execution)

    # Executions that begin and end while the run is at work.

    def _execution_began(self, event: ExecutionBegan) -> None:
        execution = _Execution(event.execution_id, event.wire_id, event.user_id, event.ts_event)
        # Not of the next market data: how inputs and events lie in batches must not matter.
        execution.first = event.ts_event
        self._executions[event.strategy_id] = execution
        self._starting.append(execution)

    def _execution_refused(self, event: ExecutionRefused) -> None:
        self._moment(event.ts_event)
        execution = _Execution(event.execution_id, event.wire_id, event.user_id, event.ts_event)
        about = _about(execution, event.ts_event)
        self._say("errors", execution, RefusalTold(**about, error=shortened(event.reason)))

    def _execution_ended(self, event: ExecutionEnded) -> None:
        self._moment(event.ts_event)
        execution = self._executions[event.strategy_id]
        self._start(execution)
        if not execution.is_over:
            execution.is_over = True
            stopped = ExecutionStopped(
                **_about(execution, event.ts_event),
                reason=shortened(event.reason),
                is_flat=event.is_flat,
            )
            self._say("execution", execution, stopped)

    # Orders.

    def _approved(self, event: OrderApproved) -> None:
        order, inputs = event.order, event.verdict.inputs
        self._moment(order.ts_init)
        told = self._new(order, OrderStatus.INITIALIZED)
        execution = told.execution
        if not execution.has_started:
            px = None if inputs is None else price_at_stake(order, inputs.reference_px)
            initial = InitialOrder(
                symbol=order.symbol,
                side=order.side.value,
                quantity=quantity(order.order_qty, told.instrument),
                price=price(px, told.instrument),
                value=amount(None if inputs is None else inputs.order_value),
            )
            execution.initial.append(initial)
        self._say_order(told, order.ts_init)

    def _denied(self, event: OrderDenied) -> None:
        order, code = event.order, event.verdict.code
        self._moment(order.ts_init)
        if order.client_order_id in self._orders:
            return  # an id that came twice says nothing about the order that has it
        told = self._new(order, OrderStatus.DENIED)
        told.reason = None if code is None else code.name
        self._say_order(told, order.ts_init)

    def _new(self, order: Order, status: OrderStatus) -> _Told:
        instrument = self._instruments.get(order.symbol) or Instrument(symbol=order.symbol)
        execution = self._executions[order.strategy_id]
        told = self._orders[order.client_order_id] = _Told(order, instrument, status, execution)
        return told

    def _accepted(self, event: OrderAccepted) -> None:
        told = self._orders[event.client_order_id]
        if told.status not in TERMINAL:
            told.status, told.reason = told.working, None
            told.venue_order_id = event.venue_order_id
            self._say_order(told, event.ts_event)

    def _ended(self, status: OrderStatus) -> Callable[[Any], None]:
        def tell(event: Any) -> None:
            told = self._orders[event.client_order_id]
            if told.status not in TERMINAL:
                told.status, told.reason = status, event.reason
                self._say_order(told, event.ts_event)

        return tell

    def _replaced(self, event: OrderReplaced) -> None:
        told = self._orders[event.client_order_id]
        told.order_qty, told.limit_px, told.stop_px = event.order_qty, event.limit_px, event.stop_px
        if told.status not in TERMINAL:
            told.status, told.reason = told.working, None
        self._say_order(told, event.ts_event)

    def _filled(self, event: PositionChanged) -> None:
        fill = event.fill
        told, qty = self._orders[fill.client_order_id], abs(fill.signed_qty)
        told.filled += qty
        told.value += qty * fill.last_px
        if told.status not in TERMINAL:
            told.status = OrderStatus.PARTIALLY_FILLED if fill.leaves_qty else OrderStatus.FILLED
            told.reason = None
        self._say_order(told, fill.ts_event)
        self._say_position(event, told)

    def _say_order(self, told: _Told, ts: int) -> None:
        self._moment(ts)
        order, instrument = told.order, told.instrument
        message = OrderChanged(
            **_about(told.execution, ts),
            order_id=order.client_order_id,
            oms_order_id=told.venue_order_id,
            symbol=order.symbol,
            side=order.side.value,
            order_type=order.order_type.value,
            quantity=quantity(told.order_qty, instrument),
            price=price(told.limit_px, instrument),
            stop_price=price(told.stop_px, instrument),
            status=_WIRE[told.status],
            inner_status=told.status.value,
            filled_quantity=quantity(told.filled, instrument),
            filled_price=average(told.value, told.filled * instrument.price_unit, instrument),
            reason=None if told.reason is None else shortened(told.reason),
        )
        self._say("execution", told.execution, message)

    def _say_position(self, event: PositionChanged, told: _Told) -> None:
        fill, instrument = event.fill, told.instrument
        pieces = event.quantity * instrument.multiplier * CASH_UNIT
        message = PositionMoved(
            **_about(told.execution, fill.ts_event),
            symbol=fill.symbol,
            quantity=quantity(event.quantity, instrument),
            average_price=average(event.cost * instrument.quantity_unit, pieces, instrument),
            realized_pnl=amount(event.realized),
            cash=amount(event.cash),
            fill=Fill(
                exec_id=fill.exec_id,
                order_id=fill.client_order_id,
                side=(Side.BUY if fill.signed_qty > 0 else Side.SELL).value,
                quantity=quantity(abs(fill.signed_qty), instrument),
                price=price(fill.last_px, instrument),
                commission=amount(fill.commission),
            ),
        )
        self._say("positions", told.execution, message)

    # What went wrong.

    def _risk(self, event: RiskEvent) -> None:
        self._moment(event.ts_event)
        execution = self._executions.get(event.strategy_id or "")
        message = RiskTold(
            **self._about_risk(execution, event),
            event_type=event.event_type,
            severity=event.severity.value,
            symbol=event.symbol,
            value=event.value,
            limit_value=event.limit,
            action_taken=event.action_taken,
            description=shortened(event.description),
        )
        key = event.strategy_id if execution is None else str(execution.strategy_id)
        self._put("errors", key or self._run_name, message)

    def _about_risk(self, execution: _Execution | None, event: RiskEvent) -> dict[str, Any]:
        if execution is not None:
            return _about(execution, event.ts_event)
        return {
            "execution_id": None,
            "strategy_id": event.strategy_id,
            "user_id": self._user_id,
            "timestamp": write_time(event.ts_event),
        }

    def _strategy_failed(self, event: StrategyFailed) -> None:
        self._moment(event.ts_event)
        execution = self._executions[event.strategy_id]
        self._start(execution)  # it may never get beyond the first moment
        about = _about(execution, event.ts_event)
        message = ErrorTold(
            **about,
            hook=event.hook,
            event=shortened(event.event),
            error=shortened(event.error),
            traceback=shortened(event.traceback, from_end=True),
        )
        self._say("errors", execution, message)
        if not execution.is_over:
            execution.is_over = True
            self._say("execution", execution, ExecutionFailed(**about))


def _about(execution: _Execution, ts: int) -> dict[str, Any]:
    return {
        "execution_id": execution.key,
        "strategy_id": execution.strategy_id,
        "user_id": execution.user_id,
        "timestamp": write_time(ts),
    }
