"""The opening pass: every row is read, checked and folded into its series, once, in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from adapters.files.batch import (
    NO_SYMBOL,
    NO_TIME,
    UNWANTED,
    Batch,
    Selection,
    blank_lines,
    floats,
)
from adapters.files.checks import Bools, Violation, is_clean
from adapters.files.diagnosis import diagnose, digit_violations, raise_first, refuse_mixed_zones
from adapters.files.layout import VALUES
from adapters.files.series import Ints, SeriesScan
from adapters.files.source import Source, read_ahead
from adapters.files.store import MemoryStore, RescanStore, Segment, SpillStore
from engine.errors import DataError

RESIDENT_ROWS = 1 << 20
"""Rows kept in memory between the opening pass and the replay; larger data is read again."""

DROPPED_LISTED = 1_000
"""Dropped rows that are listed one by one; the counts per rule are always complete."""

SERIES_MAX = 2**16
"""Series are numbered in 16 bits."""


@dataclass(slots=True)
class Dropped:
    """What was left out because it broke a rule.

    Attributes:
        rows: (file, 1-based row, rule, detail), at most ``DROPPED_LISTED``.
        counts: rows per rule, complete.
    """

    rows: list[tuple[str, int, str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch, violation: Violation, positions: Ints) -> None:
        """Note rows of a batch."""
        self.counts[violation.rule] += positions.size
        for at in positions[: max(0, DROPPED_LISTED - len(self.rows))].tolist():
            detail = violation.describe(at)
            self.rows.append((batch.source.name, batch.row(at) + 1, violation.rule, detail))


class Scan:
    """Reads sources in the order given and collects what the dataset needs.

    Attributes:
        series: by code, in the order the symbols were met.
        seen: every symbol met, wanted or not.
        ts_seen: smallest and largest timestamp met before a time range was applied, UTC ns.
        dropped: rows left out.
        currencies: values of the currency columns, each with the file it was first met in.
        store: where the rows are for replay.
    """

    def __init__(self, sources: Sequence[Source], selection: Selection) -> None:
        self.series: list[SeriesScan] = []
        self.seen: set[str] = set()
        self.ts_seen: tuple[int, int] | None = None
        self.dropped = Dropped()
        self.currencies: dict[str, str] = {}
        self.store: MemoryStore | SpillStore | RescanStore = MemoryStore()
        self._codes: dict[str, int] = {}
        self._sources = sources
        self._selection = selection
        self._bad_rows: list[Ints] = []
        is_all = selection.symbols is None and selection.start is None and selection.end is None
        if is_all and sum(source.rows or 0 for source in sources) > RESIDENT_ROWS:
            self._leave_memory()

    def run(self) -> None:
        """Read everything.

        Raises:
            DataError: a row breaks a rule (unless such rows are dropped), or a file cannot be read.
        """
        with ThreadPoolExecutor(1) as pool:
            hashing: Future[None] | None = None
            for source, row, frame in read_ahead(self._batches()):
                segments = self._fold(source, row, frame)
                # One batch is hashed while the next is checked; never more, to bound memory.
                if hashing is not None:
                    hashing.result()
                hashing = pool.submit(self._hash, segments)
            if hashing is not None:
                hashing.result()

    def _batches(self) -> Iterator[tuple[Source, int, pl.DataFrame]]:
        for source in self._sources:
            for row, frame in source.batches():
                yield source, row, frame

    def _hash(self, segments: list[tuple[int, Segment]]) -> None:
        for code, (ts, values) in segments:
            self.series[code].hash(ts, values)

    def _fold(self, source: Source, row: int, frame: pl.DataFrame) -> list[tuple[int, Segment]]:
        batch = self._check(self._select(source, row, frame))
        segments = []
        for code, ts, values, rows, raw_volume in batch.by_series():
            self.series[code].fold(ts, values, source.name, rows, raw_volume)
            self._keep(code, ts, values)
            segments.append((code, (ts, values)))
        return segments

    def _keep(self, code: int, ts: Ints, values: list[npt.NDArray[np.float64]]) -> None:
        if isinstance(self.store, MemoryStore) and self.store.rows + ts.size > RESIDENT_ROWS:
            self._leave_memory()
        if not isinstance(self.store, RescanStore):
            self.store.append(code, ts, values)

    def _leave_memory(self) -> None:
        if len(self._sources) == 1 and self._sources[0].layout.symbol is None:
            self.store = RescanStore(self._rescan)
            return
        spill = SpillStore()
        if isinstance(self.store, MemoryStore):
            for code, (ts, values) in self.store.segments():
                spill.append(code, ts, values)
        self.store = spill

    def _rescan(self) -> Iterator[Segment]:
        bad = np.concatenate([np.empty(0, np.int64), *self._bad_rows])
        for source, row, frame in read_ahead(self._batches()):
            batch = self._select(source, row, frame)
            if bad.size:
                batch = batch.take(~np.isin(batch.numbers(), bad))
            if batch.ts.size:
                yield batch.ts, batch.adjusted().values

    def _select(self, source: Source, row: int, frame: pl.DataFrame) -> Batch:
        """Turn a frame into arrays of the wanted rows."""
        if "currency" in frame.columns:
            self._note_currency(source, row, frame["currency"])
        stamps = frame["ts"]
        is_short = stamps.null_count() > 0
        ts = (stamps.fill_null(NO_TIME) if is_short else stamps).to_numpy()
        values = [floats(frame[name]) for name in VALUES[self._selection.kind]]
        adj_close = floats(frame["adj_close"]) if "adj_close" in frame.columns else None
        codes = self._encode(source, frame)
        batch = Batch(source, row, codes, ts, values, adj_close)
        unwanted: list[Bools] = []
        if not isinstance(codes, int):
            unwanted.append(codes == UNWANTED)
        elif codes == UNWANTED:
            unwanted.append(np.ones(ts.size, np.bool_))
        if is_short and source.file.format == "csv":
            unwanted.append(blank_lines(frame))
        outside = self._selection.outside(ts)
        if outside is not None:
            unwanted.append(outside)
            self._note_range(ts[ts != NO_TIME])
        if any(mask.any() for mask in unwanted):
            batch = batch.take(~np.logical_or.reduce(unwanted))
        return batch

    def _note_range(self, ts: Ints) -> None:
        if ts.size:
            first = int(ts[0])
            low, high = self.ts_seen or (first, first)
            self.ts_seen = (min(low, int(ts.min())), max(high, int(ts.max())))

    def _note_currency(self, source: Source, row: int, column: pl.Series) -> None:
        for name in column.unique(maintain_order=True).drop_nulls().to_list():
            self.currencies.setdefault(name, source.name)
            if len(self.currencies) > 1:
                first = next(iter(self.currencies))
                at = column.eq(name).arg_max() or 0
                raise DataError(
                    source.name,
                    row + at + 1,
                    "currency",
                    f"currency {name} after {first} in {self.currencies[first]}; an account has "
                    "one currency: convert the prices, or give only files of one currency",
                )

    def _encode(self, source: Source, frame: pl.DataFrame) -> npt.NDArray[np.int32] | int:
        if source.layout.symbol is None:
            return self._code(source.file.stem)
        column = frame["symbol"]
        found = column.unique(maintain_order=True).to_list()
        codes = {name: self._code(name) for name in found if name}
        if len(found) == 1 and found[0]:
            return codes[found[0]]
        if not codes:
            return np.full(column.len(), NO_SYMBOL, np.int32)
        encoded = column.replace_strict(codes, default=NO_SYMBOL, return_dtype=pl.Int32)
        return encoded.fill_null(NO_SYMBOL).to_numpy()

    def _code(self, symbol: str) -> int:
        code = self._codes.get(symbol)
        if code is None:
            self.seen.add(symbol)
            wanted = self._selection.symbols is None or symbol in self._selection.symbols
            code = len(self.series) if wanted else UNWANTED
            if wanted:
                self.series.append(SeriesScan(symbol, self._selection.kind))
            self._codes[symbol] = code
        return code

    def _step(self, code: int) -> int:
        return self._selection.steps.get(self.series[code].symbol, self._selection.step)

    def _check(self, raw: Batch) -> Batch:
        """Give the rows that break no rule.

        Raises:
            DataError: one does, and rows are not to be dropped.
        """
        batch = raw.adjusted()
        if not batch.ts.size or self._is_good(batch):
            return batch
        found = diagnose(raw, batch, self._selection, self.series, self._step)
        if found and not self._selection.drop:
            raise_first(batch, found)
        keep = np.ones(batch.ts.size, np.bool_)
        for violation in found:
            positions = np.flatnonzero(violation.bad & keep)
            if positions.size:
                refuse_mixed_zones(batch, violation, int(positions[0]))
                self.dropped.add(batch, violation, positions)
                keep[positions] = False
        self._bad_rows.append(batch.numbers()[~keep])
        return batch.take(keep)

    def _is_good(self, batch: Batch) -> bool:
        if int(batch.ts.min()) == NO_TIME or not is_clean(self._selection.kind, batch.values):
            return False
        if not isinstance(batch.codes, int) and int(batch.codes.min()) < 0:
            return False
        if digit_violations(batch, self._selection):
            return False
        return not any(
            self.series[code].first_late(ts, self._step(code)) for code, ts, *_ in batch.by_series()
        )
