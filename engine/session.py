"""A run that outlives its process: begun, stopped, killed and gone on with, until it is complete.

There is one path. What entered the run before is handled again by a new core, which brings it to
the state it was in; then it goes on. The first start is the same with nothing to handle again. A
stop in order, a Ctrl-C and a kill leave the same thing behind: what the store has confirmed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec

from engine import faults
from engine.config import Config
from engine.domain.events import RiskEvent, Severity
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.errors import (
    ConfigError,
    EngineHaltedError,
    InputError,
    StoreError,
    StrategyError,
    UnavailableError,
    VenueError,
)
from engine.ports import MarketHistory, RunHeader, RunRecord, RunState, RunStore
from engine.registry import new_strategy
from engine.research.backtest import columns_of, resolve
from engine.research.output import check_folder
from engine.research.result import BacktestResult, summarize
from engine.runtime.actor import Actor
from engine.runtime.clock import Clock, EventClock, ReplayClock
from engine.runtime.inputs import Input
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.sim_runtime import EVENTS_OF
from engine.strategy.base import Strategy
from engine.wiring import KIND_TYPES, build_core, host_name, latch_store, new_record, routes
from engine.wiring import open_history as open_data
from engine.wiring.session import (
    ARCHIVE,
    ARCHIVIST,
    ask_for_the_last_time,
    build_runtime,
    open_store,
    run_latch,
    unsettled,
)

__all__ = ["Going", "paper", "run_session"]

_MARKET = (Bar, Trade, Quote)
# What may differ from one start of a run to the next: none of it changes what the run does.
_FREE = ("store", "feed", "report", "execution", "oms_grpc")
_FREE_OF_RUN = ("latch", "chunk_rows")
START_TIMEOUT_S = 3600.0
"""Handling a long history again is part of starting."""
STOP_TIMEOUT_S = 30.0
SETTLE_TIMEOUT_S = 30.0
SETTLE_POLL_S = 0.02
SETTLE_NS = 100 * 365 * 86_400 * 1_000_000_000
PROGRESS_EVENTS = 256


class Going(NamedTuple):
    """Told when a run begins or goes on.

    Attributes:
        name: the run.
        recovered: market events of it that are there already, out of ``total``.
        total: market events in all.
        completed: whether it had ended, so that there is nothing left to do.
    """

    name: str
    recovered: int
    total: int
    completed: bool


class _KeptJournal:
    """The record of this process; what the history brings about again is not new to anybody."""

    def __init__(self, record: RunRecord, store: RunStore, alarm: Callable[[Any], None]) -> None:
        self._record = record
        self._store = store
        self._alarm = alarm
        self.recalling = False

    def write(self, events: Sequence[Any]) -> None:
        self._record.write(events)
        if self.recalling:
            self._store.recall(events)
            return
        for event in events:
            if type(event) is RiskEvent and event.severity is not Severity.INFO:
                self._alarm(event)


class _Crier:
    """Tells of alarms in a thread of its own: whoever listens must not hold up the core."""

    def __init__(self, tell: Callable[[RiskEvent], None] | None) -> None:
        self._tell = tell
        self._alarms: SimpleQueue[RiskEvent | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._cry, name="alarms", daemon=True)

    def alarm(self, event: RiskEvent) -> None:
        if self._tell is not None:
            self._alarms.put(event)

    def __enter__(self) -> _Crier:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._alarms.put(None)
        self._thread.join(STOP_TIMEOUT_S)

    def _cry(self) -> None:
        while (event := self._alarms.get()) is not None:
            if self._tell is not None:
                self._tell(event)


class _History:
    """What entered the run before, and how far that came."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.events = 0
        self.ts = 0

    def __call__(self) -> Iterator[Input]:
        for entered in self._store.history():
            if isinstance(entered, _MARKET):
                self.events += 1
                self.ts = entered.ts_event
            yield entered


def paper(
    strategy: str | type[Strategy],
    data: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    cash: float | None = None,
    profile: str | Path = "paper",
    limits: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    going: Callable[[Going], None] | None = None,
    alarm: Callable[[RiskEvent], None] | None = None,
) -> BacktestResult:
    """Run a strategy in real time against the simulated venue, from where its run was.

    The arguments are those of :func:`engine.backtest`, and so is the result: the same data makes
    the same events, to the byte. ``going`` and ``alarm`` are those of :func:`run_session`.

    Raises:
        InputError: a setting, the strategy or the data are unusable, or the run was begun under
            others.
        UnavailableError: the store or the venue does not answer; the run goes on from what is
            confirmed.
        StrategyError: a hook of the strategy raised.
    """
    config, cls, reference = resolve(
        strategy, data, symbols=symbols, start=start, end=end, cash=cash, profile=profile,
        limits=limits, settings=settings,
    )  # fmt: skip
    if out is not None:
        out = check_folder(out)
    result = run_session(
        config, cls, reference=reference, progress=progress, going=going, alarm=alarm
    )
    if out is not None:
        result.save(out)
    return result


