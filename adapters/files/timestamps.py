"""Timestamps in every shape files have them, read as UTC nanoseconds."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from engine.errors import ConfigError, DataError

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY_NS = 86_400 * 10**9
MAX_NS = 2**63 - 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_INTERVAL = re.compile(r"(\d+)\s*(ns|us|ms|s|m|min|h|d|w)")
_INTERVAL_NS = {
    **NS_PER_UNIT,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": DAY_NS,
    "w": 7 * DAY_NS,
}
# An offset needs a time before it: the "-02" that ends a date is none.
_OFFSET = re.compile(r"[T ]\d.*(?:[zZ]|[+-]\d\d:?\d\d)$")
_DIGITS = re.compile(r"[+-]?\d+")
_DAY_NUMBERS = range(19_000_101, 21_001_232)

Zone = Literal["naive", "aware", "epoch"]


@dataclass(frozen=True, slots=True)
class TimestampReading:
    """How to read one file's timestamp column.

    Attributes:
        expr: gives Int64 UTC nanoseconds, null where the value cannot be read.
        zone: whether the file's times carry a time zone; epoch numbers are UTC by definition.
    """

    expr: pl.Expr
    zone: Zone


def read_timestamps(file: str, name: str, probe: pl.Series) -> TimestampReading:
    """Decide how a column is read, by its type and first values.

    Naive times are UTC. Integers count seconds below 1e11, milliseconds below 1e14,
    microseconds below 1e17 and nanoseconds from there on, decided once per file by its first
    values; eight digits that spell a date (20240131) are that date.

    Args:
        file: for messages.
        name: the column.
        probe: its first values.

    Raises:
        DataError: the column's type cannot be a time.
    """
    column, dtype = pl.col(name), probe.dtype
    if dtype == pl.Date:
        return TimestampReading(_scale(column.to_physical().cast(pl.Int64), DAY_NS), "naive")
    if isinstance(dtype, pl.Datetime):
        multiple = NS_PER_UNIT[dtype.time_unit]
        zone: Zone = "aware" if dtype.time_zone else "naive"
        return TimestampReading(_scale(column.to_physical(), multiple), zone)
    if dtype.is_integer():
        return _epochs(column.cast(pl.Int64, strict=False), probe.drop_nulls().to_list())
    if dtype == pl.String:
        return _texts(column, probe.drop_nulls().to_list())
    if dtype == pl.Null:
        return TimestampReading(pl.lit(None, pl.Int64), "epoch")
    raise DataError(
        file,
        None,
        "timestamp",
        f"column {name!r} of type {dtype} is not a time; use ISO-8601 text, a date or integers",
    )


def zone_of_text(text: str) -> Zone:
    """Tell whether a written time carries an offset."""
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return "epoch"
    return "aware" if _OFFSET.search(text) else "naive"


def _scale(numbers: pl.Expr, multiple: int) -> pl.Expr:
    if multiple == 1:
        return numbers
    return pl.when(numbers.abs() <= MAX_NS // multiple).then(numbers * multiple)


def _epochs(numbers: pl.Expr, probe: Sequence[int]) -> TimestampReading:
    if probe and all(_spells_date(value) for value in probe):
        return TimestampReading(_days(numbers.cast(pl.String)), "naive")
    largest = max((abs(value) for value in probe), default=0)
    bounds = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (MAX_NS + 1, "ns"))
    unit = next((unit for bound, unit in bounds if largest < bound), "ns")
    return TimestampReading(_scale(numbers, NS_PER_UNIT[unit]), "epoch")


def _spells_date(value: int) -> bool:
    return value in _DAY_NUMBERS and 1 <= value // 100 % 100 <= 12 and 1 <= value % 100 <= 31


def _days(texts: pl.Expr) -> pl.Expr:
    days = texts.str.to_date("%Y%m%d", strict=False)
    return _scale(days.to_physical().cast(pl.Int64), DAY_NS)


def _texts(column: pl.Expr, probe: Sequence[str]) -> TimestampReading:
    # Only what the first values need is done to every row: text is slow to rework.
    values = [value.strip() for value in probe]
    text = column.str.strip_chars() if values != probe else column
    if values and all(_DIGITS.fullmatch(value) for value in values):
        return _epochs(text.cast(pl.Int64, strict=False), [int(value) for value in values])
    for old, new in ((" ", "T"), ("/", "-"), ("Z", "+00:00"), ("z", "+00:00")):
        if any(old in value for value in values):
            text = text.str.replace_all(old, new, literal=True)
            values = [value.replace(old, new) for value in values]
    zone = zone_of_text(values[0]) if values else "naive"
    offset = "%z" if zone == "aware" else ""
    shapes = [f"%Y-%m-%dT%H:%M:%S%.f{offset}", f"%Y-%m-%dT%H:%M{offset}", "%Y-%m-%d"]
    shapes = shapes[:2] if offset else shapes
    tried = pl.Series(values, dtype=pl.String).to_frame("text")
    found = [
        shape for shape in shapes if tried.select(_moment(pl.col("text"), shape).count()).item()
    ]
    # Years that nanoseconds in 64 bits cannot hold would wrap around silently.
    text = pl.when((text >= "1678") & (text < "2262")).then(text)
    return TimestampReading(pl.coalesce([_moment(text, shape) for shape in found or shapes]), zone)


def _moment(text: pl.Expr, pattern: str) -> pl.Expr:
    if "%H" not in pattern:
        return text.str.to_date(pattern, strict=False).to_physical().cast(pl.Int64) * DAY_NS
    return text.str.to_datetime(pattern, time_unit="ns", strict=False).to_physical()


def parse_interval(value: str | int) -> int:
    """Read a bar length such as ``"1d"``, ``"1h"`` or ``"5m"`` (an integer: nanoseconds).

    Raises:
        ConfigError: it is not one, or not above zero.

    >>> parse_interval("5m")
    300000000000
    """
    length = value if isinstance(value, int) else 0
    if isinstance(value, str) and (match := _INTERVAL.fullmatch(value.strip().lower())):
        length = int(match[1]) * _INTERVAL_NS[match[2]]
    if not 0 < length <= MAX_NS:
        raise ConfigError(
            f"interval {value!r} is not a bar length; write 1s, 5m, 1h, 1d or 1w (m is minutes)"
        )
    return length


def parse_instant(
    name: str, value: str | int | dt.date | dt.datetime | None, *, end: bool = False
) -> int | None:
    """Read an end of a time range as UTC nanoseconds.

    Args:
        name: of the setting, for messages.
        value: ISO-8601 text, a date or datetime (naive is UTC), or integer nanoseconds.
        end: a date without a time then means the end of that day.

    Raises:
        ConfigError: it cannot be read.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    moment: dt.date | dt.datetime | None = None
    if isinstance(value, str):
        text = value.strip()
        try:
            is_date = re.fullmatch(r"\d{4}-?\d\d-?\d\d", text) is not None
            moment = dt.date.fromisoformat(text) if is_date else dt.datetime.fromisoformat(text)
        except ValueError:
            moment = None
    elif isinstance(value, dt.date):
        moment = value
    if moment is None:
        raise ConfigError(
            f"{name} {value!r} is not a time; write 2024-01-31 or 2024-01-31T09:30:00Z"
        )
    if not isinstance(moment, dt.datetime):
        midnight = dt.datetime.combine(moment, dt.time(), dt.UTC)
        return to_ns(midnight) + (DAY_NS if end else 0)
    return to_ns(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC))


def to_ns(moment: dt.datetime) -> int:
    """Give an aware datetime as UTC nanoseconds, exactly."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def format_ns(ts: int) -> str:
    """Render UTC nanoseconds as ISO-8601 with ``Z``, as short as it is exact.

    >>> format_ns(1_700_000_000_000_000_000), format_ns(1)
    ('2023-11-14T22:13:20Z', '1970-01-01T00:00:00.000000001Z')
    """
    seconds, rest = divmod(ts, 10**9)
    text = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"
