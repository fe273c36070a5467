"""What happens when something fails, by role; dead letters; the heartbeat.

A strategy that fails is quarantined by its host (:meth:`Actor.on_failure`) and its cell goes on.
Whatever a host does not deal with is a failure of the cell, and the cell's role decides: the
trading core halts at once and is rebuilt from the journal only; an edge or telemetry is built
anew, a stated number of times in a stated window, and halts after that.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = [
    "CellFailed",
    "CellState",
    "CellStatistics",
    "DeadLetter",
    "DeadLetters",
    "RestartBudget",
    "RestartRules",
    "Role",
    "Supervisor",
    "describe",
]

NS = 1_000_000_000


class Role(Enum):
    """What a cell is, hence what its failure means."""

    CORE = "CORE"
    """The trading core: halt at once, recovery from the journal."""
    EDGE = "EDGE"
    """Ingest, gateway, recorder, API: restart within the budget, then halt."""
    TELEMETRY = "TELEMETRY"
    """Metrics and logs: restart within the budget, then stop the cell but not the engine."""


class CellState(Enum):
    """Where a cell is in its life."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKING_OFF = "BACKING_OFF"
    STOPPED = "STOPPED"
    HALTED = "HALTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRules:
    """How often a cell may be built anew.

    Attributes:
        max_restarts: restarts allowed in the window; one failure more halts the cell.
        window_s: length of the sliding window, seconds.
        backoff_s: wait before the first restart in the window, seconds; doubles each time.
    """

    max_restarts: int
    window_s: float
    backoff_s: float


class RestartBudget:
    """Counts restarts in a sliding window."""

    def __init__(self, rules: RestartRules) -> None:
        self._rules = rules
        self._times: deque[int] = deque()
        self.restarts = 0

    def spend(self, ts: int) -> float | None:
        """Use one restart at a time (monotonic nanoseconds).

        Returns:
            Seconds to wait before it, or None when the budget is spent.
        """
        rules, times = self._rules, self._times
        while times and ts - times[0] >= rules.window_s * NS:
            times.popleft()
        if len(times) >= rules.max_restarts:
            return None
        times.append(ts)
        self.restarts += 1
        backoff: float = rules.backoff_s * 2 ** (len(times) - 1)
        return backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFailed:
    """A failure that no actor dealt with.

    Attributes:
        cell: where.
        role: role of the cell.
        actor: whose handler raised; the cell's name when it was none's.
        message: what it was handling; None in a start or stop.
        error: ``Type: message`` of the exception.
        traceback: full traceback text.
        state: what became of the cell: BACKING_OFF before a restart, or HALTED.
    """

    cell: str
    role: Role
    actor: str
    message: Any
    error: str
    traceback: str
    state: CellState

    def __str__(self) -> str:
        what = "" if self.message is None else f" on {type(self.message).__name__}"
        return f"{self.actor} in cell {self.cell} failed{what}: {self.error}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not handled, or not to its end.

    Attributes:
        message: the message itself.
        actor: for whom; the cell's name when it was for the cell as a whole.
        reason: ``FAILED ...`` (it was being handled), ``HALTED``, ``STOPPED``, ``STUCK``,
            ``RESTARTED`` (its cell), ``ENDED`` (the engine) or ``MAILBOX_FULL``.
    """

    message: Any
    actor: str
    reason: str


class DeadLetters:
    """Keeps dead letters in the order they died.

    Args:
        capacity: how many are kept; what comes after is counted and goes to ``sink`` only.
        sink: called with every dead letter, for a journal or a log; any thread.
    """

    def __init__(self, capacity: int, sink: Callable[[DeadLetter], None] | None = None) -> None:
        self._capacity = capacity
        self._sink = sink
        self._letters: list[DeadLetter] = []
        self._lock = threading.Lock()
        self.total = 0

    def add(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""
        with self._lock:
            self.total += 1
            if len(self._letters) < self._capacity:
                self._letters.append(letter)
            if self._sink is not None:
                self._sink(letter)

    @property
    def letters(self) -> tuple[DeadLetter, ...]:
        """Those kept, in order."""
        with self._lock:
            return tuple(self._letters)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatistics:
    """The heartbeat of a cell, at one moment.

    Attributes:
        cell: name.
        role: role.
        state: state.
        now: time of the event it handles or handled last, UTC nanoseconds.
        handled: messages handled.
        busy_ns: age of the message being handled, nanoseconds; 0 when idle.
        depth: messages waiting.
        peak_depth: most that ever waited.
        conflated: messages replaced by a newer one of their symbol.
        dropped: messages dropped for newer ones of their type.
        waits: times a producer had to wait for room.
        restarts: times the cell was built anew.
    """

    cell: str
    role: Role
    state: CellState
    now: int
    handled: int
    busy_ns: int
    depth: int
    peak_depth: int
    conflated: int
    dropped: int
    waits: int
    restarts: int


class Supervisor:
    """Hears of every failure, in order, and halts the engine when one demands it.

    Args:
        on_failure: called with every failure in the thread of the cell that failed; wiring tells
            the risk gate and the operator with it. What it raises is kept as a failure itself.
    """

    def __init__(self, on_failure: Callable[[CellFailed], None] | None) -> None:
        self._on_failure = on_failure
        self._failures: list[CellFailed] = []
        self._lock = threading.Lock()
        self.halted = threading.Event()

    @property
    def failures(self) -> tuple[CellFailed, ...]:
        """Every failure so far, in order."""
        with self._lock:
            return tuple(self._failures)

    @property
    def fatal(self) -> CellFailed | None:
        """The first failure that halted the engine."""
        for failure in self.failures:
            if _is_fatal(failure):
                return failure
        return None

    def report(self, failure: CellFailed) -> None:
        """Take note of a failure, halt if it demands so, tell whoever asked to be told."""
        with self._lock:
            self._failures.append(failure)
        if _is_fatal(failure):
            self.halted.set()
        if self._on_failure is None:
            return
        try:
            self._on_failure(failure)
        except BaseException as error:
            with self._lock:
                self._failures.append(
                    CellFailed(
                        cell="supervisor",
                        role=failure.role,
                        actor="on_failure",
                        message=failure,
                        error=describe(error),
                        traceback=trace(error),
                        state=failure.state,
                    )
                )


def _is_fatal(failure: CellFailed) -> bool:
    return failure.state is CellState.HALTED and failure.role is not Role.TELEMETRY


def describe(error: BaseException) -> str:
    """Give ``Type: message`` of an exception, even of one whose own text raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}: (its text could not be made)"


def trace(error: BaseException) -> str:
    """Give the full traceback text of an exception, or its name when that cannot be made."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return describe(error)