def run_session(
    config: Config,
    cls: type[Strategy],
    *,
    reference: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    going: Callable[[Going], None] | None = None,
    alarm: Callable[[RiskEvent], None] | None = None,
) -> BacktestResult:
    """Carry a strategy through the market data of a profile in real time, from where it was.

    Args:
        config: the resolved profile.
        cls: the strategy's class.
        reference: names the strategy so that the run can be made again; None when nothing does.
        progress: called with (market events handled, market events in all) now and then.
        going: called when the run begins or goes on.
        alarm: called with every warning and critical risk event as it happens, in a thread of its
            own; not again with those from before a restart.

    Raises:
        InputError: a setting, the strategy or the data are unusable, or the run was begun under
            others.
        UnavailableError: the store or the venue does not answer; the run goes on from what is
            confirmed.
        StrategyError: a hook of the strategy raised.
    """
    began = time.perf_counter()
    if config.venue.kind != "simulated" and isinstance(config.feed.speed, str):
        raise ConfigError(
            "orders to a venue outside the engine need data at a pace: set feed.speed to how many "
            "seconds of the data go by in one second, 1 for real time"
        )
    data = open_data(config)
    paths = [str(Path(path).absolute()) for path in config.data.paths]
    with open_store(config) as store:
        header = _header(config, cls, data)
        state = store.open(header)
        faults.point("session.opened")
        _require_same(header, state.header)
        strategy = new_strategy(cls, config.strategy)
        record = new_record()
        with _Crier(alarm) as crier:
            _run(config, strategy, data, store, state, record, progress, going, crier.alarm)
        _raise_failure(record, config)
    return summarize(
        config, strategy, data, record, began=began, reference=reference, paths=paths,
        held=state.header.held,
    )  # fmt: skip


def _header(config: Config, cls: type[Strategy], data: MarketHistory) -> RunHeader:
    settings = msgspec.to_builtins(config)
    for name in _FREE:
        del settings[name]
    if config.venue.kind != "simulated":
        # How long an answer is waited for is a time of the data, so the pace decides something.
        settings["feed"] = msgspec.to_builtins(config.feed)
    for name in _FREE_OF_RUN:
        del settings["run"][name]
    settings["data"].pop("paths")  # the data's hash says whether it is the same
    return RunHeader(
        name=config.run.name or cls.__name__,
        profile=config.profile,
        strategy_ids=(cls.__name__,),
        settings=settings,
        instruments=data.instruments,
        data_hash=data.data_hash,
        ts_start=data.ts_first,
        held=latch_store(config).load(),
    )


def _require_same(given: RunHeader, kept: RunHeader) -> None:
    """Refuse to go on with a run under other settings or other data."""
    now, then = (dict(_flat(header.settings, "")) for header in (given, kept))
    hint = "give it what it was begun with, or begin another with --set run.name=NAME"
    for key in sorted(now.keys() | then.keys()):
        before, after = (side.get(key, _UNSET) for side in (then, now))
        if before != after:
            raise ConfigError(
                f"run {kept.name!r} was begun with {key} {_set_to(before)}, not {_set_to(after)}: "
                f"{hint}"
            )
    if given.strategy_ids != kept.strategy_ids:
        raise ConfigError(
            f"run {kept.name!r} was begun with strategy {kept.strategy_ids[0]}, not "
            f"{given.strategy_ids[0]}: {hint}"
        )
    if given.data_hash != kept.data_hash:
        raise ConfigError(f"run {kept.name!r} was begun with other market data: {hint}")


_UNSET = object()


