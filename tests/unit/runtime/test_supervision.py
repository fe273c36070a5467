"""What failures do: every role, every kind of message, every kind of exception."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from engine.domain.market import Bar, Quote, Trade
from engine.errors import EngineHaltedError
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.supervision import (
    CellFailed,
    CellState,
    DeadLetter,
    DeadLetters,
    RestartBudget,
    RestartRules,
    Role,
    Supervisor,
    describe,
)
from tests.unit.runtime.rig import (
    TIMEOUT_S,
    Alarm,
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


class Mute(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ValueError("no text")


def _deep() -> None:
    _deep()


def _raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


FAILURES: dict[str, Callable[[], None]] = {
    "ValueError": _raiser(ValueError("boom")),
    "SystemExit": _raiser(SystemExit(3)),
    "KeyboardInterrupt": _raiser(KeyboardInterrupt()),
    "GeneratorExit": _raiser(GeneratorExit()),
    "MemoryError": _raiser(MemoryError()),
    "RecursionError": _deep,
    "Mute": _raiser(Mute()),
}
MESSAGES: tuple[Any, ...] = (bar(5), trade(5), quote(5), Note("bad"), Order(5), Kill())
MARKET = (Bar, Trade, Quote)


def deliver(runtime: PykkaRuntime, message: Any) -> None:
    if isinstance(message, MARKET):
        runtime.feed([message])
    else:
        runtime.tell("probe", message)


def failing_on(bad: Any, fail: Callable[[], None]) -> Callable[[Probe, Any], None]:
    def act(self: Probe, message: Any) -> None:
        if message == bad:
            # What it sends before it fails is not handled any more.
            self.ctx.send("probe", Note("caused"))
            fail()

    return act


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", FAILURES)
def test_the_core_halts_at_once_and_loses_nothing_silently(name: str, message: Any) -> None:
    heard: list[CellFailed] = []
    gate = threading.Event()
    act = failing_on(message, FAILURES[name])

    def hold(self: Probe, received: Any) -> None:
        if received == Note("hold"):
            assert gate.wait(TIMEOUT_S)
        act(self, received)

    probe, other = Probe(act=hold), Probe("other")
    cells = spec(other, name="other"), spec(probe, name="core")
    routes = {kind: ["probe"] for kind in MARKET}
    with Engine(*cells, routes=routes, on_failure=heard.append) as runtime:
        runtime.tell("probe", Note("hold"))
        deliver(runtime, message)
        runtime.tell("probe", Order(1))
        gate.set()
        assert runtime.wait_ended(TIMEOUT_S)
        eventually(lambda: bool(heard))
        runtime.tell("probe", Order(2))
        runtime.tell("other", Note("still here"))
        with pytest.raises(
            EngineHaltedError, match=f"probe in cell core failed on {_name(message)}"
        ):
            runtime.feed([bar(9)])
    first, *rest = runtime.dead_letters
    assert (first.message, first.actor) == (message, "probe")
    assert first.reason.startswith(f"FAILED {name}")
    if isinstance(message, Kill):  # it was urgent: what was told before it came after it
        assert DeadLetter(Note("caused"), "probe", "HALTED") in rest
    else:
        assert rest == [
            DeadLetter(Note("caused"), "probe", "HALTED"),
            DeadLetter(Order(1), "probe", "HALTED"),
            DeadLetter(Order(2), "probe", "HALTED"),
        ]
    assert [f.state for f in heard] == [CellState.HALTED]
    assert heard[0].traceback
    assert runtime.failures == tuple(heard)
    assert other.seen == [Note("still here")], "other cells live on until they are stopped"
    states = {s.cell: s.state for s in runtime.statistics()}
    assert states == {"other": CellState.STOPPED, "core": CellState.HALTED}
    assert not pykka.ActorRegistry.get_by_class_name("CellActor")


def _name(message: Any) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("role", [Role.EDGE, Role.TELEMETRY])
def test_edges_are_built_anew_and_go_on_with_what_waits(
    role: Role, name: str, message: Any
) -> None:
    made: list[Probe] = []

    def make() -> list[Probe]:
        made.append(Probe(act=failing_on(message, FAILURES[name])))
        return made[-1:]

    cell = spec(role=role, make=make)
    with Engine(cell, routes={kind: ["probe"] for kind in MARKET}) as runtime:
        deliver(runtime, message)
        runtime.tell("probe", Order(1))
        eventually(lambda: len(made) == 2 and made[1].seen == [Order(1)])
        assert not runtime.is_halted
        assert runtime.statistics()[0].state is CellState.RUNNING
        assert runtime.statistics()[0].restarts == 1
    first, second = runtime.dead_letters
    assert (first.message, first.actor) == (message, "probe")
    assert first.reason.startswith(f"FAILED {name}")
    assert second == DeadLetter(Note("caused"), "probe", "RESTARTED")
    assert made[0].life == ["start"]
    assert made[1].life == ["start", "stop"]
    time = 5 if isinstance(message, MARKET) else 0
    assert (made[1].born, made[1].times) == (time, [time]), "time goes on"


@pytest.mark.parametrize("role", [Role.EDGE, Role.TELEMETRY])
def test_the_fourth_failure_within_the_window_halts_the_cell(role: Role) -> None:
    heard: list[CellFailed] = []
    cell = spec(
        role=role,
        make=lambda: [Probe(act=failing_on(Note("bad"), FAILURES["ValueError"]))],
    )
    core = Probe("core")
    routes = {Bar: ["core"]}
    with Engine(cell, spec(core, name="core"), routes=routes, on_failure=heard.append) as runtime:
        for _ in range(4):
            runtime.tell("probe", Note("bad"))
        runtime.tell("probe", Note("good"))
        eventually(lambda: len(heard) == 4)
        assert runtime.is_halted is (role is Role.EDGE)
        if role is Role.TELEMETRY:
            assert runtime.feed([bar(1)]) == 1, "the engine trades on without telemetry"
    assert [f.state for f in heard] == [CellState.BACKING_OFF] * 3 + [CellState.HALTED]
    assert runtime.dead_letters[-1] == DeadLetter(Note("good"), "probe", "HALTED")


def test_a_restart_that_fails_counts_as_a_failure() -> None:
    made = 0

    def make() -> list[Probe]:
        nonlocal made
        made += 1
        if made in (2, 3):
            raise ValueError(f"attempt {made}")
        return [Probe(act=failing_on(Note("bad"), FAILURES["ValueError"]))]

    with Engine(spec(role=Role.EDGE, make=make), routes={}) as runtime:
        runtime.tell("probe", Note("bad"))
        eventually(lambda: made == 4 and runtime.statistics()[0].state is CellState.RUNNING)
    assert [f.error for f in runtime.failures] == [
        "ValueError: boom", "ValueError: attempt 2", "ValueError: attempt 3",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_an_actor_that_deals_with_its_failure_keeps_the_cell_going(name: str) -> None:
    errors: list[str] = []

    class Careful(Probe):
        def on_failure(self, message: Any, error: BaseException) -> bool:
            errors.append(type(error).__name__)
            return True

    careful = Careful("probe", failing_on(bar(2), FAILURES[name]))
    other = Probe("other")
    with Engine(spec(careful, other), routes={Bar: ["probe", "other"]}) as runtime:
        runtime.feed([bar(1), bar(2), bar(3)])
    assert errors == [name]
    assert careful.seen == [bar(1), bar(2), Note("caused"), bar(3)]
    assert other.times == [1, 2, 3]
    assert runtime.dead_letters == ()
    assert runtime.failures == ()


def test_a_failure_while_dealing_with_a_failure_is_the_cells() -> None:
    class Careless(Probe):
        def on_failure(self, message: Any, error: BaseException) -> bool:
            raise SystemExit(1)

    careless = Careless("probe", failing_on(bar(1), FAILURES["ValueError"]))
    with Engine(spec(careless)) as runtime:
        runtime.feed([bar(1)])
        assert runtime.wait_ended(TIMEOUT_S)
    assert [f.error for f in runtime.failures] == ["SystemExit: 1"]


def test_a_timer_that_fails_is_a_failure() -> None:
    def act(self: Probe, message: Any) -> None:
        if message == Alarm("x"):
            raise ValueError("boom")
        self.ctx.set_timer(10, Alarm("x"))

    with Engine(spec(Probe(act=act))) as runtime:
        runtime.feed([bar(1), bar(20)])
        assert runtime.wait_ended(TIMEOUT_S)
    assert runtime.dead_letters[0] == DeadLetter(Alarm("x"), "probe", "FAILED ValueError: boom")


def test_a_failing_batch_is_a_failure_without_a_message() -> None:
    class Full(Probe):
        def on_batch(self) -> None:
            if self.seen:
                raise OSError("disk full")

    with Engine(spec(Full())) as runtime:
        runtime.feed([bar(1)])
        assert runtime.wait_ended(TIMEOUT_S)
    failure = runtime.failures[0]
    assert (failure.actor, failure.message, failure.error) == ("cell", None, "OSError: disk full")
    assert runtime.dead_letters == ()


def test_a_failing_stop_is_reported() -> None:
    class Stubborn(Probe):
        def on_stop(self) -> None:
            raise KeyboardInterrupt

    with Engine(spec(Stubborn())) as runtime:
        runtime.feed([bar(1)])
    assert [f.error for f in runtime.failures] == ["KeyboardInterrupt: "]
    assert runtime.is_halted


def test_a_question_that_fails_halts_the_core_and_is_answered() -> None:
    with Engine(spec(Probe(act=failing_on(Note("?"), FAILURES["SystemExit"])))) as runtime:
        with pytest.raises(EngineHaltedError, match="cell cell: SystemExit: 3"):
            runtime.ask("probe", Note("?"), timeout_s=TIMEOUT_S)
        assert runtime.is_halted
    assert [(d.message, d.actor) for d in runtime.dead_letters] == [
        (Note("?"), "probe"), (Note("caused"), "probe"),
    ]  # fmt: skip


def test_a_supervisor_whose_listener_fails_remembers_that_too() -> None:
    supervisor = Supervisor(_raise_mute)
    supervisor.report(_failed(Role.EDGE, CellState.BACKING_OFF))
    assert [f.cell for f in supervisor.failures] == ["c", "supervisor"]
    assert supervisor.fatal is None
    assert not supervisor.halted.is_set()
    fatal = _failed(Role.EDGE, CellState.HALTED)
    supervisor.report(fatal)
    assert supervisor.fatal is fatal


def _raise_mute(failure: CellFailed) -> None:
    raise Mute


def _failed(role: Role, state: CellState) -> CellFailed:
    return CellFailed(
        cell="c", role=role, actor="a", message=None, error="e", traceback="", state=state
    )


def test_the_restart_budget_slides() -> None:
    budget = RestartBudget(RestartRules(max_restarts=3, window_s=60.0, backoff_s=0.5))
    times = [0, 10, 20, 30, 59, 60, 61, 70, 200]
    assert [budget.spend(ts * S) for ts in times] == [
        0.5, 1.0, 2.0, None, None, 2.0, None, 2.0, 0.5,
    ]  # fmt: skip
    assert budget.restarts == 6


def test_dead_letters_beyond_the_capacity_are_counted_and_go_to_the_sink() -> None:
    sunk: list[DeadLetter] = []
    dead = DeadLetters(2, sunk.append)
    letters = [DeadLetter(Note(str(i)), "a", "STOPPED") for i in range(3)]
    for letter in letters:
        dead.add(letter)
    assert dead.letters == tuple(letters[:2])
    assert sunk == letters
    assert (dead.total, len(dead.letters)) == (3, 2)


def test_an_error_without_text_is_described() -> None:
    assert describe(Mute()) == "Mute: (its text could not be made)"
