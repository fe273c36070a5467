"""A cell at work in real time: what it does with each message, failure and ending.

This is the carrier's half of supervision; it knows nothing of pykka, which only hands it messages
one at a time (:mod:`engine.runtime.pykka_runtime`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.deliveries import Consumed, Fed
from engine.domain.market import MarketEvent
from engine.errors import EngineHaltedError, InvariantError
from engine.runtime.actor import Actor
from engine.runtime.cell import MARKET_TYPES, NEVER, Cell, Routes
from engine.runtime.clock import Clock
from engine.runtime.controls import OWN, Finish, Question, Start, Tick, TickLetter, content_of
from engine.runtime.inputs import Finished, Input, Started, Ticked, Told
from engine.runtime.mailbox import Mailbox, MailboxRules
from engine.runtime.supervision import (
    CellFailed,
    CellState,
    CellStatistics,
    DeadLetter,
    DeadLetters,
    RestartBudget,
    RestartRules,
    Role,
    Supervisor,
    describe,
    trace,
)

__all__ = ["CellLoop", "CellSpec", "Run"]

BATCH_MAX = 1024
"""Messages handled before the actors are told of a batch though more are waiting."""

Send = Callable[[str, Any, int], None]
"""Carries a message to an actor of another cell: ``(actor, message, time of the sender)``."""

Tap = Callable[[Input], None]
"""Sees everything that enters a cell, just before it is handled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpec:
    """What one cell is made of.

    Attributes:
        name: name of the cell, unique.
        role: what its failure means.
        actors: makes its actors; called once to begin with and once for each restart.
        mailbox: limits of its inbox.
        restart: how often it may be built anew; None for the core, which never is.
        tap: sees everything that enters it; None for a cell whose input nobody keeps.
        history: gives what entered it in an earlier life, to be handled again when it starts:
            nothing of that is told to other cells or the tap.
        recovered: called when the history has been handled, before anything new is; it may raise,
            and the engine does not start.
    """

    name: str
    role: Role
    actors: Callable[[], Sequence[Actor]]
    mailbox: MailboxRules
    restart: RestartRules | None
    tap: Tap | None = None
    history: Callable[[], Iterable[Input]] | None = None
    recovered: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if (self.restart is None) != (self.role is Role.CORE):
            raise InvariantError(f"cell {self.name}: a {self.role.name} cell with {self.restart}")


class Run:
    """What the cells of one engine share."""

    def __init__(self, clock: Clock, dead: DeadLetters, supervisor: Supervisor, send: Send) -> None:
        self.clock = clock
        self.dead = dead
        self.supervisor = supervisor
        self.send = send
        self.ending = False
        self.ended = threading.Event()
        self.mailboxes: list[Mailbox] = []

    def end(self) -> None:
        """Let no further market event be handled, and wake whoever feeds or waits."""
        self.ending = True
        self.ended.set()
        for mailbox in self.mailboxes:
            mailbox.release()


