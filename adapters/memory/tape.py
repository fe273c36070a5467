"""What a broker delivered to a run, as the market history that figures are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.domain.instruments import Instrument
from engine.domain.market import Bar, MarketEvent, Quote, Trade

__all__ = ["Tape"]

Kind = Literal["bar", "trade", "quote"]
_FIELDS: Mapping[Kind, Mapping[str, str]] = {
    "bar": {"ts_open": "ts_open", "ts_event": "ts_event", "open": "open_px", "high": "high_px",
            "low": "low_px", "close": "close_px", "volume": "volume_qty"},
    "trade": {"ts_event": "ts_event", "price": "px", "size": "qty"},
    "quote": {"ts_event": "ts_event", "bid": "bid_px", "ask": "ask_px", "bid_size": "bid_qty",
              "ask_size": "ask_qty"},
}  # fmt: skip
_KINDS: Mapping[type, Kind] = {Bar: "bar", Trade: "trade", Quote: "quote"}
_SIZES = frozenset({"volume", "size", "bid_size", "ask_size"})
_TIMES = frozenset({"ts_open", "ts_event"})
_DROPPED = {"file": pl.String, "row": pl.Int64, "rule": pl.String, "detail": pl.String}


class Tape:
    """Market events of one kind, in memory; see :class:`engine.ports.MarketHistory`.

    Args:
        kind: their type.
        events: in the order of each series.
        instruments: what they are about; the order breaks ties in time.

    Raises:
        ValueError: there are none.
    """

    def __init__(
        self, kind: type, events: Iterable[MarketEvent], instruments: Sequence[Instrument]
    ) -> None:
        self._kind = _KINDS[kind]
        fields = _FIELDS[self._kind]
        row = attrgetter("symbol", "seq", *fields.values())
        rows = [row(event) for event in events]
        if not rows:
            raise ValueError("a tape needs events")
        seen = {each[0] for each in rows}
        self._instruments = tuple(each for each in instruments if each.symbol in seen)
        series = {each.symbol: number for number, each in enumerate(self._instruments)}
        columns = [*zip(*rows, strict=True)]
        data = {"series": [series[symbol] for symbol in columns[0]], "seq": columns[1]}
        data |= dict(zip(fields, columns[2:], strict=True))
        schema = {name: pl.UInt16 if name == "series" else pl.Int64 for name in data}
        self._frame = pl.DataFrame(data, schema).sort("ts_event", "series", "seq")

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What there is data of."""
        return self._instruments

    @property
    def kind(self) -> Kind:
        """What the rows are."""
        return self._kind

    @property
    def interval_ns(self) -> Mapping[str, int]:
        """Symbol to length of its first bar, ns; empty for trades and quotes."""
        if self._kind != "bar":
            return MappingProxyType({})
        first = self._frame.group_by("series").agg(
            (pl.col("ts_event") - pl.col("ts_open")).first().alias("length")
        )
        return {self._instruments[row[0]].symbol: row[1] for row in first.iter_rows()}

    @property
    def rows(self) -> int:
        """Total number of rows."""
        return len(self._frame)

    @property
    def ts_first(self) -> int:
        """``ts_event`` of the first row, UTC ns."""
        return int(self._frame["ts_event"][0])

    @property
    def ts_last(self) -> int:
        """``ts_event`` of the last row, UTC ns."""
        return int(self._frame["ts_event"][-1])

    @property
    def files(self) -> Sequence[tuple[str, str]]:
        """Nothing: it came from no file."""
        return ()

    @property
    def data_hash(self) -> str:
        """Hash of the content (hex sha256)."""
        digest = hashlib.sha256()
        for instrument in self._instruments:
            digest.update(f"{instrument.symbol}\n".encode())
        for column in self._frame.iter_columns():
            digest.update(column.to_numpy().tobytes())
        return digest.hexdigest()

    @property
    def notes(self) -> Sequence[str]:
        """Nothing."""
        return ()

    @property
    def dropped(self) -> pl.DataFrame:
        """Nothing: what cannot be used is a dead letter."""
        return pl.DataFrame(schema=_DROPPED)

    @property
    def dropped_counts(self) -> Mapping[str, int]:
        """Nothing."""
        return MappingProxyType({})

    def chunks(self, rows: int = 8192) -> Iterator[pl.DataFrame]:
        """Give all rows in order, ``rows`` at a time."""
        return iter(self._frame.iter_slices(rows))

    def columns(
        self, symbol: str, names: Collection[str] | None = None
    ) -> Mapping[str, npt.NDArray[np.generic]]:
        """Give one symbol's whole series as read-only arrays.

        Raises:
            KeyError: there is no such symbol.
        """
        number = next((n for n, each in enumerate(self._instruments) if each.symbol == symbol), -1)
        if number < 0:
            raise KeyError(symbol)
        instrument = self._instruments[number]
        own = self._frame.filter(pl.col("series") == number).sort("seq")
        given = {}
        for name in _FIELDS[self._kind] if names is None else names:
            units = own[name].to_numpy()
            unit = instrument.quantity_unit if name in _SIZES else instrument.price_unit
            array = units if name in _TIMES else units / unit
            array.flags.writeable = False
            given[name] = array
        return given
