"""The executor inside the real core: strategies that begin and end while it is at work."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import (
    ClosePosition,
    OrderApproved,
    SetTradingState,
    TradingState,
)
from engine.domain.events import PositionChanged, StrategyFailed
from engine.domain.executions import (
    BeginExecution,
    EndExecution,
    ExecutionBegan,
    ExecutionEnded,
    ExecutionRefused,
    OnStop,
)
from engine.domain.market import Bar
from engine.errors import ConfigError
from engine.naming import execution_id
from engine.strategy.base import Strategy
from tests.simulation.rig import NO_LIMITS, START, Core

WIDE = {**NO_LIMITS, "account.cash": 1_000_000.0}


class Buyer(Strategy):
    """Buys once, a parameter says how much; then rests a limit order far below."""

    quantity: int = 10
    fails: str = ""

    def on_start(self) -> None:
        self.seen: list[str] = []
        self.schedule("tick", "1m")
        if self.fails == "start":
            raise ValueError("not like this")

    def on_bar(self, bar: Bar) -> None:
        self.seen.append(bar.symbol)
        if self.fails == "bar" and self.position(bar.symbol):
            raise ValueError("no\nmore")
        if not any(order.symbol == bar.symbol for order in self.orders):
            holds = bool(self.position(bar.symbol))
            self.buy(bar.symbol, 1 if holds else self.quantity, limit=1.0 if holds else None)

    def on_stop(self) -> None:
        self.seen.append("stop")


def make(begin: BeginExecution) -> Strategy:
    if "quantity" not in begin.parameters:
        raise ConfigError("quantity: missing")
    return Buyer(**begin.parameters)


def core(settings: Any = WIDE) -> Core:
    return Core({}, settings, begin=make).start()


def begin(
    core: Core, strategy: str = "S", *, occasion: str = "1", on_stop: OnStop = "keep", **given: Any
) -> BeginExecution:
    message = BeginExecution(
        execution_id=execution_id("run", strategy, occasion),
        strategy_id=strategy,
        wire_id=7,
        symbols=given.pop("symbols", ("A",)),
        parameters={"quantity": 10} | given,
        on_stop=on_stop,
        ts_init=core.cell.now,
    )
    core.deliver("executor", message)
    return message


def end(core: Core, strategy: str = "S", on_stop: OnStop | None = None) -> None:
    command = EndExecution(
        strategy_id=strategy, reason="DONE", on_stop=on_stop, ts_init=core.cell.now
    )
    core.deliver("executor", command)


def bars(core: Core, count: int, symbol: str = "A", price: int = 10_000) -> None:
    for _ in range(count):
        core.bar(symbol, price)


def held(core: Core, strategy: str = "S", symbol: str = "A") -> int:
    quantity: int = core.ledger.position(strategy, symbol)[0]
    return quantity


@pytest.mark.req("R16", "R18", "R100")
def test_a_strategy_begins_and_sees_what_comes_then() -> None:
    run = core()
    bars(run, 2)
    message = begin(run)
    (began,) = run.events(ExecutionBegan)
    assert (began.execution_id, began.strategy_id, began.wire_id) == (message.execution_id, "S", 7)
    assert began.ts_event == run.cell.now
    bars(run, 2)
    bars(run, 1, "B")
    strategy: Any = run.host("S").strategy
    assert strategy.seen == ["A", "A"]
    assert held(run) == 10
    assert [e.order.client_order_id for e in run.events(OrderApproved)] == ["S:A:2:1", "S:A:3:1"]


@pytest.mark.req("R20")
def test_strategies_work_beside_each_other_each_on_its_own_symbols() -> None:
    run = core()
    begin(run, "S", quantity=3)
    bars(run, 1)
    begin(run, "T", symbols=("A", "B"), quantity=5)
    for _ in range(3):
        bars(run, 1)
        bars(run, 1, "B")
    assert (held(run, "S"), held(run, "T"), held(run, "T", "B")) == (3, 5, 5)
    strategy: Any = run.host("T").strategy
    assert strategy.seen == ["A", "B"] * 3
    assert run.host("T").desk.cash == run.ledger.cash


def test_the_same_message_begins_nothing_twice() -> None:
    run = core()
    message = begin(run)
    run.deliver("executor", message)
    end(run)
    run.deliver("executor", message)
    assert len(run.events(ExecutionBegan)) == 1
    assert not run.events(ExecutionRefused)


def test_a_strategy_at_work_cannot_begin_again() -> None:
    run = core()
    begin(run)
    message = begin(run, occasion="2")
    (refused,) = run.events(ExecutionRefused)
    assert refused.execution_id == message.execution_id
    assert refused.reason == "an execution of strategy 7 is at work: end it first"


def test_a_strategy_that_is_wound_down_cannot_begin_again() -> None:
    run = core()
    begin(run)
    bars(run, 2)
    end(run, on_stop="flatten")
    begin(run, occasion="2")
    (refused,) = run.events(ExecutionRefused)
    assert refused.reason == "an execution of strategy 7 is being wound down: end it first"


def test_parameters_that_the_strategy_does_not_take_are_refused() -> None:
    run = core()
    message = BeginExecution(
        execution_id="x", strategy_id="S", wire_id="S", symbols=("A",), ts_init=START
    )
    run.deliver("executor", message)
    (refused,) = run.events(ExecutionRefused)
    assert refused.reason == "quantity: missing"
    assert "host.S" not in run.cell.actors


@pytest.mark.req("D15", "R17", "R104")
@pytest.mark.parametrize(("on_stop", "left"), [("keep", 10), ("flatten", 0)])
def test_it_ends_when_no_order_works_any_more(on_stop: OnStop, left: int) -> None:
    run = core()
    begin(run, on_stop=on_stop)
    strategy: Any = run.host("S").strategy
    bars(run, 3)
    assert len(run.router.orders) == 2
    end(run)
    bars(run, 2)
    assert held(run) == left
    assert strategy.seen == ["A", "A", "A", "stop"]
    (ended,) = run.events(ExecutionEnded)
    assert (ended.status, ended.reason, ended.is_flat) == ("stopped", "DONE", not left)
    assert ("host.S" in run.cell.actors) is bool(left)
    end(run)
    end(run, "never began")
    bars(run, 1)
    assert len(run.events(ExecutionEnded)) == 1


@pytest.mark.req("D15")
def test_what_it_was_begun_with_gives_way_to_what_it_is_ended_with() -> None:
    run = core()
    begin(run, on_stop="keep")
    bars(run, 2)
    end(run, on_stop="flatten")
    bars(run, 2)
    assert held(run) == 0


@pytest.mark.req("D17")
def test_a_strategy_goes_on_with_what_its_last_execution_kept() -> None:
    run = core()
    begin(run)
    bars(run, 2)
    end(run)
    begin(run, occasion="2", on_stop="flatten")
    assert not run.events(ExecutionRefused)
    position = run.host("S").desk.positions["A"]
    assert (position.units, position.cost) == run.ledger.position("S", "A")
    bars(run, 2)
    assert held(run) == 10  # it knew, and did not buy again
    end(run)
    bars(run, 2)
    assert held(run) == 0
    ids = [event.order.client_order_id for event in run.events(OrderApproved)]
    assert len(set(ids)) == len(ids)
    assert ids[2].startswith("S/2:")
    assert [event.is_flat for event in run.events(ExecutionEnded)] == [False, True]


def test_a_position_that_was_kept_can_still_be_closed() -> None:
    run = core()
    begin(run)
    bars(run, 2)
    end(run)
    close = ClosePosition(strategy_id="S", symbol="A", reason="STOP_LOSS", ts_init=run.cell.now)
    run.cell.publish(close)
    run.cell.drain()
    bars(run, 1)
    assert held(run) == 0
    assert "host.S" not in run.cell.actors


def test_a_position_that_is_not_closed_at_once_is_tried_again() -> None:
    run = core({**WIDE, "orders.time_in_force": "IOC", "fill.volume_limit": 0.5})
    begin(run, on_stop="flatten")
    run.bar("A", 10_000, volume=1_000)
    run.bar("A", 10_000, volume=1_000)
    end(run)
    run.bar("A", 10_000, volume=8)  # half of what is traded may be ours
    assert held(run) == 6
    assert not run.events(ExecutionEnded)
    run.bar("A", 10_000, volume=1_000)
    run.bar("A", 10_000, volume=1_000)
    assert held(run) == 0
    assert len(run.events(ExecutionEnded)) == 1
    ids = [event.order.client_order_id for event in run.events(OrderApproved)]
    assert len(set(ids)) == len(ids)


@pytest.mark.req("D14")
def test_it_is_flattened_though_trading_is_halted() -> None:
    run = core()
    begin(run, on_stop="flatten")
    bars(run, 2)
    state = SetTradingState(state=TradingState.HALTED, reason="x", ts_init=0)
    run.deliver("risk_gate", state)
    end(run)
    bars(run, 1)
    assert held(run) == 0


@pytest.mark.req("R104")
def test_one_that_fails_is_flattened_and_the_others_go_on() -> None:
    run = core()
    begin(run, "S", fails="bar")
    begin(run, "T", fails="start")
    begin(run, "U")
    bars(run, 5)
    assert [event.strategy_id for event in run.events(StrategyFailed)] == ["T", "S"]
    ended = {event.strategy_id: event for event in run.events(ExecutionEnded)}
    assert {name: each.status for name, each in ended.items()} == {"S": "error", "T": "error"}
    assert ended["S"].reason == "ValueError: no more"
    assert (held(run, "S"), held(run, "T"), held(run, "U")) == (0, 0, 10)
    assert not run.stopped
    assert "host.U" in run.cell.actors
    begin(run, "T", occasion="2")
    assert len(run.events(ExecutionBegan)) == 4


def test_timers_of_one_that_ended_do_not_fire() -> None:
    run = core()
    begin(run)
    end(run)
    count = len(run.witness.seen)
    run.idle(run.cell.now + 3600 * 10**9)
    assert len(run.witness.seen) == count


def test_orders_and_fills_name_their_strategy() -> None:
    run = core()
    begin(run, "S")
    begin(run, "T")
    bars(run, 2)
    owners = {event.fill.strategy_id for event in run.events(PositionChanged)}
    assert owners == {"S", "T"}
