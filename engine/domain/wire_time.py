"""Times as they stand in messages (decision D3), read as UTC nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["epoch_ns", "read_time", "timeframe_ns", "write_time"]

_SCALES = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)(?:[.,](\d{1,9}))?(Z|z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_TIMEFRAME = re.compile(r"(\d{0,6}) ?(s|m|h|d|w|[a-z]{3,7})", re.ASCII | re.IGNORECASE)
_SECOND = 10**9
_LENGTHS = {
    "s": _SECOND, "sec": _SECOND, "second": _SECOND,
    "m": 60 * _SECOND, "min": 60 * _SECOND, "minute": 60 * _SECOND,
    "h": 3_600 * _SECOND, "hour": 3_600 * _SECOND,
    "d": 86_400 * _SECOND, "day": 86_400 * _SECOND,
    "w": 604_800 * _SECOND, "week": 604_800 * _SECOND,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 2**63 - 1


def epoch_ns(stamp: int) -> int:
    """Read an integer time since 1970; it counts seconds, milli-, micro- or nanoseconds.

    The four lie three digits apart, so the size tells which.

    Raises:
        ValueError: it is negative or does not fit 64 bits.
    """
    if not 0 <= stamp <= _LATEST:
        raise ValueError(f"{stamp} is not a time since 1970")
    for below, scale in _SCALES:
        if stamp < below:
            return stamp * scale
    return stamp


def read_time(value: int | float | str) -> int:
    """Read ISO-8601 text (UTC when it names no zone) or an integer time since 1970.

    Raises:
        ValueError: it is neither, or before 1970.
    """
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, int):
        return epoch_ns(value)
    raise ValueError(f"{value!r} is not a time: a double cannot hold it; write an integer or text")


def _read_text(value: str) -> int:
    if value.isascii() and value.isdigit():
        return epoch_ns(int(value[:20]))
    match = _ISO.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value[:50]!r} is not a time such as 2024-05-01T14:30:00Z")
    moment, fraction, zone = match.groups()
    if zone in (None, "Z", "z"):
        zone = "+00:00"
    if "T" not in moment and " " not in moment:
        moment += "T00:00:00"
    try:
        passed = datetime.fromisoformat(moment + zone) - _EPOCH
    except ValueError as error:
        raise ValueError(f"{value[:50]!r} is not a time: {error}") from None
    seconds = passed.days * 86_400 + passed.seconds
    ns = seconds * _SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)
    if not 0 <= ns <= _LATEST:
        raise ValueError(f"{value[:50]!r} is outside the years 1970 to 2262")
    return ns


def timeframe_ns(text: str) -> int:
    """Read the length of a bar such as ``1m``, ``5Min``, ``1Hour`` or ``1D``, in nanoseconds.

    Raises:
        ValueError: it is no such length.

    >>> timeframe_ns("5Min") // 10**9, timeframe_ns("day") // 10**9
    (300, 86400)
    """
    match = _TIMEFRAME.fullmatch(text.strip())
    if match is not None:
        count, unit = match.groups()
        length = _LENGTHS.get(unit.lower()) or _LENGTHS.get(unit.lower().removesuffix("s"))
        number = int(count or 1)
        if length is not None and number:
            return number * length
    raise ValueError(f"{text[:50]!r} is not the length of a bar such as 1m, 5Min, 1h or 1D")


def write_time(ts: int) -> str:
    """Write UTC nanoseconds as ISO-8601 text with ``Z``, with no more digits than it takes.

    >>> write_time(1_704_067_200_000_000_000), write_time(1_500_000_000)
    ('2024-01-01T00:00:00Z', '1970-01-01T00:00:01.5Z')
    """
    seconds, ns = divmod(ts, _SECOND)
    fraction = f".{ns:09}".rstrip("0") if ns else ""
    return f"{_moment(seconds)}{fraction}Z"


@lru_cache(maxsize=64)
def _moment(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
