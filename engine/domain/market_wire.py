"""Market data as JSON: bars, trades and quotes as they are published.

The fields are those of the source documents (``open``, ``timestamp``, ``tickType``, ...), with two
of our own that a publisher may add: ``sequence``, which makes a gap visible, and for a bar its end,
``timestampEnd``, where its length is not that of its ``timeframe``. Numbers may be text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from engine.domain.deliveries import Raw, Rejected, RejectionCode
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.money import format_units, to_units
from engine.domain.wire_time import read_time, timeframe_ns

__all__ = [
    "MarketReader",
    "Parsed",
    "RejectedError",
    "dead_letter",
    "render",
    "require_size",
    "undecodable",
]

Kind = Literal["bar", "trade", "quote"]
Number = float | str
_SAFE = 2**50
"""Below it a double times a power of ten is off by less than half a unit."""
_MEMO_MAX = 4096
_OHLC = ("open", "high", "low", "close")
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    timestamp: int | float | str
    sequence: int | None = None


class _Bar(_Wire, frozen=True, kw_only=True, rename="camel"):
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    timeframe: str | None = None
    timestamp_end: int | float | str | None = None


class _Trade(_Wire, frozen=True, kw_only=True, rename="camel"):
    price: Number
    size: Number
    tick_type: str | None = None


class _Quote(_Wire, frozen=True, kw_only=True, rename="camel"):
    bid: Number
    ask: Number
    bid_size: Number
    ask_size: Number


def _strict(shape: type[_Wire]) -> type[Any]:
    # A class of its own: unknown fields are refused by the type, not by the decoder.
    return type(shape.__name__, (shape,), {"__module__": __name__}, forbid_unknown_fields=True)


_SHAPES: Mapping[str, type[_Wire]] = {"bar": _Bar, "trade": _Trade, "quote": _Quote}


class RejectedError(ValueError):
    """A message cannot be used.

    Attributes:
        code: what is wrong.
    """

    def __init__(self, code: RejectionCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def undecodable(error: Exception) -> RejectedError:
    """Say what is wrong with a message that msgspec cannot decode."""
    if isinstance(error, RecursionError):
        return RejectedError(RejectionCode.TOO_DEEP, "nested too deeply")
    if isinstance(error, msgspec.ValidationError):
        return RejectedError(RejectionCode.WRONG_SHAPE, str(error))
    if isinstance(error, UnicodeDecodeError):
        return RejectedError(RejectionCode.NOT_UTF8, str(error))
    return RejectedError(RejectionCode.NOT_JSON, str(error))


def dead_letter(message: Raw, error: RejectedError, keep_bytes: int) -> Rejected:
    """Give what is kept of a message that cannot be used: no more of it than ``keep_bytes``."""
    topic, partition, offset, content = message
    detail = str(error).replace("\0", "\\0")
    kept = content[:keep_bytes]
    return Rejected(topic, partition, offset, error.code, detail, len(content), kept)


def require_size(content: bytes, size_max: int) -> None:
    """Refuse a message that is too long.

    Raises:
        RejectedError: it is longer than ``size_max`` bytes.
    """
    if len(content) > size_max:
        raise RejectedError(
            RejectionCode.TOO_LARGE, f"{len(content)} bytes; {size_max} are allowed"
        )


class Parsed(NamedTuple):
    """What a message says.

    Attributes:
        event: the event.
        sequence: the publisher's number, if it numbers.
    """

    event: MarketEvent
    sequence: int | None


class MarketReader:
    """Reads messages of one kind.

    Args:
        kind: what they are.
        instruments: scales of what is traded, by symbol; messages about others are nobody's.
        numbers: what the next event of each symbol is numbered; whoever counts keeps it.
        label: whether a bar's timestamp is its ``open`` or its ``close``.
        interval_ns: length of the bars that are wanted; None takes any.
        refuse_unknown: whether a field that nobody knows is refused.
        size_max: longest message in bytes.
    """

    def __init__(
        self,
        kind: Kind,
        instruments: Mapping[str, Instrument],
        numbers: Mapping[str, int],
        *,
        label: Literal["open", "close"],
        interval_ns: int | None,
        refuse_unknown: bool,
        size_max: int,
    ) -> None:
        shape = _SHAPES[kind]
        self._decode = msgspec.json.Decoder(_strict(shape) if refuse_unknown else shape).decode
        build: Mapping[str, Callable[[Any, Instrument], MarketEvent | None]]
        build = {"bar": self._bar, "trade": self._trade, "quote": self._quote}
        self._build = build[kind]
        self._instruments = instruments
        self._numbers = numbers
        self._label = label
        self._interval_ns = interval_ns
        self._size_max = size_max
        self._times: dict[Any, int] = {}
        self._lengths: dict[str, int] = {}

    def read(self, content: bytes, about: str | None = None) -> Parsed | None:
        """Read one message; None when it is about something that is not traded here.

        Args:
            content: the message.
            about: the symbol that its channel is about; None when that may be any.

        Raises:
            RejectedError: it cannot be used.
        """
        require_size(content, self._size_max)
        try:
            wire = self._decode(content)
        except (ValueError, RecursionError) as error:
            raise undecodable(error) from None
        if about is not None and wire.symbol != about:
            raise RejectedError(
                RejectionCode.WRONG_SYMBOL,
                f"about {wire.symbol[:50]!r}, on the channel of {about!r}",
            )
        instrument = self._instruments.get(wire.symbol)
        if instrument is None:
            return None
        event = self._build(wire, instrument)
        return None if event is None else Parsed(event, wire.sequence)

    def _time(self, value: int | float | str) -> int:
        # Symbols share their times, so most have been read before.
        ts = self._times.get(value)
        if ts is None:
            try:
                ts = read_time(value)
            except ValueError as error:
                raise RejectedError(RejectionCode.BAD_TIME, str(error)) from None
            if len(self._times) >= _MEMO_MAX:
                self._times.clear()
            self._times[value] = ts
        return ts

    def _length(self, timeframe: str) -> int:
        length = self._lengths.get(timeframe)
        if length is None:
            try:
                length = timeframe_ns(timeframe)
            except ValueError as error:
                raise RejectedError(RejectionCode.BAD_TIMEFRAME, str(error)) from None
            if len(self._lengths) < _MEMO_MAX:
                self._lengths[timeframe] = length
        return length

    def _bar(self, wire: _Bar, instrument: Instrument) -> Bar | None:
        wanted = self._interval_ns
        length = wanted if wire.timeframe is None and wanted else self._length(wire.timeframe or "")
        if wanted is not None and length != wanted:
            return None
        ts = self._time(wire.timestamp)
        begins, ends = (ts, ts + length) if self._label == "open" else (ts - length, ts)
        if wire.timestamp_end is not None:
            ends = self._time(wire.timestamp_end)
            if ends <= begins:
                raise RejectedError(RejectionCode.BAD_TIME, "timestampEnd is not after timestamp")
        px, qty = instrument.price_unit, instrument.quantity_unit
        first, high, low, last = _prices(wire, px)
        if not (low <= first <= high and low <= last <= high):
            raise RejectedError(
                RejectionCode.IMPOSSIBLE,
                f"open {wire.open} and close {wire.close} are not within {wire.low} to {wire.high}",
            )
        volume = _size(wire.volume, qty, "volume")
        return Bar(
            wire.symbol, self._numbers[wire.symbol], begins, ends, first, high, low, last, volume,
            px, qty,
        )  # fmt: skip

    def _trade(self, wire: _Trade, instrument: Instrument) -> Trade:
        px, qty = instrument.price_unit, instrument.quantity_unit
        return Trade(
            wire.symbol, self._numbers[wire.symbol], self._time(wire.timestamp),
            _price(wire.price, px, "price"), _size(wire.size, qty, "size"), px, qty,
        )  # fmt: skip

    def _quote(self, wire: _Quote, instrument: Instrument) -> Quote:
        px, qty = instrument.price_unit, instrument.quantity_unit
        bid, ask = _price(wire.bid, px, "bid"), _price(wire.ask, px, "ask")
        if bid > ask:
            raise RejectedError(RejectionCode.IMPOSSIBLE, f"bid {wire.bid} is above ask {wire.ask}")
        sizes = _size(wire.bid_size, qty, "bidSize"), _size(wire.ask_size, qty, "askSize")
        number, ts = self._numbers[wire.symbol], self._time(wire.timestamp)
        return Quote(wire.symbol, number, ts, bid, ask, *sizes, px, qty)


def _units(value: Number, unit: int, name: str) -> int:
    """Scale a number exactly, refusing more digits than the instrument has."""
    if isinstance(value, float):
        units = round(value * unit) if -_SAFE < value * unit < _SAFE else None
        # The quotient is the double nearest to units / unit; so is value, when that is what
        # was written.
        if units is not None and units / unit == value:
            return units
    elif not _DECIMAL.fullmatch(value):
        raise RejectedError(
            RejectionCode.BAD_NUMBER,
            f"{name}: {value[:50]!r} is not a decimal number such as 175.5",
        )
    try:
        return to_units(value, len(str(unit)) - 1)
    except ValueError as error:
        raise RejectedError(RejectionCode.BAD_NUMBER, f"{name}: {error}") from None


def _prices(bar: _Bar, unit: int) -> Sequence[int]:
    """Scale open, high, low and close exactly; written out where they are plain doubles."""
    values: tuple[Any, ...] = (bar.open, bar.high, bar.low, bar.close)
    o, h, lo, c = values
    # Types first: text times a number is text, as long as that number says.
    if type(o) is type(h) is type(lo) is type(c) is float and -_SAFE < h * unit < _SAFE:
        first, high = round(o * unit), round(h * unit)
        low, last = round(lo * unit), round(c * unit)
        in_range = 0 < low <= first <= high and low <= last <= high
        same = first / unit == o and high / unit == h and low / unit == lo and last / unit == c
        if in_range and same:
            return first, high, low, last
    return [_price(v, unit, n) for v, n in zip(values, _OHLC, strict=True)]


def _price(value: Number, unit: int, name: str) -> int:
    units = _units(value, unit, name)
    if units <= 0:
        raise RejectedError(RejectionCode.BAD_NUMBER, f"{name}: {value} is not above zero")
    return units


def _size(value: Number, unit: int, name: str) -> int:
    units = _units(value, unit, name)
    if units < 0:
        raise RejectedError(RejectionCode.BAD_NUMBER, f"{name}: {value} is below zero")
    return units


def render(event: MarketEvent, sequence: int | None = None) -> bytes:
    """Write an event as its message, exactly; what :class:`MarketReader` reads.

    Numbers are text where a double would not keep them, else numbers; times are nanoseconds.
    """
    px, qty = len(str(event.px_unit)) - 1, len(str(event.qty_unit)) - 1
    fields: dict[str, Any] = {"symbol": event.symbol}
    if isinstance(event, Bar):
        fields |= {
            "open": _number(event.open_px, px), "high": _number(event.high_px, px),
            "low": _number(event.low_px, px), "close": _number(event.close_px, px),
            "volume": _number(event.volume_qty, qty), "timestamp": event.ts_open,
            "timestampEnd": event.ts_event, "timeframe": _timeframe(event.ts_event - event.ts_open),
        }  # fmt: skip
    elif isinstance(event, Trade):
        fields |= {"price": _number(event.px, px), "size": _number(event.qty, qty),
                   "timestamp": event.ts_event}  # fmt: skip
    else:
        fields |= {
            "bid": _number(event.bid_px, px), "ask": _number(event.ask_px, px),
            "bidSize": _number(event.bid_qty, qty), "askSize": _number(event.ask_qty, qty),
            "timestamp": event.ts_event,
        }  # fmt: skip
    if sequence is not None:
        fields["sequence"] = sequence
    return msgspec.json.encode(fields)


def _number(units: int, decimals: int) -> float | int | str:
    if -_SAFE < units < _SAFE:
        return units / 10**decimals if decimals else units
    return format_units(units, decimals)


def _timeframe(ns: int) -> str:
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(ns, timeframe_ns(f"1{unit}"))
        if not rest and count:
            return f"{count}{unit}"
    return "1s"  # shorter than a second: timestampEnd says how long
