"""What a strategy sees of its orders and positions: floats, kept up to date by its host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT, div_half_even
from engine.domain.orders import Order, OrderStatus, Side

__all__ = ["Bracket", "Fill", "OrderHandle", "Position"]


# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_INITIALIZED = OrderStatus.INITIALIZED
_PARTIALLY_FILLED, _FILLED = OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED


class OrderHandle:
    """One order of the strategy, as far as its host has heard.

    Attributes:
        order: the instruction as it was sent (scaled integers).
        status: where it is in its life.
        reason: why it was denied, rejected, canceled or expired; empty until then.
    """

    __slots__ = ("_cum_qty", "_instrument", "_notional", "order", "reason", "status")

    def __init__(self, order: Order, instrument: Instrument) -> None:
        self.order = order
        self.status = _INITIALIZED
        self.reason = ""
        self._cum_qty = 0
        self._notional = 0
        self._instrument = instrument

    def add_fill(self, quantity: int, px: int, leaves_qty: int) -> None:
        """Fold one execution in (called by the host)."""
        self._cum_qty += quantity
        self._notional += quantity * px
        self.status = _PARTIALLY_FILLED if leaves_qty else _FILLED

    @property
    def id(self) -> str:
        """The client order id."""
        return self.order.client_order_id

    @property
    def symbol(self) -> str:
        """Its instrument."""
        return self.order.symbol

    @property
    def side(self) -> Side:
        """BUY or SELL."""
        return self.order.side

    @property
    def tag(self) -> str | None:
        """The strategy's own word for it."""
        return self.order.tag

    @property
    def quantity(self) -> float:
        """Ordered quantity."""
        return self.order.order_qty / self._instrument.quantity_unit

    @property
    def filled_quantity(self) -> float:
        """Quantity filled so far."""
        return self._cum_qty / self._instrument.quantity_unit

    @property
    def average_price(self) -> float | None:
        """Average price of its fills, None before the first."""
        if not self._cum_qty:
            return None
        return self._notional / self._cum_qty / self._instrument.price_unit

    @property
    def leaves_qty(self) -> int:
        """Quantity still open, in quantity units."""
        return self.order.order_qty - self._cum_qty

    @property
    def is_open(self) -> bool:
        """True until a terminal status."""
        return not self.status.is_terminal

    def __repr__(self) -> str:
        order = self.order
        return (
            f"<{order.side.name} {self.quantity:g} {order.symbol} {order.order_type.name} "
            f"{self.status.name} {order.client_order_id}>"
        )


class Bracket:
    """An entry with its two exits; ``stop_loss`` or ``take_profit`` may be None."""

    __slots__ = ("entry", "stop_loss", "take_profit")

    def __init__(
        self,
        entry: OrderHandle,
        take_profit: OrderHandle | None,
        stop_loss: OrderHandle | None,
    ) -> None:
        self.entry = entry
        self.take_profit = take_profit
        self.stop_loss = stop_loss


class Position:
    """The strategy's position in one symbol; false when flat.

    Attributes:
        symbol: instrument.
        units: signed quantity, in quantity units.
        cost: signed cost basis, in cash units.
        realized_units: profit realised so far before commission, in cash units.
    """

    __slots__ = (
        "_divisor",
        "_factor",
        "_last",
        "_px_unit",
        "_qty_unit",
        "cost",
        "realized_units",
        "symbol",
        "units",
    )

    def __init__(self, instrument: Instrument, last: Callable[[str], Any]) -> None:
        self.symbol = instrument.symbol
        self.units = 0
        self.cost = 0
        self.realized_units = 0
        self._px_unit = instrument.price_unit
        self._qty_unit = instrument.quantity_unit
        self._factor, self._divisor = instrument.cash_scale()
        self._last = last

    def __bool__(self) -> bool:
        return self.units != 0

    @property
    def quantity(self) -> float:
        """Signed quantity: positive long, negative short."""
        return self.units / self._qty_unit

    @property
    def average_price(self) -> float | None:
        """Average entry price, None when flat."""
        if not self.units:
            return None
        return self.cost * self._divisor / (self.units * self._factor) / self._px_unit

    @property
    def value_units(self) -> int:
        """Signed market value at the latest price, in cash units, rounded half to even."""
        if not self.units:
            return 0
        px: int = self._last(self.symbol).last_px
        value = self.units * px * self._factor
        return value if self._divisor == 1 else div_half_even(value, self._divisor)

    @property
    def value(self) -> float:
        """Signed market value at the latest price, in currency."""
        return self.value_units / CASH_UNIT

    @property
    def unrealized(self) -> float:
        """Profit not yet realised at the latest price, before commission, in currency."""
        return (self.value_units - self.cost) / CASH_UNIT

    @property
    def realized(self) -> float:
        """Profit realised so far, before commission, in currency."""
        return self.realized_units / CASH_UNIT

    def __repr__(self) -> str:
        return f"<Position {self.symbol} {self.quantity:g}>"


class Fill:
    """One execution, as the strategy's ``on_fill`` receives it.

    Attributes:
        order: the order it belongs to.
        quantity: unsigned quantity of this execution.
        price: its price.
        commission: its commission, in currency.
        realized: profit it realised before commission, in currency.
        ts_event: when it happened, UTC nanoseconds.
    """

    __slots__ = ("commission", "order", "price", "quantity", "realized", "ts_event")

    def __init__(
        self,
        order: OrderHandle,
        quantity: float,
        price: float,
        commission: float,
        realized: float,
        ts_event: int,
    ) -> None:
        self.order = order
        self.quantity = quantity
        self.price = price
        self.commission = commission
        self.realized = realized
        self.ts_event = ts_event

    @property
    def symbol(self) -> str:
        """Its instrument."""
        return self.order.symbol

    @property
    def side(self) -> Side:
        """BUY or SELL."""
        return self.order.side
