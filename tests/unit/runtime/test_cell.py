"""The rule of order, lanes and timers of a cell, without any runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.market import Bar, Trade
from engine.errors import InvariantError
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import NEVER, Cell
from tests.unit.runtime.rig import Alarm, Note, Order, Probe, bar, trade


class Log(Actor):
    """Writes who received what into a list that all share; publishes what its table says."""

    def __init__(
        self, name: str, log: list[str], then: Mapping[Any, tuple[Any, ...]] | None = None
    ) -> None:
        super().__init__(name)
        self.log = log
        self.then = then or {}

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys((Bar, Note, Order), self.on_message)

    def on_message(self, message: Any) -> None:
        key = getattr(message, "text", None) or type(message).__name__
        self.log.append(f"{self.name}:{key}")
        for following in self.then.get(key, ()):
            self.ctx.publish(following)


def test_what_a_destination_causes_is_settled_before_the_next_sees_the_event() -> None:
    log: list[str] = []
    venue = Log("venue", log, {"Bar": (Note("fill"),)})
    ledger = Log("ledger", log, {"fill": (Note("position"),)})
    host = Log("host", log)
    cell = Cell("core", [venue, ledger, host], {Bar: ["venue", "host"], Note: ["ledger", "host"]})
    cell.deliver_market(bar(1))
    assert log == [
        "venue:Bar", "ledger:fill", "host:fill", "ledger:position", "host:position", "host:Bar",
    ]  # fmt: skip


def test_messages_are_handled_first_in_first_out_breadth_before_depth() -> None:
    log: list[str] = []
    a = Log("a", log, {"1": (Note("2"), Note("3")), "2": (Note("4"),)})
    cell = Cell("core", [a], {Note: ["a"]})
    cell.deliver("a", Note("1"))
    assert log == ["a:1", "a:2", "a:3", "a:4"]


def test_watchers_come_first_in_the_order_they_watch_and_only_while_they_do() -> None:
    probes = {name: Probe(name) for name in ("fixed", "one", "two")}
    log: list[str] = []
    for probe in probes.values():
        probe.act = lambda self, event: log.append(f"{self.name}{event.ts_event}")
    cell = Cell("core", list(probes.values()), {Bar: ["fixed"]})
    probes["two"].ctx.watch("A")
    probes["one"].ctx.watch("A")
    probes["one"].ctx.watch("A")
    cell.deliver_market(bar(1))
    cell.deliver_market(bar(2, "B"))
    probes["two"].ctx.unwatch("A")
    probes["two"].ctx.unwatch("B")
    cell.deliver_market(bar(3))
    probes["one"].ctx.unwatch("A")
    cell.deliver_market(bar(4))
    assert log == ["two1", "one1", "fixed1", "fixed2", "one3", "fixed3", "fixed4"]


def test_watching_while_an_event_is_handled_takes_effect_with_the_next() -> None:
    late = Probe("late")
    first = Probe("first", lambda self, event: late.ctx.watch("A"))
    cell = Cell("core", [first, late], {Bar: ["first"]})
    cell.deliver_market(bar(1))
    assert late.seen == []
    cell.deliver_market(bar(2))
    assert [event.ts_event for event in late.seen] == [2]


def test_the_latest_event_of_a_symbol_is_known_to_all() -> None:
    probe = Probe()
    seen: list[Any] = []
    probe.act = lambda self, event: seen.append((self.ctx.last("A"), self.ctx.last("B")))
    cell = Cell("core", [probe], {Bar: ["probe"], Trade: ["probe"]})
    assert probe.ctx.last("A") is None
    cell.deliver_market(bar(1, "A"))
    cell.deliver_market(trade(2, "B"))
    assert seen == [(bar(1, "A"), None), (bar(1, "A"), trade(2, "B"))]
    assert probe.ctx.lane("A").last == bar(1, "A")


def test_an_actor_receives_the_market_events_of_its_symbols_only() -> None:
    probe = Probe()
    probe.symbols = frozenset({"A"})  # type: ignore[attr-defined]
    cell = Cell("core", [probe], {Bar: ["probe"]})
    for symbol in "ABA":
        cell.deliver_market(bar(1, symbol))
    assert [event.symbol for event in probe.seen] == ["A", "A"]


def test_what_is_not_here_goes_out() -> None:
    out: list[Any] = []
    probe = Probe(act=lambda self, event: self.ctx.send("far", Note("sent")))
    cell = Cell(
        "core",
        [probe],
        {Bar: ["probe"], Note: ["far", "probe"]},
        outlet=lambda actor, message: out.append((actor, message)),
    )
    cell.deliver_market(bar(1))
    probe.act = None
    cell.publish(Note("published"))
    cell.drain()
    assert out == [("far", Note("sent")), ("far", Note("published"))]
    assert probe.seen[-1] == Note("published")


@pytest.mark.parametrize(
    ("routes", "error"),
    [
        ({Note: ["nobody"]}, "Note is routed to 'nobody', which is in no cell"),
        ({int: ["probe"]}, "int is routed to 'probe', which cannot handle it"),
    ],
)
def test_a_route_that_leads_nowhere_is_found_at_construction(
    routes: dict[type, list[str]], error: str
) -> None:
    with pytest.raises(InvariantError, match=error):
        Cell("core", [Probe()], routes)


def test_a_message_sent_nowhere_is_an_error() -> None:
    probe = Probe()
    Cell("core", [probe], {})
    with pytest.raises(InvariantError, match="Note sent to 'nobody', in no cell"):
        probe.ctx.send("nobody", Note("x"))


# Timers.


def timed(times: list[int]) -> tuple[Cell, Probe]:
    probe = Probe()
    cell = Cell("core", [probe], {Bar: ["probe"]})
    for number, ts in enumerate(times):
        probe.ctx.set_timer(ts, Alarm(str(number)))
    return cell, probe


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 25))
def test_timers_fire_in_the_order_of_time_then_of_setting(times: list[int], until: int) -> None:
    cell, probe = timed(times)
    cell.fire_timers(until)
    due = sorted((ts, number) for number, ts in enumerate(times) if ts < until)
    assert [int(alarm.name) for alarm in probe.seen] == [number for _, number in due]
    assert probe.times == [ts for ts, _ in due]
    assert cell.deadline == min((ts for ts in times if ts >= until), default=NEVER)


def test_a_timer_set_in_the_past_fires_at_the_present() -> None:
    cell, probe = timed([])
    cell.now = 10
    probe.ctx.set_timer(3, Alarm("late"))
    cell.fire_timers(11)
    assert probe.times == [10]


def test_timers_may_set_and_cancel_timers() -> None:
    cell, probe = timed([])
    numbers: list[int] = []

    def act(self: Probe, alarm: Any) -> None:
        if alarm.name == "first":
            self.ctx.cancel_timer(numbers[1])
            self.ctx.set_timer(6, Alarm("chained"))

    probe.act = act
    numbers += [probe.ctx.set_timer(5, Alarm("first")), probe.ctx.set_timer(7, Alarm("canceled"))]
    probe.ctx.cancel_timer(999)
    cell.fire_timers(10)
    assert [alarm.name for alarm in probe.seen] == ["first", "chained"]


def test_a_runtime_hears_of_every_change_of_the_next_deadline() -> None:
    deadlines: list[int] = []
    probe = Probe()
    cell = Cell("core", [probe], {}, on_timer_change=deadlines.append)
    for ts in (9, 12, 5):
        probe.ctx.set_timer(ts, Alarm(str(ts)))
    cell.fire_timers(10)
    assert deadlines == [9, 5, 9, 12]


# Failures.


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
def test_an_interrupt_is_no_failure_of_an_actor(error: BaseException) -> None:
    class Careful(Probe):
        def on_failure(self, message: Any, error: BaseException) -> bool:
            return True

    def act(self: Probe, message: Any) -> None:
        raise error

    cell = Cell("core", [Careful("probe", act)], {Bar: ["probe"]})
    with pytest.raises(type(error)):
        cell.deliver_market(bar(1))
    assert cell.failed == ("probe", bar(1))


def test_an_exit_in_an_actor_that_deals_with_it_does_not_end_the_process() -> None:
    dealt: list[BaseException] = []

    class Careful(Probe):
        def on_failure(self, message: Any, error: BaseException) -> bool:
            dealt.append(error)
            return True

    def act(self: Probe, message: Any) -> None:
        raise SystemExit(1)

    cell = Cell("core", [Careful("probe", act)], {Bar: ["probe"]})
    cell.deliver_market(bar(1))
    assert [type(error) for error in dealt] == [SystemExit]
    assert cell.failed is None
