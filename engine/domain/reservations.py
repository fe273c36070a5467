"""What working orders reserve, from the verdict to a definitive end.

The gate and the ledger fold this same class from the same events. A reservation is released only
by fills and by a definitive terminal event; an order of unknown outcome keeps its own.

While replacements are on their way an order reserves the largest quantity and the highest price
of all that could be in force.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.domain.commands import ReplaceOrder
from engine.domain.events import OrderReplaced
from engine.domain.instruments import Instrument
from engine.domain.money import div_half_even
from engine.domain.orders import Order, Side, price_at_stake

__all__ = ["Reservation", "Reservations"]

_BUY = Side.BUY


class Reservation:
    """What one order reserves.

    Attributes:
        order: the order with the prices now in force.
        order_qty: total quantity in force, in quantity units.
        px: price it is reserved at: its limit or stop price, or the latest price at its verdict.
        cum_qty: filled so far.
        leaves_qty: reserved quantity: the largest that can still fill.
        amount: reserved value, cash units.
        pending: ``(total quantity, price)`` of each replacement without an answer.
    """

    __slots__ = (
        "amount", "cum_qty", "divisor", "factor", "leaves_qty", "order", "order_qty", "pending",
        "px",
    )  # fmt: skip

    def __init__(self, order: Order, px: int, scale: tuple[int, int]) -> None:
        self.order = order
        self.order_qty = self.leaves_qty = quantity = order.order_qty
        self.px = px
        self.cum_qty = 0
        self.factor, self.divisor = scale
        self.pending: list[tuple[int, int]] | None = None
        amount = quantity * px * self.factor
        if self.divisor != 1:
            amount = div_half_even(amount, self.divisor)
        self.amount = 0 if order.reduce_only else amount

    def resize(self) -> None:
        """Work out quantity and value anew."""
        quantity, px = self.order_qty, self.px
        if self.pending:
            quantity = max(quantity, *(q for q, _ in self.pending))
            px = max(px, *(p for _, p in self.pending))
        leaves = self.leaves_qty = max(quantity - self.cum_qty, 0)
        amount = leaves * px * self.factor
        if self.divisor != 1:
            amount = div_half_even(amount, self.divisor)
        self.amount = 0 if self.order.reduce_only else amount


class Reservations:
    """The reservations of one account.

    Reduce-only orders are in it with their quantity and reserve no value: the venue caps them by
    the position they reduce.

    Args:
        instruments: scales by symbol.

    Attributes:
        orders: by client order id.
        buys: reserved value of all buys, cash units.
        sells: that of all sells.
    """

    __slots__ = ("_scales", "buys", "orders", "sells")

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._scales = {symbol: i.cash_scale() for symbol, i in instruments.items()}
        self.orders: dict[str, Reservation] = {}
        self.buys = 0
        self.sells = 0

    def reserve(self, order: Order, px: int) -> Reservation:
        """Reserve for an approved order.

        Args:
            order: the order.
            px: latest price at its verdict, for an order without a price of its own.
        """
        own_px = price_at_stake(order, px)
        held = Reservation(order, own_px, self._scales[order.symbol])
        self.orders[order.client_order_id] = held
        if order.side is _BUY:
            self.buys += held.amount
        else:
            self.sells += held.amount
        return held

    def again(
        self, order: Order, order_qty: int, px: int, cum_qty: int, pending: list[tuple[int, int]]
    ) -> Reservation:
        """Reserve for an order that was working before a restart."""
        held = self.reserve(order, px)
        held.order_qty, held.px, held.cum_qty, held.pending = order_qty, px, cum_qty, list(pending)
        self._resize(held)
        return held

    def replaced(self, held: Reservation, replace: ReplaceOrder) -> Order:
        """Give the order that a replacement would make: what of it could still fill."""
        order = held.order
        quantity = held.order_qty if replace.order_qty is None else replace.order_qty
        return msgspec.structs.replace(
            order,
            order_qty=quantity - held.cum_qty,
            ts_init=replace.ts_init,
            limit_px=order.limit_px if replace.limit_px is None else replace.limit_px,
            stop_px=order.stop_px if replace.stop_px is None else replace.stop_px,
        )

    def widen(self, held: Reservation, changed: Order, px: int) -> None:
        """Reserve for an approved replacement too, until it is answered.

        Args:
            held: the order's reservation.
            changed: what :meth:`replaced` gave.
            px: latest price at its verdict, for an order without a price of its own.
        """
        own_px = price_at_stake(changed, px)
        held.pending = [*(held.pending or ()), (changed.order_qty + held.cum_qty, own_px)]
        self._resize(held)

    def settle(self, event: OrderReplaced) -> Reservation | None:
        """Take the answer to a replacement: what it says is in force now."""
        held = self.orders.get(event.client_order_id)
        if held is None:
            return None
        pending, order_qty, asked_px = held.pending, event.order_qty, 0
        if pending:
            answered = next((p for p in pending if p[0] == order_qty), min(pending))
            pending.remove(answered)
            asked_px = answered[1]
        held.order_qty = order_qty
        # A stop was reserved for at the market where that was dearer.
        stop_px = max(event.stop_px, asked_px) if event.stop_px else held.px
        held.px = event.limit_px or stop_px
        held.order = msgspec.structs.replace(
            held.order, limit_px=event.limit_px, stop_px=event.stop_px
        )
        self._resize(held)
        return held

    def refuse(self, order_id: str) -> Reservation | None:
        """Take a refusal of a replacement: the order works on as it was.

        It does not say which one was refused, so the smallest is let go and the largest kept
        until every one is answered.
        """
        held = self.orders.get(order_id)
        if held is not None and held.pending:
            held.pending.remove(min(held.pending))
            self._resize(held)
        return held

    def fill(self, held: Reservation, cum_qty: int, leaves_qty: int) -> None:
        """Turn what has filled of an order into a position; the last fill ends it.

        Args:
            held: the order's reservation.
            cum_qty: filled so far.
            leaves_qty: still open; zero ends the reservation.
        """
        if leaves_qty:
            held.cum_qty = cum_qty
            self._resize(held)
            return
        # Written out, like reserve: this is how most orders end.
        del self.orders[held.order.client_order_id]
        if held.order.side is _BUY:
            self.buys -= held.amount
        else:
            self.sells -= held.amount
        held.leaves_qty = held.amount = 0

    def end(self, order_id: str) -> Reservation | None:
        """Release what an order still reserves, for a definitive end."""
        held = self.orders.pop(order_id, None)
        if held is not None:
            self.count(held.order.side, -held.amount)
            held.leaves_qty = held.amount = 0
        return held

    def _resize(self, held: Reservation) -> None:
        before = held.amount
        held.resize()
        self.count(held.order.side, held.amount - before)

    def count(self, side: Side, change: int) -> None:
        """Add to the reserved value of one side, in cash units."""
        if side is _BUY:
            self.buys += change
        else:
            self.sells += change
