"""Positions at average cost, exact through partial reduces and flips."""

from __future__ import annotations

from engine.domain.money import div_half_even


def apply_fill(quantity: int, cost: int, signed_qty: int, notional: int) -> tuple[int, int, int]:
    """Apply one execution to a position.

    Opening or adding puts the notional on the cost basis. Reducing takes off the same share of
    the cost as of the quantity (average cost, rounded half to even; going flat takes all of it).
    A flip is a close followed by an opening at the same price. Always, exactly::

        realized == cost_after - cost_before - notional

    Args:
        quantity: signed quantity held, in quantity units.
        cost: signed cost basis, in cash units (negative for a short).
        signed_qty: signed quantity of the fill; not zero.
        notional: signed value of the fill in cash units, signed like ``signed_qty``.

    Returns:
        ``(quantity, cost, realized)`` after the fill; realized is before commission.

    >>> apply_fill(100, 10_000, -40, -4_400)
    (60, 6000, 400)
    >>> apply_fill(100, 10_000, -150, -16_500)
    (-50, -5500, 1000)
    """
    after = quantity + signed_qty
    if quantity == 0 or (quantity > 0) == (signed_qty > 0):
        return after, cost + notional, 0
    if after == 0:
        return 0, 0, -cost - notional
    if (after > 0) == (quantity > 0):
        cost_after = cost - _share(cost, -signed_qty, quantity)
    else:
        cost_after = _share(notional, after, signed_qty)
    return after, cost_after, cost_after - cost - notional


def _share(amount: int, part: int, whole: int) -> int:
    """Give ``amount * part / whole`` rounded half to even; part and whole have one sign."""
    return div_half_even(amount * abs(part), abs(whole))
