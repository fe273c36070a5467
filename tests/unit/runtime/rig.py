"""Small actors and cells for the runtimes' own tests; nothing here sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from engine.domain.market import Bar, Quote, Trade
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Routes
from engine.runtime.clock import Clock, EventClock
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import CellSpec, PykkaRuntime
from engine.runtime.supervision import RestartRules, Role

TIMEOUT_S = 10.0
"""How long a test waits for a fact before it fails; never waited in full when it passes."""


class Note(msgspec.Struct, frozen=True):
    """A message of no meaning."""

    text: str


class Order(msgspec.Struct, frozen=True):
    """A message that must not be lost."""

    number: int


class Kill(msgspec.Struct, frozen=True):
    """A message that overtakes."""


class Alarm(msgspec.Struct, frozen=True):
    """An actor's own timer."""

    name: str


POLICIES: Mapping[type, Overflow] = {
    Bar: Overflow.WAIT,
    Trade: Overflow.WAIT,
    Quote: Overflow.CONFLATE,
    Note: Overflow.WAIT,
    Order: Overflow.HALT,
    Kill: Overflow.HALT,
}
NO_BACKOFF = RestartRules(max_restarts=3, window_s=60.0, backoff_s=0.0)


def bar(ts: int, symbol: str = "A", seq: int = 0) -> Bar:
    return Bar(symbol, seq, ts - 1, ts, 100, 100, 100, 100, 1, 1, 1)


def trade(ts: int, symbol: str = "A", px: int = 100) -> Trade:
    return Trade(symbol, 0, ts, px, 1, 1, 1)


def quote(ts: int, symbol: str = "A") -> Quote:
    return Quote(symbol, 0, ts, 99, 101, 1, 1, 1, 1)


def eventually(fact: Callable[[], bool]) -> None:
    """Wait until a fact holds, watching it without sleeping; fail after TIMEOUT_S."""
    limit = time.monotonic() + TIMEOUT_S
    pause = threading.Event()
    while not fact():
        assert time.monotonic() < limit, "what the test waits for did not happen"
        pause.wait(0.001)


class Probe(Actor):
    """Notes what it receives and when; does what the test says on each message."""

    def __init__(self, name: str = "probe", act: Callable[[Probe, Any], Any] | None = None) -> None:
        super().__init__(name)
        self.act = act
        self.seen: list[Any] = []
        self.times: list[int] = []
        self.batches = 0
        self.life: list[str] = []
        self.born = -1

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys((Bar, Trade, Quote, Note, Order, Kill, Alarm), self.on_message)

    def on_message(self, message: Any) -> Any:
        self.seen.append(message)
        self.times.append(self.ctx.now)
        return None if self.act is None else self.act(self, message)

    def on_start(self) -> None:
        self.life.append("start")
        self.born = self.ctx.now

    def on_stop(self) -> None:
        self.life.append("stop")

    def on_batch(self) -> None:
        self.batches += 1


class Blocker:
    """Holds an actor in its handler until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, actor: Probe, message: Any) -> None:
        self.entered.set()
        assert self.release.wait(TIMEOUT_S)


def spec(
    *actors: Actor,
    name: str = "cell",
    role: Role = Role.CORE,
    capacity: int = 1000,
    deadline_s: float = TIMEOUT_S,
    overflow: Mapping[type, Overflow] = POLICIES,
    urgent: frozenset[type] = frozenset({Kill}),
    restart: RestartRules | None = None,
    make: Callable[[], Sequence[Actor]] | None = None,
    **kept: Any,
) -> CellSpec:
    rules = MailboxRules(capacity=capacity, deadline_s=deadline_s, overflow=overflow, urgent=urgent)
    if role is not Role.CORE and restart is None:
        restart = NO_BACKOFF
    return CellSpec(
        name=name,
        role=role,
        actors=make or (lambda: actors),
        mailbox=rules,
        restart=restart,
        **kept,
    )


class Engine:
    """A started runtime that is stopped at the end of its ``with``."""

    def __init__(
        self,
        *cells: CellSpec,
        routes: Routes | None = None,
        clock: Clock | None = None,
        dead_letters_max: int = 1000,
        **extra: Any,
    ) -> None:
        first = cells[0].actors()[0].name if routes is None else ""
        table = {kind: [first] for kind in (Bar, Trade, Quote)} if routes is None else routes
        self.runtime = PykkaRuntime(
            cells,
            table,
            clock=clock or EventClock(0),
            dead_letters_max=dead_letters_max,
            **extra,
        )

    def __enter__(self) -> PykkaRuntime:
        self.runtime.start(timeout_s=TIMEOUT_S)
        return self.runtime

    def __exit__(self, *_: object) -> None:
        self.runtime.stop(timeout_s=TIMEOUT_S)
