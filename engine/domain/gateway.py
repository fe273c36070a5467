"""What a gateway's user may order: a virtual balance, and what open orders and shorts take of it.

A long position is paid for when it is bought. A short one takes as much of the balance as a long
one of the same value: what its sale brought in, and that much again. Open orders take the price
they were judged at for what of them would open or add to a position; closing takes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from engine.domain.instruments import Instrument
from engine.domain.orders import Order, Side

__all__ = ["AskedOrder", "GatewayOrder", "RefusalCode", "Resting", "taken_by"]


class RefusalCode(StrEnum):
    """Why a gateway does not take an order."""

    UNKNOWN_SESSION = "UNKNOWN_SESSION"
    SESSION_STOPPED = "SESSION_STOPPED"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    SYMBOL_INACTIVE = "SYMBOL_INACTIVE"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    KEY_REUSED = "KEY_REUSED"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"


class AskedOrder(msgspec.Struct, frozen=True):
    """An order as a client asks for it.

    Attributes:
        session_id: the session it is for.
        order: the order.
        px: the price it is judged at, in price units, above zero.
    """

    session_id: str
    order: Order
    px: int


class GatewayOrder(msgspec.Struct, frozen=True):
    """An order as the book has it.

    Attributes:
        client_order_id: its name.
        symbol: of what.
        status: as in FIX; PENDING_NEW until the venue has said anything.
        venue_order_id: the venue's name for it; empty before it has one.
        filled_qty: filled so far, in quantity units.
        filled_cost: what that came to without commission, in cash units.
        reason: why it has ended; empty otherwise.
    """

    client_order_id: str
    symbol: str
    status: str
    venue_order_id: str
    filled_qty: int
    filled_cost: int
    reason: str


class Resting(NamedTuple):
    """What is left of an open order.

    Attributes:
        side: BUY or SELL.
        leaves: quantity that may still fill, in quantity units.
        px: the price it is judged at, in price units.
    """

    side: Side
    leaves: int
    px: int


def taken_by(instrument: Instrument, held: int, cost: int, resting: Iterable[Resting]) -> int:
    """Give what a symbol takes of the balance, in cash units.

    Of the orders of one side, what is beyond the position opens; whichever fills last, so the
    dearest are taken for it. Each side is counted as if the other never filled.

    Args:
        instrument: its scales.
        held: signed position, in quantity units.
        cost: signed cost of it, in cash units.
        resting: open orders in the symbol.

    >>> sells = [Resting(Side.SELL, 80, 1_000), Resting(Side.SELL, 50, 1_100)]
    >>> taken_by(Instrument(symbol="A"), 100, 100_000_000_000, sells) // 10**8
    330
    """
    taken = -2 * cost if held < 0 else 0
    orders = sorted(resting, key=lambda order: -order.px)
    for side in Side:
        of_side = [order for order in orders if order.side is side]
        closable = max(0, -side.sign * held)
        opening = sum(order.leaves for order in of_side) - closable
        for order in of_side:
            if opening <= 0:
                break
            taken += instrument.notional(order.px, min(opening, order.leaves))
            opening -= order.leaves
    return taken
