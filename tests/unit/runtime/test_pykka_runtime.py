"""Cells as pykka actors: order, time, questions, start, stop, heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pykka
import pytest

from engine.domain.market import Bar, Quote, Trade
from engine.errors import EngineHaltedError, InvariantError
from engine.runtime.actor import Actor, Handler
from engine.runtime.clock import EventClock, ReplayClock, WallClock
from engine.runtime.mailbox import Overflow
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.supervision import CellState, DeadLetter, RestartRules, Role
from tests.unit.runtime.rig import (
    POLICIES,
    TIMEOUT_S,
    Alarm,
    Blocker,
    Engine,
    Kill,
    Note,
    Order,
    Probe,
    bar,
    eventually,
    quote,
    spec,
    trade,
)

S = 10**9
RESTART = RestartRules(max_restarts=1, window_s=1.0, backoff_s=0.0)


def test_a_cell_handles_what_is_fed_and_told_in_order() -> None:
    probe = Probe()
    with Engine(spec(probe)) as runtime:
        assert runtime.feed([bar(1), trade(2)]) == 2
        runtime.tell("probe", Note("x"))
        runtime.feed([bar(5)])
    assert probe.seen == [bar(1), trade(2), Note("x"), bar(5)]
    assert probe.times == [1, 2, 2, 5]
    assert probe.life == ["start", "stop"]
    assert probe.batches >= 1
    assert runtime.dead_letters == ()


def test_time_never_runs_backwards() -> None:
    probe = Probe()
    with Engine(spec(probe)) as runtime:
        runtime.feed([bar(5), bar(3), bar(6)])
    assert probe.times == [5, 5, 6]


def test_a_message_takes_its_senders_time_along() -> None:
    receiver = Probe("receiver")
    sender = Probe(act=lambda self, event: self.ctx.send("receiver", Note(str(self.ctx.now))))
    cells = spec(receiver, name="back"), spec(sender, name="front")
    with Engine(*cells, routes={Bar: ["probe"]}) as runtime:
        runtime.feed([bar(10), bar(20)])
    assert receiver.seen == [Note("10"), Note("20")]
    assert receiver.times == [10, 20]


def test_a_market_event_enters_another_cell_once_and_takes_its_lanes() -> None:
    class Ingest(Probe):
        def handlers(self) -> Mapping[type, Handler]:
            return {Note: lambda note: self.ctx.publish(bar(int(note.text)))}

    one, two = Probe("one"), Probe("two")
    watcher = Probe("watcher")
    watcher.on_start = lambda: watcher.ctx.watch("A")  # type: ignore[method-assign]
    cells = spec(one, two, watcher, name="core"), spec(Ingest("ingest"), name="ingest")
    with Engine(*cells, routes={Bar: ["one", "two"]}) as runtime:
        runtime.tell("ingest", Note("7"))
    for probe in (one, two, watcher):
        assert probe.seen == [bar(7)]
        assert probe.times == [7]
    assert one.ctx.last("A") == bar(7)


def test_timers_of_a_clock_of_events_fire_where_the_simulation_fires_them() -> None:
    def act(self: Probe, event: Any) -> None:
        if type(event) is Bar and event.ts_event == 10:
            self.ctx.set_timer(20, Alarm("at 20"))
            self.ctx.set_timer(15, Alarm("at 15"))
            self.ctx.set_timer(30, Alarm("last"))
            self.ctx.cancel_timer(self.ctx.set_timer(12, Alarm("canceled")))

    probe = Probe(act=act)
    with Engine(spec(probe)) as runtime:
        runtime.feed([bar(10), bar(20, "B"), bar(21), bar(30)])
    assert [m.name if isinstance(m, Alarm) else m.ts_event for m in probe.seen] == [
        10, "at 15", 20, "at 20", 21, 30, "last",
    ]  # fmt: skip
    assert probe.times == [10, 15, 20, 20, 21, 30, 30]


def test_timers_of_a_real_clock_fire_without_events() -> None:
    fired = threading.Event()

    def act(self: Probe, message: Any) -> None:
        if isinstance(message, Alarm):
            fired.set()
        else:
            self.ctx.set_timer(self.ctx.now + 3_000_000, Alarm("soon"))

    probe = Probe(act=act)
    with Engine(spec(probe), clock=WallClock()) as runtime:
        runtime.tell("probe", Note("x"))
        assert fired.wait(TIMEOUT_S)
    set_at, fired_at = probe.times
    assert fired_at == set_at + 3_000_000


def test_a_replay_keeps_its_pace_and_its_timers_come_in_between() -> None:
    def act(self: Probe, message: Any) -> None:
        if type(message) is Note:
            self.ctx.set_timer(self.ctx.now + 5 * S, Alarm("x"))

    probe = Probe(act=act)
    clock = ReplayClock(1_000 * S, speed=1000.0)
    with Engine(spec(probe), clock=clock) as runtime:
        runtime.tell("probe", Note("x"))
        later = clock.now() + 20 * S
        runtime.feed([bar(later)])
        assert clock.now() == later - 1  # nobody knows the next event
    assert [type(m) for m in probe.seen] == [Note, Alarm, Bar]
    told_at, fired_at, _ = probe.times
    assert fired_at == told_at + 5 * S
    assert probe.times[-1] == later


def test_a_request_to_stop_ends_the_feed_and_the_rest_is_dead() -> None:
    def act(self: Probe, event: Any) -> None:
        if event.ts_event == 3:
            engine.runtime.request_stop()

    first, second = Probe("first", act), Probe("second")
    engine = Engine(spec(first, second), routes={Bar: ["first", "second"]})
    with engine as runtime:
        fed = runtime.feed(bar(ts) for ts in range(1, 100_000))
        assert fed < 99_999
        assert runtime.wait_ended(0)
    assert first.times == [1, 2, 3]
    assert second.times == [1, 2], "the event at hand goes no further, as in the simulation"
    rest = [letter.message.ts_event for letter in runtime.dead_letters]
    assert rest == list(range(4, fed + 1))[: len(rest)]
    assert {letter.reason for letter in runtime.dead_letters} <= {"ENDED"}
    assert first.life == ["start", "stop"]


def test_questions_are_answered_and_have_a_timeout() -> None:
    blocker = Blocker()

    def act(self: Probe, message: Any) -> Any:
        if message == Note("block"):
            blocker(self, message)
        return len(self.seen)

    with Engine(spec(Probe(act=act))) as runtime:
        assert runtime.ask("probe", Note("?"), timeout_s=TIMEOUT_S) == 1
        runtime.tell("probe", Note("block"))
        with pytest.raises(TimeoutError, match=r"probe gave no answer to Note within 0\.01 s"):
            runtime.ask("probe", Note("?"), timeout_s=0.01)
        blocker.release.set()
    with pytest.raises(EngineHaltedError, match="probe is over: STOPPED"):
        runtime.ask("probe", Note("?"), timeout_s=TIMEOUT_S)
    assert runtime.dead_letters == (DeadLetter(Note("?"), "probe", "STOPPED"),)


def test_an_actor_may_not_ask() -> None:
    errors: list[BaseException] = []

    def act(self: Probe, message: Any) -> None:
        try:
            engine.runtime.ask("probe", Note("?"), timeout_s=TIMEOUT_S)
        except InvariantError as error:
            errors.append(error)

    engine = Engine(spec(Probe(act=act)))
    with engine as runtime:
        runtime.tell("probe", Note("x"))
    assert "an actor may not ask" in str(errors[0])


@pytest.mark.parametrize(
    ("actor", "message", "error"),
    [
        ("nobody", Note("x"), "Note sent to 'nobody', which is in no cell"),
        ("probe", "text", "str sent to 'probe', which cannot handle it"),
        ("probe", Alarm("x"), "Alarm sent to 'probe', which cannot handle it or whose mailbox"),
    ],
)
def test_a_wrong_address_is_the_senders_error(actor: str, message: Any, error: str) -> None:
    with Engine(spec(Probe())) as runtime:
        with pytest.raises(InvariantError, match=error):
            runtime.tell(actor, message)
        assert runtime.statistics()[0].state is CellState.RUNNING


def test_nothing_is_sent_before_the_start() -> None:
    runtime = Engine(spec(Probe())).runtime
    with pytest.raises(EngineHaltedError, match="not been started"):
        runtime.tell("probe", Note("x"))
    with pytest.raises(EngineHaltedError, match="not been started"):
        runtime.feed([bar(1)])


def test_what_comes_after_the_stop_is_dead_in_order() -> None:
    probe = Probe()
    with Engine(spec(probe)) as runtime:
        runtime.tell("probe", Note("1"))
    runtime.tell("probe", Note("2"))
    runtime.tell("probe", Order(3))
    assert probe.seen == [Note("1")]
    assert runtime.dead_letters == (
        DeadLetter(Note("2"), "probe", "STOPPED"),
        DeadLetter(Order(3), "probe", "STOPPED"),
    )


def test_the_stop_waits_for_what_is_queued_last_cell_first() -> None:
    recorder = Probe("recorder")
    core = Probe(act=lambda self, event: self.ctx.send("recorder", Order(event.ts_event)))
    core.on_stop = lambda: core.ctx.send("recorder", Note("bye"))  # type: ignore[method-assign]
    cells = spec(recorder, name="recorder"), spec(core, name="core")
    with Engine(*cells, routes={Bar: ["probe"]}) as runtime:
        runtime.feed(bar(ts) for ts in range(1, 501))
        report = runtime.stop(timeout_s=TIMEOUT_S)
    assert recorder.seen == [*(Order(ts) for ts in range(1, 501)), Note("bye")]
    assert report.stuck == ()
    assert report.dead_letters == 0


def test_a_stuck_cell_is_given_up_at_the_deadline_and_its_messages_are_dead() -> None:
    blocker = Blocker()
    runtime = Engine(spec(Probe(act=blocker))).runtime
    runtime.start(timeout_s=TIMEOUT_S)
    runtime.feed([bar(1), bar(2)])
    assert blocker.entered.wait(TIMEOUT_S)
    report = runtime.stop(timeout_s=0.01)
    assert report.stuck == ("cell",)
    assert runtime.dead_letters == (DeadLetter(bar(2), "cell", "STUCK"),)
    blocker.release.set()


def test_the_heartbeat_tells_age_and_depth() -> None:
    blocker = Blocker()
    with Engine(spec(Probe(act=blocker))) as runtime:
        runtime.feed([bar(1), bar(2), quote(3), quote(4)])
        assert blocker.entered.wait(TIMEOUT_S)
        first = runtime.statistics()[0]
        assert (first.state, first.now, first.depth, first.conflated) == (
            CellState.RUNNING, 1, 2, 1,
        )  # fmt: skip
        eventually(lambda: runtime.statistics()[0].busy_ns > first.busy_ns)
        blocker.release.set()
        eventually(lambda: runtime.statistics()[0].handled == 4)
    last = runtime.statistics()[0]
    assert (last.state, last.busy_ns, last.depth) == (CellState.STOPPED, 0, 0)
    assert last.peak_depth >= 2
    assert last.role is Role.CORE


def test_a_full_mailbox_halts_the_engine_when_an_order_finds_no_room() -> None:
    blocker = Blocker()
    cell = spec(Probe(act=blocker), capacity=1, deadline_s=0.01)
    with Engine(cell) as runtime:
        runtime.tell("probe", Note("1"))
        assert blocker.entered.wait(TIMEOUT_S)
        runtime.tell("probe", Note("2"))
        with pytest.raises(EngineHaltedError, match="no room for Order"):
            runtime.tell("probe", Order(3))
        assert runtime.is_halted
        with pytest.raises(EngineHaltedError, match="no room for Order in the mailbox of 1"):
            runtime.feed([bar(1)])
        blocker.release.set()
    assert runtime.dead_letters == (DeadLetter(Order(3), "probe", "MAILBOX_FULL"),)


def test_bars_hold_up_the_feeder_and_none_is_lost() -> None:
    blocker = Blocker()
    probe = Probe(act=blocker)
    with Engine(spec(probe, capacity=8)) as runtime:
        feeder = threading.Thread(target=lambda: runtime.feed(bar(t) for t in range(1, 401)))
        feeder.start()
        eventually(lambda: runtime.statistics()[0].waits == 1)
        assert runtime.statistics()[0].depth >= 7
        blocker.release.set()
        feeder.join(TIMEOUT_S)
    assert probe.times == list(range(1, 401))
    assert runtime.statistics()[0].peak_depth <= 9, "the order to finish gets in when full"


def test_a_feeder_held_up_by_a_stuck_cell_is_let_go_when_the_engine_ends() -> None:
    blocker = Blocker()
    with Engine(spec(Probe(act=blocker), capacity=1)) as runtime:
        fed: list[int] = []
        feeder = threading.Thread(
            target=lambda: fed.append(runtime.feed(bar(t) for t in range(1, 401)))
        )
        feeder.start()
        assert blocker.entered.wait(TIMEOUT_S)
        eventually(lambda: runtime.statistics()[0].waits >= 1)
        runtime.request_stop()
        feeder.join(TIMEOUT_S)
        assert not feeder.is_alive()
        assert fed[0] < 10
        blocker.release.set()
    assert len(runtime.dead_letters) == fed[0] - 1


def test_the_kill_switch_overtakes_waiting_bars() -> None:
    blocker = Blocker()
    probe = Probe(act=blocker)
    with Engine(spec(probe, capacity=4)) as runtime:
        runtime.feed([bar(1), bar(2), bar(3)])
        assert blocker.entered.wait(TIMEOUT_S)
        runtime.tell("probe", Kill())
        blocker.release.set()
    assert probe.seen == [bar(1), Kill(), bar(2), bar(3)]


# Start.


class Broken(Probe):
    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name)
        self.error = error

    def on_start(self) -> None:
        raise self.error


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "error", [ValueError("boom"), SystemExit(3), KeyboardInterrupt(), RecursionError("deep")]
)
def test_a_cell_that_does_not_start_stops_those_that_have(role: Role, error: Any) -> None:
    first, third = Probe("first"), Probe("third")
    cells = (
        spec(first, name="one"),
        spec(Broken("second", error), name="two", role=role),
        spec(third, name="three"),
    )
    runtime = Engine(*cells).runtime
    with pytest.raises(
        EngineHaltedError, match=f"cell two did not start: .*{type(error).__name__}"
    ):
        runtime.start(timeout_s=TIMEOUT_S)
    assert first.life == ["start", "stop"]
    assert third.life == []
    assert [s.state for s in runtime.statistics()] == [
        CellState.STOPPED, CellState.HALTED, CellState.STOPPED,
    ]  # fmt: skip
    assert runtime.failures[0].actor == "second"
    runtime.tell("third", Note("x"))
    assert runtime.dead_letters == (DeadLetter(Note("x"), "third", "STOPPED"),)


def test_messages_to_a_cell_that_has_not_started_wait_for_it() -> None:
    late = Probe("late")
    early = Probe("early")
    early.on_start = lambda: early.ctx.send("late", Note("hello"))  # type: ignore[method-assign]
    with Engine(spec(early, name="early"), spec(late, name="late")):
        pass
    assert late.seen == [Note("hello")]
    assert late.life == ["start", "stop"]


def _cells_named_alike() -> PykkaRuntime:
    return Engine(spec(Probe("a"), name="x"), spec(Probe("b"), name="x")).runtime


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (_cells_named_alike, "two cells have the same name"),
        (
            lambda: Engine(spec(Probe("a"), name="x"), spec(Probe("a"), name="y")),
            "two actors have the same name",
        ),
        (lambda: Engine(spec(Probe()), routes={Note: ["b"]}), "Note is routed to 'b', in no cell"),
        (
            lambda: Engine(
                spec(Probe(), overflow={Bar: Overflow.WAIT}),
                routes={Bar: ["probe"], Note: ["probe"]},
            ),
            "cell cell: Note is routed to it and has no mailbox policy",
        ),
        (lambda: Engine(spec(Probe(), role=Role.CORE, restart=RESTART)), "a CORE cell with"),
    ],
)
def test_wiring_errors_are_found_at_construction(make: Any, error: str) -> None:
    with pytest.raises(InvariantError, match=error):
        make()


def test_two_engines_in_one_process_leave_each_other_and_other_actors_alone() -> None:
    class Bystander(pykka.ThreadingActor):
        use_daemon_thread = True

    bystander = Bystander.start()
    one, two = Probe(), Probe()
    with Engine(spec(one)) as first:
        with Engine(spec(two)) as second:
            first.feed([bar(1)])
            second.feed([bar(2)])
        first.feed([bar(3)])
        second.tell("probe", Note("too late"))
    assert one.times == [1, 3]
    assert two.times == [2]
    assert len(second.dead_letters) == 1
    assert first.dead_letters == ()
    assert bystander.is_alive()
    bystander.stop()
    assert not pykka.ActorRegistry.get_by_class_name("CellActor")


def test_stopped_by_pykka_itself_a_cell_ends_in_order() -> None:
    probe = Probe()
    with Engine(spec(probe)) as runtime:
        runtime.feed([bar(1)])
        for ref in pykka.ActorRegistry.get_by_class_name("CellActor"):
            ref.stop(timeout=TIMEOUT_S)
        runtime.tell("probe", Note("x"))
    assert probe.times == [1]
    assert probe.life == ["start", "stop"]
    assert runtime.dead_letters == (DeadLetter(Note("x"), "probe", "STOPPED"),)


def test_all_policies_are_stated() -> None:
    assert {Bar, Trade, Quote} <= set(POLICIES)


@pytest.mark.parametrize("clock", [EventClock(5), ReplayClock(5, 1e-15)])
def test_a_cell_starts_at_the_clocks_time(clock: Any) -> None:
    starts: list[int] = []

    class Starter(Actor):
        def handlers(self) -> Mapping[type, Handler]:
            return {Bar: starts.append}

        def on_start(self) -> None:
            starts.append(self.ctx.now)

    with Engine(spec(Starter("s")), routes={Bar: ["s"]}, clock=clock):
        pass
    assert starts == [5]


class Holder(Probe):
    """Holds something outside, and may find that it cannot be let go."""

    def __init__(self, name: str, *, sticks: bool = False) -> None:
        super().__init__(name)
        self.sticks = sticks

    def on_release(self) -> None:
        self.life.append("release")
        if self.sticks:
            raise OSError("it does not let go")


@pytest.mark.parametrize("how", ["closing", "left off", "failed"])
def test_what_is_outside_is_let_go_last_however_a_cell_ends(how: str) -> None:
    def act(self: Probe, event: Any) -> None:
        raise ValueError("a bug")

    first, second = Holder("first", sticks=True), Holder("second")
    broken = Probe(act=act)
    engine = Engine(spec(first, second, broken), routes={Bar: ["probe"]})
    runtime = engine.__enter__()
    if how == "failed":
        with pytest.raises(EngineHaltedError):
            runtime.ask("probe", Note("x"), timeout_s=TIMEOUT_S)
    runtime.stop(timeout_s=TIMEOUT_S, closing=how == "closing")
    stop = ["stop"] if how == "closing" else []
    assert first.life == second.life == ["start", *stop, "release"]
    errors = [(failed.actor, failed.error) for failed in runtime.failures]
    cause = [("probe", "ValueError: a bug")] if how == "failed" else []
    assert errors == [*cause, ("first", "OSError: it does not let go")]
