"""Where a runtime in real time gets the time from.

The time of a cell (``ctx.now``) is the time of the event being handled, whatever the clock. The
clock says two more things: when a timer is due though no event has come, and when an event of the
past may be fed. So it is the one difference between live, an accelerated replay and a replay as
fast as it goes, which gives the same bytes as the simulation.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "EventClock", "ReplayClock", "WallClock"]

NS = 1_000_000_000
HELD_UP_S = 0.001
"""How soon a time that only an event not yet fed holds up is looked at again."""


class Clock(Protocol):
    """The time outside the cells, UTC nanoseconds; never runs backwards. Safe from any thread."""

    def now(self) -> int:
        """Give the time, UTC nanoseconds: the stamp of messages from the edges."""

    def wait_s(self, ts: int) -> float | None:
        """Give the real seconds until a time, 0 or less when it has come.

        None when this clock moves with events only, so that waiting for it alone is pointless.
        """

    def advance(self, ts: int) -> float:
        """Note that an event of time ``ts`` is about to be fed; give real seconds to wait first.

        The feeder waits, so that it can be woken; an event whose time has passed waits 0.
        """


class EventClock:
    """Moves with the events that are fed, and not otherwise: a replay as fast as it goes.

    Args:
        start_ts: time before the first event, UTC nanoseconds.
    """

    def __init__(self, start_ts: int) -> None:
        self._now = start_ts

    def now(self) -> int:
        """Give the time of the latest event fed."""
        return self._now

    def wait_s(self, ts: int) -> float | None:
        """Give None: only events move this clock."""
        return None

    def advance(self, ts: int) -> float:
        """Move to the event; never wait."""
        if ts > self._now:
            self._now = ts
        return 0.0


class ReplayClock:
    """Runs from a moment of the past at a multiple of real speed.

    It never reaches the time of an event that has not been fed, and stands still while nobody
    knows the next: a timer of the same time comes after the event, as in the simulation.

    Args:
        start_ts: the moment it starts at, UTC nanoseconds.
        speed: seconds of replay in a real second, above zero.
    """

    def __init__(self, start_ts: int, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed of a replay must be above 0, got {speed}")
        self._speed = speed
        self.go_on(start_ts)

    def go_on(self, ts: int) -> None:
        """Run on from another moment: a run that is gone on with begins in the middle."""
        self._start_ts = ts
        self._next_ts = ts + 1
        self._began = time.monotonic_ns()

    def now(self) -> int:
        """Give the replayed time."""
        return min(self._passed(), self._next_ts - 1)

    def _passed(self) -> int:
        return self._start_ts + int((time.monotonic_ns() - self._began) * self._speed)

    def wait_s(self, ts: int) -> float | None:
        """Give the real seconds until a replayed time."""
        if ts <= self.now():
            return 0.0
        # When only the next event is in the way, whoever feeds it waits for the same moment.
        return max((ts - self._passed()) / NS / self._speed, HELD_UP_S)

    def advance(self, ts: int) -> float:
        """Give how long the feeder must wait for the time of the event to come."""
        self._next_ts = max(self._next_ts, ts)
        return max(0.0, (ts - self._passed()) / NS / self._speed)


class WallClock:
    """The time of day, read once and carried on by the monotonic clock.

    A step of the system's clock therefore cannot move it backwards or fire a day of timers at
    once; the slewing of NTP is followed, because the monotonic clock follows it.
    """

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Give the time of day."""
        return self._offset + time.monotonic_ns()

    def wait_s(self, ts: int) -> float | None:
        """Give the seconds until a time of day."""
        return (ts - self.now()) / NS

    def advance(self, ts: int) -> float:
        """Never wait: live events come when they come."""
        return 0.0
