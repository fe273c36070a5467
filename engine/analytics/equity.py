"""The equity curve, from fills and a second pass over the market data.

Nothing is marked while a run goes on; the curve is built afterwards, one chunk at a time, in
integers up to the last division.

* **Equity** at a market timestamp is cash plus every position times its last price. A fill
  counts from the datum that priced it (``datum_seq`` of its symbol): a fill at a bar's open
  appears at that bar's close, not at the close before it, although the two timestamps are equal.
  A real venue's report (``datum_seq`` -1) counts from the first datum of its symbol at or after
  it.
* **Benchmark** is equal-weight buy and hold: the initial cash is split equally over the
  instruments, each share buys its symbol at the first open (bars) or price (trades, quotes) of
  the run, fractions and no costs, and is never rebalanced; a symbol listed later keeps its share
  in cash until its first open.
* **Drawdown** is ``1 - equity / highest equity so far``, initial cash included (Magdon-Ismail and
  Atiya, 2004). It passes 1 only when the account owes money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.analytics.notional import Bools, Floats, Ints, cash_scales, notional
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.errors import InvariantError

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
ROWS_MAX = 500_000
"""Rows an equity curve keeps; a longer one is thinned to the last row of each period."""

_Column = TypeVar("_Column", Ints, Floats)
_Totals = list[npt.NDArray[Any]]  # cash, position value, gross exposure (ints); benchmark (floats)
_SEQ_BITS = 44
_SEQ_MAX = 2**_SEQ_BITS - 1
_COARSER = {1: MINUTE_NS, MINUTE_NS: HOUR_NS, HOUR_NS: DAY_NS}

CURVE_SCHEMA = {
    "ts": pl.Int64,
    "equity": pl.Float64,
    "cash": pl.Float64,
    "position_value": pl.Float64,
    "drawdown": pl.Float64,
    "exposure": pl.Float64,
    "benchmark": pl.Float64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """What a thinned curve no longer shows, taken at every market timestamp.

    Attributes:
        rows: distinct market timestamps.
        ts_first: the first of them, UTC nanoseconds; 0 without rows.
        ts_last: the last of them, UTC nanoseconds; 0 without rows.
        drawdown_max: largest drawdown, a fraction of the peak before it.
        drawdown_ns_max: longest time from a peak until equity was back at it, or until the end.
        held_ratio: share of timestamps with an open position; None without rows.
        gross_mean: average of gross exposure over equity; None without rows or when equity was
            not above zero throughout.
        benchmark_drawdown_max: largest drawdown of the benchmark.
    """

    rows: int
    ts_first: int
    ts_last: int
    drawdown_max: float
    drawdown_ns_max: int
    held_ratio: float | None
    gross_mean: float | None
    benchmark_drawdown_max: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Last price of a symbol in the data: ``px`` in price units, its ``seq`` and ``ts``."""

    px: int
    seq: int
    ts: int


