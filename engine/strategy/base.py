"""The class a user subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import CASH_UNIT, cash_units
from engine.domain.orders import Side, TimeInForce
from engine.domain.signals import Signal
from engine.strategy.desk import Desk
from engine.strategy.indicators import IndicatorHandle, Source, Studies
from engine.strategy.parameters import resolve
from engine.strategy.views import Bracket, Fill, OrderHandle, Position

if TYPE_CHECKING:
    from engine.analytics.indicators import Indicator

__all__ = ["Strategy"]


# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY, _SELL = Side.BUY, Side.SELL


class Strategy:
    """A trading rule, written once and carried by the same actors in every mode.

    Subclass it, declare parameters as typed class attributes, declare indicators in
    ``on_start`` and act in the hooks. Actions only append to an outbox that the host drains when
    the hook returns; a strategy does no I/O and cannot know its mode.

    Class attributes:
        warm_up: when True (the default), ``on_bar`` of a symbol is first called when all
            indicators on it are ready.
        history: how many bars of each symbol ``bars`` keeps.
    """

    warm_up: ClassVar[bool] = True
    history: ClassVar[int] = 0

    _desk: Desk
    _studies: Studies
    _oco_count: int = 0

    def __init__(self, **parameters: Any) -> None:
        for name, value in resolve(type(self), Strategy, parameters).items():
            setattr(self, name, value)
        # Resolved anew: a list that the strategy changes must not change what it was given.
        self._parameters = resolve(type(self), Strategy, parameters)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameter values of this instance, by name."""
        return self._parameters

    def attach(self, desk: Desk, studies: Studies) -> None:
        """Receive the desk and the indicator sources; called once by whoever hosts it."""
        self._desk = desk
        self._studies = studies

    # Hooks. Override what you need; what is not overridden is not called.

    def on_start(self) -> None:
        """Declare indicators, aggregations and timers; runs before the first event."""

    def on_bar(self, bar: Bar) -> None:
        """Handle a completed bar."""

    def on_trade(self, trade: Trade) -> None:
        """Handle a print of the public tape."""

    def on_quote(self, quote: Quote) -> None:
        """Handle a change of best bid or ask."""

    def on_signal(self, signal: Signal) -> None:
        """Handle a signal of another strategy."""

    def on_order(self, order: OrderHandle) -> None:
        """Handle a change of an order's status other than a fill."""

    def on_fill(self, fill: Fill) -> None:
        """Handle an execution; position and cash already include it."""

    def on_timer(self, name: str) -> None:
        """Handle a timer set with ``set_timer`` or ``schedule``."""

    def on_stop(self) -> None:
        """Run after the last event."""

    def save(self) -> dict[str, Any]:
        """Give what must survive a restart, as plain values; indicators are rebuilt."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""

    # Views.

    @property
    def id(self) -> str:
        """Name of this strategy in the run."""
        return self._desk.strategy_id

    @property
    def symbols(self) -> Sequence[str]:
        """Symbols of the run, in its order."""
        return tuple(self._desk.instruments)

    @property
    def now(self) -> int:
        """Time of the event being handled, UTC nanoseconds."""
        return self._desk.now

    @property
    def cash(self) -> float:
        """Cash of the account, in currency."""
        return self._desk.cash / CASH_UNIT

    @property
    def equity(self) -> float:
        """Cash of the account plus this strategy's positions at the latest prices, in currency."""
        return self._desk.equity_units() / CASH_UNIT

    @property
    def orders(self) -> Sequence[OrderHandle]:
        """The strategy's open orders, oldest first."""
        return tuple(self._desk.orders.values())

    def position(self, symbol: str) -> Position:
        """Give the position in a symbol; it is false when flat and stays up to date."""
        try:
            return self._desk.positions[symbol]
        except KeyError:
            self._desk.instrument(symbol)
            raise

    def bars(self, symbol: str) -> Sequence[Bar]:
        """Give the latest bars of a symbol, newest last (``[-1]`` is the current one).

        Raises:
            ValueError: the class keeps no history; set ``history`` to how many bars it needs.
        """
        if not self.history:
            name = type(self).__name__
            raise ValueError(f"{name}.bars needs history: set `history = 100` on the class")
        return self._desk.history[self._desk.instrument(symbol).symbol]

    def price(self, symbol: str) -> float | None:
        """Give the latest price of a symbol (close, print or midpoint), None before the first."""
        last = self._desk.last(symbol)
        if last is None:
            self._desk.instrument(symbol)
            return None
        price: float = last.last_px / last.px_unit
        return price

    # Declarations, for on_start.

    def use(self, spec: Indicator, *, on: Source | None = None) -> IndicatorHandle:
        """Declare an indicator and give the handle to read it by.

        Args:
            spec: what to compute, such as ``ta.SMA(10)`` or ``crossed(ta.SMA(10), ta.SMA(30))``.
            on: an aggregation from ``aggregate``; the bars of the data when None.

        Returns:
            A handle whose ``value`` and ``[-n]`` are those of the symbol being handled;
            ``handle.of(symbol)`` is that of a given one.
        """
        return self._studies.use(spec, on)

    def aggregate(self, every: str, then: Callable[[Bar], None] | None = None) -> Source:
        """Aggregate the data's bars, trades or quotes of each symbol into coarser bars.

        Args:
            every: ``"1h"``, ``"1d"`` (a trading day), ``"1w"``, ``"1mo"``, ``"count:100"``,
                ``"volume:1e6"`` or ``"value:5e6"``.
            then: called with each completed bar, before ``on_bar`` of the bar that completed it.

        Returns:
            The aggregation, for ``use(..., on=...)``.
        """
        return self._studies.aggregate(every, then)

    def set_timer(self, name: str, at: int) -> None:
        """Call ``on_timer(name)`` once at a time, UTC nanoseconds; a new time replaces it."""
        if type(at) is not int:
            raise TypeError(f"set_timer takes a time in UTC nanoseconds as an int, not {at!r}")
        self._studies.set_timer(name, at)

    def schedule(self, name: str, every: str) -> None:
        """Call ``on_timer(name)`` again and again, after all events of that moment.

        Args:
            name: passed to ``on_timer``.
            every: ``"5m"``, ``"1h"``, or ``"day"``, ``"week"``, ``"month"``: the end of each
                such period of trading days.
        """
        self._studies.schedule(name, every)

    # Actions.

    def buy(
        self,
        symbol: str,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        trail: float | None = None,
        trail_percent: float | None = None,
        tif: TimeInForce | str | None = None,
        good_till: int | None = None,
        reduce_only: bool = False,
        after: OrderHandle | None = None,
        tag: str | None = None,
    ) -> OrderHandle:
        """Send an order to buy and give its handle.

        Args:
            symbol: instrument.
            quantity: how much; no more digits than the instrument has.
            limit: limit price, rounded down to the tick (a sell's up).
            stop: stop price, rounded up to the tick (a sell's down); with ``limit`` a
                stop-limit order.
            trail: distance of a trailing stop, as a price.
            trail_percent: distance of a trailing stop, in per cent.
            tif: time in force, such as ``"DAY"`` or ``"AT_THE_CLOSE"``.
            good_till: last moment it works, UTC nanoseconds (time in force GTD).
            reduce_only: never opens or flips a position.
            after: works only once this order has filled, and for no more than it filled.
            tag: your own word for it, kept in the outputs.

        Raises:
            ValueError: a number that is not finite or has too many digits.
        """
        priced = not (limit is stop is trail is trail_percent is None)
        if not (priced or tif is not None or good_till is not None or after is not None):
            desk = self._desk
            units = desk.quantity_units(desk.instrument(symbol), quantity)
            return desk.market(symbol, _BUY, units, reduce_only=reduce_only, tag=tag)
        return self._desk.order(
            symbol, Side.BUY, quantity, limit=limit, stop=stop, trail=trail,
            trail_percent=trail_percent, tif=tif, expire_ts=good_till, reduce_only=reduce_only,
            parent=after, tag=tag,
        )  # fmt: skip

    def sell(
        self,
        symbol: str,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        trail: float | None = None,
        trail_percent: float | None = None,
        tif: TimeInForce | str | None = None,
        good_till: int | None = None,
        reduce_only: bool = False,
        after: OrderHandle | None = None,
        tag: str | None = None,
    ) -> OrderHandle:
        """Send an order to sell and give its handle; see :meth:`buy`.

        Selling more than is held opens a short position, unless the limits forbid it.
        """
        priced = not (limit is stop is trail is trail_percent is None)
        if not (priced or tif is not None or good_till is not None or after is not None):
            desk = self._desk
            units = desk.quantity_units(desk.instrument(symbol), quantity)
            return desk.market(symbol, _SELL, units, reduce_only=reduce_only, tag=tag)
        return self._desk.order(
            symbol, Side.SELL, quantity, limit=limit, stop=stop, trail=trail,
            trail_percent=trail_percent, tif=tif, expire_ts=good_till, reduce_only=reduce_only,
            parent=after, tag=tag,
        )  # fmt: skip

    def bracket(
        self,
        symbol: str,
        quantity: float,
        *,
        side: Side | str = Side.BUY,
        limit: float | None = None,
        stop: float | None = None,
        take_profit: float | None = None,
        stop_loss: float | None = None,
        trail: float | None = None,
        trail_percent: float | None = None,
        tif: TimeInForce | str | None = None,
        tag: str | None = None,
    ) -> Bracket:
        """Send an entry with its exits; the exits never fill more than the entry did.

        Args:
            symbol: instrument.
            quantity: how much to enter.
            side: side of the entry.
            limit: the entry's limit price; a market entry without ``limit`` and ``stop``.
            stop: the entry's stop price.
            take_profit: limit price of the profitable exit.
            stop_loss: stop price of the losing exit.
            trail: instead of ``stop_loss``: distance of a trailing stop, as a price.
            trail_percent: the same in per cent.
            tif: time in force of the entry; the exits are GTC.
            tag: tag of all three.

        Raises:
            ValueError: no exit is given.
        """
        trails = trail is not None or trail_percent is not None
        if take_profit is None and stop_loss is None and not trails:
            raise ValueError("a bracket needs take_profit, stop_loss, trail or trail_percent")
        desk = self._desk
        way = Side(side)
        entry = desk.order(symbol, way, quantity, limit=limit, stop=stop, tif=tif, tag=tag)
        exits: dict[str, Any] = {
            "tif": TimeInForce.GTC,
            "reduce_only": True,
            "parent": entry,
            "group": f"{entry.id}/exits",
            "tag": tag,
        }
        out = way.opposite
        profit = loss = None
        if stop_loss is not None or trails:
            loss = desk.order(
                symbol, out, quantity, stop=stop_loss, trail=trail, trail_percent=trail_percent,
                **exits,
            )  # fmt: skip
        if take_profit is not None:
            profit = desk.order(symbol, out, quantity, limit=take_profit, **exits)
        return Bracket(entry, profit, loss)

    @contextmanager
    def oco(self) -> Iterator[None]:
        """Join the orders sent inside the block: what one fills comes off the others."""
        desk = self._desk
        self._oco_count += 1
        desk.group = f"{desk.strategy_id}/oco/{self._oco_count}"
        try:
            yield
        finally:
            desk.group = None

    def cancel(self, order: OrderHandle) -> None:
        """Take an order off the venue; nothing happens when it has already ended."""
        self._desk.cancel(order)

    def replace(
        self,
        order: OrderHandle,
        *,
        quantity: float | None = None,
        limit: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Change a working order's quantity (in all, with what has filled) or prices."""
        self._desk.replace(order, quantity, limit, stop)

    def close(self, symbol: str, *, tag: str | None = None) -> OrderHandle | None:
        """Go flat: cancel the symbol's open orders and send a reduce-only market order.

        A position worth more than ``risk.max_order_size`` is closed by several orders.

        Returns:
            The order that closes, the first of several; None when there is nothing to close.
        """
        desk = self._desk
        if not desk.orders and not self.position(symbol).units:
            return None
        return desk.close(symbol, tag)

    def target_quantity(
        self, symbol: str, quantity: float, *, tag: str | None = None
    ) -> OrderHandle | None:
        """Bring the position to a signed quantity with one market order.

        Open market orders count as filled. Returns None when nothing needs to be done.
        """
        desk = self._desk
        units = desk.quantity_units(desk.instrument(symbol), quantity)
        return desk.target(symbol, units, tag)

    def target_percent(
        self, symbol: str, share: float, *, drift: float = 0.05, tag: str | None = None
    ) -> OrderHandle | None:
        """Bring the position to a share of equity (0.25 is a quarter, negative is short).

        Args:
            symbol: instrument.
            share: share of the strategy's equity at the latest price; the quantity is rounded
                towards zero to whole lots.
            drift: send nothing while an existing position of the same direction is within this
                share of equity of its target.
            tag: your own word for it.

        Returns:
            The order, None when nothing needs to be done.
        """
        desk = self._desk
        units = desk.share_units(symbol, share)
        projected = desk.projected(symbol)
        if units and projected * units > 0:
            tolerance = desk.share_units(symbol, abs(drift))
            if abs(units - projected) <= tolerance:
                return None
        return desk.target(symbol, units, tag)

    def target_value(
        self, symbol: str, value: float, *, tag: str | None = None
    ) -> OrderHandle | None:
        """Bring the position to a value with one market order.

        Args:
            symbol: instrument.
            value: in currency at the latest price, negative for a short position; the quantity
                is rounded towards zero to whole lots.
            tag: your own word for it.

        Returns:
            The order, None when nothing needs to be done.

        Raises:
            ValueError: the value is not finite.
        """
        desk = self._desk
        return desk.target(symbol, desk.value_units(symbol, cash_units(value)), tag)

    def signal(
        self, symbol: str, *, score: float = 1.0, signal: bool = True, **extra: float | int | str
    ) -> None:
        """Say an opinion without an order; screens rank it, alerts tell it.

        Args:
            symbol: about what.
            score: strength; larger is stronger.
            signal: False records that the rule was looked at and said no.
            **extra: further values, kept in the outputs.

        Raises:
            TypeError: an extra that is neither number nor text.
        """
        desk = self._desk
        for name, value in extra.items():
            if not isinstance(value, float | int | str):
                raise TypeError(f"signal extra {name} is a number or text, not {value!r}")
        desk.outbox.append(
            Signal(
                strategy_id=desk.strategy_id,
                symbol=desk.instrument(symbol).symbol,
                ts_event=desk.now,
                signal=signal,
                score=float(score),
                extra=extra,
            )
        )

    def send_signal(
        self, action: str, price: float | None, quantity: float, confidence: float = 1.0
    ) -> OrderHandle:
        """Say an opinion on the current symbol and send the order that follows it.

        Args:
            action: ``"BUY"`` or ``"SELL"``.
            price: limit price; None sends a market order.
            quantity: how much.
            confidence: certainty in [0, 1]; becomes the signal's score.

        Raises:
            ValueError: the event being handled is about no symbol (a timer, the start).
        """
        desk = self._desk
        if not desk.symbol:
            raise ValueError(
                "send_signal is about the symbol being handled, and here there is none; use "
                "signal(symbol, ...) and buy or sell"
            )
        side = Side(action.upper())
        desk.outbox.append(
            Signal(
                strategy_id=desk.strategy_id,
                symbol=desk.symbol,
                ts_event=desk.now,
                signal=True,
                score=float(confidence),
                action=side.value,
            )
        )
        return desk.order(desk.symbol, side, quantity, limit=price, confidence=confidence)