class CellLoop:
    """Handles the messages of one cell; all but what is said to be for any thread in its own.

    Args:
        spec: what the cell is made of.
        actors: its first set of actors.
        routes: routes of the whole engine, as this cell sees them.
        run: what it shares with the other cells.

    Attributes:
        state: where it is in its life; for any thread.
        is_over: True when it handles nothing any more; for any thread.
        thread: its thread, once started.
    """

    def __init__(self, spec: CellSpec, actors: Sequence[Actor], routes: Routes, run: Run) -> None:
        self.spec = spec
        self._run = run
        self._routes = routes
        self.mailbox = Mailbox(
            spec.mailbox,
            run.clock,
            tick=TickLetter(),
            refused=self.refuse,
            overrun=self._overrun,
        )
        run.mailboxes.append(self.mailbox)
        self.state = CellState.STARTING
        self.is_over = False
        self.thread: threading.Thread | None = None
        self._handled = 0
        self._busy_since = 0
        self._unbatched = 0
        self._early: deque[Any] = deque()
        self._opens_with_events = False
        self._replaying = False
        self._tap = spec.tap
        self._budget = None if spec.restart is None else RestartBudget(spec.restart)
        self._cell = self._make_cell(actors)
        self._receive: Mapping[type, Callable[[Any], Any]] = {
            **dict.fromkeys(MARKET_TYPES, self._on_market),
            Fed: self._on_fed,
            tuple: self._on_parcel,
            Tick: self._on_tick,
            Start: self._on_start,
            Finish: self._on_finish,
            Question: self._on_question,
        }

    def _make_cell(self, actors: Sequence[Actor]) -> Cell:
        send = self._run.send

        def outlet(actor: str, message: Any) -> None:
            if not self._replaying:
                send(actor, message, self._cell.now)

        wait_s = self._run.clock.wait_s

        def arm(deadline: int) -> None:
            # A clock that moves with events never wakes the mailbox: spare it asking.
            if wait_s(deadline) is not None:
                self.mailbox.deadline = deadline

        return Cell(
            self.spec.name,
            actors,
            self._routes,
            outlet=outlet,
            on_timer_change=arm,
            absorbs=(BaseException,),
        )

    def receive(self, message: Any) -> Any:
        """Handle one message; nothing that a handler raises gets past this.

        Raises:
            EngineHaltedError: somebody waits for the answer and there is none.
        """
        self._busy_since = time.monotonic_ns()
        handling = message
        try:
            answer = self._receive[type(message)](message)
            handling = None
            self._unbatched += 1
            if self._unbatched >= BATCH_MAX or self.mailbox.empty():
                self._unbatched = 0
                if self.state is CellState.RUNNING or self._opens_with_events:
                    self._cell.end_batch()
            return answer
        except BaseException as error:
            self._crashed(handling, error)
            if type(message) is Start:
                raise EngineHaltedError(describe(error)) from error
            if type(message) is Question:
                raise EngineHaltedError(f"cell {self.spec.name}: {describe(error)}") from error
        finally:
            self._handled += 1
            self._busy_since = 0

    # Messages.

    def _on_market(self, event: MarketEvent) -> None:
        # The same steps as SimRuntime's loop, one event at a time.
        run = self._run
        if run.ending:
            self.refuse(event, "ENDED")
            return
        if self.state is not CellState.RUNNING:
            self._early.append(event)
            return
        if self._tap is not None:
            self._tap(event)
        self._take_in(event)

    def _take_in(self, event: MarketEvent) -> None:
        cell = self._cell
        ts = event.ts_event
        if cell.deadline < ts:
            cell.fire_timers(ts)
        if ts > cell.now:
            cell.now = ts
        lane = cell.lane(event.symbol)
        lane.last = event
        call = cell.call
        for handler in lane.handlers:
            call(handler, event)
            if self._run.ending:
                return

    def _on_fed(self, fed: Fed) -> None:
        """Handle a delivery as one: what became of it is kept with the events, or neither is."""
        if self._run.ending:
            self.refuse(fed, "ENDED")
            return
        if self._opens_with_events and fed.events and self.state is not CellState.RUNNING:
            self._open(fed.events[0].ts_event)
            self._catch_up()
        # What says nothing to an actor is kept though none has started.
        if self.state is not CellState.RUNNING and (fed.told or not self._opens_with_events):
            self._early.append(fed)
            return
        # Cut short, it does not count as read: what is left comes again.
        if self._take_all(fed.events) and self._tell_all(fed.told) and self._tap is not None:
            self._tap(fed.consumed)
        self._unbatched += len(fed.events)

    def _tell_all(self, told: Iterable[tuple[str, Any]]) -> bool:
        for actor, message in told:
            if self._run.ending:
                return False
            self._on_parcel((actor, message, self._run.clock.now()))
        return True

    def _take_all(self, events: Iterable[MarketEvent]) -> bool:
        run, tap = self._run, self._tap
        for event in events:
            if run.ending:
                return False
            if tap is not None:
                tap(event)
            self._take_in(event)
        return True

    def _on_parcel(self, parcel: tuple[str, Any, int]) -> None:
        if self.state is not CellState.RUNNING:
            self._early.append(parcel)
            return
        actor, message, ts = parcel
        if self._tap is not None:
            self._tap(Told(actor, message, ts))
        self._reach(ts)
        self._cell.deliver(actor, message)

    def _reach(self, ts: int) -> None:
        cell = self._cell
        if ts > cell.now:
            if cell.deadline < ts:
                cell.fire_timers(ts)
            cell.now = ts

    def _on_tick(self, tick: Tick) -> None:
        now = self._run.clock.now()
        if self._tap is not None:
            self._tap(Ticked(now))
        self._cell.fire_timers(now + 1)

    def _on_question(self, question: Question) -> Any:
        cell, now = self._cell, self._run.clock.now()
        if self._tap is not None:
            self._tap(Told(question.actor, question.message, now))
        self._reach(now)
        # Typed as giving nothing; one that answers questions gives something all the same.
        handler: Callable[[Any], Any]
        handler = cell.actors[question.actor].handlers()[type(question.message)]
        try:
            answer = handler(question.message)
        except BaseException:
            cell.failed = (question.actor, question.message)
            raise
        cell.drain()
        return answer

    def _on_start(self, start: Start) -> None:
        self.thread = threading.current_thread()
        if self.spec.history is not None:
            self._replay(self.spec.history())
        if self.state is not CellState.RUNNING:
            if start.ts is None:
                self._opens_with_events = True
                return
            self._open(start.ts)
        self._catch_up()

    def _replay(self, history: Iterable[Input]) -> None:
        """Handle again what an earlier life of the cell has handled."""
        cell, tap = self._cell, self._tap
        self._replaying, self._tap = True, None
        handle: Mapping[type, Callable[[Any], Any]] = {
            **dict.fromkeys(MARKET_TYPES, self._take_in),
            Started: lambda started: self._open(started.ts),
            Told: lambda told: self._on_parcel((told.actor, told.message, told.ts)),
            Ticked: lambda ticked: cell.fire_timers(ticked.ts + 1),
            Finished: lambda finished: self._close(finished.ts),
            Consumed: lambda consumed: None,
        }
        for number, entered in enumerate(history):
            handle[type(entered)](entered)
            if number % BATCH_MAX == 0:
                cell.end_batch()
        cell.end_batch()
        self._replaying, self._tap = False, tap
        if self.spec.recovered is not None:
            self.spec.recovered()

    def _open(self, now: int) -> None:
        self._opens_with_events = False
        if self._tap is not None:
            self._tap(Started(now))
        self._cell.now = now
        self._cell.start()
        self.state = CellState.RUNNING

    def _catch_up(self) -> None:
        """Handle what came before the cell was open."""
        while self._early:
            message = self._early.popleft()
            self._receive[type(message)](message)

    # Endings.

    def _on_finish(self, finish: Finish) -> None:
        self.finish(closing=finish.closing)

    def finish(self, *, closing: bool = True) -> None:
        """Let nothing in any more; when closing, fire due timers and run every ``on_stop``."""
        if self.is_over:
            return
        if self.state is CellState.STARTING:
            self._end(CellState.STOPPED)
            return
        try:
            if closing:
                now = max(self._cell.now, self._run.clock.now())
                ts = now if not self._run.ending else -1
                if self._tap is not None:
                    self._tap(Finished(ts))
                self._close(ts)
            self._cell.end_batch()
        except BaseException as error:
            self._fail(None, error, CellState.HALTED)
        else:
            self._end(CellState.STOPPED)
            self._release()

    def _close(self, ts: int) -> None:
        """Fire the timers up to a time, then run every ``on_stop``."""
        self._cell.fire_timers(ts + 1)
        self._cell.stop()

    def _end(self, state: CellState) -> None:
        self.state = state
        self.is_over = True
        self.mailbox.deadline = NEVER
        while self._early:
            self.refuse(self._early.popleft(), state.name)
        self.mailbox.close(state.name)

    def _release(self) -> None:
        """Run every ``on_release``; one that fails keeps no other from letting go."""
        for actor in tuple(self._cell.actors.values()):
            try:
                actor.on_release()
            except Exception as error:
                self._report(self.spec.role, actor.name, None, error, self.state)

    # Failures.

    def _crashed(self, message: Any, error: BaseException) -> None:
        """Bury what cannot be handled any more; then build the cell anew, or halt."""
        if self._budget is None or self.state is CellState.STARTING:
            self._fail(message, error, CellState.HALTED)
            return
        while True:
            backoff_s = self._budget.spend(time.monotonic_ns())
            if backoff_s is None:
                self._fail(message, error, CellState.HALTED)
                return
            self._fail(message, error, CellState.BACKING_OFF)
            self._run.ended.wait(backoff_s)
            now = self._cell.now
            try:
                self._cell = self._make_cell(self.spec.actors())
                self._open(now)
                self._catch_up()
                return
            except BaseException as next_error:
                message, error = None, next_error

    def _fail(self, message: Any, error: BaseException, state: CellState) -> None:
        content = content_of(message)
        actor, content = self._cell.failed or (self.spec.name, content)
        dead = self._run.dead
        if content is not None:
            dead.add(DeadLetter(content, actor, f"FAILED {describe(error)}"))
        # What the failed message had caused and nobody has handled.
        queue = self._cell.queue
        reason = "HALTED" if state is CellState.HALTED else "RESTARTED"
        while queue:
            handlers, caused = queue.popleft()
            for handler in handlers:
                owner = getattr(handler, "__self__", None)
                name = owner.name if isinstance(owner, Actor) else self.spec.name
                dead.add(DeadLetter(caused, name, reason))
        self.state = state
        self.mailbox.deadline = NEVER
        if state is CellState.HALTED:
            if self.spec.role is not Role.TELEMETRY:
                self._run.end()
            self._end(state)
        self._report(self.spec.role, actor, content, error, state)
        if state is CellState.HALTED:
            self._release()

    def _report(
        self, role: Role, actor: str, content: Any, error: BaseException, state: CellState
    ) -> None:
        self._run.supervisor.report(
            CellFailed(
                cell=self.spec.name,
                role=role,
                actor=actor,
                message=content,
                error=describe(error),
                traceback=trace(error),
                state=state,
            )
        )

    def refuse(self, message: Any, reason: str) -> None:
        """Make a dead letter of a message that will not be handled; for any thread."""
        actor = self.spec.name
        if type(message) is tuple:
            actor, message, _ = message
        elif isinstance(message, Question):
            actor, message = message.actor, message.message
        elif type(message) in OWN:
            return
        self._run.dead.add(DeadLetter(message, actor, reason))

    def _overrun(self, message: Any) -> None:
        """Halt the engine: a message that must not be lost found no room; for any thread."""
        self.refuse(message, "MAILBOX_FULL")
        self._run.end()
        content = content_of(message)
        rules = self.spec.mailbox
        error = EngineHaltedError(
            f"no room for {type(content).__name__} in the mailbox of {rules.capacity} within "
            f"{rules.deadline_s:g} s"
        )
        # Whatever the cell is: a lost order or fill is the core's failure.
        self._report(Role.CORE, self.spec.name, content, error, CellState.HALTED)

    def statistics(self) -> CellStatistics:
        """Give the heartbeat; for any thread, without a lock."""
        since, mailbox = self._busy_since, self.mailbox
        return CellStatistics(
            cell=self.spec.name,
            role=self.spec.role,
            state=self.state,
            now=self._cell.now,
            handled=self._handled,
            busy_ns=time.monotonic_ns() - since if since else 0,
            depth=mailbox.depth,
            peak_depth=mailbox.peak_depth,
            conflated=mailbox.conflated,
            dropped=mailbox.dropped,
            waits=mailbox.waits,
            restarts=0 if self._budget is None else self._budget.restarts,
        )
