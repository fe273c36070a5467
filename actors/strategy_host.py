"""The strategy host: carries one strategy through its events and its outbox to the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.domain.calendars import get_calendar
from engine.domain.commands import (
    ClosePosition,
    StopStrategy,
    SubmitOrder,
)
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderUnknown,
    PositionChanged,
    ReplaceDenied,
    ReplaceRejected,
    StrategyFailed,
    StrategyStopped,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import CASH_UNIT
from engine.domain.orders import OrderStatus, TimeInForce
from engine.domain.risk import SymbolBounds
from engine.domain.schedule import next_time
from engine.domain.signals import Signal
from engine.errors import InvariantError
from engine.runtime.actor import Actor, Handler
from engine.strategy.base import Strategy
from engine.strategy.desk import Desk, describe
from engine.strategy.failures import error_line, users_traceback
from engine.strategy.feed import ColumnsOf, SymbolFeed, make_bar_feed, make_tick_feed
from engine.strategy.indicators import Studies
from engine.strategy.views import Fill

__all__ = ["StrategyHost", "TimerFired"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_ACCEPTED = OrderStatus.ACCEPTED
_UNACKNOWLEDGED = (OrderStatus.INITIALIZED, OrderStatus.UNKNOWN)


_HOOK_OF: dict[type, str] = {Bar: "on_bar", Trade: "on_trade", Quote: "on_quote"}

_STATUS_AFTER: dict[type, OrderStatus] = {
    OrderCanceled: OrderStatus.CANCELED,
    OrderExpired: OrderStatus.EXPIRED,
    OrderRejected: OrderStatus.REJECTED,
}


class TimerFired(msgspec.Struct, frozen=True, tag="timer_fired"):
    """A timer of the strategy came due; ``every`` is set when it repeats."""

    name: str
    ts_event: int
    every: str | None = None


class WindDown(msgspec.Struct, frozen=True, tag="wind_down"):
    """Timer: a position that was to be closed is still there; try again."""


WIND_DOWN_NS = 5_000_000_000
"""How soon that is tried again, nanoseconds: a price that was stale may have come back."""


class StrategyHost(Actor):
    """Hosts one strategy: delivers its events, keeps its views, drains its outbox.

    A hook that raises quarantines the strategy: it receives nothing more, its open orders are
    canceled and a :class:`StrategyFailed` with its traceback is published.

    Args:
        name: actor name.
        strategy_id: id of the strategy in the run.
        strategy: the instance to carry.
        instruments: what it may see and trade, by symbol.
        initial_cash: opening cash of the account, in cash units.
        time_in_force: of orders that name none.
        calendar: trading calendar of aggregations, schedules and session indicators.
        kinds: types of market event the run delivers.
        columns_of: whole series for batch indicators; None computes them streaming.
        gate: actor name of the risk gate.
        slice_sizes: limits that closing orders are sliced to, by symbol.
        order_prefix: what its order ids begin with; ``strategy_id`` when None.
        held: quantity units and cost in cash units of what an earlier execution of the strategy
            has left, by symbol.
    """

    def __init__(
        self,
        name: str,
        *,
        strategy_id: str,
        strategy: Strategy,
        instruments: Mapping[str, Instrument],
        initial_cash: int,
        time_in_force: TimeInForce,
        calendar: str,
        kinds: tuple[type, ...],
        columns_of: ColumnsOf | None,
        gate: str,
        slice_sizes: Mapping[str, SymbolBounds],
        order_prefix: str | None = None,
        held: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(name)
        self.strategy = strategy
        self.strategy_id = strategy_id
        self.symbols = frozenset(instruments)
        self._instruments = instruments
        self._initial_cash = initial_cash
        self._time_in_force = time_in_force
        self._calendar = calendar
        self._kinds = kinds
        self._columns_of = columns_of
        self._gate = gate
        self._slice_sizes = slice_sizes
        self._order_prefix = order_prefix
        self._held = held or {}
        self._stopping: StopStrategy | None = None
        self._timers: dict[str, int] = {}
        self._feeds: dict[str, Handler] = {}
        self._stops: list[Callable[[], None]] = []
        self._running = False
        self._failed = False
        self._hook = ""
        self._tells_orders = _overrides(strategy, "on_order")
        self._tells_fills = _overrides(strategy, "on_fill")
        self._tells_signals = _overrides(strategy, "on_signal")

    def handlers(self) -> Mapping[type, Handler]:
        """Handle market data, what became of orders, timers and control."""
        ended = (OrderCanceled, OrderExpired, OrderRejected)
        refused = (CancelRejected, ReplaceDenied, ReplaceRejected)
        return {
            **dict.fromkeys((Bar, Trade, Quote), self.on_market),
            **dict.fromkeys((*ended, *refused), self.on_order_event),
            OrderAccepted: self.on_order_accepted,
            PositionChanged: self.on_position_changed,
            OrderDenied: self.on_order_denied,
            OrderReplaced: self.on_order_replaced,
            OrderUnknown: self.on_order_unknown,
            Signal: self.on_signal,
            TimerFired: self.on_timer_fired,
            ClosePosition: self.on_close_position,
            StopStrategy: self.on_stop_strategy,
            WindDown: self.on_wind_down,
        }

    # Life.

    def on_start(self) -> None:
        """Give the strategy its desk, let it declare what it needs and make its feeds."""
        strategy = self.strategy
        self.desk = desk = Desk(
            self.strategy_id,
            instruments=self._instruments,
            ctx=self.ctx,
            cash=self._initial_cash,
            time_in_force=self._time_in_force,
            history=strategy.history,
            slice_sizes=self._slice_sizes,
            order_prefix=self._order_prefix,
        )
        for symbol, (units, cost) in self._held.items():
            desk.hold(desk.positions[symbol], units)
            desk.positions[symbol].cost = cost
        desk.event = TimerFired("start", self.ctx.now)
        studies = self._studies = Studies(self._set_timer, self._schedule)
        strategy.attach(desk, studies)
        self._running = True
        self._call("on_start")
        # What it declared there may turn out wrong only now.
        self._hook = "on_start"
        studies.build(self._calendar)
        for symbol in self._instruments:
            self._make_feed(symbol, studies)
        self._hook = ""

    def _make_feed(self, symbol: str, studies: Studies) -> None:
        feed, strategy = SymbolFeed(symbol, self.desk, self._flush), self.strategy
        table: dict[type, Handler] = {}
        if Bar in self._kinds:
            on_bar, stop = make_bar_feed(
                feed,
                symbol,
                strategy.on_bar,
                studies.base,
                studies.aggregates,
                calendar=self._calendar,
                columns_of=self._columns_of,
                warm_up=strategy.warm_up,
            )
            self._stops.append(stop)
            remember = self.desk.history[symbol].append
            table[Bar] = _remembering(remember, on_bar) if strategy.history else on_bar
        for kind, hook in ((Trade, strategy.on_trade), (Quote, strategy.on_quote)):
            if kind in self._kinds:
                # Longer bars are made of one kind, the first there is of bars, trades and quotes.
                made = [] if table else studies.aggregates
                table[kind], stop = make_tick_feed(feed, symbol, hook, made, self._calendar)
                self._stops.append(stop)
        self._feeds[symbol] = table[self._kinds[0]] if len(table) == 1 else _by_type(table)

    def market_handler(self, symbol: str) -> Handler:
        """Give the function made for one symbol's events."""
        feed = self._feeds.get(symbol)
        if feed is None and self._failed:
            return _ignore
        if feed is None:
            raise InvariantError(f"{self.name} was asked for {symbol} before it started")
        return feed

    def on_market(self, event: Any) -> None:
        """Carry a market event that came without a lane."""
        self.market_handler(event.symbol)(event)

    def on_stop(self) -> None:
        """Tell the strategy that the run is over; orders it sends now go nowhere."""
        if self._running:
            self._call("on_stop")
            self._quiet()
        self._studies.close()

    def on_stop_strategy(self, command: StopStrategy) -> None:
        """Stop by command: cancel open orders, keep or flatten positions (decision D15).

        When that is done a :class:`StrategyStopped` is published.
        """
        if self._running:
            self._call("on_stop")
            self._quiet()
        self._stopping = command
        self._wind_down(command)

    def on_wind_down(self, timer: WindDown) -> None:
        """Try again to close what is still held."""
        if self._stopping is not None:
            self._wind_down(self._stopping)

    def _wind_down(self, command: StopStrategy) -> None:
        desk = self.desk
        desk.event = TimerFired("stop", self.ctx.now)
        closed = tuple(desk.held) if command.positions == "flatten" else ()
        for handle in desk.orders.values():
            if handle.symbol not in closed:
                desk.cancel(handle)
        for symbol in closed:
            desk.close(symbol, "STOP")
        self._flush_closing()
        self._see_whether_stopped()

    def _see_whether_stopped(self) -> None:
        """Tell that a stop is done, or come back to what could not be closed."""
        command, desk = self._stopping, self.desk
        if command is None or desk.orders:
            return
        if desk.held and command.positions == "flatten":
            self.ctx.set_timer(self.ctx.now + WIND_DOWN_NS, WindDown())
            return
        self._stopping = None
        stopped = StrategyStopped(
            strategy_id=self.strategy_id, is_flat=not desk.held, ts_event=self.ctx.now
        )
        self.ctx.publish(stopped)

    def _quiet(self) -> None:
        self._running = False
        for name in tuple(self._timers):
            self._disarm(name)
        for stop in self._stops:
            stop()

    # What became of orders.

    def on_position_changed(self, changed: PositionChanged) -> None:
        """Fold a booked fill into positions, cash and the order's handle; tell ``on_fill``."""
        fill = changed.fill
        desk = self.desk
        desk.cash = changed.cash
        if fill.strategy_id != self.strategy_id:
            return
        position = desk.positions[fill.symbol]
        desk.hold(position, changed.quantity)
        position.cost = changed.cost
        position.realized_units += changed.realized
        handle = desk.orders.get(fill.client_order_id)
        if handle is None:
            self._see_whether_stopped()
            return
        handle.add_fill(abs(fill.signed_qty), fill.last_px, fill.leaves_qty)
        if not fill.leaves_qty:
            del desk.orders[fill.client_order_id]
        if self._tells_fills:
            instrument = self._instruments[fill.symbol]
            view = Fill(
                handle,
                abs(fill.signed_qty) / instrument.quantity_unit,
                fill.last_px / instrument.price_unit,
                fill.commission / CASH_UNIT,
                changed.realized / CASH_UNIT,
                fill.ts_event,
            )
            desk.event = fill
            self._call("on_fill", view)
        if self._stopping is not None:
            self._see_whether_stopped()

    def on_order_denied(self, denied: OrderDenied) -> None:
        """Fold a denial into the order's handle; tell ``on_order``."""
        handle = self.desk.orders.pop(denied.order.client_order_id, None)
        if handle is None:
            return
        handle.status = OrderStatus.DENIED
        code = denied.verdict.code
        handle.reason = "" if code is None else code.name
        self._tell(handle, denied.verdict)
        self._see_whether_stopped()

    def on_order_accepted(self, event: OrderAccepted) -> None:
        """Fold an acknowledgement into the order's handle; tell ``on_order``."""
        handle = self.desk.orders.get(event.client_order_id)
        if handle is not None:
            if handle.status in _UNACKNOWLEDGED:
                handle.status = _ACCEPTED
            if self._tells_orders:
                self._tell(handle, event)

    def on_order_event(self, event: Any) -> None:
        """Fold any other event into the order's handle; tell ``on_order``."""
        desk = self.desk
        handle = desk.orders.get(event.client_order_id)
        if handle is None:
            return
        kind = type(event)
        ended = _STATUS_AFTER.get(kind)
        if ended is not None:
            handle.status = ended
            handle.reason = event.reason
            del desk.orders[event.client_order_id]
        if self._tells_orders:
            self._tell(handle, event)
        if ended is not None:
            self._see_whether_stopped()

    def on_order_replaced(self, event: OrderReplaced) -> None:
        """Fold a replacement into the order's handle; tell ``on_order``."""
        handle = self.desk.orders.get(event.client_order_id)
        if handle is not None:
            handle.order = msgspec.structs.replace(
                handle.order,
                order_qty=event.order_qty,
                limit_px=event.limit_px,
                stop_px=event.stop_px,
            )
            self._tell(handle, event)

    def on_order_unknown(self, event: OrderUnknown) -> None:
        """Note that nobody knows what became of an order; it stays open. Tell ``on_order``."""
        handle = self.desk.orders.get(event.client_order_id)
        if handle is not None:
            handle.status = OrderStatus.UNKNOWN
            self._tell(handle, event)

    def _tell(self, handle: Any, event: Any) -> None:
        if self._tells_orders:
            self.desk.event = event
            self._call("on_order", handle)

    # Signals, timers and control.

    def on_signal(self, signal: Signal) -> None:
        """Tell the strategy of another strategy's signal."""
        if signal.strategy_id != self.strategy_id and self._tells_signals:
            self.desk.event = signal
            self._call("on_signal", signal)

    def on_timer_fired(self, fired: TimerFired) -> None:
        """Tell the strategy; arm the timer again when it repeats."""
        if fired.every is not None:
            self._arm(fired.name, fired.every, fired.ts_event)
        else:
            self._timers.pop(fired.name, None)
        self.desk.event = fired
        self._call("on_timer", fired.name)

    def on_close_position(self, command: ClosePosition) -> None:
        """Go flat in a symbol because the monitor says so."""
        if command.strategy_id == self.strategy_id:
            self.desk.event = command
            self.desk.close(command.symbol, command.reason)
            self._flush_closing()

    def _set_timer(self, name: str, at: int) -> None:
        self._disarm(name)
        at = max(at, self.ctx.now)
        self._timers[name] = self.ctx.set_timer(at, TimerFired(name, at))

    def _schedule(self, name: str, every: str) -> None:
        self._disarm(name)
        self._arm(name, every, self.ctx.now)

    def _arm(self, name: str, every: str, after: int) -> None:
        at = next_time(every, after, get_calendar(self._calendar))
        self._timers[name] = self.ctx.set_timer(at, TimerFired(name, at, every))

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            self.ctx.cancel_timer(timer)

    # Calling user code.

    def _call(self, hook: str, *args: Any) -> None:
        if not self._running:
            return
        self._hook = hook
        getattr(self.strategy, hook)(*args)
        self._hook = ""
        if self.desk.outbox:
            self._flush()

    def _flush(self) -> None:
        """Send what the hook left in the outbox, in its order."""
        outbox = self.desk.outbox
        send = self.ctx.send
        for command in outbox:
            kind = type(command)
            if kind is Signal:
                self.ctx.publish(command)
            else:
                # Cancels too go by the gate, or they would overtake the orders they are about.
                send(self._gate, command)
        outbox.clear()

    def _flush_closing(self) -> None:
        """Send what the engine itself closes; it may do so when trading is halted."""
        outbox = self.desk.outbox
        outbox[:] = [SubmitOrder(c.order, True) if type(c) is SubmitOrder else c for c in outbox]
        self._flush()

    def on_failure(self, message: Any, error: BaseException) -> bool:
        """Quarantine the strategy: drop what the hook left, cancel its orders, tell everyone."""
        self._failed = True
        hook = self._hook or _HOOK_OF.get(type(message), "on_order")
        self._hook = ""
        self._quiet()
        desk = self.desk
        for command in desk.outbox:
            if type(command) is SubmitOrder:
                desk.orders.pop(command.order.client_order_id, None)
        desk.outbox.clear()
        for handle in desk.orders.values():
            desk.cancel(handle)
        self._flush()
        self.ctx.publish(
            StrategyFailed(
                strategy_id=self.strategy_id,
                hook=hook,
                event=describe(desk.event, self.ctx.now),
                error=error_line(error),
                traceback=users_traceback(error),
                ts_event=self.ctx.now,
            )
        )
        return True


def _ignore(event: Any) -> None:
    """Do nothing with an event: its strategy failed before it could be given any."""


def _overrides(strategy: Strategy, hook: str) -> bool:
    return getattr(type(strategy), hook) is not getattr(Strategy, hook)


def _remembering(remember: Callable[[Any], None], on_bar: Handler) -> Handler:
    def on_bar_remembered(bar: Bar) -> None:
        remember(bar)
        on_bar(bar)

    return on_bar_remembered


def _by_type(table: Mapping[type, Handler]) -> Handler:
    return lambda event: table[type(event)](event)
