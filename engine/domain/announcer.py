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
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.orders import TERMINAL, Order, OrderStatus, Side, price_at_stake
from engine.domain.publications import (
    Destination,
    ErrorTold,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionStarted,
    Fill,
    InitialOrder,
    Message,
    OrderChanged,
    PositionMoved,
    Publication,
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


class _Told:
    """What has been told of an order; quantities and prices in units."""

    __slots__ = (
        "filled", "instrument", "limit_px", "order", "order_qty", "reason", "status", "stop_px",
        "value", "venue_order_id",
    )  # fmt: skip

    def __init__(self, order: Order, instrument: Instrument, status: OrderStatus) -> None:
        self.order = order
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

    An execution is told to have started when the first moment of market data is over, so that
    the orders it began with are known; what happens to its orders until then is told after that.

    Args:
        run_name: the run.
        executions: the id of each strategy's execution.
        instruments: scales by symbol.
        user_id: whose the strategies are; None when nobody said.
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
        self._executions = executions
        self._instruments = instruments
        self._user_id = user_id
        self._told = told
        self._sequence = 0
        self._began: int | None = None
        self._first: int | None = None
        self._latest = 0
        self._has_started = False
        self._held: list[tuple[Destination, str, Message]] = []
        self._initial: dict[str, list[InitialOrder]] = {name: [] for name in executions}
        self._failed: set[str] = set()
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
        }

    def begin(self, ts: int) -> None:
        """Note when the strategies were started, UTC nanoseconds."""
        if self._began is None:
            self._began = ts

    def market(self, ts: int) -> None:
        """Note the time of a market event, UTC nanoseconds."""
        if self._first is None:
            self._first = ts
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
        if self._first is not None and self._latest > self._first:
            self._start()

    def end(self) -> None:
        """Note that the run has ended for good."""
        self._start()
        for strategy_id in self._executions:
            if strategy_id not in self._failed:
                about = self._about(strategy_id, self._latest)
                self._say("execution", strategy_id, ExecutionCompleted(**about))

    def drain(self) -> list[Publication]:
        """Give what there is to tell since the last time, in order."""
        out, self._out = self._out, []
        return out

    # The way out.

    def _about(self, strategy_id: str | None, ts: int) -> dict[str, Any]:
        return {
            "execution_id": None if strategy_id is None else self._executions.get(strategy_id),
            "strategy_id": strategy_id,
            "user_id": self._user_id,
            "timestamp": write_time(ts),
        }

    def _say(self, topic: Destination, key: str, message: Message) -> None:
        """Tell something; what is about an execution comes after its start."""
        if not self._has_started and topic != "errors":
            self._held.append((topic, key, message))
            return
        if self._sequence >= self._told:
            self._out.append(Publication(self._sequence, topic, key, render(message)))
        self._sequence += 1

    def _start(self) -> None:
        if self._has_started:
            return
        self._has_started = True
        ts = self._began if self._began is not None else self._first or 0
        for strategy_id, orders in self._initial.items():
            about = self._about(strategy_id, ts)
            started = ExecutionStarted(**about, initial_orders=orders)
            self._say("execution", strategy_id, started)
        for held in self._held:
            self._say(*held)
        self._held.clear()

    def _moment(self, ts: int) -> None:
        """Note the time of an event: a later one ends the first moment."""
        if self._first is not None and ts > self._first:
            self._start()

    # Orders.

    def _approved(self, event: OrderApproved) -> None:
        order, inputs = event.order, event.verdict.inputs
        self._moment(order.ts_init)
        told = self._new(order, OrderStatus.INITIALIZED)
        if not self._has_started:
            px = None if inputs is None else price_at_stake(order, inputs.reference_px)
            initial = InitialOrder(
                symbol=order.symbol,
                side=order.side.value,
                quantity=quantity(order.order_qty, told.instrument),
                price=price(px, told.instrument),
                value=amount(None if inputs is None else inputs.order_value),
            )
            self._initial[order.strategy_id].append(initial)
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
        told = self._orders[order.client_order_id] = _Told(order, instrument, status)
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
        self._say_position(event, told.instrument)

    def _say_order(self, told: _Told, ts: int) -> None:
        self._moment(ts)
        order, instrument = told.order, told.instrument
        message = OrderChanged(
            **self._about(order.strategy_id, ts),
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
        self._say("execution", order.strategy_id, message)

    def _say_position(self, event: PositionChanged, instrument: Instrument) -> None:
        fill = event.fill
        pieces = event.quantity * instrument.multiplier * CASH_UNIT
        message = PositionMoved(
            **self._about(fill.strategy_id, fill.ts_event),
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
        self._say("positions", fill.strategy_id, message)

    # What went wrong.

    def _risk(self, event: RiskEvent) -> None:
        self._moment(event.ts_event)
        message = RiskTold(
            **self._about(event.strategy_id, event.ts_event),
            event_type=event.event_type,
            severity=event.severity.value,
            symbol=event.symbol,
            value=event.value,
            limit_value=event.limit,
            action_taken=event.action_taken,
            description=shortened(event.description),
        )
        self._say("errors", event.strategy_id or self._run_name, message)

    def _strategy_failed(self, event: StrategyFailed) -> None:
        self._start()  # it may never get beyond the first moment
        strategy_id = event.strategy_id
        about = self._about(strategy_id, event.ts_event)
        message = ErrorTold(
            **about,
            hook=event.hook,
            event=shortened(event.event),
            error=shortened(event.error),
            traceback=shortened(event.traceback, from_end=True),
        )
        self._say("errors", strategy_id, message)
        if strategy_id not in self._failed:
            self._failed.add(strategy_id)
            self._say("execution", strategy_id, ExecutionFailed(**about))
