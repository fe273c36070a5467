"""The desk of one strategy: its outbox, its open orders, its positions and its cash.

Everything a strategy does goes through here and becomes a command in the outbox, which the host
drains after each hook. The desk does no I/O and holds no clock: ``now`` and the event being
handled are set by the host.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from engine.domain.commands import CancelOrder, ClosePosition, ReplaceOrder, SubmitOrder
from engine.domain.events import OrderFilled
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import MAX_UNITS, round_units, to_units
from engine.domain.orders import Order, OrderType, Side, TimeInForce
from engine.domain.risk import SymbolBounds
from engine.domain.signals import Signal
from engine.errors import UnknownSymbolError
from engine.runtime.actor import Context
from engine.strategy.views import OrderHandle, Position

__all__ = ["Desk", "describe"]

_MARKET = OrderType.MARKET
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

SHARE_MAX = 1e6
"""Largest share of equity that ``target_percent`` takes; limits refuse orders far below it."""

Command = SubmitOrder | CancelOrder | ReplaceOrder | Signal


class Desk:
    """State and outbox of one strategy.

    Args:
        strategy_id: whose desk.
        instruments: what can be traded, by symbol.
        ctx: tells the time and the latest market event of a symbol.
        cash: opening cash of the account, in cash units.
        time_in_force: used when an order names none.
        history: how many bars of each symbol ``bars`` keeps.
        slice_sizes: limits that a closing order is sliced to (decision D14), by symbol.
        order_prefix: what client order ids begin with; ``strategy_id`` when None.
    """

    def __init__(
        self,
        strategy_id: str,
        *,
        instruments: Mapping[str, Instrument],
        ctx: Context,
        cash: int,
        time_in_force: TimeInForce,
        history: int,
        slice_sizes: Mapping[str, SymbolBounds],
        order_prefix: str | None = None,
    ) -> None:
        self.strategy_id = strategy_id
        self._order_prefix = order_prefix or strategy_id
        self._slice_sizes = slice_sizes
        self.instruments = instruments
        self.last = ctx.last
        self.event: Any = None
        self.cash = cash
        self.outbox: list[Command] = []
        self.orders: dict[str, OrderHandle] = {}
        self.positions = {s: Position(i, ctx.last) for s, i in instruments.items()}
        # Of thousands of symbols few are held: equity is asked for at every decision.
        self.held: dict[str, Position] = {}
        self.history: dict[str, deque[Any]] = {s: deque(maxlen=history) for s in instruments}
        self.group: str | None = None
        self._time_in_force = time_in_force
        self._ctx = ctx
        self._leg = 0
        self._leg_of: Any = None
        self._legs: dict[str, int] = {}
        self._legs_ts = -1
        self._cause = ""

    @property
    def now(self) -> int:
        """Time of the event being handled, UTC nanoseconds."""
        return self._ctx.now

    @property
    def symbol(self) -> str:
        """Symbol of the event being handled; empty for one without."""
        return getattr(self.event, "symbol", "")

    def instrument(self, symbol: str) -> Instrument:
        """Give an instrument.

        Raises:
            UnknownSymbolError: the run has no such symbol.
        """
        found = self.instruments.get(symbol)
        if found is None:
            known = ", ".join(sorted(self.instruments)[:10])
            raise UnknownSymbolError(f"no symbol {symbol!r} in this run (it has: {known})")
        return found

    def next_id(self) -> str:
        """Give the next client order id: the strategy, the event it answers, and a leg.

        A pure function of the input, never of a clock (decision D17).
        """
        event = self.event
        if event is not self._leg_of:
            self._answer(event)
        self._leg += 1
        return f"{self._cause}:{self._leg}"

    def _answer(self, event: Any) -> None:
        self._leg_of = event
        now = self._ctx.now
        if now != self._legs_ts:
            self._legs_ts = now
            if self._legs:
                self._legs.clear()
            self._cause = f"{self._order_prefix}:{cause_of(event)}"
            self._leg = 0
            return
        # Events of one moment may have one name (two refusals of one order): the legs go on.
        self._legs[self._cause] = self._leg
        self._cause = f"{self._order_prefix}:{cause_of(event)}"
        self._leg = self._legs.get(self._cause, 0)

    def submit(self, order: Order, instrument: Instrument) -> OrderHandle:
        """Put an order in the outbox and give its handle."""
        handle = OrderHandle(order, instrument)
        self.orders[order.client_order_id] = handle
        self.outbox.append(SubmitOrder(order))
        return handle

    def market(
        self,
        symbol: str,
        side: Side,
        units: int,
        *,
        reduce_only: bool = False,
        tag: str | None = None,
    ) -> OrderHandle:
        """Submit a market order of ``units`` quantity units."""
        if tag is not None:
            _require_text(tag)
        # Positional, in the order of the fields: this is every strategy's hot path.
        order_id = self.next_id()
        order = Order(
            order_id,
            self.strategy_id,
            symbol,
            side,
            _MARKET,
            units,
            self._ctx.now,
            self._time_in_force,
            None,
            None,
            None,
            None,
            None,
            reduce_only,
            None,
            self.group,
            tag,
        )
        handle = self.orders[order_id] = OrderHandle(order, self.instruments[symbol])
        self.outbox.append(SubmitOrder(order))
        return handle

    def order(
        self,
        symbol: str,
        side: Side,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        trail: float | None = None,
        trail_percent: float | None = None,
        tif: TimeInForce | str | None = None,
        expire_ts: int | None = None,
        reduce_only: bool = False,
        parent: OrderHandle | None = None,
        group: str | None = None,
        tag: str | None = None,
        confidence: float | None = None,
    ) -> OrderHandle:
        """Submit an order of any type; see ``Strategy.buy`` for the arguments.

        Raises:
            ValueError: a number that is not finite or has too many digits, or arguments that
                contradict each other.
        """
        instrument = self.instrument(symbol)
        kind = _order_type(limit, stop, trail, trail_percent)
        units = self.quantity_units(instrument, quantity)
        if tag is not None:
            _require_text(tag)
        if parent is not None and not isinstance(parent, OrderHandle):
            raise TypeError(f"after is an order that buy or sell gave, not {parent!r}")
        order = Order(
            self.next_id(),
            self.strategy_id,
            symbol,
            side,
            kind,
            units,
            self.now,
            self._tif(tif, expire_ts),
            limit_px=tick_px(instrument, limit, up=side is Side.SELL),
            stop_px=tick_px(instrument, stop, up=side is Side.BUY),
            trail_px=tick_px(instrument, trail, up=True),
            trail_bps=None if trail_percent is None else round_units(trail_percent, 2),
            expire_ts=expire_ts,
            reduce_only=reduce_only,
            parent_id=None if parent is None else parent.id,
            group_id=group or self.group,
            tag=tag,
            confidence=confidence,
        )
        return self.submit(order, instrument)

    def _tif(self, tif: TimeInForce | str | None, expire_ts: int | None) -> TimeInForce:
        if expire_ts is not None:
            if type(expire_ts) is not int or not 0 <= expire_ts <= MAX_UNITS:
                raise ValueError(f"good_till is UTC nanoseconds as an int, not {expire_ts!r}")
            if tif not in (None, TimeInForce.GTD):
                raise ValueError(f"good_till goes with time in force GTD, not {tif}")
            return TimeInForce.GTD
        if tif is None:
            return self._time_in_force
        try:
            return TimeInForce(tif)
        except ValueError:
            names = ", ".join(t.value for t in TimeInForce)
            raise ValueError(f"unknown time in force {tif!r}; one of {names}") from None

    @staticmethod
    def quantity_units(instrument: Instrument, quantity: float) -> int:
        """Scale a quantity, refusing digits the instrument does not have."""
        whole = type(quantity) is int and instrument.quantity_decimals == 0
        if whole and -MAX_UNITS <= quantity <= MAX_UNITS:
            return int(quantity)
        try:
            return to_units(quantity, instrument.quantity_decimals)
        except (ValueError, ArithmeticError) as error:
            raise ValueError(f"quantity of {instrument.symbol}: {error}; round it first") from None

    def target(self, symbol: str, units: int, tag: str | None) -> OrderHandle | None:
        """Send the market order that brings position plus open orders to ``units``."""
        difference = units - self.projected(symbol)
        if not difference:
            return None
        held = self.positions[symbol].units
        # Towards zero from what is held: a closing order that went too far is made up for freely.
        reduces = difference * held < 0
        reduce_only = reduces and abs(units) < abs(held) and units * held >= 0
        side = Side.BUY if difference > 0 else Side.SELL
        if reduce_only:
            return self._reduce(symbol, side, abs(difference), tag)
        return self.market(symbol, side, abs(difference), tag=tag)

    def _reduce(self, symbol: str, side: Side, units: int, tag: str | None) -> OrderHandle:
        """Send reduce-only market orders of no more than one order may be; give the first."""
        most = self._slice(symbol)
        first = self.market(symbol, side, min(units, most), reduce_only=True, tag=tag)
        while units > most:
            units -= most
            self.market(symbol, side, min(units, most), reduce_only=True, tag=tag)
        return first

    def _slice(self, symbol: str) -> int:
        """Give the largest quantity that one order may have at the latest price, in whole lots."""
        own, last = self._slice_sizes[symbol], self.last(symbol)
        if last is None or last.last_px <= 0:
            return own.max_qty
        instrument = self.instruments[symbol]
        factor, divisor = instrument.cash_scale()
        most: int = min(own.max_order * divisor // (last.last_px * factor), own.max_qty)
        # A lot dearer than the limit cannot be sliced: one at a time, which the gate lets pass.
        return max(most - most % instrument.lot_size, instrument.lot_size)

    def projected(self, symbol: str) -> int:
        """Give the position once every open market order has filled, in quantity units."""
        units: int = self.positions[symbol].units
        for handle in self.orders.values():
            order = handle.order
            if order.symbol == symbol and order.order_type is OrderType.MARKET:
                units += order.side.sign * handle.leaves_qty
        return units

    def share_units(self, symbol: str, share: float) -> int:
        """Size a share of equity at the latest price: quantity units, towards zero, in lots.

        Raises:
            ValueError: the share is not finite.
        """
        if not math.isfinite(share):
            raise ValueError(f"a share of equity must be a finite number, not {share!r}")
        self.instrument(symbol)
        equity = self.equity_units()
        if equity <= 0:
            return 0
        if abs(share) > SHARE_MAX:
            raise ValueError(f"a share of equity is at most {SHARE_MAX:g}, not {share!r}")
        return self.value_units(symbol, round(equity * share))

    def value_units(self, symbol: str, cash: int) -> int:
        """Size a signed value in cash units at the latest price: towards zero, in lots."""
        instrument, last = self.instrument(symbol), self.last(symbol)
        if last is None or last.last_px <= 0:
            return 0
        factor, divisor = instrument.cash_scale()
        lots: int = abs(cash) * divisor // (last.last_px * factor * instrument.lot_size)
        return lots * instrument.lot_size * (1 if cash > 0 else -1)

    def equity_units(self) -> int:
        """Give cash plus the value of this strategy's positions, in cash units."""
        return self.cash + sum([position.value_units for position in self.held.values()])

    def hold(self, position: Position, units: int) -> None:
        """Take in a position's new quantity, in quantity units."""
        position.units = units
        if units:
            self.held[position.symbol] = position
        else:
            self.held.pop(position.symbol, None)

    def close(self, symbol: str, tag: str | None) -> OrderHandle | None:
        """Cancel the symbol's open orders and send reduce-only orders that go flat."""
        units = self.positions[symbol].units
        mine = [handle for handle in self.orders.values() if handle.symbol == symbol]
        closing = [h for h in mine if h.order.reduce_only and h.order.order_type is _MARKET]
        covered = units and sum(handle.leaves_qty for handle in closing) == abs(units)
        for handle in mine:
            if not (covered and handle in closing):
                self.cancel(handle)
        if not units:
            return None
        side = Side.SELL if units > 0 else Side.BUY
        return closing[0] if covered else self._reduce(symbol, side, abs(units), tag)

    def cancel(self, handle: OrderHandle) -> None:
        """Ask for an order to be taken off; nothing happens when it has ended."""
        if handle.is_open:
            self.outbox.append(CancelOrder(handle.id, self.strategy_id, self.now))

    def replace(
        self, handle: OrderHandle, quantity: float | None, limit: float | None, stop: float | None
    ) -> None:
        """Ask for a working order's quantity or prices to change."""
        instrument = self.instruments[handle.symbol]
        selling = handle.side is Side.SELL
        self.outbox.append(
            ReplaceOrder(
                handle.id,
                self.strategy_id,
                self.now,
                None if quantity is None else self.quantity_units(instrument, quantity),
                tick_px(instrument, limit, up=selling),
                tick_px(instrument, stop, up=not selling),
            )
        )


