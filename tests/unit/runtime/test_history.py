"""What entered a cell, handled again by a new one, brings it to the same state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineHaltedError
from engine.runtime.clock import Clock, EventClock, ReplayClock
from engine.runtime.inputs import Finished, Started, Ticked, Told
from tests.unit.runtime.rig import TIMEOUT_S, Alarm, Engine, Note, Probe, bar, eventually, spec


def alarmed(probe: Probe, message: Any) -> None:
    """Set a timer on every note, and tell the neighbour of every alarm."""
    if isinstance(message, Note):
        probe.ctx.set_timer(probe.ctx.now + 15, Alarm(message.text))
    elif isinstance(message, Alarm):
        probe.ctx.send("neighbour", Note(message.name))


class Life:
    """One process's life of a probe: its cell is tapped and may have a history."""

    def __init__(self, history: Sequence[Any] | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or EventClock(5)
        self.tapped: list[Any] = []
        self.probe, self.neighbour = Probe(act=alarmed), Probe("neighbour")
        past = None if history is None else (lambda: iter(history))
        core = spec(self.probe, name="core", tap=self.tapped.append, history=past)
        self.engine = Engine(
            spec(self.neighbour, name="beside"),
            core,
            routes={type(bar(1)): ["probe"]},
            clock=self.clock,
        )
        self.runtime = self.engine.runtime

    def start(self) -> None:
        self.runtime.start(timeout_s=TIMEOUT_S, at=5)

    def leave_off(self) -> None:
        self.runtime.stop(timeout_s=TIMEOUT_S, closing=False)


STEPS = st.lists(
    st.tuples(st.sampled_from(["bar", "note"]), st.integers(1, 40)), min_size=1, max_size=12
)


def play(life: Life, steps: Sequence[tuple[str, int]], ts: int) -> int:
    for kind, gap in steps:
        ts += gap
        if kind == "bar":
            life.runtime.feed([bar(ts)])
        else:
            life.runtime.tell("probe", Note(str(ts)))
    return ts


@given(STEPS, STEPS)
def test_a_second_life_goes_on_as_if_there_had_been_one(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    whole, before = Life(), Life()
    for life in (whole, before):
        life.start()
    ts = play(whole, first, 5)
    play(before, first, 5)
    before.leave_off()
    after = Life(before.tapped, EventClock(before.clock.now()))
    after.start()
    play(whole, second, ts)
    play(after, second, ts)
    whole.runtime.stop(timeout_s=TIMEOUT_S)
    after.runtime.stop(timeout_s=TIMEOUT_S)
    assert (after.probe.seen, after.probe.times) == (whole.probe.seen, whole.probe.times)
    assert after.probe.life == ["start", "stop"]
    assert before.probe.life == ["start"]
    assert before.tapped + after.tapped == whole.tapped
    # What the first life told its neighbour is not told again.
    told = before.neighbour.seen + after.neighbour.seen
    assert told == whole.neighbour.seen


def test_a_tap_sees_everything_that_enters_in_its_order() -> None:
    life = Life()
    life.start()
    life.runtime.feed([bar(10)])
    life.runtime.tell("probe", Note("a"))
    life.runtime.ask("probe", Note("b"), timeout_s=TIMEOUT_S)
    life.runtime.stop(timeout_s=TIMEOUT_S)
    told = [Told("probe", Note("a"), 10), Told("probe", Note("b"), 10)]
    assert life.tapped == [Started(5), bar(10), *told, Finished(10)]


def test_a_timer_that_the_clock_fired_fires_at_the_same_place_again() -> None:
    clock = ReplayClock(5, speed=1e-6)
    life = Life(clock=clock)
    life.start()
    life.runtime.tell("probe", Note("a"))
    clock.advance(1_000)
    eventually(lambda: Alarm("a") in life.probe.seen)
    life.leave_off()
    assert [type(entered) for entered in life.tapped] == [Started, Told, Ticked]
    again = Life(life.tapped, EventClock(5))
    again.start()
    again.leave_off()
    assert (again.probe.seen, again.probe.times) == (life.probe.seen, life.probe.times)


def test_a_run_that_had_ended_has_ended_again() -> None:
    life = Life()
    with life.engine as runtime:
        runtime.tell("probe", Note("a"))
    again = Life(life.tapped)
    again.start()
    again.leave_off()
    assert again.probe.life == ["start", "stop"]
    assert again.tapped == []


def test_a_history_that_cannot_be_handled_keeps_the_engine_from_starting() -> None:
    def fails() -> Any:
        yield Started(5)
        raise EngineHaltedError("batch 3 is damaged")

    core = spec(Probe(), tap=lambda entered: None, history=fails)
    engine = Engine(core)
    with pytest.raises(EngineHaltedError, match=r"cell cell did not start: .*batch 3 is damaged"):
        engine.runtime.start(timeout_s=TIMEOUT_S)
