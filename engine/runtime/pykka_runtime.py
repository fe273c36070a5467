"""The runtime in real time: every cell is one pykka actor with its own thread and mailbox.

The same actor classes run here as on :mod:`engine.runtime.sim_runtime`, by the same rule of order
(:mod:`engine.runtime.actor`). Around pykka this adds what it does not have: bounded mailboxes,
timers, supervision by role, dead letters, a heartbeat and a stop with a deadline.

The time of a cell is the time of the event being handled: ``ts_event`` of a market event; for a
message of another cell that cell's time, for one of an edge the clock's. It never runs backwards.
A timer fires when the clock reaches its time, and at the latest before the first message of a
later time, so with an :class:`~engine.runtime.clock.EventClock` exactly where the simulation
fires it. (On a wall clock a bar that ends at T arrives after T: a timer at T comes before it.)

Threads are daemons: a handler that never returns cannot keep the process from ending. Only the
engine's own actors are ever stopped; several engines live in one process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pykka

from engine.domain.deliveries import Fed
from engine.domain.market import MarketEvent
from engine.errors import EngineHaltedError, InvariantError
from engine.runtime.cell import MARKET_TYPES, Routes
from engine.runtime.clock import Clock
from engine.runtime.controls import Finish, Question, Start
from engine.runtime.hosting import CellLoop, CellSpec, Run
from engine.runtime.mailbox import Mailbox
from engine.runtime.supervision import (
    CellFailed,
    CellStatistics,
    DeadLetter,
    DeadLetters,
    Supervisor,
)

__all__ = ["CellSpec", "PykkaRuntime", "StopReport", "whole_cell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReport:
    """How the stop went.

    Attributes:
        stuck: cells that did not finish by the deadline; what they had not handled is dead.
        dead_letters: all dead letters of the run.
    """

    stuck: tuple[str, ...]
    dead_letters: int


class CellActor(pykka.ThreadingActor):
    """Hands messages from pykka to one cell's loop, in a thread of its own."""

    use_daemon_thread = True

    def __init__(self, loop: CellLoop) -> None:
        self._loop = loop
        super().__init__()

    # A method where pykka has a static one: every cell has rules of its own.
    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]
        return self._loop.mailbox

    def on_receive(self, message: Any) -> Any:
        """Handle one message; leave pykka's loop when it was the last."""
        try:
            return self._loop.receive(message)
        finally:
            if self._loop.is_over:
                _leave(self.actor_ref)

    def on_stop(self) -> None:
        """End in order when somebody stops the actor through pykka itself."""
        self._loop.finish()


def _leave(ref: pykka.ActorRef[Any]) -> None:
    """Take an actor out of pykka's registry and, after the message at hand, its loop."""
    pykka.ActorRegistry.unregister(ref)
    ref.actor_stopped.set()


@dataclass(frozen=True, slots=True)
class _Address:
    """Where an actor lives and what may be sent to it from outside its cell."""

    loop: CellLoop
    kinds: frozenset[type]