def _require_text(tag: object) -> None:
    if not isinstance(tag, str):
        raise TypeError(f"a tag is text, not {tag!r}")
    tag.encode()  # a lone surrogate is no text: it could not be written


def cause_of(event: Any) -> str:
    """Name an input uniquely within a strategy: what it is and its number or time."""
    kind = type(event)
    if kind is Bar:
        return f"{event.symbol}:{event.seq}"
    if kind is Trade or kind is Quote:
        return f"{event.symbol}:{kind.__name__[0]}{event.seq}"
    if kind is OrderFilled:
        return f"{event.exec_id}"
    ts = event.ts_init if kind is ClosePosition else event.ts_event
    order_id = getattr(event, "client_order_id", None)
    if order_id is not None:
        return f"{order_id}/{kind.__name__}@{ts}"
    if kind is Signal:
        return f"{event.strategy_id}/{event.symbol}@{ts}"
    if kind is ClosePosition:
        return f"{event.symbol}/{event.reason}@{ts}"
    return f"{event.name}@{ts}"


def describe(event: Any, now: int) -> str:
    """Name an input for people: what it is, whose, and when (UTC)."""
    kind = type(event)
    at = _utc(now)
    if kind is Bar:
        return f"bar {event.seq + 1} of {event.symbol} (ended {at}, close {event.close:g})"
    if kind is Trade:
        return f"trade {event.seq + 1} of {event.symbol} ({at}, price {event.price:g})"
    if kind is Quote:
        return f"quote {event.seq + 1} of {event.symbol} ({at})"
    if hasattr(event, "every"):
        return f"the start ({at})" if event.name == "start" else f"timer {event.name!r} ({at})"
    about = getattr(event, "client_order_id", None) or getattr(event, "symbol", "")
    return f"{kind.__name__} of {about} ({at})" if about else f"{kind.__name__} ({at})"