class EquityBuilder:
    """Fold market chunks and fills into an equity curve with bounded memory.

    All instruments are taken to settle in the account's currency.

    Args:
        instruments: every instrument of the data set; the index is its ``series`` number.
        fills: executions in the order they happened, with at least ``symbol``, ``signed_qty``,
            ``last_px``, ``notional``, ``commission``, ``ts`` and ``datum_seq`` (all integers in
            units).
        initial_cash: cash at the start, in cash units, above zero.

    Raises:
        ValueError: if ``initial_cash`` is not above zero.
        InvariantError: if a fill names a symbol that is not among the instruments.
    """

    def __init__(
        self, instruments: Sequence[Instrument], fills: pl.DataFrame, initial_cash: int
    ) -> None:
        if initial_cash <= 0:
            raise ValueError(f"initial_cash is {initial_cash} cash units; it must be above zero")
        count = len(instruments)
        self._instruments = tuple(instruments)
        self._book = _FillBook(self._instruments, fills)
        self._factor, self._divisor = cash_scales(instruments)
        self._initial_cash = initial_cash
        self._share = initial_cash / CASH_UNIT / max(count, 1)
        # Per series: what its last row contributed to the totals below.
        self._counted = self._book.start[:-1].copy()
        self._value = np.zeros(count, dtype=np.int64)
        self._worth: Floats = np.full(count, self._share)
        self._first_px = np.zeros(count, dtype=np.int64)
        self._px = np.zeros(count, dtype=np.int64)
        self._seq = np.full(count, -1, dtype=np.int64)
        self._ts = np.zeros(count, dtype=np.int64)
        # Totals after the last row; held back until a row with a later timestamp shows that the
        # timestamp is complete.
        self._held = _Held(0, initial_cash, 0, 0, initial_cash / CASH_UNIT)
        self._started = False
        self._curve = _Curve(initial_cash / CASH_UNIT)

    @property
    def marks(self) -> dict[str, Mark]:
        """Last price of each symbol seen so far."""
        return {
            instrument.symbol: Mark(int(self._px[i]), int(self._seq[i]), int(self._ts[i]))
            for i, instrument in enumerate(self._instruments)
            if self._seq[i] >= 0
        }

    @property
    def extremes(self) -> Extremes:
        """Full-resolution figures; complete after :meth:`finish`."""
        return self._curve.extremes()

    def add(self, chunk: pl.DataFrame) -> None:
        """Take the next rows of the merged market data.

        Args:
            chunk: rows sorted by ``(ts_event, series)`` and following those added before, with
                ``series``, ``seq``, ``ts_event`` and either ``open`` and ``close`` (bars),
                ``price`` (trades) or ``bid`` and ``ask`` (quotes), in price units.
        """
        if chunk.is_empty():
            return
        ts = chunk["ts_event"].to_numpy()
        series = chunk["series"].cast(pl.Int64).to_numpy()
        seq = chunk["seq"].to_numpy()
        first_px, px = _prices(chunk)
        if len(self._instruments) == 1:
            self._advance(ts, self._totals_of_one(ts, seq, first_px, px))
            return
        # Rows of one series side by side, in time: then the row before is one step to the left.
        order = np.argsort(series, kind="stable")
        rows = _Rows(*(column[order] for column in (series, seq, ts, first_px, px)))
        totals = []
        for step, total in zip(self._steps(rows), self._held.totals(), strict=True):
            in_time = np.empty_like(step)
            in_time[order] = step
            totals.append(np.cumsum(in_time) + total)
        self._advance(ts, totals)

    def finish(self) -> pl.DataFrame:
        """Complete the curve.

        Fills that no datum follows (an end-of-run report) count at the last row.

        Returns:
            Columns ``ts`` (UTC nanoseconds, Int64) and, as Float64 in currency units, ``equity``,
            ``cash``, ``position_value`` (signed), ``drawdown`` (a fraction), ``exposure`` (gross:
            the sum of absolute position values) and ``benchmark``; one row per distinct
            ``ts_event``, or the last of each minute, hour or day above :data:`ROWS_MAX` rows.
        """
        if self._started:
            self._settle_late_fills()
            self._curve.append(*self._held.columns())
            self._started = False
        return self._curve.frame()

    def _totals_of_one(self, ts: Ints, seq: Ints, first_px: Ints, px: Ints) -> _Totals:
        # The only series is the account: its sums are the totals, nothing to accumulate.
        book = self._book
        if self._seq[0] < 0:
            self._first_px[0] = first_px[0]
        counted = book.count(np.zeros_like(seq), seq, ts)
        value = notional(px, book.quantity[counted], self._factor, self._divisor)
        self._counted[0], self._value[0] = counted[-1], value[-1]
        self._px[0], self._seq[0], self._ts[0] = px[-1], seq[-1], ts[-1]
        worth = px * (self._share / self._first_px[0])
        return [book.cash[counted] + self._initial_cash, value, np.abs(value), worth]

    def _steps(self, rows: _Rows) -> _Totals:
        # What each row adds to the totals.
        book, series, px = self._book, rows.series, rows.px
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        ends = np.append(starts[1:], len(series)) - 1
        seen = series[starts]
        fresh = self._seq[seen] < 0
        self._first_px[seen[fresh]] = rows.first_px[starts[fresh]]
        counted = book.count(series, rows.seq, rows.ts)
        held = book.quantity[counted] - book.quantity[book.start[series]]
        value = notional(px, held, self._factor[series], self._divisor[series])
        worth: Floats = px * (self._share / self._first_px[series])
        counted_before = _before(counted, starts, self._counted[seen])
        value_before = _before(value, starts, self._value[seen])
        worth_before = _before(worth, starts, self._worth[seen])
        self._counted[seen], self._value[seen] = counted[ends], value[ends]
        self._worth[seen] = worth[ends]
        self._px[seen], self._seq[seen], self._ts[seen] = px[ends], rows.seq[ends], rows.ts[ends]
        return [
            book.cash[counted] - book.cash[counted_before],
            value - value_before,
            np.abs(value) - np.abs(value_before),
            worth - worth_before,
        ]

    def _advance(self, ts: Ints, totals: _Totals) -> None:
        # Hand on the rows whose timestamp is complete; hold back the last one.
        columns = [ts, *totals]
        last = [column[-1].item() for column in columns]
        complete = np.flatnonzero(ts[1:] != ts[:-1])
        # A view will do, and is quicker than a copy, when each row has its own timestamp.
        chosen = slice(0, -1) if len(complete) == len(ts) - 1 else complete
        if self._started and self._held.ts != ts[0]:
            columns = [
                np.concatenate((late, column[chosen]))
                for late, column in zip(self._held.columns(), columns, strict=True)
            ]
        else:
            columns = [column[chosen] for column in columns]
        self._curve.append(*columns)
        self._held = _Held(*last)
        self._started = True

    def _settle_late_fills(self) -> None:
        book, held = self._book, self._held
        late = np.flatnonzero(self._counted != book.start[1:])
        if not late.size:
            return
        cash, value, gross = held.cash, held.value, held.gross
        for i in late.tolist():
            end = int(book.start[i + 1])
            px = int(self._px[i]) if self._seq[i] >= 0 else int(book.last_px[end - 1])
            quantity = int(book.quantity[end] - book.quantity[book.start[i]])
            worth = self._instruments[i].notional(px, quantity)
            cash += int(book.cash[end] - book.cash[self._counted[i]])
            value += worth - int(self._value[i])
            gross += abs(worth) - abs(int(self._value[i]))
        self._held = _Held(held.ts, cash, value, gross, held.benchmark)


