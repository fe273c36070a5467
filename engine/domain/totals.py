"""Executions worked out from running totals, for venues that report nothing else.

Such a venue says how much of an order has filled so far and at which average price. The price of
one execution is then what the total value grew by over what the quantity grew by, rounded half to
even to a price unit. What a rounding left over goes into the next execution, so the total value
never drifts from the venue's by more than half a price unit for each unit of the last quantity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from engine.domain.events import OrderFilled, PricedBy
from engine.domain.instruments import Instrument
from engine.domain.money import MAX_UNITS
from engine.domain.orders import Liquidity, Order

__all__ = ["Totals"]


class Totals:
    """What has been booked of one order, and the step from there to new totals.

    Args:
        order: the order.
        instrument: its scales.
        fills: what is booked of it already.

    Attributes:
        cum_qty: filled so far, in quantity units.
    """

    __slots__ = ("_instrument", "_order", "_value", "cum_qty")

    def __init__(
        self, order: Order, instrument: Instrument, fills: Iterable[OrderFilled] = ()
    ) -> None:
        self._order = order
        self._instrument = instrument
        self.cum_qty = 0
        self._value = 0  # price units times quantity units
        for fill in fills:
            self.cum_qty += abs(fill.signed_qty)
            self._value += abs(fill.signed_qty) * fill.last_px

    def step(
        self, cum_qty: int, average_price: float, order_qty: int, ts: int
    ) -> OrderFilled | None:
        """Give the execution that leads to new totals; None when they are not above the old ones.

        Its id is the order's and the total quantity, so the same totals always give the same id.

        Args:
            cum_qty: filled so far, in quantity units.
            average_price: over all of it, in currency; read by its shortest decimal text.
            order_qty: the order's quantity now, in quantity units.
            ts: time of the report, UTC nanoseconds.

        Raises:
            ValueError: the price is not finite, not above zero or beyond a 64-bit integer, or the
                step would need an execution at such a price; nothing has been booked.
        """
        if cum_qty <= self.cum_qty:
            return None
        if not math.isfinite(average_price) or average_price <= 0:
            raise ValueError(f"average price {average_price!r} is not a finite number above 0")
        order = self._order
        qty = cum_qty - self.cum_qty
        average = Fraction(repr(average_price)) * self._instrument.price_unit
        px = round((average * cum_qty - self._value) / qty)
        if not 0 < px <= MAX_UNITS:
            raise ValueError(
                f"from {self.cum_qty} to {cum_qty} quantity units at {average_price!r} would be an "
                f"execution at {px} price units"
            )
        self.cum_qty = cum_qty
        self._value += px * qty
        return OrderFilled(
            client_order_id=order.client_order_id,
            exec_id=f"{order.client_order_id}:{cum_qty}",
            strategy_id=order.strategy_id,
            symbol=order.symbol,
            signed_qty=order.side.sign * qty,
            last_px=px,
            cum_qty=cum_qty,
            leaves_qty=max(order_qty - cum_qty, 0),
            commission=0,
            slippage=0,
            liquidity=Liquidity.TAKER,
            ts_event=ts,
            priced_by=PricedBy.REPORT,
            datum_seq=-1,
            datum_ts=ts,
        )
