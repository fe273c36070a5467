"""Some rows of one file as arrays, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from adapters.files.checks import Bools, Floats, adjust_bars
from adapters.files.layout import BarLabel, Kind
from adapters.files.series import Ints
from adapters.files.source import Source

NO_TIME = -(2**63)
"""Stands for a timestamp that is missing or cannot be read."""

UNWANTED = -1
NO_SYMBOL = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are wanted, and how bad ones are treated.

    Attributes:
        kind: kind of every file.
        symbols: wanted symbols, None for all.
        start: bars opening (events happening) before are left out, UTC ns.
        end: bars opening (events happening) at or after are left out, UTC ns.
        drop: whether bad rows are dropped; otherwise the first one is an error.
        bar_label: which end of a bar its timestamp is.
        price_decimals: digits that prices may have, None to infer.
        quantity_decimals: likewise for quantities.
        steps: bar length by symbol where known, ns.
        step: bar length of all other symbols, ns; 1 when unknown, 0 for trades and quotes.
    """

    kind: Kind
    symbols: frozenset[str] | None = None
    start: int | None = None
    end: int | None = None
    drop: bool = False
    bar_label: BarLabel = "open"
    price_decimals: int | None = None
    quantity_decimals: int | None = None
    steps: dict[str, int] = field(default_factory=dict)
    step: int = 1

    def outside(self, ts: Ints) -> Bools | None:
        """Tell which rows are outside the time range; None when there is none.

        A bar labelled by its close opened one step earlier, so ``[start, end)`` of the opens is
        ``(start, end]`` of the labels.
        """
        if self.start is None and self.end is None:
            return None
        is_close = self.kind == "bar" and self.bar_label == "close"
        mask = np.zeros(ts.size, np.bool_)
        if self.start is not None:
            mask |= ts <= self.start if is_close else ts < self.start
        if self.end is not None:
            mask |= ts > self.end if is_close else ts >= self.end
        # A row whose time is unknown is bad, not outside.
        mask &= ts != NO_TIME
        return mask


@dataclass(slots=True)
class Batch:
    """Some rows of one file.

    Attributes:
        source: the file.
        rows: their 0-based numbers in it; an integer when they are consecutive from there.
        codes: their series; an integer when all are of one.
        ts: timestamps, UTC ns, ``NO_TIME`` where there is none.
        values: the kind's number columns, NaN where there is none.
        adj_close: adjusted closes, when prices are to be adjusted by them.
        raw_volume: volumes as they were before the adjustment; None when there was none.
    """

    source: Source
    rows: Ints | int
    codes: npt.NDArray[np.int32] | int
    ts: Ints
    values: list[Floats]
    adj_close: Floats | None = None
    raw_volume: Floats | None = None

    def take(self, mask: Bools) -> Batch:
        """Give the rows that ``mask`` marks."""
        codes = self.codes if isinstance(self.codes, int) else self.codes[mask]
        adj_close = None if self.adj_close is None else self.adj_close[mask]
        raw_volume = None if self.raw_volume is None else self.raw_volume[mask]
        values = [column[mask] for column in self.values]
        rows = self.numbers()[mask]
        return Batch(self.source, rows, codes, self.ts[mask], values, adj_close, raw_volume)

    def numbers(self) -> Ints:
        """Give the 0-based row numbers as an array."""
        if isinstance(self.rows, int):
            return np.arange(self.rows, self.rows + self.ts.size)
        return self.rows

    def row(self, position: int) -> int:
        """Give the 0-based number of the row at ``position``."""
        return self.rows + position if isinstance(self.rows, int) else int(self.rows[position])

    def adjusted(self) -> Batch:
        """Give the batch with adjusted prices and volumes, if they are to be adjusted."""
        if self.adj_close is None:
            return self
        values = adjust_bars(self.values, self.adj_close)
        volume = self.values[-1]
        return Batch(self.source, self.rows, self.codes, self.ts, values, self.adj_close, volume)

    def by_series(self) -> Iterator[tuple[int, Ints, list[Floats], Ints | int, Floats | None]]:
        """Give (series, timestamps, values, rows, raw volume), series by series.

        In each the order of the file is kept.
        """
        if not self.ts.size:
            return
        if isinstance(self.codes, int):
            yield self.codes, self.ts, self.values, self.rows, self.raw_volume
            return
        # Two bytes suffice almost always, and numpy sorts those by counting.
        narrow = self.codes.astype(np.int16) if int(self.codes.max()) < 2**15 else self.codes
        order = np.argsort(narrow, kind="stable")
        codes, ts, rows = self.codes[order], self.ts[order], self.numbers()[order]
        values = [column[order] for column in self.values]
        raw_volume = None if self.raw_volume is None else self.raw_volume[order]
        bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), codes.size]
        for low, high in pairwise(bounds):
            columns = [column[low:high] for column in values]
            raw = None if raw_volume is None else raw_volume[low:high]
            yield int(codes[low]), ts[low:high], columns, rows[low:high], raw


def floats(column: pl.Series) -> Floats:
    """Give a Float64 column as an array, NaN for null; without copying when there is none."""
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()


def blank_lines(frame: pl.DataFrame) -> Bools:
    """Tell which rows of a text file have no value at all."""
    return frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
