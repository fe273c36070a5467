"""One file as a stream of batches in canonical columns and types."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import polars as pl

from adapters.files.layout import BarLabel, Layout, find_layout
from adapters.files.paths import DataFile
from adapters.files.timestamps import TimestampReading, read_timestamps, zone_of_text
from engine.errors import DataError

BATCH_ROWS = 262_144
"""Rows read at a time: the row group that polars writes, 12 MB of bars."""

Item = TypeVar("Item")

_PROBE_ROWS = 1_000
_EXACT_INTEGER_END = 2**53  # from there on, doubles skip integers
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Source:
    """One opened file.

    Attributes:
        file: which.
        layout: its columns' roles.
        reading: how its timestamps are read.
        raw: lazy scan of the file as it is written.
        rows: its number of rows; None for text, where that takes reading it.
        ts_first: its first timestamp that can be read, UTC nanoseconds, None if none can.
    """

    file: DataFile
    layout: Layout
    reading: TimestampReading
    raw: pl.LazyFrame
    rows: int | None
    ts_first: int | None

    @property
    def name(self) -> str:
        """The file's name for messages."""
        return self.file.name

    def batches(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Give ``(number of rows before, batch)``.

        A batch has the columns ``ts`` (Int64 UTC nanoseconds, null where unreadable), the kind's
        values (Float64), and where the layout has them ``adj_close`` (Float64), ``symbol`` and
        ``currency`` (String).
        """
        lazy = self.raw.select(self._expressions())
        row = 0
        try:
            for batch in _stream(lazy) if self.rows is None else _slices(lazy, self.rows):
                yield row, batch
                row += batch.height
        except (pl.exceptions.PolarsError, OSError) as error:
            _raise_unreadable(self.file, error)

    def raw_row(self, row: int) -> dict[str, object]:
        """Give one row (0-based) as it is written in the file; for messages."""
        # Without types, so that text shows what stands there and not what became of it.
        frame = (_scan(self.file) if self._is_text else self.raw).slice(row, 1).collect()
        return frame.row(0, named=True) if frame.height else {}

    def raw_text(self, row: int, role: str) -> str:
        """Render one cell as it is written, for messages; ``role`` as in the layout."""
        name = self.layout.ts if role == "ts" else self.layout.values.get(role)
        name = name or getattr(self.layout, role)
        value = self.raw_row(row).get(name)
        return "empty" if value is None or value == "" else repr(str(value))

    def mixes_zones(self, row: int) -> bool:
        """Tell whether an unreadable timestamp is so for carrying (or lacking) an offset."""
        value = self.raw_row(row).get(self.layout.ts)
        if not isinstance(value, str) or len(value.strip()) < 8:
            return False
        zone = zone_of_text(value)
        return {zone, self.reading.zone} == {"naive", "aware"}

    def _expressions(self) -> list[pl.Expr]:
        schema = self.raw.collect_schema()
        found = [self.reading.expr.alias("ts")]
        numbers: Mapping[str, str] = self.layout.values
        if self.layout.adj_close:
            numbers = {**numbers, "adj_close": self.layout.adj_close}
        found += [
            _number(self.name, name, schema[name]).alias(role) for role, name in numbers.items()
        ]
        for role in ("symbol", "currency"):
            name = getattr(self.layout, role)
            if name is not None:
                text = pl.col(name).cast(pl.String)
                found.append((text.str.strip_chars() if self._is_text else text).alias(role))
        return found

    @property
    def _is_text(self) -> bool:
        return self.file.format == "csv"


def open_source(
    file: DataFile, columns: Mapping[str, str] | None, bar_label: BarLabel, adjust: bool
) -> Source:
    """Open a file: recognise its columns and the shape of its timestamps.

    Raises:
        ConfigError: ``columns`` names an unknown role.
        DataError: the file cannot be read, has no rows, or lacks a column.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in str(file.path)):
        raise DataError(
            file.name, None, "name", "the file's name is not text in this locale; rename the file"
        )
    try:
        raw = _scan(file)
        schema = raw.collect_schema()
        layout = find_layout(file.name, schema.names(), columns, bar_label, adjust)
        if file.format == "csv":
            numbers = [*layout.values.values(), *filter(None, [layout.adj_close])]
            raw = _scan(file, numbers)
        probe = raw.select(layout.ts).head(_PROBE_ROWS).collect().to_series()
        is_text = file.format == "csv"
        rows = None if is_text else int(raw.select(pl.len()).collect().item())
        reading = read_timestamps(file.name, layout.ts, probe)
        stamps = probe.to_frame().select(reading.expr.alias("ts").drop_nulls()).to_series()
    except (pl.exceptions.PolarsError, OSError) as error:
        _raise_unreadable(file, error)
    if not probe.len():
        raise DataError(
            file.name, None, "empty", "the file has columns but no rows; remove it or fill it"
        )
    first = int(stamps[0]) if stamps.len() else None
    return Source(file, layout, reading, raw, rows, first)