class _Rows(NamedTuple):
    # A chunk, sorted by series.
    series: Ints
    seq: Ints
    ts: Ints
    first_px: Ints
    px: Ints


@dataclass(frozen=True, slots=True)
class _Held:
    # Totals at one timestamp, in cash units; the benchmark is a float in currency units.
    ts: int
    cash: int
    value: int
    gross: int
    benchmark: float

    def totals(self) -> tuple[int, int, int, float]:
        return self.cash, self.value, self.gross, self.benchmark

    def columns(self) -> tuple[Ints, Ints, Ints, Ints, Floats]:
        ints = [np.array([n], dtype=np.int64) for n in (self.ts, self.cash, self.value, self.gross)]
        return ints[0], ints[1], ints[2], ints[3], np.array([self.benchmark])


class _FillBook:
    """Fills sorted by (series, datum), with running sums, so that a row is one lookup."""

    def __init__(self, instruments: tuple[Instrument, ...], fills: pl.DataFrame) -> None:
        index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        names = fills["symbol"].unique().to_list()
        unknown = sorted(set(names) - index.keys())
        if unknown:
            raise InvariantError(f"fills name symbols that the data does not hold: {unknown}")
        series = (
            fills["symbol"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
            if names
            else np.zeros(0, dtype=np.int64)
        )
        seq = fills["datum_seq"].to_numpy()
        ts = fills["ts"].to_numpy()
        self._by_time = bool((seq < 0).any())
        order = np.lexsort((ts if self._by_time else seq, series))
        self.start = np.searchsorted(series[order], np.arange(len(instruments) + 1))
        self._keys = (series[order] << _SEQ_BITS) | np.clip(seq[order], 0, _SEQ_MAX)
        self._times = pl.DataFrame(
            {"series": series[order], "ts": ts[order], "n": np.arange(1, len(order) + 1)},
            schema={"series": pl.Int64, "ts": pl.Int64, "n": pl.Int64},
        )
        paid = -(fills["notional"].to_numpy() + fills["commission"].to_numpy())
        self.quantity = _running(fills["signed_qty"].to_numpy()[order])
        self.cash = _running(paid[order])
        self.last_px = fills["last_px"].to_numpy()[order]

    def count(self, series: Ints, seq: Ints, ts: Ints) -> Ints:
        """Give, per row, how many fills of the book count by then (an index into the sums)."""
        if not self._by_time:
            return np.searchsorted(self._keys, (series << _SEQ_BITS) | seq, side="right")
        rows = pl.DataFrame({"series": series, "ts": ts})
        found = rows.join_asof(
            self._times, on="ts", by="series", strategy="backward", check_sortedness=False
        )
        counted: Ints = np.maximum(found["n"].fill_null(0).to_numpy(), self.start[series])
        return counted


class _Curve:
    """Rows of the curve at distinct timestamps, thinned when there are too many."""

    def __init__(self, initial: float) -> None:
        self._blocks: list[_Block] = []
        self._rows_kept = 0
        self._period_ns = 1
        self._rows = 0
        self._ts_first = 0
        self._ts_last = 0
        self._peak = initial
        self._peak_ts = 0
        self._under = False
        self._drawdown = 0.0
        self._drawdown_ns = 0
        self._rows_held = 0
        self._gross_sum = 0.0
        self._solvent = True
        self._benchmark_peak = initial
        self._benchmark_drawdown = 0.0

    def append(self, ts: Ints, cash: Ints, value: Ints, gross: Ints, benchmark: Floats) -> None:
        if not ts.size:
            return
        if not self._rows:
            self._ts_first = self._peak_ts = int(ts[0])
        equity = (cash + value) / CASH_UNIT
        drawdown = self._track(ts, equity)
        self._rows += len(ts)
        self._ts_last = int(ts[-1])
        self._rows_held += int(np.count_nonzero(gross))
        self._solvent = self._solvent and bool(equity.min() > 0)
        if self._solvent:
            self._gross_sum += float((gross / equity).sum()) / CASH_UNIT
        peaks = np.maximum.accumulate(np.maximum(benchmark, self._benchmark_peak))
        self._benchmark_drawdown = max(
            self._benchmark_drawdown, float((1 - benchmark / peaks).max())
        )
        self._benchmark_peak = float(peaks[-1])
        self._keep(_Block(ts, equity, cash, value, drawdown, gross, benchmark))

    def _track(self, ts: Ints, equity: Floats) -> Floats:
        # Drawdown of each row; remembers the deepest and the longest.
        peaks = np.maximum.accumulate(np.maximum(equity, self._peak))
        drawdown = 1 - equity / peaks
        self._drawdown = max(self._drawdown, float(drawdown.max()))
        at_peak = np.flatnonzero(equity == peaks)
        # The time under water ends at the next row on the peak, so it is a gap between two such
        # rows that has a row in between; the first gap may have begun in an earlier block.
        if at_peak.size:
            first = int(at_peak[0])
            if first > 0 or self._under:
                self._drawdown_ns = max(self._drawdown_ns, int(ts[first]) - self._peak_ts)
            gaps = np.diff(ts[at_peak])[np.diff(at_peak) > 1]
            self._drawdown_ns = max(self._drawdown_ns, int(gaps.max(initial=0)))
            self._peak_ts = int(ts[at_peak[-1]])
        self._under = not at_peak.size or int(at_peak[-1]) != len(ts) - 1
        if self._under:
            self._drawdown_ns = max(self._drawdown_ns, int(ts[-1]) - self._peak_ts)
        self._peak = float(peaks[-1])
        return drawdown

    def _keep(self, block: _Block) -> None:
        if self._period_ns > 1:
            block = block.thinned(self._period_ns, None)
            before = self._blocks[-1]
            if _period(before.ts[-1:], self._period_ns) == _period(block.ts[:1], self._period_ns):
                self._blocks[-1] = before.chosen(slice(0, -1))
                self._rows_kept -= 1
        self._blocks.append(block)
        self._rows_kept += len(block.ts)
        while self._rows_kept > ROWS_MAX and self._period_ns in _COARSER:
            self._period_ns = _COARSER[self._period_ns]
            blocks = [block for block in self._blocks if block.ts.size]
            after = [*(block.ts[:1] for block in blocks[1:]), None]
            self._blocks = [
                block.thinned(self._period_ns, ts) for block, ts in zip(blocks, after, strict=True)
            ]
            self._rows_kept = sum(len(block.ts) for block in self._blocks)

    def frame(self) -> pl.DataFrame:
        if not self._blocks:
            return pl.DataFrame(schema=CURVE_SCHEMA)
        columns = [np.concatenate(column) for column in zip(*self._blocks, strict=True)]
        for money in (2, 3, 5):
            columns[money] = columns[money] / CASH_UNIT
        return pl.DataFrame(dict(zip(CURVE_SCHEMA, columns, strict=True)))

    def extremes(self) -> Extremes:
        rows = self._rows
        return Extremes(
            rows=rows,
            ts_first=self._ts_first,
            ts_last=self._ts_last,
            drawdown_max=self._drawdown,
            drawdown_ns_max=self._drawdown_ns,
            held_ratio=self._rows_held / rows if rows else None,
            gross_mean=self._gross_sum / rows if rows and self._solvent else None,
            benchmark_drawdown_max=self._benchmark_drawdown,
        )


class _Block(NamedTuple):
    # Rows of the curve, columns as in CURVE_SCHEMA; money other than equity in cash units.
    ts: Ints
    equity: Floats
    cash: Ints
    value: Ints
    drawdown: Floats
    gross: Ints
    benchmark: Floats

    def chosen(self, rows: Bools | slice) -> _Block:
        return _Block._make(column[rows] for column in self)

    def thinned(self, period_ns: int, ts_after: Ints | None) -> _Block:
        # Keep the last row of each period; the last row stays unless what follows shares its one.
        period = _period(self.ts, period_ns)
        last = np.ones(len(period), dtype=np.bool_)
        last[:-1] = period[1:] != period[:-1]
        if ts_after is not None:
            last[-1] = _period(ts_after, period_ns)[0] != period[-1]
        return self.chosen(last)


def _period(ts: Ints, period_ns: int) -> Ints:
    # An event on the stroke closes the period before it, as a bar [open, close) does.
    return (ts - 1) // period_ns


def _prices(chunk: pl.DataFrame) -> tuple[Ints, Ints]:
    # (price a buyer at the first row pays, price to mark with), in price units.
    columns = chunk.columns
    if "close" in columns:
        return chunk["open"].to_numpy(), chunk["close"].to_numpy()
    if "price" in columns:
        px = chunk["price"].to_numpy()
        return px, px
    middle = (chunk["bid"].to_numpy() + chunk["ask"].to_numpy()) // 2
    return middle, middle


def _before(column: _Column, starts: Ints, carried: _Column) -> _Column:
    # Each row's predecessor in its series; a group's first row follows what was carried.
    before = np.empty_like(column)
    before[1:] = column[:-1]
    before[starts] = carried
    return before


def _running(column: Ints) -> Ints:
    total = np.zeros(len(column) + 1, dtype=np.int64)
    np.cumsum(column, out=total[1:])
    return total
