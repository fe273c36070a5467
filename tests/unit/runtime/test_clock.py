"""The clocks of the runtime in real time."""

from __future__ import annotations

import threading

import pytest

from engine.runtime.clock import HELD_UP_S, EventClock, ReplayClock, WallClock

S = 10**9


def test_a_clock_of_events_moves_with_events_only_and_never_back() -> None:
    clock = EventClock(5)
    assert clock.wait_s(10) is None
    assert [clock.advance(ts) for ts in (7, 6)] == [0.0, 0.0]
    assert clock.now() == 7


def test_a_replay_clock_runs_at_its_speed_from_its_start() -> None:
    clock = ReplayClock(1_000 * S, 100.0)
    before = clock.now()
    assert before == 1_000 * S
    wait = clock.wait_s(before + 200 * S)
    assert wait is not None
    assert 0 < wait <= 2.0
    assert 0 < clock.advance(before + 200 * S) <= 2.0
    assert clock.advance(before - S) == 0.0
    assert clock.now() >= before


def test_a_replay_clock_waits_for_the_event_that_is_next() -> None:
    """A timer of an event's time comes after the event, however long that takes to be fed."""
    clock = ReplayClock(1_000 * S, 1e12)
    assert clock.now() == 1_000 * S
    assert clock.advance(1_001 * S) >= 0.0
    threading.Event().wait(clock.wait_s(1_001 * S))
    assert clock.now() == 1_001 * S - 1
    assert clock.wait_s(1_001 * S - 1) == 0.0
    assert clock.wait_s(1_001 * S) == pytest.approx(HELD_UP_S)
    clock.advance(1_002 * S)
    threading.Event().wait(clock.wait_s(1_002 * S))
    assert clock.wait_s(1_001 * S) == 0.0
    clock.go_on(2_000 * S)
    assert clock.now() == 2_000 * S


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_replay_needs_a_speed(speed: float) -> None:
    with pytest.raises(ValueError, match="speed of a replay must be above 0"):
        ReplayClock(0, speed)


def test_the_wall_clock_is_that_of_the_machine_and_live_events_do_not_wait() -> None:
    clock = WallClock()
    first, second = clock.now(), clock.now()
    assert 1_600_000_000 * S < first <= second
    wait = clock.wait_s(second + S)
    assert wait is not None
    assert wait <= 1.0
    assert clock.advance(second + 100 * S) == 0.0
