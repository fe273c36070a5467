"""What the opening pass learns about one series: scales, step, range and content hash."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import numpy.typing as npt

from adapters.files.checks import CACHED_ROWS, Floats
from adapters.files.layout import PRICES, Kind

Ints = npt.NDArray[np.int64]
Place = tuple[str, int]
"""A file's name and a 0-based row in it."""

PRICE_DECIMALS_MAX = 9
QUANTITY_DECIMALS_MAX = 8
_SAMPLE_ROWS = 256  # tell the digits of most data before whole blocks are tried in vain
_STEPS_KEPT = 1_024
_COMMON_SHARE = 4


class Scale:
    """The digits after the point of a series' prices, or of its quantities.

    The smallest number of digits ``d`` for which every value is the double nearest to an integer
    over ``10**d``: the digits of its shortest decimal text. Values with more than ``limit``
    digits are counted, and rounded half to even when the data is replayed.

    Attributes:
        decimals: digits so far.
        inexact: how many values had more than ``limit``.
        largest: the largest value, and where it stands.
        smallest: the smallest value, and where it stands.
    """

    def __init__(self, limit: int) -> None:
        self.decimals = 0
        self.inexact = 0
        self.largest: tuple[float, Place] = (-1.0, ("", 0))
        self.smallest: tuple[float, Place] = (float("inf"), ("", 0))
        self._limit = limit

    def fold(self, column: Floats) -> None:
        """Take in some values, all finite."""
        self._fold_block(column[:_SAMPLE_ROWS], is_sample=True)
        for start in range(0, column.size, CACHED_ROWS):
            self._fold_block(column[start : start + CACHED_ROWS])

    def _fold_block(self, values: Floats, is_sample: bool = False) -> None:
        while True:
            scale = 10.0**self.decimals
            units = values * scale
            np.rint(units, out=units)
            # Both operands are exact doubles, so the division is rounded once, correctly.
            np.divide(units, scale, out=units)
            same = units == values
            if same.all():
                return
            if self.decimals == self._limit:
                if not is_sample:
                    self.inexact += int(values.size - np.count_nonzero(same))
                return
            self.decimals += 1

    def fold_range(self, low: Floats, high: Floats, file: str, rows: Ints | int) -> None:
        """Note extremes of values that stand in ``rows`` (an integer: consecutive from there)."""
        top, bottom = float(high.max()), float(low.min())
        if top > self.largest[0]:
            self.largest = (top, (file, _row(rows, int(high.argmax()))))
        if bottom < self.smallest[0]:
            self.smallest = (bottom, (file, _row(rows, int(low.argmin()))))


def _row(rows: Ints | int, position: int) -> int:
    return rows + position if isinstance(rows, int) else int(rows[position])


class Steps:
    """How far apart a series' bars open: a histogram.

    Attributes:
        smallest: the smallest step, ns; 0 before there are two bars.
    """

    def __init__(self) -> None:
        self.smallest = 0
        self._counts: Counter[int] = Counter()

    def fold(self, steps: Ints) -> None:
        """Take in some steps, all above zero."""
        if not steps.size:
            return
        smallest = int(steps.min())
        self.smallest = min(smallest, self.smallest or smallest)
        is_smallest = steps == smallest
        count = int(np.count_nonzero(is_smallest))
        self._counts[smallest] += count
        if count < steps.size:
            others, counts = np.unique(steps[~is_smallest], return_counts=True)
            self._counts.update(dict(zip(others.tolist(), counts.tolist(), strict=True)))
            if len(self._counts) > 8 * _STEPS_KEPT:
                self._counts = Counter(dict(self._counts.most_common(_STEPS_KEPT)))

    def interval(self) -> int | None:
        """Give the smallest common step, None before there are two bars.

        Common is what occurs at least a quarter as often as the most frequent step: weekends and
        nights are longer, and a stray bar in between is not common.
        """
        if not self._counts:
            return None
        most = max(self._counts.values())
        return min(step for step, count in self._counts.items() if count * _COMMON_SHARE >= most)


class SeriesScan:
    """One symbol's part of the opening pass.

    Attributes:
        symbol: which.
        rows: rows taken in.
        ts_first: its first timestamp, ns.
        ts_last: its last timestamp, ns.
        last_place: where the last row stands.
        prices: digits and range of its prices.
        quantities: digits and range of its quantities.
        steps: distances between its timestamps (bars).
        is_adjusted: whether its volumes are quotients, which keep the digits of the raw volumes.
    """

    def __init__(self, symbol: str, kind: Kind) -> None:
        self.symbol = symbol
        self.rows = 0
        self.ts_first = 0
        self.ts_last = 0
        self.last_place: Place = ("", 0)
        self.prices = Scale(PRICE_DECIMALS_MAX)
        self.quantities = Scale(QUANTITY_DECIMALS_MAX)
        self.steps = Steps()
        self.is_adjusted = False
        self._kind = kind
        self._hashes: list[hashlib._Hash] = []

    def first_late(self, ts: Ints, step: int) -> bool:
        """Tell whether some row is not at least ``step`` after the row before it."""
        if self.rows and int(ts[0]) - self.ts_last < step:
            return True
        return bool((np.diff(ts) < step).any())

    def fold(
        self,
        ts: Ints,
        values: list[Floats],
        file: str,
        rows: Ints | int,
        raw_volume: Floats | None = None,
    ) -> None:
        """Take in consecutive rows that break no rule, except their bytes (:meth:`hash`).

        The digits of quantities are those of ``raw_volume`` when volumes were adjusted: an
        instrument that trades in whole shares does so at any price.
        """
        if self._kind == "bar":
            if self.rows:
                self.steps.fold(np.array([int(ts[0]) - self.ts_last]))
            self.steps.fold(np.diff(ts))
        if not self.rows:
            self.ts_first = int(ts[0])
            self._hashes = [hashlib.sha256() for _ in range(1 + len(values))]
        self.rows += ts.size
        self.ts_last = int(ts[-1])
        self.last_place = (file, _row(rows, ts.size - 1))
        count = PRICES[self._kind]
        for column in values[:count]:
            self.prices.fold(column)
        for column in values[count:]:
            self.quantities.fold(column if raw_volume is None else raw_volume)
            self.is_adjusted = raw_volume is not None
            self.quantities.fold_range(column, column, file, rows)
        if self._kind == "bar":
            self.prices.fold_range(values[2], values[1], file, rows)
        else:
            self.prices.fold_range(values[0], values[count - 1], file, rows)

    def hash(self, ts: Ints, values: list[Floats]) -> None:
        """Take the bytes of rows into the content hash; in the order they were folded.

        Each column is one stream, so neither batches nor files leave a trace. Timestamps count
        from the first, so both labels of a bar hash alike. Adding zero makes -0.0 a zero.
        """
        self._hashes[0].update(_little_endian(ts - self.ts_first))
        count = PRICES[self._kind]
        for i, column in enumerate(values):
            stored = column if i < count else column + 0.0
            self._hashes[1 + i].update(_little_endian(stored))

    def digest(self, ts_first: int, interval_ns: int) -> bytes:
        """Give the content hash of the whole series, opening at ``ts_first``."""
        header = f"{self.symbol}\0{self._kind}\0{interval_ns}\0{self.rows}\0{ts_first}\0"
        total = hashlib.sha256(header.encode())
        for column in self._hashes:
            total.update(column.digest())
        return total.digest()


def _little_endian(column: Ints | Floats) -> memoryview:
    plain = np.ascontiguousarray(column)
    return plain.astype(plain.dtype.newbyteorder("<"), copy=False).data
