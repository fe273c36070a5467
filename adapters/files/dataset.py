"""Validated market data, ready to be replayed in time order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from adapters.files.checks import Floats
from adapters.files.layout import PRICES, VALUES, BarLabel, Kind
from adapters.files.series import Ints
from adapters.files.store import Segment, Store
from engine.domain.instruments import Instrument

_BLOCK_ROWS = 65_536  # rows converted at a time for a single series
_MERGE_ROWS = 262_144  # rows held at a time, over all series
_MERGE_ROWS_MIN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One symbol of a dataset.

    Attributes:
        instrument: its scales.
        code: its number in the store.
        rows: its number of rows.
        interval_ns: length of its bars, 0 for trades and quotes.
        prices_exact: whether the floats read are exactly their price units over the price unit.
        quantities_exact: likewise for quantities.
    """

    instrument: Instrument
    code: int
    rows: int
    interval_ns: int
    prices_exact: bool
    quantities_exact: bool


class Dataset:
    """Bars, trades or quotes of some instruments; implements ``engine.ports.MarketHistory``.

    Attributes:
        instruments: in the order that breaks ties in time; the index is the ``series`` number.
        kind: "bar", "trade" or "quote".
        interval_ns: symbol to bar length, ns; empty for trades and quotes.
        rows: total number of rows.
        ts_first: ``ts_event`` of the first row, UTC ns.
        ts_last: ``ts_event`` of the last row, UTC ns.
        files: (path, sha256 of its bytes) of every file that was read.
        data_hash: sha256 over the content, the same for any layout or format of files.
        notes: what was done to the data that a person should know.
        dropped: rows left out for breaking a rule: file, row (1-based), rule, detail; a capped
            list.
        dropped_counts: rule to number of rows left out, complete.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        bar_label: BarLabel,
        series: Sequence[Series],
        store: Store,
        ts_range: tuple[int, int],
        files: Sequence[tuple[str, str]],
        data_hash: str,
        notes: Sequence[str],
        dropped: pl.DataFrame,
        dropped_counts: dict[str, int],
    ) -> None:
        self.instruments: tuple[Instrument, ...] = tuple(item.instrument for item in series)
        self.kind: Kind = kind
        self.interval_ns = {
            item.instrument.symbol: item.interval_ns for item in series if item.interval_ns
        }
        self.rows = sum(item.rows for item in series)
        self.ts_first, self.ts_last = ts_range
        self.files = list(files)
        self.data_hash = data_hash
        self.notes = list(notes)
        self.dropped = dropped
        self.dropped_counts = dropped_counts
        self._bar_label = bar_label
        self._series = tuple(series)
        self._store = store

    def __repr__(self) -> str:
        symbols = ", ".join(item.symbol for item in self.instruments[:5])
        more = ", ..." if len(self.instruments) > 5 else ""
        return f"<Dataset {self.rows} {self.kind}s of {symbols}{more}>"

    def chunks(self, rows: int = 8192) -> Iterator[pl.DataFrame]:
        """Give all rows merged by (ts_event, series, seq), ``rows`` at a time.

        Columns: ``series`` UInt16; ``seq`` (0-based within the series) and all others Int64. Bars:
        ``ts_open``, ``ts_event``, ``open``, ``high``, ``low``, ``close``, ``volume``; trades:
        ``ts_event``, ``price``, ``size``; quotes: ``ts_event``, ``bid``, ``ask``, ``bid_size``,
        ``ask_size``. Times are UTC nanoseconds, prices and sizes the instrument's units.

        May be called any number of times; memory does not grow with the data.

        Raises:
            ValueError: ``rows`` is below 1.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        blocks = self._solo_blocks() if len(self._series) == 1 else self._merged_blocks()
        return _cut(blocks, rows)

    def columns(
        self, symbol: str, names: Collection[str] | None = None
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Give one symbol's whole series as read-only arrays, row i being seq i.

        Bars: ``ts_open``, ``ts_event`` (Int64 UTC ns); ``open``, ``high``, ``low``, ``close``,
        ``volume`` (Float64). Trades and quotes: ``ts_event`` and their values. A float is the
        double nearest to its units over ``10 ** decimals``, as events compute it.

        Args:
            symbol: whose series.
            names: which of its columns; all when None. Each takes eight bytes a row.

        Raises:
            KeyError: the dataset has no such symbol.
        """
        series = next((item for item in self._series if item.instrument.symbol == symbol), None)
        if series is None:
            raise KeyError(symbol)
        wanted = {
            i: np.empty(series.rows, np.float64)
            for i, name in enumerate(VALUES[self.kind])
            if names is None or name in names
        }
        timed = names is None or "ts_event" in names or "ts_open" in names
        ts = np.empty(series.rows if timed else 0, np.int64)
        at = 0
        for segment_ts, segment_values in self._store.stream(series.code, _BLOCK_ROWS):
            end = at + segment_ts.size
            if timed:
                ts[at:end] = segment_ts
            for i, array in wanted.items():
                array[at:end] = self._exact_floats(series, i, segment_values[i])
            at = end
        found: dict[str, npt.NDArray[np.generic]] = {}
        if timed:
            times = self._times(series, ts).items()
            found |= {name: column for name, column in times if names is None or name in names}
        found.update({VALUES[self.kind][i]: array for i, array in wanted.items()})
        for column in found.values():
            column.flags.writeable = False
        return found

    def _times(self, series: Series, ts: Ints) -> dict[str, Ints]:
        if self.kind != "bar":
            return {"ts_event": ts}
        if self._bar_label == "open":
            return {"ts_open": ts, "ts_event": ts + series.interval_ns}
        return {"ts_open": ts - series.interval_ns, "ts_event": ts}

    def _exact_floats(self, series: Series, i: int, column: Floats) -> Floats:
        is_price = i < PRICES[self.kind]
        if series.prices_exact if is_price else series.quantities_exact:
            return column
        unit = series.instrument.price_unit if is_price else series.instrument.quantity_unit
        return np.rint(column * float(unit)) / float(unit)

    def _columns(self, series: Series, segment: Segment) -> dict[str, Ints]:
        """Give the Int64 columns of consecutive rows of one series, without series and seq."""
        ts, values = segment
        found = self._times(series, ts)
        prices = PRICES[self.kind]
        for i, (name, column) in enumerate(zip(VALUES[self.kind], values, strict=True)):
            instrument = series.instrument
            unit = instrument.price_unit if i < prices else instrument.quantity_unit
            # rint rounds half to even; the opening pass made sure that it fits.
            units = column * float(unit)
            found[name] = np.rint(units, out=units).astype(np.int64)
        return found

    def _solo_blocks(self) -> Iterator[pl.DataFrame]:
        (series,) = self._series
        seq = 0
        for segment in self._store.stream(series.code, _BLOCK_ROWS):
            size = segment[0].size
            yield pl.DataFrame(
                {
                    "series": np.zeros(size, np.uint16),
                    "seq": np.arange(seq, seq + size),
                    **self._columns(series, segment),
                }
            )
            seq += size

    def _merged_blocks(self) -> Iterator[pl.DataFrame]:
        """Merge by horizon: what is known of every series up to some time can be sorted and sent.

        Every series holds a buffer of its next rows. The horizon is the earliest end of a buffer
        that can still be refilled: no series can come up with a row before it.
        """
        share = max(_MERGE_ROWS_MIN, _MERGE_ROWS // max(1, len(self._series)))
        cursors = [
            _Cursor(index, item.rows, self._segments(item, share))
            for index, item in enumerate(self._series)
        ]
        # Bars of one series never share a time, so the horizon itself is complete; trades may.
        is_strict = self.kind == "bar"
        while cursors:
            for cursor in cursors:
                cursor.refill()
            open_ends = [int(cursor.ts[-1]) for cursor in cursors if cursor.unread]
            horizon = min(open_ends) if open_ends else None
            taken = [
                part for cursor in cursors if (part := cursor.take(horizon, is_strict)) is not None
            ]
            if taken:
                yield _sorted_block(taken)
            else:
                for cursor in cursors:
                    if cursor.unread and int(cursor.ts[-1]) == horizon:
                        cursor.extend()
            cursors = [cursor for cursor in cursors if cursor.unread or cursor.ts.size]

    def _segments(self, series: Series, rows: int) -> Iterator[dict[str, Ints]]:
        for segment in self._store.stream(series.code, rows):
            yield self._columns(series, segment)


class _Cursor:
    """The place of one series in the merge: buffered columns, and how many rows are unread."""

    def __init__(self, index: int, rows: int, segments: Iterator[dict[str, Ints]]) -> None:
        self.unread = rows
        self.ts: Ints = np.empty(0, np.int64)
        self._index = index
        self._seq = 0
        self._segments = segments
        self._columns: dict[str, Ints] = {}

    def refill(self) -> None:
        if not self.ts.size and self.unread:
            self._columns = next(self._segments)
            self.ts = self._columns["ts_event"]
            self.unread -= self.ts.size

    def extend(self) -> None:
        """Read more although the buffer is not empty."""
        more = next(self._segments)
        self.unread -= more["ts_event"].size
        self._columns = {
            name: np.concatenate([column, more[name]]) for name, column in self._columns.items()
        }
        self.ts = self._columns["ts_event"]

    def take(
        self, horizon: int | None, is_strict: bool
    ) -> dict[str, npt.NDArray[np.generic]] | None:
        """Remove and give the rows before the horizon (and at it, if ``is_strict``)."""
        size = self.ts.size
        if horizon is not None:
            side = "right" if is_strict else "left"
            size = int(np.searchsorted(self.ts, horizon, side))  # type: ignore[call-overload]
        if not size:
            return None
        part: dict[str, npt.NDArray[np.generic]] = {
            "series": np.full(size, self._index, np.uint16),
            "seq": np.arange(self._seq, self._seq + size),
        }
        part.update({name: column[:size] for name, column in self._columns.items()})
        self._columns = {name: column[size:] for name, column in self._columns.items()}
        self.ts = self._columns["ts_event"]
        self._seq += size
        return part


def _sorted_block(parts: list[dict[str, npt.NDArray[np.generic]]]) -> pl.DataFrame:
    """Join parts that are given by series, each in order of time, and sort them stably."""
    if len(parts) == 1:
        return pl.DataFrame(parts[0])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["ts_event"], kind="stable")
    return pl.DataFrame(joined)[order]


def _cut(blocks: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Cut frames into frames of exactly ``rows`` rows, the last one excepted."""
    held: list[pl.DataFrame] = []
    held_rows = 0
    for block in blocks:
        start = 0
        if held:
            start = min(rows - held_rows, block.height)
            held.append(block.slice(0, start))
            held_rows += start
            if held_rows < rows:
                continue
            yield pl.concat(held, rechunk=True)
            held, held_rows = [], 0
        for at in range(start, block.height, rows):
            if at + rows <= block.height:
                yield block.slice(at, rows)
            else:
                held, held_rows = [block.slice(at)], block.height - at
    if held:
        yield pl.concat(held, rechunk=True)
