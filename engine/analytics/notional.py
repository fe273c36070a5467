"""Exact money over arrays: what :mod:`engine.domain.money` does for one number at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.domain.instruments import Instrument
from engine.domain.money import MAX_UNITS, div_half_even

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def cash_scales(instruments: Sequence[Instrument]) -> tuple[Ints, Ints]:
    """Give ``(factor, divisor)`` of :meth:`Instrument.cash_scale`, one row per instrument."""
    scales = [instrument.cash_scale() for instrument in instruments]
    return (
        np.array([factor for factor, _ in scales], dtype=np.int64),
        np.array([divisor for _, divisor in scales], dtype=np.int64),
    )


def notional(px: Ints, qty: Ints, factor: Ints, divisor: Ints) -> Ints:
    """Value quantities at prices in cash units, signed like the quantity.

    Equal to :meth:`Instrument.notional` element by element, exact and rounded half to even. A
    value that 64 bits cannot hold is given as the nearest that they can.

    Args:
        px: prices, in price units.
        qty: signed quantities, in quantity units; any shape that broadcasts with ``px``.
        factor: cash factor of each element's instrument.
        divisor: cash divisor of each element's instrument.

    >>> one, ten = np.array([1]), np.array([10])
    >>> notional(np.array([25]), np.array([-1]), one, ten)
    array([-2])
    """
    if not px.size:
        return np.zeros(0, dtype=np.int64)
    product: Ints = px * qty * factor
    value = product if int(divisor.max()) == 1 else _half_even(product, divisor)
    # Scalar bound first: it settles nearly every chunk without touching the elements again.
    bound = int(np.abs(px).max()) * int(np.abs(qty).max()) * int(factor.max())
    if bound > MAX_UNITS:
        _redo_wrapped(value, px, qty, factor, divisor)
    return value


def _half_even(product: Ints, divisor: Ints) -> Ints:
    quotient, remainder = np.divmod(product, divisor)
    twice = 2 * remainder
    up = (twice > divisor) | ((twice == divisor) & (quotient & 1 == 1))
    rounded: Ints = quotient + up
    return rounded


def _redo_wrapped(value: Ints, px: Ints, qty: Ints, factor: Ints, divisor: Ints) -> None:
    """Compute anew, number by number, the elements whose product went beyond 64 bits."""
    columns = np.broadcast_arrays(px, qty, factor, divisor)
    size = np.abs(columns[0].astype(np.float64) * columns[1] * columns[2])
    for i in np.flatnonzero(size > MAX_UNITS / 2).tolist():
        price, quantity, times, by = (int(column[i]) for column in columns)
        exact = div_half_even(price * quantity * times, by)
        value[i] = max(-MAX_UNITS, min(exact, MAX_UNITS))
