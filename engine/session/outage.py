"""A store that is gone in the middle of a run: said at once, waited for, gone on with carefully.

Nothing leaves without its commit, so a run without its store is halted by that alone. It is not
held together in memory until the store is back: what the store had confirmed is handled again from
the start, by the path of every other start, and what it had not confirmed has never left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.domain.commands import SetTradingState
from engine.domain.events import RiskEvent, Severity
from engine.domain.latch import TradingState
from engine.errors import ConfigError, StoreError
from engine.runtime.clock import WallClock

__all__ = ["Outage", "reducing"]

TAKEN_S = 15.0
"""How long our own earlier session may still have the run: a server notices its end in 4 s."""


class Outage:
    """Decides whether a run waits for its store, and waits.

    Args:
        waits: whether it waits at all.
        every_s: from one attempt to the next, seconds.
        alarm: is told of every loss, once.
    """

    def __init__(
        self, *, waits: bool, every_s: float, alarm: Callable[[RiskEvent], None] | None
    ) -> None:
        self._waits = waits
        self._every_s = every_s
        self._alarm = alarm
        self._since = 0.0
        self.is_going = False
        self.is_over_one = False

    def going(self) -> None:
        """Note that the run has the store and goes on."""
        self.is_going = True

    def wait(self, error: StoreError | ConfigError) -> None:
        """Wait for the next attempt after a failure.

        Raises:
            StoreError: the run does not wait, or has not gone on yet in this process.
            ConfigError: another engine has the run, for longer than our own session may have it.
        """
        if not self._waits or not (self.is_going or self.is_over_one):
            raise error
        now = time.monotonic()
        if self.is_going:
            self.is_going, self.is_over_one, self._since = False, True, now
            self._tell(error)
        elif isinstance(error, ConfigError) and now - self._since > TAKEN_S:
            raise error
        threading.Event().wait(self._every_s)

    def _tell(self, error: Exception) -> None:
        if self._alarm is not None:
            self._alarm(
                RiskEvent(
                    event_type="STORE_DOWN",
                    severity=Severity.CRITICAL,
                    strategy_id=None,
                    symbol=None,
                    limit=None,
                    value=0.0,
                    action_taken="HALTED",
                    description=f"{error}; nothing leaves until it is back",
                    ts_event=WallClock().now(),
                )
            )


def reducing(reason: str, now: int) -> SetTradingState:
    """Give what the gate is told first after a loss; it holds until a person resumes trading."""
    return SetTradingState(state=TradingState.REDUCING, reason=reason, ts_init=now)