class PykkaRuntime:
    """Runs cells, each in its own thread, until they are stopped or one failure halts them.

    Args:
        cells: the cells, in the order they start; they stop in the opposite order, so those that
            only receive (the recorder) come first and those that feed come last.
        routes: the one table of who hears what.
        clock: the time outside the cells.
        dead_letters_max: dead letters kept; those beyond are counted and go to the sink only.
        on_dead_letter: called with every dead letter, in any thread; it must not raise.
        on_failure: called with every failure of a cell, in that cell's thread.

    Raises:
        InvariantError: names are not unique, a route leads nowhere, or a type that is routed to a
            cell has no policy in its mailbox.
    """

    def __init__(
        self,
        cells: Sequence[CellSpec],
        routes: Routes,
        *,
        clock: Clock,
        dead_letters_max: int,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        on_failure: Callable[[CellFailed], None] | None = None,
    ) -> None:
        self._dead = DeadLetters(dead_letters_max, on_dead_letter)
        self._supervisor = Supervisor(on_failure)
        self._run = Run(clock, self._dead, self._supervisor, self._send)
        self._addresses: dict[str, _Address] = {}
        self._refs: dict[CellLoop, pykka.ActorRef[Any]] = {}
        made = {spec.name: (spec, tuple(spec.actors())) for spec in cells}
        if len(made) != len(cells):
            raise InvariantError("two cells have the same name")
        homes = {actor.name: name for name, (_, actors) in made.items() for actor in actors}
        if len(homes) != sum(len(actors) for _, actors in made.values()):
            raise InvariantError("two actors have the same name")
        homes |= {
            actor.leads: name
            for name, (_, actors) in made.items()
            for actor in actors
            if actor.leads is not None
        }
        self._loops: list[CellLoop] = []
        for name, (spec, actors) in made.items():
            loop = CellLoop(spec, actors, _seen_from(name, routes, homes), self._run)
            self._loops.append(loop)
            policies = spec.mailbox.overflow
            for actor in actors:
                kinds = frozenset(actor.handlers()) & frozenset(policies)
                self._addresses[actor.name] = _Address(loop, kinds)
            self._addresses[whole_cell(name)] = _Address(loop, frozenset((*MARKET_TYPES, Fed)))
            for kind, names in routes.items():
                if kind not in policies and any(homes.get(to) == name for to in names):
                    raise InvariantError(
                        f"cell {name}: {kind.__name__} is routed to it and has no mailbox policy"
                    )
        self._market = {kind: self._fed(kind, routes, homes) for kind in MARKET_TYPES}

    def _fed(self, kind: type, routes: Routes, homes: Mapping[str, str]) -> list[CellLoop]:
        names = {homes[actor] for actor in routes.get(kind, ())}
        return [loop for loop in self._loops if loop.spec.name in names]

    # Life.

    def start(
        self, *, timeout_s: float, at: int | None = None, with_events: Collection[str] = ()
    ) -> None:
        """Start every cell and run every ``on_start``, cell by cell, in order.

        Args:
            timeout_s: how long it may take, seconds; handling a cell's history is part of it.
            at: the time of the cells then, UTC nanoseconds; the clock's when None.
            with_events: cells whose actors start with the first delivery that has events, at the
                time of its first; what comes before waits.

        Raises:
            EngineHaltedError: a cell did not start in time, or its ``on_start`` raised (then that
                is the cause). What had started has been stopped again.
        """
        if self._refs:
            raise InvariantError("a runtime is started once")
        limit = time.monotonic() + timeout_s
        now = self._run.clock.now() if at is None else at
        self._refs = {loop: CellActor.start(loop) for loop in self._loops}
        for loop, ref in self._refs.items():
            try:
                start = Start(None if loop.spec.name in with_events else now)
                ref.ask(start, timeout=max(0.0, limit - time.monotonic()))
            except (EngineHaltedError, pykka.Timeout) as error:
                self._run.end()
                self.stop(timeout_s=timeout_s)
                what = f"within {timeout_s:g} s" if isinstance(error, pykka.Timeout) else error
                raise EngineHaltedError(f"cell {loop.spec.name} did not start: {what}") from error

    def stop(self, *, timeout_s: float, closing: bool = True) -> StopReport:
        """Stop cell by cell, the last first, each after all that waits in its mailbox.

        Every cell fires the timers that are due and runs every ``on_stop``, unless it only leaves
        off (``closing`` is False) to go on in another process. One that has not finished when the
        time is up is given up: what it had not handled becomes dead letters. May be called again,
        and after a failure.
        """
        limit = time.monotonic() + timeout_s
        stuck: list[str] = []
        for loop in reversed(self._loops):
            ref = self._refs.get(loop)
            if ref is None:
                continue
            with suppress(pykka.ActorDeadError):
                ref.tell(Finish(closing))
            ref.actor_stopped.wait(max(0.0, limit - time.monotonic()))
            if loop.thread is not None:
                loop.thread.join(max(0.0, limit - time.monotonic()))
            if not loop.is_over:
                stuck.append(loop.spec.name)
                loop.mailbox.close("STUCK")
                _leave(ref)
        self._run.end()
        return StopReport(stuck=tuple(stuck), dead_letters=self._dead.total)

    def request_stop(self) -> None:
        """Let no further market event be handled and ``feed`` return; for actors. Never waits."""
        self._run.end()

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until a stop is requested or a failure halts the engine; True when so."""
        return self._run.ended.wait(timeout_s)

    # Messages, from the edges.

    def feed(self, events: Iterable[MarketEvent]) -> int:
        """Tell market events to every cell they are routed to, at the pace of the clock.

        Returns:
            How many were fed; fewer than given when a stop was requested.

        Raises:
            EngineHaltedError: a failure halted the engine.
        """
        run = self._run
        advance = run.clock.advance
        tells = {
            kind: [(self._ref(loop).tell, loop) for loop in loops]
            for kind, loops in self._market.items()
        }
        count = 0
        for event in events:
            wait_s = advance(event.ts_event)
            if wait_s > 0:
                run.ended.wait(wait_s)
            if run.ending:
                break
            for tell, loop in tells[type(event)]:
                try:
                    tell(event)
                except pykka.ActorDeadError:
                    loop.refuse(event, loop.mailbox.closed or loop.state.name)
            count += 1
        self._raise_fatal()
        return count

    def tell(self, actor: str, message: Any) -> None:
        """Send a message to an actor from outside all cells, stamped with the clock's time.

        Raises:
            InvariantError: there is no such actor, it cannot handle the type, or the type has no
                policy in its cell's mailbox.
            EngineHaltedError: there was no room by the deadline; the engine has halted.
        """
        self._send(actor, message, self._run.clock.now())

    def ask(self, actor: str, message: Any, *, timeout_s: float) -> Any:
        """Send a message and wait for what its handler gives; for the edges only.

        Raises:
            InvariantError: no such actor or type, or a cell's own thread asks (it could wait for
                itself).
            TimeoutError: no answer in time; the message may still be handled.
            EngineHaltedError: the handler raised, or the cell is over.
        """
        address = self._address(actor, message)
        if threading.current_thread() in [loop.thread for loop in self._loops]:
            raise InvariantError(f"an actor may not ask: {type(message).__name__} to {actor}")
        try:
            return self._ref(address.loop).ask(Question(actor, message), timeout=timeout_s)
        except pykka.Timeout as error:
            raise TimeoutError(
                f"{actor} gave no answer to {type(message).__name__} within {timeout_s:g} s"
            ) from error
        except pykka.ActorDeadError as error:
            address.loop.refuse(Question(actor, message), address.loop.state.name)
            raise EngineHaltedError(f"{actor} is over: {address.loop.state.name}") from error

    def _send(self, actor: str, message: Any, ts: int) -> None:
        address = self._addresses.get(actor)
        if address is None or type(message) not in address.kinds:
            address = self._address(actor, message)
        # A market event for a whole cell goes as it is; its lanes know to whom.
        parcel = message if actor[0] == _GATE else (actor, message, ts)
        loop = address.loop
        try:
            self._ref(loop).tell(parcel)
        except pykka.ActorDeadError:
            loop.refuse(parcel, loop.mailbox.closed or loop.state.name)

    def _ref(self, loop: CellLoop) -> pykka.ActorRef[Any]:
        ref = self._refs.get(loop)
        if ref is None:
            raise EngineHaltedError("the engine has not been started")
        return ref

    def _address(self, actor: str, message: Any) -> _Address:
        kind = type(message)
        address = self._addresses.get(actor)
        if address is None:
            raise InvariantError(f"{kind.__name__} sent to {actor!r}, which is in no cell")
        if kind not in address.kinds:
            raise InvariantError(
                f"{kind.__name__} sent to {actor!r}, which cannot handle it or whose mailbox has "
                "no policy for it"
            )
        return address

    def _raise_fatal(self) -> None:
        fatal = self._supervisor.fatal
        if fatal is not None:
            raise EngineHaltedError(str(fatal))

    # What happened.

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Messages that were not handled, in order, as many as are kept."""
        return self._dead.letters

    @property
    def failures(self) -> tuple[CellFailed, ...]:
        """Failures that no actor dealt with, in order."""
        return self._supervisor.failures

    @property
    def is_halted(self) -> bool:
        """True once a failure has halted the engine."""
        return self._supervisor.halted.is_set()

    def statistics(self) -> tuple[CellStatistics, ...]:
        """Give the heartbeat of every cell, in the order they start; for any thread."""
        return tuple(loop.statistics() for loop in self._loops)


_GATE = "@"


def whole_cell(cell: str) -> str:
    """Give the name under which a market event, or a delivery of them, is sent to all of a cell."""
    return f"{_GATE}{cell}"


def _seen_from(cell: str, routes: Routes, homes: Mapping[str, str]) -> Routes:
    """Give the routes as one cell sees them: a market event enters another cell once, as a whole.

    There it takes that cell's lanes, so watchers see it too.
    """
    seen: dict[type, Sequence[str]] = {}
    for kind, names in routes.items():
        unknown = [name for name in names if name not in homes]
        if unknown:
            raise InvariantError(f"{kind.__name__} is routed to {unknown[0]!r}, in no cell")
        if kind in MARKET_TYPES:
            names = [n if homes[n] == cell else whole_cell(homes[n]) for n in names]
        seen[kind] = tuple(dict.fromkeys(names))
    return seen
