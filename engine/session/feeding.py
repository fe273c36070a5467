"""How a run comes by its market data: from files that are played, or from a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Protocol

from engine.config import Config
from engine.domain.control_wire import ControlEvent
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.errors import EngineHaltedError, InputError
from engine.ports import MarketHistory, RunHeader, RunStore
from engine.research.backtest import columns_of
from engine.runtime.clock import Clock, EventClock, ReplayClock, WallClock
from engine.runtime.hosting import CellSpec
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.sim_runtime import EVENTS_OF
from engine.wiring import KIND_TYPES
from engine.wiring import open_history as open_data
from engine.wiring.feeds import (
    CORE,
    INGEST,
    build_ingest,
    feed_instruments,
    feed_state,
    open_feed,
)
from engine.wiring.session import new_tape

__all__ = ["BrokerFeeding", "Feeding", "FileFeeding", "feeding_of"]

_MARKET = (Bar, Trade, Quote)
PROGRESS_EVENTS = 256
CLOSE_S = 10.0

Progress = Callable[[int, int], None]
"""Called with (market events handled, market events in all)."""


class Feeding(Protocol):
    """Where the market data of one run comes from.

    Attributes:
        instruments: what can be traded.
        kinds: types of event that come.
        data_hash: hash of all data; empty when nobody can know it.
        ts_start: time at which the actors start, UTC nanoseconds; 0 when the data says it.
        total: events in all; None when nobody can know it.
        recovered: events that have been handled before.
        opens_with_events: cells that start with the first event.
    """

    instruments: tuple[Instrument, ...]
    kinds: tuple[type, ...]
    data_hash: str
    ts_start: int
    total: int | None
    recovered: int
    opens_with_events: Collection[str]

    def clock(self, start_ts: int) -> Clock:
        """Make the clock of the run."""

    def cells(self, header: RunHeader, clock: Clock) -> Sequence[CellSpec]:
        """Make the cells that market data comes through."""

    def recall(self, entered: Any) -> None:
        """Take in what entered the run before a restart."""

    def run(self, runtime: PykkaRuntime, clock: Clock, start_ts: int) -> bool:
        """Feed until nothing more comes or the run ends; True when nothing more comes.

        Raises:
            InputError: what is to be read is not there.
            EngineHaltedError: a failure halted the engine.
            UnavailableError: the broker does not answer.
        """

    def history(self, store: RunStore) -> MarketHistory:
        """Give all that was fed.

        Raises:
            InputError: nothing was.
        """


def feeding_of(config: Config, progress: Progress | None) -> Feeding:
    """Give the feeding of a profile.

    Raises:
        InputError: the data cannot be used, or nothing is to be traded.
        UnavailableError: the broker does not answer.
    """
    if config.feed.kind == "files":
        return FileFeeding(config, progress)
    return BrokerFeeding(config)


class FileFeeding:
    """Plays market data files at the pace of a profile; see :class:`Feeding`."""

    def __init__(self, config: Config, progress: Progress | None) -> None:
        self._config = config
        self._progress = progress
        self._data = data = open_data(config)
        self._ts = 0
        self.instruments = data.instruments
        self.kinds: tuple[type, ...] = (KIND_TYPES[data.kind],)
        self.data_hash = data.data_hash
        self.ts_start = data.ts_first
        self.total: int | None = data.rows
        self.recovered = 0
        self.opens_with_events: Collection[str] = ()

    def clock(self, start_ts: int) -> Clock:
        """Make a clock that runs at the pace, or moves with the events."""
        speed = self._config.feed.speed
        return EventClock(start_ts) if isinstance(speed, str) else ReplayClock(start_ts, speed)

    def cells(self, header: RunHeader, clock: Clock) -> Sequence[CellSpec]:
        """None: files are fed from outside all cells."""
        return ()

    def recall(self, entered: Any) -> None:
        """Count what has been handled."""
        if isinstance(entered, _MARKET):
            self.recovered += 1
            self._ts = entered.ts_event

    def run(self, runtime: PykkaRuntime, clock: Clock, start_ts: int) -> bool:
        """Feed what has not been handled."""
        if isinstance(clock, ReplayClock):
            clock.go_on(self._ts or start_ts)
        rest = islice(self._events(), self.recovered, None)
        fed = runtime.feed(self._counted(rest))
        return self.recovered + fed >= self._data.rows

    def history(self, store: RunStore) -> MarketHistory:
        """Give the files."""
        return self._data

    def _events(self) -> Iterator[MarketEvent]:
        data = self._data
        alone = len(data.instruments) == 1
        make = EVENTS_OF[data.kind]
        return chain.from_iterable(
            make(columns_of(frame, alone=alone), data.instruments)
            for frame in data.chunks(self._config.run.chunk_rows)
        )

    def _counted(self, events: Iterable[MarketEvent]) -> Iterator[MarketEvent]:
        progress, total = self._progress, self._data.rows
        for number, event in enumerate(events, self.recovered):
            if progress is not None and number % PROGRESS_EVENTS == 0:
                progress(number, total)
            yield event
        if progress is not None:
            progress(total, total)


class BrokerFeeding:
    """Listens to a broker; see :class:`Feeding`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ended = threading.Event()
        self.instruments = feed_instruments(config)
        self._state = feed_state(config, self.instruments)
        self.kinds: tuple[type, ...] = (KIND_TYPES[config.feed.events],)
        self.data_hash = ""
        is_wall = config.feed.time == "wall"
        self.ts_start = WallClock().now() if is_wall else 0
        self.total: int | None = None
        self.recovered = 0
        # Data of the past says itself when its time begins.
        self.opens_with_events: Collection[str] = () if is_wall else (CORE,)

    def clock(self, start_ts: int) -> Clock:
        """Make the clock of the wall, or one that moves with the data."""
        return WallClock() if self._config.feed.time == "wall" else EventClock(start_ts)

    def cells(self, header: RunHeader, clock: Clock) -> Sequence[CellSpec]:
        """Make the cell of the ingest."""
        ingest = build_ingest(
            self._config,
            self.instruments,
            self._state,
            is_end=_ending(self._config, header),
            clock=clock,
            ended=self._ended.set,
        )
        return (ingest,)

    def recall(self, entered: Any) -> None:
        """Take in how far the feed had come."""
        self._state.recall(entered)
        if isinstance(entered, _MARKET):
            self.recovered += 1

    def run(self, runtime: PykkaRuntime, clock: Clock, start_ts: int) -> bool:
        """Listen until all symbols have ended, or the run does."""
        feed = open_feed(self._config, self.instruments)

        def report(message: Any) -> None:
            with suppress(EngineHaltedError):  # nobody is left to hear it
                runtime.tell(INGEST, message)

        try:
            feed.open(self._state.positions, report)
            while not self._ended.is_set():
                if runtime.wait_ended(0.05):
                    return False
            return True
        finally:
            feed.close(timeout_s=CLOSE_S)

    def history(self, store: RunStore) -> MarketHistory:
        """Give the market events of the journal."""
        kind = self.kinds[0]
        try:
            events = (entered for entered in store.history() if isinstance(entered, _MARKET))
            return new_tape(kind, events, self.instruments)
        except ValueError:
            raise InputError(
                "no market data came before the feed ended: nothing to sum up"
            ) from None


def _ending(config: Config, header: RunHeader) -> Callable[[ControlEvent], bool]:
    """Give what tells whether the end of a session is the end of its symbol's market data.

    Where strategies come and go none of them ends it, only what is said to everybody; and in
    the time of day not even that: another session may begin.
    """
    if header.at_work:
        (strategy_id,) = header.at_work
        return lambda end: end.strategy_id is None or str(end.strategy_id) == strategy_id
    if config.feed.time == "wall":
        return lambda end: False
    return lambda end: end.strategy_id is None
