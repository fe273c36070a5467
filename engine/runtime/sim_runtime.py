"""The simulated runtime: one thread, virtual time, data files for input.

Time moves only with market events and timers. At equal times market events come first, in the
order of the data (time, then the order of the instruments), then timers in the order they were
set. With a seed, events of equal time are permuted: what real concurrency could permute.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.runtime.cell import Cell, Lane

__all__ = ["EVENTS_OF", "Columns", "SimRuntime", "bar_events", "quote_events", "trade_events"]

CHUNKS_PER_COLLECTION = 64

Columns = dict[str, list[int]]
"""One chunk of market data: column name -> plain integers, all of one length."""


class SimRuntime:
    """Drives one cell through market data in virtual time.

    Args:
        cell: the trading core.
        instruments: the series of the data; a chunk's ``series`` number indexes them.
        make_events: builds the events of a chunk from its columns.
        start_ts: virtual time at which the actors start, UTC nanoseconds.
        seed: permutes events of equal time when given.
    """

    def __init__(
        self,
        cell: Cell,
        instruments: Sequence[Instrument],
        make_events: Callable[[Columns, Sequence[Instrument]], Iterable[Any]],
        *,
        start_ts: int,
        seed: int | None = None,
    ) -> None:
        self._start_ts = start_ts
        self._cell = cell
        self._instruments = instruments
        self._make_events = make_events
        self._random = None if seed is None else random.Random(seed)
        self._stopped = False
        self._held_back: list[tuple[int, Any, Lane]] = []

    def stop(self) -> None:
        """End the run at the end of the current chunk or market event."""
        self._stopped = True

    def run(self, chunks: Iterable[Columns], progress: Callable[[int], None] | None = None) -> None:
        """Start the actors, feed them every chunk, fire the last timers, stop the actors.

        Args:
            chunks: column chunks in time order.
            progress: called with the number of events after each chunk.
        """
        with _no_garbage_scans():
            self._run(chunks, progress)

    def _run(self, chunks: Iterable[Columns], progress: Callable[[int], None] | None) -> None:
        cell = self._cell
        cell.now = self._start_ts
        cell.start()
        cell.bind_symbols(instrument.symbol for instrument in self._instruments)
        for number, chunk in enumerate(chunks):
            self._run_chunk(chunk)
            cell.end_batch()
            if number % CHUNKS_PER_COLLECTION == CHUNKS_PER_COLLECTION - 1:
                gc.collect(1)
            if progress is not None:
                progress(len(chunk["ts_event"]))
            if self._stopped:
                break
        if self._held_back and not self._stopped:
            self._feed_held_back()
        if not self._stopped and cell.now:
            cell.fire_timers(cell.now + 1)
        cell.stop()
        cell.end_batch()

    def _run_chunk(self, chunk: Columns) -> None:
        times = chunk["ts_event"]
        events: Iterable[Any] = self._make_events(chunk, self._instruments)
        lanes = self._lanes(chunk)
        if self._random is None:
            self._feed(times, events, lanes)
        else:
            self._feed_permuted(zip(times, events, lanes, strict=False))

    def _lanes(self, chunk: Columns) -> Iterable[Lane]:
        lanes = [self._cell.lane(instrument.symbol) for instrument in self._instruments]
        if len(lanes) == 1:
            return repeat(lanes[0])
        return map(lanes.__getitem__, chunk["series"])

    def _feed_permuted(self, rows: Iterable[tuple[int, Any, Lane]]) -> None:
        """Feed rows with those of equal time in random order.

        The rows of the last time wait for the next chunk, which may hold more of them: the order
        must not depend on how the data is cut.
        """
        for row in rows:
            if self._held_back and row[0] != self._held_back[0][0]:
                self._feed_held_back()
                if self._stopped:
                    return
            self._held_back.append(row)

    def _feed_held_back(self) -> None:
        if self._random is not None:
            self._random.shuffle(self._held_back)
        times, events, lanes = zip(*self._held_back, strict=True)
        self._held_back.clear()
        self._feed(times, events, lanes)

    def _feed(self, times: Sequence[int], events: Iterable[Any], lanes: Iterable[Lane]) -> None:
        # The inner loop of every backtest. Cell.deliver_market is written out here, because a
        # call costs as much as the rest of an event that nobody trades on.
        cell = self._cell
        queue = cell.queue
        drain = cell.drain
        for ts, event, lane in zip(times, events, lanes, strict=False):
            if cell.deadline < ts:
                cell.fire_timers(ts)
            cell.now = ts
            lane.last = event
            for handler in lane.handlers:
                try:
                    handler(event)
                except BaseException as error:
                    if not cell.absorbed(handler, event, error):
                        raise
                if queue:
                    drain()
                    if self._stopped:
                        return


@contextmanager
def _no_garbage_scans() -> Iterator[None]:
    """Keep the cyclic collector out of the event loop.

    Messages hold no cycles, so its scans during the loop find nothing and cost a tenth of it; the
    young generations, where a strategy's own cycles land, are collected every few chunks.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _units(instruments: Sequence[Instrument]) -> tuple[list[int], list[int], list[str]]:
    return (
        [instrument.price_unit for instrument in instruments],
        [instrument.quantity_unit for instrument in instruments],
        [instrument.symbol for instrument in instruments],
    )


def _naming(chunk: Columns, instruments: Sequence[Instrument]) -> tuple[Iterable[Any], ...]:
    px_units, qty_units, symbols = _units(instruments)
    return tuple(_spread(values, chunk) for values in (symbols, px_units, qty_units))


def _spread(values: list[Any], chunk: Columns) -> Iterable[Any]:
    """Give each row its series' value; no look-up where all series have the same."""
    if len(set(values)) == 1:
        return repeat(values[0])
    return map(values.__getitem__, chunk["series"])


def bar_events(chunk: Columns, instruments: Sequence[Instrument]) -> Iterable[Bar]:
    """Build the bars of a chunk, lazily, in its order."""
    symbol, px_unit, qty_unit = _naming(chunk, instruments)
    return map(
        Bar,
        symbol,
        chunk["seq"],
        chunk["ts_open"],
        chunk["ts_event"],
        chunk["open"],
        chunk["high"],
        chunk["low"],
        chunk["close"],
        chunk["volume"],
        px_unit,
        qty_unit,
    )


def trade_events(chunk: Columns, instruments: Sequence[Instrument]) -> Iterable[Trade]:
    """Build the trades of a chunk, lazily, in its order."""
    symbol, px_unit, qty_unit = _naming(chunk, instruments)
    columns = (chunk[name] for name in ("seq", "ts_event", "price", "size"))
    return map(Trade, symbol, *columns, px_unit, qty_unit)


def quote_events(chunk: Columns, instruments: Sequence[Instrument]) -> Iterable[Quote]:
    """Build the quotes of a chunk, lazily, in its order."""
    symbol, px_unit, qty_unit = _naming(chunk, instruments)
    names = ("seq", "ts_event", "bid", "ask", "bid_size", "ask_size")
    return map(Quote, symbol, *(chunk[name] for name in names), px_unit, qty_unit)


EVENTS_OF: Mapping[str, Callable[[Columns, Sequence[Instrument]], Iterable[Any]]] = {
    "bar": bar_events,
    "trade": trade_events,
    "quote": quote_events,
}
"""Kind of a dataset -> what builds its events from columns."""
