"""Guards of a position: the prices at which it is closed without its strategy's doing.

All are whole price units, worked out exactly from the position's cost, so a guard triggers at the
price it should and not one tick off.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.domain.risk import NO_LIMIT, PPM, RiskLimits
from engine.domain.risk.bounds import share_ppm

__all__ = ["STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP", "GuardBounds", "Levels", "levels"]

STOP_LOSS, TRAILING_STOP, TAKE_PROFIT = "STOP_LOSS", "TRAILING_STOP", "TAKE_PROFIT"


class GuardBounds(NamedTuple):
    """Guards as exact millionths; ``NO_LIMIT`` for none.

    Attributes:
        stop_ppm: adverse move from the average entry price, the buffer included (D12).
        trail_ppm: adverse move from the best price since entry.
        take_ppm: favorable move from the average entry price.
    """

    stop_ppm: int
    trail_ppm: int
    take_ppm: int

    @classmethod
    def of(cls, limits: RiskLimits) -> GuardBounds:
        """Scale the guards of a limits file."""
        stop = limits.stop_loss_pct
        return cls(
            NO_LIMIT if stop == "unlimited" else share_ppm(stop + limits.stop_loss_buffer),
            share_ppm(limits.trailing_stop_pct),
            share_ppm(limits.take_profit_pct),
        )

    @property
    def any(self) -> bool:
        """True when at least one guard is set."""
        return min(self) < NO_LIMIT


class Levels(NamedTuple):
    """Prices of one position that trigger its guards, in price units; None for no such guard.

    A long is closed at or below ``stop`` and ``trail`` and at or above ``take``; a short the
    other way round.
    """

    stop: int | None
    trail: int | None
    take: int | None

    def reason(self, quantity: int, px: int) -> str | None:
        """Say which guard a price triggers for a position, None for none."""
        way = 1 if quantity > 0 else -1
        if self.stop is not None and (self.stop - px) * way >= 0:
            return STOP_LOSS
        if self.trail is not None and (self.trail - px) * way >= 0:
            return TRAILING_STOP
        if self.take is not None and (px - self.take) * way >= 0:
            return TAKE_PROFIT
        return None


def levels(
    quantity: int, cost: int, best_px: int, scale: tuple[int, int], bounds: GuardBounds
) -> Levels:
    """Work out the prices that trigger the guards of a position.

    A stop at a share s triggers when ``cost - value >= s * abs(cost)``, with cost and value signed
    like the quantity: 100 bought at 100.00 with s = 0.07 close at 93.00 and not at 93.01, 100
    sold at 100.00 at 107.00.

    Args:
        quantity: signed quantity, in quantity units; not zero.
        cost: signed cost basis, in cash units.
        best_px: most favorable price since entry, in price units.
        scale: ``(factor, divisor)`` of the instrument.
        bounds: the guards.
    """
    factor, divisor = scale
    per_px = abs(quantity) * factor
    size, long = abs(cost), quantity > 0

    def at(change_ppm: int, sign: int) -> int:
        # abs(cost) * (1 + sign * change) as a price: the first whole one from the entry's side.
        amount = size * (PPM + sign * change_ppm) * divisor
        whole = per_px * PPM
        return amount // whole if sign < 0 else -(-amount // whole)

    stop = trail = take = None
    if bounds.stop_ppm < NO_LIMIT:
        stop = at(bounds.stop_ppm, -1 if long else 1)
    if bounds.take_ppm < NO_LIMIT:
        take = at(bounds.take_ppm, 1 if long else -1)
    if bounds.trail_ppm < NO_LIMIT:
        move = best_px * bounds.trail_ppm
        trail = (best_px * PPM - move) // PPM if long else -(-(best_px * PPM + move) // PPM)
    return Levels(stop, trail, take)