def _scan(file: DataFile, numbers: list[str] | None = None) -> pl.LazyFrame:
    if file.format == "parquet":
        return pl.scan_parquet(file.path, glob=False, hive_partitioning=False, low_memory=True)
    if file.format == "ipc":
        return pl.scan_ipc(file.path, glob=False, hive_partitioning=False)
    # Numbers that cannot be read become null, and the checks find them with their row.
    return pl.scan_csv(
        file.path,
        glob=False,
        separator=_separator(file),
        infer_schema=False,
        schema_overrides=dict.fromkeys(numbers or [], pl.Float64()),
        ignore_errors=True,
    )


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Give the items of an iterator, always fetching one ahead in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = pool.submit(next, items, None)
            yield item
            del item


def _slices(lazy: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    # Polars' own streaming reads ahead as far as it can: with a slow reader or large row groups
    # that takes several times the memory.
    for start in range(0, rows, BATCH_ROWS):
        yield lazy.slice(start, BATCH_ROWS).collect()


def _stream(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    yield from lazy.collect_batches(chunk_size=BATCH_ROWS, lazy=True)


def _separator(file: DataFile) -> str:
    with _open_text(file) as stream:
        header = stream.readline()
    return max(_SEPARATORS, key=header.count)


def _open_text(file: DataFile) -> io.TextIOWrapper:
    if file.compressed:
        return gzip.open(file.path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.path.open("rt", encoding="utf-8-sig", errors="replace", newline="")


def _number(file: str, name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Float64:
        return column
    if dtype.is_integer():
        magnitude = column.cast(pl.Float64)
        exact = magnitude.abs() < _EXACT_INTEGER_END
        # An integer a double cannot hold is refused as not finite, never rounded.
        return pl.when(exact | column.is_null()).then(magnitude).otherwise(float("inf"))
    if dtype.is_float() or dtype.is_decimal() or dtype == pl.String:
        # By way of the shortest decimal text, so that 0.1 means one tenth in every type.
        return column.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    if dtype == pl.Null:
        return column.cast(pl.Float64)
    raise DataError(
        file, None, "column_type", f"column {name!r} of type {dtype} holds no numbers; convert it"
    )


def _raise_unreadable(file: DataFile, error: Exception) -> NoReturn:
    if isinstance(error, pl.exceptions.NoDataError):
        raise DataError(
            file.name, None, "empty", "the file is empty; remove it or write it anew"
        ) from error
    if file.format == "csv":
        row, found, expected = _find_ragged(file)
        if row is not None:
            raise DataError(
                file.name,
                row,
                "fields",
                f"{found} fields where the header has {expected}; mend the line",
            ) from error
    reason = str(error).strip().splitlines()[0]
    raise DataError(
        file.name, None, "format", f"not a readable {file.format} file ({reason}); write it anew"
    ) from error


def _find_ragged(file: DataFile) -> tuple[int | None, int, int]:
    """Give (1-based row, its fields, the header's fields) of the first overlong line."""
    try:
        with _open_text(file) as stream:
            rows = csv.reader(stream, delimiter=_separator(file))
            width = len(next(rows, []))
            for number, fields in enumerate(rows, start=1):
                if len(fields) > width:
                    return number, len(fields), width
    except (csv.Error, OSError):
        pass  # the file is beyond a row number; the caller reports it as a whole
    return None, 0, 0
