"""Where the validated rows wait for replay: in memory, in a temporary file, or where they were.

A store gives the rows of one series back in order, as ``[ts, *values]`` arrays: timestamps in
Int64 nanoseconds, values as the Float64 that were read.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from adapters.files.checks import Floats
from adapters.files.series import Ints
from engine.errors import DataError

Segment = tuple[Ints, list[Floats]]


class Store(Protocol):
    """Rows by series."""

    def stream(self, code: int, rows: int) -> Iterator[Segment]:
        """Give the rows of series ``code`` from the first on, about ``rows`` at a time."""


class MemoryStore:
    """Keeps the arrays themselves."""

    def __init__(self) -> None:
        self._segments: dict[int, list[Segment]] = {}
        self.rows = 0

    def append(self, code: int, ts: Ints, values: list[Floats]) -> None:
        """Add the next rows of a series."""
        self._segments.setdefault(code, []).append((ts, values))
        self.rows += ts.size

    def stream(self, code: int, rows: int) -> Iterator[Segment]:
        """Give the rows of a series, about ``rows`` at a time, without copying where possible."""
        return _regroup(iter(self._segments.get(code, [])), rows)

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """Give everything kept, series by series."""
        for code, segments in self._segments.items():
            for segment in segments:
                yield code, segment


class SpillStore:
    """Keeps the columns in an unnamed temporary file, which vanishes with the store.

    For data of many series too large for memory: the files may interleave the series in any way,
    and replay needs each one's rows from somewhere in the middle of them.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tetrad-")  # noqa: SIM115  # closed below
        weakref.finalize(self, self._file.close)
        self._segments: dict[int, list[tuple[int, int]]] = {}
        self._width = 0
        self._end = 0

    def append(self, code: int, ts: Ints, values: list[Floats]) -> None:
        """Add the next rows of a series.

        Raises:
            DataError: the disk is full.
        """
        self._width = 1 + len(values)
        self._segments.setdefault(code, []).append((self._end, ts.size))
        try:
            for column in (ts, *values):
                self._file.write(np.ascontiguousarray(column).data)
        except OSError as error:
            raise DataError(
                tempfile.gettempdir(),
                None,
                "disk_space",
                f"{error.strerror}; large data of many symbols is sorted in the temporary folder: "
                "free some space there, or set TMPDIR to a roomier folder",
            ) from error
        self._end += ts.size * 8 * self._width

    def stream(self, code: int, rows: int) -> Iterator[Segment]:
        """Give the rows of a series, about ``rows`` at a time."""
        self._file.flush()
        return _regroup(self._read(code, rows), rows)

    def _read(self, code: int, rows: int) -> Iterator[Segment]:
        for offset, count in self._segments.get(code, []):
            for start in range(0, count, rows):
                part = min(rows, count - start)
                at = [offset + 8 * (i * count + start) for i in range(self._width)]
                ts = np.frombuffer(self._pread(at[0], part), np.int64)
                yield ts, [np.frombuffer(self._pread(i, part), np.float64) for i in at[1:]]

    def _pread(self, offset: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), 8 * count, offset)


class RescanStore:
    """Keeps nothing and reads the file again; for a single large series."""

    def __init__(self, rescan: Callable[[], Iterator[Segment]]) -> None:
        self._rescan = rescan

    def stream(self, code: int, rows: int) -> Iterator[Segment]:
        """Give the rows of the one series, about ``rows`` at a time."""
        del code
        return _regroup(self._rescan(), rows)


def _regroup(segments: Iterator[Segment], rows: int) -> Iterator[Segment]:
    """Cut long segments into ``rows`` and join short ones up to it."""
    held: list[Segment] = []
    held_rows = 0
    for ts, values in segments:
        if held_rows + ts.size > rows and held:
            yield _join(held)
            held, held_rows = [], 0
        if ts.size < rows:
            held.append((ts, values))
            held_rows += ts.size
            continue
        for start in range(0, ts.size, rows):
            cut = slice(start, start + rows)
            yield ts[cut], [column[cut] for column in values]
    if held:
        yield _join(held)


def _join(segments: list[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    columns = zip(*(values for _, values in segments), strict=True)
    return np.concatenate([ts for ts, _ in segments]), [np.concatenate(part) for part in columns]
