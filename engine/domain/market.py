"""Market events: bars, trades and quotes.

Prices and quantities are scaled integers (``*_px``, ``*_qty``); each event carries its two units
so that it explains itself. The float properties (``bar.close``) are for strategies and
analytics: a correctly rounded division, hence the same double in every mode.
"""

from __future__ import annotations

import msgspec

__all__ = ["Bar", "MarketEvent", "Quote", "Trade"]


# gc=False: these hold no references to containers, and a million of them must not be scanned
# by the cyclic collector. Positional fields: the replay builds them with map() from columns.
class Bar(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="bar"):
    """Open, high, low, close and volume over ``[ts_open, ts_event)``.

    Attributes:
        symbol: instrument.
        seq: 0-based number of the bar in its series; names the datum in fills.
        ts_open: start, UTC nanoseconds; the open price is known from here on.
        ts_event: end, UTC nanoseconds; the bar as a whole is known from here on.
        open_px: first price, in price units (likewise high_px, low_px, close_px).
        volume_qty: traded quantity, in quantity units.
        px_unit: price units in a price of 1.
        qty_unit: quantity units in a quantity of 1.
    """

    symbol: str
    seq: int
    ts_open: int
    ts_event: int
    open_px: int
    high_px: int
    low_px: int
    close_px: int
    volume_qty: int
    px_unit: int
    qty_unit: int

    @property
    def open(self) -> float:
        """First price."""
        return self.open_px / self.px_unit

    @property
    def high(self) -> float:
        """Highest price."""
        return self.high_px / self.px_unit

    @property
    def low(self) -> float:
        """Lowest price."""
        return self.low_px / self.px_unit

    @property
    def close(self) -> float:
        """Last price."""
        return self.close_px / self.px_unit

    @property
    def volume(self) -> float:
        """Traded quantity."""
        return self.volume_qty / self.qty_unit

    @property
    def last_px(self) -> int:
        """The price to mark with, in price units: the close."""
        return self.close_px


class Trade(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="trade"):
    """A print on the public tape (never an execution of ours).

    Attributes:
        symbol: instrument.
        seq: 0-based number in its series.
        ts_event: time of the print, UTC nanoseconds.
        px: price, in price units.
        qty: size, in quantity units.
        px_unit: price units in a price of 1.
        qty_unit: quantity units in a quantity of 1.
    """

    symbol: str
    seq: int
    ts_event: int
    px: int
    qty: int
    px_unit: int
    qty_unit: int

    @property
    def price(self) -> float:
        """Price of the print."""
        return self.px / self.px_unit

    @property
    def size(self) -> float:
        """Quantity of the print."""
        return self.qty / self.qty_unit

    @property
    def last_px(self) -> int:
        """The price to mark with, in price units."""
        return self.px


class Quote(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="quote"):
    """Best bid and ask.

    Attributes:
        symbol: instrument.
        seq: 0-based number in its series.
        ts_event: time of the quote, UTC nanoseconds.
        bid_px: best bid, in price units.
        ask_px: best ask, in price units.
        bid_qty: size at the bid, in quantity units.
        ask_qty: size at the ask, in quantity units.
        px_unit: price units in a price of 1.
        qty_unit: quantity units in a quantity of 1.
    """

    symbol: str
    seq: int
    ts_event: int
    bid_px: int
    ask_px: int
    bid_qty: int
    ask_qty: int
    px_unit: int
    qty_unit: int

    @property
    def bid(self) -> float:
        """Best bid."""
        return self.bid_px / self.px_unit

    @property
    def ask(self) -> float:
        """Best ask."""
        return self.ask_px / self.px_unit

    @property
    def last_px(self) -> int:
        """The price to mark with, in price units: the midpoint, rounded down to a unit."""
        return (self.bid_px + self.ask_px) // 2


MarketEvent = Bar | Trade | Quote
