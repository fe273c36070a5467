"""What a simulated fill costs: commission and slippage, exact to the cash unit.

The floats of :class:`CostsConfig` are read by their shortest decimal text (``0.1`` is one
tenth) and turned into rationals once, when :class:`Costs` is built for an instrument. From then
on everything is integer arithmetic with the rounding named at each division.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Annotated, Literal

import msgspec

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT, cash_units, div_half_even

__all__ = ["Costs", "CostsConfig"]

NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class CostsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs of the simulated venue; every amount is zero or more.

    Attributes:
        commission_bps: basis points (1/10000) of each fill's notional.
        commission_per_share: currency per one unit of quantity (share, contract, coin).
        commission_per_order: currency, charged once, with the first fill of an order.
        commission_min: currency, least total of an order that fills at all. The first fill is
            topped up to it; later fills cost nothing until the order's own charges exceed it.
        slippage: how a fill's price moves against the order:
            ``none``; ``ticks``: by ``slippage_ticks`` ticks; ``bps``: by ``slippage_bps`` of the
            price; ``volume_share``: by the square of the share taken of the datum's volume.
        slippage_ticks: ticks, for ``ticks``.
        slippage_bps: basis points of the price, for ``bps``.
        volume_share_limit: for ``volume_share``, the largest share of a datum's volume that
            the orders of one side may take; the rest of an order works on.
        price_impact: for ``volume_share``, the factor of the squared share.
    """

    commission_bps: NonNegative = 0.0
    commission_per_share: NonNegative = 0.0
    commission_per_order: NonNegative = 0.0
    commission_min: NonNegative = 0.0
    slippage: Literal["none", "ticks", "bps", "volume_share"] = "none"
    slippage_ticks: Annotated[int, msgspec.Meta(ge=0)] = 0
    slippage_bps: NonNegative = 0.0
    volume_share_limit: Share = 0.025
    price_impact: NonNegative = 0.1


def exact(value: float) -> Fraction:
    """Read a float by its shortest decimal text.

    >>> exact(0.1)
    Fraction(1, 10)
    """
    return Fraction(Decimal(repr(value)))


class Costs:
    """The costs of one instrument, compiled to integers.

    Attributes:
        per_order: cash units charged with an order's first fill.
        minimum: cash units an order that fills costs at least.
        flat: True when neither of the two applies, so that fills are independent.
        slips: True when a price may move.
        volume_share: largest share of a datum's volume one side may take, None when unlimited.
    """

    def __init__(self, config: CostsConfig, instrument: Instrument) -> None:
        factor, divisor = instrument.cash_scale()
        by_value = exact(config.commission_bps) / 10_000 * Fraction(factor, divisor)
        by_share = exact(config.commission_per_share) * CASH_UNIT / instrument.quantity_unit
        self._divisor = lcm(by_value.denominator, by_share.denominator)
        self._by_value = int(by_value * self._divisor)
        self._by_share = int(by_share * self._divisor)
        self._factor, self._cash_divisor = factor, divisor
        self.per_order = cash_units(config.commission_per_order)
        self.minimum = cash_units(config.commission_min)
        self.flat = self.per_order == 0 and self.minimum == 0
        self._tick = instrument.tick_size
        self._ticks = config.slippage_ticks if config.slippage == "ticks" else 0
        self._rate = exact(config.slippage_bps) / 10_000 if config.slippage == "bps" else exact(0)
        impact = config.slippage == "volume_share"
        self._impact = exact(config.price_impact) if impact else exact(0)
        self.volume_share = exact(config.volume_share_limit) if impact else None
        self.slips = bool(self._ticks or self._rate or self._impact)

    def commission(self, px: int, qty: int) -> int:
        """Give the part of a fill's commission that grows with it, in cash units.

        Args:
            px: price of the fill, in price units.
            qty: unsigned quantity, in quantity units.

        Returns:
            ``notional * bps / 10000 + quantity * per_share``, rounded once, half to even.
        """
        numerator = (abs(px) * self._by_value + self._by_share) * qty
        return numerator if self._divisor == 1 else div_half_even(numerator, self._divisor)

    def slipped(self, px: int, sign: int, taken_qty: int, volume_qty: int) -> int:
        """Move a datum's price against the order.

        ``volume_share`` is the formula of zipline's ``VolumeShareSlippage``
        (``src/zipline/finance/slippage.py``): ``price * (1 + sign * impact * share ** 2)``,
        where share is what this side has taken of the datum's volume, this fill included.

        Args:
            px: the datum's price, in price units.
            sign: +1 for a buy, -1 for a sell.
            taken_qty: quantity this side has taken of the datum, this fill included.
            volume_qty: the datum's volume, in quantity units; above zero for ``volume_share``.

        Returns:
            The price in price units, rounded away from the trader (a buy up, a sell down) to
            the tick. A positive price stays positive.

        >>> from engine.domain.instruments import Instrument
        >>> costs = Costs(CostsConfig(slippage="bps", slippage_bps=1.0), Instrument(symbol="X"))
        >>> costs.slipped(10_050, 1, 0, 0), costs.slipped(10_050, -1, 0, 0)
        (10052, 10048)
        """
        tick = self._tick
        move, base = self._ticks * tick, 1
        if self._rate:
            move, base = abs(px) * self._rate.numerator, self._rate.denominator
        elif self._impact:
            move = abs(px) * self._impact.numerator * taken_qty**2
            base = self._impact.denominator * volume_qty**2
        if not move:
            return px
        if sign > 0:
            return -(-(px * base + move) // (base * tick)) * tick
        lower = (px * base - move) // (base * tick) * tick
        return max(lower, min(px, tick)) if px > 0 else lower

    def cash_lost(self, px: int, last_px: int, signed_qty: int) -> int:
        """Value the slippage of a fill in cash units, half to even; zero or more.

        Args:
            px: the datum's price, in price units.
            last_px: the price of the fill, in price units.
            signed_qty: quantity, positive bought, negative sold.
        """
        return div_half_even((last_px - px) * signed_qty * self._factor, self._cash_divisor)
