"""What a signal to stop does to a run: leave off at once, or close every position first."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from engine.domain.commands import KillSwitch
from engine.domain.events import RiskEvent, Severity
from engine.errors import EngineHaltedError
from engine.runtime.actor import Actor
from engine.runtime.clock import Clock
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.sections import ShutdownConfig
from engine.wiring import GATE
from engine.wiring.session import open_business

__all__ = ["Shutdown"]

POLL_S = 0.05
ANSWER_S = 1.0
"""Least that the gate is given to begin."""
REASON = "SHUTDOWN"
NAMED = 5
"""How many of what is left open are named."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Closes what is open when a signal asks the run to stop, if the profile wants that.

    The run goes on meanwhile: market data comes, orders fill. When everything is closed, or the
    time is up, the run leaves off and the signal takes its usual way. A second signal does so at
    once.

    Args:
        config: what the profile wants.
        runtime: the run.
        core: its actors.
        clock: its clock.
        alarm: told what was done.
    """

    def __init__(
        self,
        config: ShutdownConfig,
        runtime: PykkaRuntime,
        core: Sequence[Actor],
        clock: Clock,
        alarm: Callable[[RiskEvent], None],
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._core = core
        self._clock = clock
        self._alarm = alarm
        self._asked: int | None = None
        self._told = threading.Event()
        self._over = threading.Event()
        self._before: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._close_all, name="shutdown", daemon=True)

    def __enter__(self) -> Shutdown:
        is_main = threading.current_thread() is threading.main_thread()
        if self._config.positions == "flatten" and is_main:
            self._before = {each: signal.signal(each, self._hear) for each in _SIGNALS}
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()
        self._over.set()
        self._told.set()
        if self._thread.ident is not None:
            self._thread.join()

    def take_its_way(self) -> None:
        """Let a signal that was heard do what it would have done at once."""
        if self._asked is not None:
            self._restore()
            signal.raise_signal(self._asked)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Only this: whatever the main thread holds, it holds while this runs in it.
        if self._asked is not None:
            self.take_its_way()
        self._asked = number
        self._told.set()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    # The thread.

    def _close_all(self) -> None:
        self._told.wait()
        if self._over.is_set():
            return
        limit = time.monotonic() + self._config.timeout
        kill = KillSwitch(reason=REASON, ts_init=self._clock.now(), flatten=True)
        with suppress(EngineHaltedError):  # it ends by itself
            with suppress(TimeoutError):
                # Asked, not told: when it answers, what closes has been sent.
                self._runtime.ask(GATE, kill, timeout_s=max(ANSWER_S, self._config.timeout))
            while (left := open_business(self._core)) and time.monotonic() < limit:
                if self._over.wait(POLL_S):
                    return
            self._alarm(_done(left, self._clock.now()))
        self._runtime.request_stop()


def _done(left: Sequence[str], now: int) -> RiskEvent:
    said = "Every position is closed and no order works"
    if left:
        named = ", ".join(left[:NAMED])
        said = f"The time to close is over; still open: {len(left)}, such as {named}"
    return RiskEvent(
        event_type=REASON,
        severity=Severity.CRITICAL if left else Severity.WARNING,
        strategy_id=None,
        symbol=None,
        limit=None,
        value=float(len(left)),
        action_taken="LEFT_OFF",
        description=f"{said}; trading stays halted until: engine resume",
        ts_event=now,
    )
