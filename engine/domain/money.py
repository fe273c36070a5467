"""Exact money: scaled integers and the few divisions that round.

A *price* is an integer count of ``10 ** -price_decimals`` of the instrument's currency, a
*quantity* an integer count of ``10 ** -quantity_decimals`` units of the instrument, and *cash*
an integer count of ``10 ** -CASH_DECIMALS`` of its currency. Floats appear at the edge only:
:func:`to_units`, :func:`cash_units` and :func:`round_units` bring one in.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from operator import index

CASH_DECIMALS = 8
"""Digits after the point the books keep; reports show cents. Eight keeps a tenth of a basis
point of a share price exact, so a percentage commission is not rounded to cents per fill."""

CASH_UNIT: int = 10**CASH_DECIMALS
MAX_UNITS = 2**63 - 1
"""Bound on any scaled integer; what fits a signed 64-bit column of the outputs."""

_WIDE = Context(prec=400)  # more digits than any float has


def div_half_even(numerator: int, denominator: int) -> int:
    """Divide integers, rounding half to even.

    Args:
        numerator: any integer.
        denominator: a positive integer.

    Returns:
        The nearest integer to ``numerator / denominator``; a tie goes to the even neighbour.

    >>> [div_half_even(n, 2) for n in (-3, -1, 1, 3, 5)]
    [-2, 0, 0, 2, 2]
    """
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def to_units(value: float | int | str | Decimal, decimals: int) -> int:
    """Scale a number exactly, refusing more digits than ``decimals`` allows.

    Floats are read by their shortest decimal text, so ``0.1`` means one tenth.

    Args:
        value: the number; text and Decimal are exact.
        decimals: digits after the point that the target keeps.

    Raises:
        ValueError: not finite, out of range, or with more digits than allowed.

    >>> to_units(175.5, 2), to_units("0.00000001", 8)
    (17550, 1)
    """
    try:
        # The shortest text of any float, numpy's included; any integer by its index.
        text = float.__repr__(value) if isinstance(value, float) else value
        number = Decimal(text if isinstance(text, str | Decimal) else index(text))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    units = int(number.scaleb(decimals))
    if abs(units) > MAX_UNITS:
        raise ValueError(f"{value!r} is too large")
    # Compared without rounding: scaleb itself keeps no more digits than its context.
    if Decimal(units).scaleb(-decimals) != number:
        raise ValueError(f"{value!r} has more than {decimals} digits after the point")
    return units


def round_units(value: float, decimals: int) -> int:
    """Scale a float, rounding half to even to the nearest unit.

    For computed prices and quantities (a stop two per cent below the close), where the digits
    beyond the instrument's are noise by construction.

    Raises:
        ValueError: not finite or out of range.
    """
    scaled = value * float(10**decimals)
    if not math.isfinite(scaled) or abs(scaled) > MAX_UNITS:
        raise ValueError(f"{value!r} is not a usable number")
    return round(scaled)


def cash_units(value: float) -> int:
    """Scale an amount of currency to cash units, rounding half to even beyond the last digit.

    For amounts that people write (opening cash, a commission, a limit): the float is read by its
    shortest decimal text, so what was written is what is meant, however large.

    Raises:
        ValueError: not finite.

    >>> cash_units(9_999_999_999.99)
    999999999999000000
    """
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    exact = Decimal(repr(float(value)))
    return int(exact.scaleb(CASH_DECIMALS, _WIDE).to_integral_value(ROUND_HALF_EVEN, _WIDE))


def format_units(units: int, decimals: int) -> str:
    """Render a scaled integer exactly, without trailing zeros.

    >>> format_units(17550, 2), format_units(-5, 3)
    ('175.5', '-0.005')
    """
    text = f"{Decimal(units).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
