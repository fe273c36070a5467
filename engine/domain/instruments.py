"""What is traded: scales, steps and the money value of a price times a quantity."""

from __future__ import annotations

import msgspec

from engine.domain.money import CASH_DECIMALS, div_half_even


class Instrument(msgspec.Struct, frozen=True, kw_only=True, tag="instrument"):
    """One tradable thing and the scales of its integers.

    Attributes:
        symbol: the venue's own string for it.
        price_decimals: a price of 1 is ``10 ** price_decimals`` price units; 0 to 9.
        quantity_decimals: likewise for quantities; 0 to 8.
        tick_size: smallest price step, in price units.
        lot_size: smallest quantity step, in quantity units.
        multiplier: currency value of one price point of one unit (futures); a whole number.
        currency: ISO code of the currency it is priced and settled in.
        sector: for concentration limits and reports; None when unknown.
        calendar: name of its trading calendar in :mod:`engine.domain.calendars`.
    """

    symbol: str
    price_decimals: int = 2
    quantity_decimals: int = 0
    tick_size: int = 1
    lot_size: int = 1
    multiplier: int = 1
    currency: str = "USD"
    sector: str | None = None
    calendar: str = "24/7"

    @property
    def price_unit(self) -> int:
        """Price units in a price of 1."""
        return int(10**self.price_decimals)

    @property
    def quantity_unit(self) -> int:
        """Quantity units in a quantity of 1."""
        return int(10**self.quantity_decimals)

    def cash_scale(self) -> tuple[int, int]:
        """Give ``(factor, divisor)`` so that cash units are ``px * qty * factor / divisor``.

        One of the two carries a power of ten, the other is 1 (times the multiplier), so the
        division is exact unless price and quantity together have more digits than cash.
        """
        shift = CASH_DECIMALS - self.price_decimals - self.quantity_decimals
        factor = self.multiplier * 10 ** max(shift, 0)
        return factor, int(10 ** max(-shift, 0))

    def notional(self, px: int, qty: int) -> int:
        """Value ``qty`` at ``px`` in cash units, signed like ``qty``; rounds half to even."""
        factor, divisor = self.cash_scale()
        return div_half_even(px * qty * factor, divisor)
