"""A run that outlives its process: begun, stopped, killed and gone on with, until it is complete.

There is one path. What entered the run before is handled again by a new core, which brings it to
the state it was in; then it goes on. The first start is the same with nothing to handle again. A
stop in order, a Ctrl-C and a kill leave the same thing behind: what the store has confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine import faults
from engine.config import Config
from engine.domain.commands import OperatorCommand
from engine.domain.events import RiskEvent
from engine.domain.executions import EndExecution
from engine.errors import (
    ConfigError,
    EngineHaltedError,
    FeedError,
    InputError,
    StoreError,
    StrategyError,
    TetradError,
    UnavailableError,
    VenueError,
)
from engine.ports import MarketHistory, RunHeader, RunRecord, RunState, RunStore
from engine.registry import new_strategy
from engine.research.backtest import resolve
from engine.research.output import check_folder
from engine.research.result import BacktestResult, summarize
from engine.runtime.actor import Actor
from engine.runtime.clock import Clock
from engine.runtime.inputs import Input
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.session.courier import publishing
from engine.session.feeding import Feeding, feeding_of
from engine.session.header import header_of, require_routable, require_same
from engine.session.listening import Listening
from engine.session.outage import Outage, reducing
from engine.session.shutdown import Shutdown
from engine.session.telling import Crier, Going, KeptJournal
from engine.strategy.base import Strategy
from engine.wiring import GATE, build_core, host_name, new_record, routes
from engine.wiring.executions import LISTENER, beginner
from engine.wiring.feeds import INGEST
from engine.wiring.safety import require_safe
from engine.wiring.session import (
    ARCHIVE,
    ARCHIVIST,
    ask_for_the_last_time,
    build_runtime,
    open_store,
    run_latch,
    unsettled,
)

__all__ = ["paper", "run_session"]

START_TIMEOUT_S = 3600.0
"""Handling a long history again is part of starting."""
STOP_TIMEOUT_S = 30.0
SETTLE_TIMEOUT_S = 30.0
SETTLE_POLL_S = 0.02
SETTLE_NS = 100 * 365 * 86_400 * 1_000_000_000
_ERRORS: Mapping[str, type[TetradError]] = {
    ARCHIVE: StoreError,
    INGEST: FeedError,
    LISTENER: FeedError,
}
"""What the failure of a cell is called."""


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
    require_safe(config)
    played = config.feed.kind == "files"
    if config.venue.kind != "simulated" and played and isinstance(config.feed.speed, str):
        raise ConfigError(
            "orders to a venue outside the engine need data at a pace: set feed.speed to how many "
            "seconds of the data go by in one second, 1 for real time"
        )
    settings = config.store
    outage = Outage(waits=settings.on_loss == "wait", every_s=settings.timeout, alarm=alarm)

    def gone_on(news: Going) -> None:
        outage.going()
        if going is not None:
            going(news)

    strategy, data, record, state = _until_over(config, cls, progress, gone_on, alarm, outage)
    paths = [str(Path(path).absolute()) for path in config.data.paths] if played else []
    return summarize(
        config, strategy, data, record, began=began, reference=reference, paths=paths,
        held=state.header.held,
    )  # fmt: skip


_Lived = tuple[Strategy, MarketHistory, RunRecord, RunState]


def _until_over(
    config: Config,
    cls: type[Strategy],
    progress: Callable[[int, int], None] | None,
    going: Callable[[Going], None],
    alarm: Callable[[RiskEvent], None] | None,
    outage: Outage,
) -> _Lived:
    """Carry the run, over losses of its store where it waits for it."""
    while True:
        try:
            return _live(config, cls, progress, going, alarm, outage)
        except StoreError as error:
            outage.wait(error)
        except ConfigError as error:
            if not outage.is_over_one or outage.is_going:
                raise
            outage.wait(error)


def _live(
    config: Config,
    cls: type[Strategy],
    progress: Callable[[int, int], None] | None,
    going: Callable[[Going], None],
    alarm: Callable[[RiskEvent], None] | None,
    outage: Outage,
) -> _Lived:
    """Carry the run from where the store has it, to its end or to that of the store."""
    feeding = feeding_of(config, progress)
    with open_store(config) as store:
        header = header_of(config, cls, feeding)
        require_routable(header, config)
        state = store.open(header)
        faults.point("session.opened")
        require_same(header, state.header)
        strategy = new_strategy(cls, config.strategy)
        record = new_record()
        with Crier(alarm) as crier, publishing(config, state, store, crier.alarm):
            _run(
                config, strategy, feeding, store, state, record, going, crier.alarm,
                reduces=_reduces(config, state, outage),
            )  # fmt: skip
        _raise_failure(record, config)
        return strategy, feeding.history(store), record, state


def _reduces(config: Config, state: RunState, outage: Outage) -> str | None:
    """Say why the account only reduces when the run goes on; None when it trades."""
    if outage.is_over_one:
        return "STORE_LOST"
    return "RESTARTED" if state.inputs and config.store.on_restart == "reducing" else None


def _run(
    config: Config,
    strategy: Strategy,
    feeding: Feeding,
    store: RunStore,
    state: RunState,
    record: RunRecord,
    going: Callable[[Going], None],
    alarm: Callable[[RiskEvent], None],
    *,
    reduces: str | None,
) -> None:
    journal = KeptJournal(record, store, alarm)
    started: list[PykkaRuntime] = []

    def stop_run() -> None:
        started[0].request_stop()

    def history() -> Iterator[Input]:
        for entered in store.history():
            feeding.recall(entered)
            listening.recall(entered)
            yield entered

    def recovered() -> None:
        journal.recalling = False
        _require_agreement(record, state)

    header, simulated = state.header, config.venue.kind == "simulated"
    listening = Listening(config, header)
    core = _core(config, strategy, header, feeding, journal, stop_run)
    clock = feeding.clock(header.ts_start)
    runtime = build_runtime(
        config,
        core,
        routes([host_name(name) for name in header.at_work], executes=not header.at_work),
        store,
        instruments=header.instruments,
        clock=clock,
        history=history,
        recovered=recovered,
        feed=() if state.completed else (*feeding.cells(header, clock), *listening.cells()),
        run_name=header.name,
        over=state.completed,
    )
    started.append(runtime)
    journal.recalling = state.inputs > 0
    with _halting(runtime):
        lazy = feeding.opens_with_events
        runtime.start(timeout_s=START_TIMEOUT_S, at=header.ts_start, with_events=lazy)
        faults.point("session.recovered")
        going(Going(header.name, feeding.recovered, feeding.total, state.completed))
        if reduces is not None and not state.completed:
            runtime.tell(GATE, reducing(reduces, clock.now()))
        shutdown = Shutdown(config.shutdown, runtime, core, clock, alarm)
        if state.completed or not _carry(
            feeding, listening, runtime, clock, header, store, shutdown
        ):
            _finish(runtime, closing=False)
            shutdown.take_its_way()
            return
        if not simulated:
            _settle(runtime, core, clock)
        _complete(runtime, store)


def _core(
    config: Config,
    strategy: Strategy,
    header: RunHeader,
    feeding: Feeding,
    journal: KeptJournal,
    stop_run: Callable[[], None],
) -> list[Actor]:
    return build_core(
        config,
        strategies=dict.fromkeys(header.at_work, strategy),
        instruments=header.instruments,
        kinds=feeding.kinds,
        columns_of=None,
        journal=journal,
        stop_run=stop_run,
        latch=run_latch(config, header.held),
        archivist=ARCHIVIST,
        simulated=config.venue.kind == "simulated",
        begin=beginner(type(strategy), config, header),
    )


def _complete(runtime: PykkaRuntime, store: RunStore) -> None:
    _finish(runtime, closing=True)
    faults.point("session.ended")
    store.complete()
    faults.point("session.completed")


def _carry(
    feeding: Feeding,
    listening: Listening,
    runtime: PykkaRuntime,
    clock: Clock,
    header: RunHeader,
    store: RunStore,
    shutdown: Shutdown,
) -> bool:
    """Feed the run, and hear what people tell it; True when nothing more comes."""

    def told(given: OperatorCommand) -> None:
        message = given.message(clock.now())
        # By the listener, which must know what is at work.
        actor = LISTENER if isinstance(message, EndExecution) else GATE
        with suppress(EngineHaltedError):  # nobody is left to be told
            runtime.tell(actor, message)

    with store.commands(told), listening.hearing(runtime), shutdown:
        return feeding.run(runtime, clock, header.ts_start)


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
            known = _ERRORS.get(failed.cell)
            if known is not None and failed.actor in (failed.cell, ARCHIVIST):
                raise known(failed.error.removeprefix(f"{known.__name__}: ")) from error


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


def _require_agreement(record: RunRecord, state: RunState) -> None:
    """Refuse to go on when the history did not bring about what it had brought about before."""
    if state.inputs and record.hash != state.events_hash:
        raise ConfigError(
            f"run {state.header.name!r} does not decide as it did: its strategy (or the engine) "
            "has changed since; go on with the one it was begun with, or begin another run with "
            "--set run.name=NAME"
        )


def _raise_failure(record: RunRecord, config: Config) -> None:
    if config.run.executions == "one" and record.failures and config.supervision.strategy == "stop":
        failed = record.failures[0]
        raise StrategyError(
            failed.strategy_id, failed.hook, failed.event, failed.error, failed.traceback
        )
