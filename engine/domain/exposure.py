"""Exposure of an account: what is held and what could still be, valued at the latest prices.

Worst case means: all that is held and working on the side that hurts. Totals are kept running,
so a check costs a look at each active symbol and arithmetic only where a price has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.money import div_half_even
from engine.domain.orders import Order, Side
from engine.domain.risk import CheckInputs

__all__ = ["Exposure", "ExposureBook", "LatestEvent"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY = Side.BUY


class LatestEvent(Protocol):
    """Something whose ``last`` is always a symbol's latest market event."""

    @property
    def last(self) -> Any:
        """The latest market event, None before the first."""


class Exposure:
    """Account-wide exposure in one symbol, valued at the latest price it was looked at with.

    Attributes:
        symbol: instrument.
        instrument: its scales.
        quantity: signed quantity held by all strategies together, in quantity units.
        buys: unsigned quantity of working buys that are not reduce-only.
        sells: likewise of sells.
        px: price it was last valued at, in price units.
        worst_qty: unsigned worst-case quantity at the last valuation.
        held_per_px: signed quantity held at the last valuation times the value of a price unit.
        worst_per_px: the same of the worst case: a price that moves by n moves the value by n
            of these (over ``divisor``), which is all that marking needs.
        seen: the market event it was last valued with; None when quantities have changed since,
            so that a booking costs no valuation: the next order that is judged does one.
        warned: whether its size has been warned about.
    """

    __slots__ = (
        "buys",
        "divisor",
        "factor",
        "held_per_px",
        "instrument",
        "lane",
        "px",
        "quantity",
        "seen",
        "sells",
        "symbol",
        "warned",
        "worst_per_px",
        "worst_qty",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.factor, self.divisor = instrument.cash_scale()
        self.quantity = self.buys = self.sells = 0
        self.px = self.worst_qty = self.held_per_px = self.worst_per_px = 0
        self.lane: LatestEvent | None = None
        self.seen: Any = None
        self.warned = False

    def value(self, quantity: int, px: int) -> int:
        """Value a quantity at a price in cash units, rounded half to even."""
        amount = quantity * px * self.factor
        return amount if self.divisor == 1 else div_half_even(amount, self.divisor)

    @property
    def held_value(self) -> int:
        """Signed value of what was held at the last valuation, in cash units."""
        amount = self.held_per_px * self.px
        return amount if self.divisor == 1 else div_half_even(amount, self.divisor)

    @property
    def worst_value(self) -> int:
        """Unsigned value of the worst case at the last valuation, in cash units."""
        amount = self.worst_per_px * self.px
        return amount if self.divisor == 1 else div_half_even(amount, self.divisor)


class ExposureBook:
    """Exposure of one account, symbol by symbol and in total.

    Args:
        instruments: scales by symbol.

    Attributes:
        latest: gives the view of a symbol's latest market event; set before the first use.
        exposures: every symbol of the account.
        active: those in which something is held or working.
        held_value: signed value of all that is held, in cash units, as of the last marking.
        worst_value: unsigned worst-case value of all symbols, likewise.
    """

    latest: Callable[[str], LatestEvent]

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self.exposures = {symbol: Exposure(item) for symbol, item in instruments.items()}
        self.active: dict[str, Exposure] = {}
        self.held_value = 0
        self.worst_value = 0

    def of(self, symbol: str) -> Exposure:
        """Give the exposure in a symbol.

        Raises:
            KeyError: the account has no such instrument.
        """
        exposure = self.exposures[symbol]
        if exposure.lane is None:
            exposure.lane = self.latest(symbol)
        return exposure

    def work(self, exposure: Exposure, side: Side, quantity: int) -> None:
        """Add to (or take off) what works on one side of a symbol.

        Call it after changing ``exposure.quantity`` too; a quantity of zero is fine.
        """
        if side is _BUY:
            exposure.buys += quantity
        else:
            exposure.sells += quantity
        exposure.seen = None
        if exposure.buys or exposure.sells or exposure.quantity:
            self.active[exposure.symbol] = exposure
        elif self.active.pop(exposure.symbol, None) is not None:
            self.held_value -= exposure.held_value
            self.worst_value -= exposure.worst_value
            exposure.held_per_px = exposure.worst_per_px = exposure.worst_qty = 0
            exposure.warned = False

    def measure(
        self, order: Order, exposure: Exposure, last: Any, cash: int, day_start: int
    ) -> CheckInputs:
        """Look at everything the measured checks of one order need.

        Args:
            order: the order, not yet counted in the book.
            exposure: of its symbol.
            last: latest market event of its symbol.
            cash: cash of the account, in cash units.
            day_start: equity at the start of the trading day, in cash units.
        """
        if last is not exposure.seen:
            self._mark(exposure, last)
        active = self.active
        if len(active) > 1 or (active and exposure.symbol not in active):
            self.mark()
        quantity, px = order.order_qty, exposure.px
        own_px = order.limit_px or order.stop_px or px
        before_value = after_value = exposure.worst_value
        exempt = shorts = 0
        if order.reduce_only:
            exempt = 1
        else:
            if order.side is _BUY:
                after = exposure.quantity + exposure.buys + quantity
            else:
                after = exposure.sells - exposure.quantity + quantity
                shorts = 1 if after > 0 else 0
            if after > exposure.worst_qty:
                # A limit above the market can fill there: the worst price counts.
                after_value = exposure.value(after, own_px if own_px > px else px)
        return CheckInputs(
            exposure.value(quantity, own_px),
            before_value,
            after_value,
            self.worst_value - before_value + after_value,
            cash + self.held_value,
            day_start,
            exempt,
            shorts,
        )

    def mark(self) -> None:
        """Bring the totals up to the latest prices: what has not moved costs a look.

        Written out for the common case, a price that moved under unchanged quantities: with many
        positions this loop is most of a check.
        """
        held_move = worst_move = 0
        for exposure in self.active.values():
            last = exposure.lane.last  # type: ignore[union-attr]  # active: `of` gave it a lane
            if last is exposure.seen:
                continue
            if exposure.seen is None or exposure.divisor != 1:
                self._mark(exposure, last)
                continue
            exposure.seen = last
            px = last.close_px if type(last) is Bar else last.last_px
            move = px - exposure.px
            if move:
                exposure.px = px
                held_move += exposure.held_per_px * move
                worst_move += exposure.worst_per_px * move
        self.held_value += held_move
        self.worst_value += worst_move

    def _mark(self, exposure: Exposure, last: Any) -> None:
        """Value one symbol at its latest price and carry the change into the totals."""
        self.held_value -= exposure.held_value
        self.worst_value -= exposure.worst_value
        exposure.seen = last
        if last is not None:
            exposure.px = last.close_px if type(last) is Bar else last.last_px
        quantity = exposure.quantity
        worst, short = quantity + exposure.buys, exposure.sells - quantity
        if short > worst:
            worst = short
        exposure.worst_qty = worst
        exposure.held_per_px = quantity * exposure.factor
        exposure.worst_per_px = worst * exposure.factor
        self.held_value += exposure.held_value
        self.worst_value += exposure.worst_value