def _set_to(value: Any) -> str:
    return "unset" if value is _UNSET else f"= {value!r}"


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _run(
    config: Config,
    strategy: Strategy,
    data: MarketHistory,
    store: RunStore,
    state: RunState,
    record: RunRecord,
    progress: Callable[[int, int], None] | None,
    going: Callable[[Going], None] | None,
    alarm: Callable[[RiskEvent], None],
) -> None:
    journal, history = _KeptJournal(record, store, alarm), _History(store)
    started: list[PykkaRuntime] = []

    def stop_run() -> None:
        started[0].request_stop()

    def recovered() -> None:
        journal.recalling = False
        _require_agreement(record, state)

    simulated = config.venue.kind == "simulated"
    strategy_id = type(strategy).__name__
    core = build_core(
        config,
        strategies={strategy_id: strategy},
        instruments=state.header.instruments,
        kinds=(KIND_TYPES[data.kind],),
        columns_of=None,
        journal=journal,
        stop_run=stop_run,
        latch=run_latch(config, state.header.held),
        archivist=ARCHIVIST,
        simulated=simulated,
    )
    clock = _clock(config, state.header.ts_start)
    runtime = build_runtime(
        config,
        core,
        routes([host_name(strategy_id)]),
        store,
        instruments={each.symbol: each for each in state.header.instruments},
        clock=clock,
        history=history,
        recovered=recovered,
        run_name=state.header.name,
        over=state.completed,
    )
    started.append(runtime)
    journal.recalling = state.inputs > 0
    with _halting(runtime):
        runtime.start(timeout_s=START_TIMEOUT_S, at=state.header.ts_start)
        faults.point("session.recovered")
        if going is not None:
            going(Going(state.header.name, history.events, data.rows, state.completed))
        if not state.completed:
            if isinstance(clock, ReplayClock):
                clock.go_on(history.ts or state.header.ts_start)
            rest = islice(_events(data, config.run.chunk_rows), history.events, None)
            fed = runtime.feed(_counted(rest, history.events, data.rows, progress))
            if history.events + fed < data.rows:
                _finish(runtime, closing=False)
                return
            if not simulated:
                _settle(runtime, core, clock)
            _finish(runtime, closing=True)
            faults.point("session.ended")
            store.complete()
            faults.point("session.completed")


class _halting:  # noqa: N801 - a context manager reads as the word it is
    """Leave the run off in order whatever happens, and tell what failed as what it is."""

    def __init__(self, runtime: PykkaRuntime) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._runtime.stop(timeout_s=STOP_TIMEOUT_S, closing=False)
        if error is not None and not isinstance(error, EngineHaltedError):
            return
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, InputError | UnavailableError):
                raise cause from None
            cause = cause.__cause__
        for failed in self._runtime.failures:
            if failed.cell == ARCHIVE:
                raise StoreError(failed.error.removeprefix("StoreError: ")) from error


def _settle(runtime: PykkaRuntime, core: Sequence[Actor], clock: Clock) -> None:
    """Wait for the venue's answer to everything it was asked: until then a run is not complete."""
    clock.advance(clock.now() + SETTLE_NS)  # nothing is fed: time just goes on
    ask_for_the_last_time(runtime, SETTLE_TIMEOUT_S)
    limit = time.monotonic() + SETTLE_TIMEOUT_S
    while waiting := unsettled(core):
        if runtime.wait_ended(SETTLE_POLL_S):
            return
        if time.monotonic() > limit:
            raise VenueError(
                f"the data is at its end and the venue has not answered for {len(waiting)} "
                f"orders, such as {waiting[0]}"
            )


def _finish(runtime: PykkaRuntime, *, closing: bool) -> None:
    report = runtime.stop(timeout_s=STOP_TIMEOUT_S, closing=closing)
    if report.stuck:
        raise EngineHaltedError(f"{', '.join(report.stuck)} did not stop in time")
    if runtime.failures:
        raise EngineHaltedError(str(runtime.failures[0]))


def _clock(config: Config, start_ts: int) -> Clock:
    speed = config.feed.speed
    return EventClock(start_ts) if isinstance(speed, str) else ReplayClock(start_ts, speed)


def _require_agreement(record: RunRecord, state: RunState) -> None:
    """Refuse to go on when the history did not bring about what it had brought about before."""
    if state.inputs and record.hash != state.events_hash:
        raise ConfigError(
            f"run {state.header.name!r} does not decide as it did: its strategy (or the engine) "
            "has changed since; go on with the one it was begun with, or begin another run with "
            "--set run.name=NAME"
        )


def _events(data: MarketHistory, rows: int) -> Iterator[MarketEvent]:
    alone = len(data.instruments) == 1
    make = EVENTS_OF[data.kind]
    return chain.from_iterable(
        make(columns_of(frame, alone=alone), data.instruments) for frame in data.chunks(rows)
    )


def _counted(
    events: Iterable[MarketEvent],
    done: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[MarketEvent]:
    for number, event in enumerate(events, done):
        if progress is not None and number % PROGRESS_EVENTS == 0:
            progress(number, total)
        yield event
    if progress is not None:
        progress(total, total)


def _raise_failure(record: RunRecord, config: Config) -> None:
    if record.failures and config.supervision.strategy == "stop":
        failed = record.failures[0]
        raise StrategyError(
            failed.strategy_id, failed.hook, failed.event, failed.error, failed.traceback
        )