def _utc(ts: int) -> str:
    return f"{_EPOCH + dt.timedelta(seconds=ts // 1_000_000_000):%Y-%m-%dT%H:%M:%SZ}"


def _order_type(
    limit: float | None, stop: float | None, trail: float | None, trail_percent: float | None
) -> OrderType:
    if trail is not None or trail_percent is not None:
        if (trail is not None and trail_percent is not None) or limit is not None:
            raise ValueError("a trailing stop takes either trail or trail_percent, and no limit")
        return OrderType.TRAILING_STOP
    if stop is not None:
        return OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    return OrderType.MARKET if limit is None else OrderType.LIMIT


def tick_px(instrument: Instrument, price: float | None, *, up: bool) -> int | None:
    """Round a price to the instrument's tick: a limit away from the market, a stop away too.

    Args:
        instrument: whose ticks.
        price: the price as the strategy computed it; None stays None.
        up: direction of rounding; a price within a millionth of a tick counts as on it.

    Raises:
        ValueError: not a finite positive number.
    """
    if price is None:
        return None
    if not math.isfinite(price) or price <= 0:
        raise ValueError(f"a price of {instrument.symbol} must be finite and positive: {price!r}")
    ticks = price * instrument.price_unit / instrument.tick_size
    nearest = round(ticks)
    if abs(ticks - nearest) > 1e-6:
        nearest = math.ceil(ticks) if up else math.floor(ticks)
    if nearest * instrument.tick_size > MAX_UNITS:
        raise ValueError(f"a price of {instrument.symbol} is too large: {price!r}")
    return nearest * instrument.tick_size
