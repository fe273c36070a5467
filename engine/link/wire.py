"""Numbers, texts and times as they stand in messages, and as the engine has them."""

from __future__ import annotations

import re
from decimal import Decimal

from engine.domain import wire_time
from engine.domain.money import to_units

__all__ = ["epoch_ns", "number_units", "units", "words"]

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_WORDS_MAX = 1_000
_EXPONENT_MAX = 40


def units(text: str, decimals: int) -> int:
    """Read decimal text such as ``175.5`` exactly.

    Raises:
        ValueError: it is not plain decimal text, has more digits after the point than ``decimals``
            or does not fit a signed 64-bit integer.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is not a decimal number such as 175.5")
    return to_units(text, decimals)


def number_units(number: Decimal, decimals: int) -> int:
    """Read a number of JSON exactly, whatever exponent it is written with.

    Raises:
        ValueError: it is not finite, has more digits after the point than ``decimals`` or does not
            fit a signed 64-bit integer.
    """
    if not number.is_finite() or abs(number.adjusted()) > _EXPONENT_MAX:
        raise ValueError(f"{str(number)[:50]} is not a usable number")
    return to_units(number, decimals)


def words(text: str, otherwise: str) -> str:
    """Give what a peer says, at most 1,000 characters of it, or something when it says nothing."""
    return text.strip()[:_WORDS_MAX] or otherwise


def epoch_ns(stamp: int, now: int) -> int:
    """Read a timestamp of ``order.OrderService``, whose unit the contract leaves open.

    Args:
        stamp: as it came.
        now: UTC nanoseconds; given back when the stamp is not above zero.
    """
    if stamp <= 0:
        return now
    return wire_time.epoch_ns(stamp)
