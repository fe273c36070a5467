"""The host inside the real core: hooks in order, the outbox, failures, timers, control."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from engine import ta
from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    SetTradingState,
    StopStrategy,
    TradingState,
)
from engine.domain.events import (
    CancelRejected,
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
    StrategyFailed,
)
from engine.domain.market import Bar
from engine.domain.orders import OrderStatus
from engine.domain.signals import Signal
from engine.strategy.base import Strategy
from tests.simulation.rig import MINUTE, NO_LIMITS, START, Core

WIDE = {**NO_LIMITS, "account.cash": 1_000_000.0}
QUARANTINE = {**WIDE, "supervision.strategy": "quarantine"}


class Diary(Strategy):
    """Writes down every hook; on each bar does what it was told for that bar."""

    plan: ClassVar[dict[int, Any]] = {}

    def on_start(self) -> None:
        self.diary: list[Any] = ["start"]
        self.bar_count = 0

    def on_bar(self, bar: Bar) -> None:
        self.diary.append(("bar", bar.symbol, bar.close))
        act = self.plan.get(self.bar_count)
        self.bar_count += 1
        if act is not None:
            act(self, bar)

    def on_order(self, order: Any) -> None:
        self.diary.append(("order", order.status.name, order.reason))

    def on_fill(self, fill: Any) -> None:
        position = self.position(fill.symbol)
        self.diary.append(("fill", fill.quantity, fill.price, position.quantity, self.cash))

    def on_timer(self, name: str) -> None:
        self.diary.append(("timer", name, self.now))

    def on_signal(self, signal: Signal) -> None:
        self.diary.append(("signal", signal.strategy_id, signal.symbol))

    def on_stop(self) -> None:
        self.diary.append("stop")


def diary(plan: dict[int, Any] | None = None, **members: Any) -> Diary:
    cls: type[Diary] = type("Noted", (Diary,), {"plan": plan or {}, **members})
    return cls()


def core_with(plan: dict[int, Any], settings: Any = WIDE, **members: Any) -> Core:
    return Core({"S": diary(plan, **members)}, settings).start()


def notes(core: Core, name: str = "S") -> list[Any]:
    strategy = core.host(name).strategy
    assert isinstance(strategy, Diary)
    return strategy.diary


def buy(qty: int, **more: Any) -> Any:
    return lambda s, bar: s.buy(bar.symbol, qty, **more)


def sell(qty: int, **more: Any) -> Any:
    return lambda s, bar: s.sell(bar.symbol, qty, **more)


def test_hooks_come_in_order_and_the_fill_sees_its_position() -> None:
    core = core_with({0: buy(10)})
    core.bar("A", 10_000)
    core.bar("A", 10_100)
    core.cell.stop()
    assert notes(core) == [
        "start",
        ("bar", "A", 100.0),
        ("order", "ACCEPTED", ""),
        ("fill", 10.0, 101.0, 10.0, 998_990.0),  # before the bar whose open filled it
        ("bar", "A", 101.0),
        "stop",
    ]


@pytest.mark.req("P35")
def test_an_order_is_not_filled_by_the_bar_that_caused_it() -> None:
    core = core_with({0: buy(10)})
    core.bar("A", (10_000, 20_000, 5_000, 10_000))
    assert core.events(OrderFilled) == []
    core.bar("A", 10_300)
    (fill,) = core.events(OrderFilled)
    assert (fill.last_px, fill.datum_seq) == (10_300, 1)


def test_the_outbox_leaves_in_its_order() -> None:
    def act(s: Strategy, bar: Bar) -> None:
        first = s.buy("A", 1, limit=90.0)
        s.signal("A", score=2.0)
        s.buy("A", 2, limit=91.0)
        s.cancel(first)

    core = core_with({0: act})
    core.bar("A", 10_000)
    ids = ["S:A:0:1", "S:A:0:2"]
    assert [e.client_order_id for e in core.events(OrderSubmitted)] == ids
    assert [e.client_order_id for e in core.events(OrderCanceled)] == ids[:1]
    assert list(core.host("S").desk.orders) == ids[1:]
    assert [(s.symbol, s.score) for s in core.events(Signal)] == [("A", 2.0)]


def test_a_denial_reaches_the_strategy() -> None:
    core = core_with({0: buy(10)}, {**WIDE, "risk.max_order_size": 10.0})
    core.bar("A", 10_000)
    assert notes(core)[-1] == ("order", "DENIED", "ORDER_VALUE_ABOVE_MAX")
    assert not core.host("S").desk.orders


def fail(s: Strategy, bar: Bar) -> None:
    s.buy(bar.symbol, 5)
    raise ValueError("no more")


@pytest.mark.req("P30")
def test_a_failing_strategy_is_quarantined() -> None:
    core = core_with({0: buy(1, limit=50.0), 1: fail}, QUARANTINE)
    for _ in range(3):
        core.bar("A", 10_000)
    (failed,) = core.events(StrategyFailed)
    assert (failed.strategy_id, failed.hook, failed.error) == ("S", "on_bar", "ValueError: no more")
    assert "in fail" in failed.traceback
    assert failed.event.startswith("bar 2 of A (ended ")
    # What the failing hook had ordered was never sent, what worked is canceled, nothing else.
    assert [e.client_order_id for e in core.events(OrderSubmitted)] == ["S:A:0:1"]
    assert [e.client_order_id for e in core.events(OrderCanceled)] == ["S:A:0:1"]
    assert core.events(CancelRejected) == []
    assert core.host("S").desk.orders == {}
    assert len([n for n in notes(core) if n[0] == "bar"]) == 2
    assert not core.stopped


def test_the_others_go_on_when_one_fails() -> None:
    core = Core({"S": diary({0: fail}), "T": diary({1: buy(3)})}, QUARANTINE).start()
    for _ in range(3):
        core.bar("A", 10_000)
    assert [f.strategy_id for f in core.events(OrderFilled)] == ["T"]
    assert len([n for n in notes(core, "T") if n[0] == "bar"]) == 3


def test_a_fill_after_the_quarantine_is_still_booked() -> None:
    core = core_with({0: buy(5), 1: fail}, {**QUARANTINE, "fill.latency_ms": 60_000})
    for _ in range(4):
        core.bar("A", 10_000)
    assert core.host("S").desk.positions["A"].units == core.ledger.position("S", "A")[0]
    assert not [n for n in notes(core) if n[0] == "fill"]


def test_the_policy_stop_ends_the_run() -> None:
    core = core_with({0: fail})
    core.bar("A", 10_000)
    assert core.stopped


def broken(*args: Any) -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("hook", ["on_order", "on_fill", "on_timer", "on_signal", "on_stop"])
def test_the_failing_hook_is_named(hook: str) -> None:
    def act(s: Strategy, bar: Bar) -> None:
        s.buy("A", 1)
        s.set_timer("t", s.now + MINUTE // 2)

    other = diary({1: lambda s, bar: s.signal("A")})
    core = Core({"S": diary({0: act}, **{hook: broken}), "T": other}, QUARANTINE).start()
    for _ in range(3):
        core.bar("A", 10_000)
    core.cell.stop()
    (failed,) = core.events(StrategyFailed)
    assert (failed.strategy_id, failed.hook, failed.error) == ("S", hook, "RuntimeError: broken")


@pytest.mark.parametrize("settings", [WIDE, QUARANTINE])
def test_a_strategy_that_fails_to_start_is_quarantined(settings: Any) -> None:
    core = core_with({}, settings, on_start=broken)
    core.bar("A", 10_000)
    (failed,) = core.events(StrategyFailed)
    assert (failed.hook, failed.error) == ("on_start", "RuntimeError: broken")
    assert core.stopped == (settings is WIDE)


def test_timers_fire_at_their_time_after_the_events_of_that_moment() -> None:
    def act(s: Strategy, bar: Bar) -> None:
        s.set_timer("half", s.now + MINUTE // 2)
        s.set_timer("full", s.now + MINUTE)
        s.set_timer("moved", s.now + 1)
        s.set_timer("moved", s.now + 2 * MINUTE)

    core = core_with({0: act})
    core.bar("A", 10_000)
    core.bar("A", 10_100)
    core.idle(START + 9 * MINUTE)
    first = START + MINUTE
    assert notes(core)[2:] == [
        ("timer", "half", first + MINUTE // 2),
        ("bar", "A", 101.0),
        ("timer", "full", first + MINUTE),
        ("timer", "moved", first + 2 * MINUTE),
    ]


def test_a_schedule_repeats() -> None:
    def start(s: Diary) -> None:
        s.diary, s.bar_count = [], 0
        s.schedule("often", "1m")

    core = core_with({}, on_start=start)
    core.idle(START + 3 * MINUTE)
    assert notes(core) == [("timer", "often", START + k * MINUTE) for k in (1, 2, 3)]


def test_a_timer_in_the_past_fires_now_and_its_orders_have_names_of_their_own() -> None:
    def act(s: Strategy, bar: Bar) -> None:
        s.set_timer("late", 0)

    def on_timer(s: Diary, name: str) -> None:
        s.diary.append(s.buy("A", 1).id)

    core = core_with({0: act, 1: act}, on_timer=on_timer)
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    core.idle(core.cell.now)
    ids = [note for note in notes(core) if isinstance(note, str) and note != "start"]
    assert ids == [f"S:late@{START + k * MINUTE}:1" for k in (1, 2)]


def test_another_strategys_signal_is_heard_and_ones_own_is_not() -> None:
    core = Core({"S": diary({0: lambda s, bar: s.signal("B")}), "T": diary()}, WIDE).start()
    core.bar("A", 10_000)
    assert ("signal", "S", "B") in notes(core, "T")
    assert not [n for n in notes(core) if n[0] == "signal"]


@pytest.mark.parametrize(("warm_up", "first"), [(True, 3), (False, 1)])
def test_warm_up_waits_for_the_indicators(warm_up: bool, first: int) -> None:
    def start(s: Diary) -> None:
        s.diary, s.bar_count = [], 0
        s.sma = s.use(ta.SMA(3))  # type: ignore[attr-defined]

    core = core_with({}, on_start=start, warm_up=warm_up)
    for k in range(1, 5):
        core.bar("A", 10_000 + 100 * k)
    assert [n[2] for n in notes(core)] == [100.0 + k for k in range(first, 5)]


@pytest.mark.parametrize("symbols", [("A",), ("A", "B")])
def test_an_indicator_of_a_symbol_can_be_had_at_the_start(symbols: tuple[str, ...]) -> None:
    def start(s: Diary) -> None:
        s.diary, s.bar_count = [], 0
        s.sma = s.use(ta.SMA(2)).of("A")  # type: ignore[attr-defined]

    def act(s: Any, bar: Bar) -> None:
        s.diary.append(s.sma.value)

    from engine.domain.instruments import Instrument

    instruments = tuple(Instrument(symbol=symbol) for symbol in symbols)
    strategy = diary(dict.fromkeys(range(5), act), on_start=start)
    core = Core({"S": strategy}, WIDE, instruments).start()
    core.bar("A", 10_000)
    core.bar("A", 10_200)
    assert notes(core)[-1] == 101.0


# Control.


def stop(core: Core, positions: str) -> None:
    command = StopStrategy(strategy_id="S", positions=positions, ts_init=core.cell.now)
    core.deliver("host.S", command)


@pytest.mark.req("D15")
@pytest.mark.parametrize(("positions", "left"), [("keep", 10), ("flatten", 0)])
def test_stopping_cancels_orders_and_keeps_or_flattens(positions: str, left: int) -> None:
    core = core_with({0: buy(10), 1: buy(5, limit=50.0)})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    stop(core, positions)
    seen = len(notes(core))
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    assert core.ledger.position("S", "A")[0] == left
    assert not core.host("S").desk.orders
    assert notes(core)[seen - 1 :] == ["stop"]
    stop(core, positions)  # once stopped, it is stopped
    assert notes(core)[seen - 1 :] == ["stop"]


@pytest.mark.req("D15")
def test_flattening_replaces_a_close_that_is_under_way() -> None:
    core = core_with({0: buy(10), 1: lambda s, bar: s.close("A")})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    stop(core, "flatten")
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    assert core.ledger.position("S", "A")[0] == 0
    assert not core.host("S").desk.orders


@pytest.mark.req("D14")
@pytest.mark.parametrize("halted", [False, True])
def test_the_engine_closes_a_position_also_when_halted(halted: bool) -> None:
    core = core_with({0: buy(10), 1: buy(5, limit=50.0), 2: sell(1, reduce_only=True)})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    if halted:
        state = SetTradingState(state=TradingState.HALTED, reason="x", ts_init=0)
        core.deliver("risk_gate", state)
    close = ClosePosition(strategy_id="S", symbol="A", reason="STOP_LOSS", ts_init=core.cell.now)
    core.deliver("host.S", close)
    core.bar("A", 9_000)
    assert core.ledger.position("S", "A")[0] == 0
    assert {e.reason for e in core.events(OrderCanceled)} == {"USER"}
    closing = core.router.orders[core.events(OrderFilled)[-1].client_order_id].order
    assert (closing.tag, closing.reduce_only) == ("STOP_LOSS", True)
    # The strategy's own order, though it reduces, is refused.
    assert len(core.events(OrderDenied)) == 1


def test_a_close_for_another_strategy_is_not_mine() -> None:
    core = core_with({0: buy(10)})
    core.bar("A", 10_000)
    core.bar("A", 10_000)
    close = ClosePosition(strategy_id="T", symbol="A", reason="X", ts_init=0)
    core.deliver("host.S", close)
    core.bar("A", 9_000)
    assert core.ledger.position("S", "A")[0] == 10


@pytest.mark.req("P5", "D17")
def test_two_closes_of_one_moment_have_names_of_their_own() -> None:
    def act(s: Strategy, bar: Bar) -> None:
        s.buy("A", 10)
        s.buy("B", 10)

    core = core_with({1: act})
    for _ in range(2):
        core.bar("A", 10_000)
        core.bar("B", 10_000)
    core.bar("A", 10_000)
    for symbol in ("A", "B"):
        close = ClosePosition(strategy_id="S", symbol=symbol, reason="STOP_LOSS", ts_init=7)
        core.deliver("host.S", close)
    ids = [e.client_order_id for e in core.events(OrderSubmitted)]
    assert ids[2:] == ["S:A/STOP_LOSS@7:1", "S:B/STOP_LOSS@7:1"]


def test_a_cancel_of_an_ended_order_is_not_sent() -> None:
    def act(s: Strategy, bar: Bar) -> None:
        s.cancel(s.first)  # type: ignore[attr-defined]

    def first(s: Any, bar: Bar) -> None:
        s.first = s.buy("A", 1)

    core = core_with({0: first, 2: act})
    sent: list[Any] = []
    core.witness.check = sent.append
    for _ in range(3):
        core.bar("A", 10_000)
    assert core.events(CancelRejected) == []
    assert core.host("S").strategy.first.status is OrderStatus.FILLED  # type: ignore[attr-defined]
    assert CancelOrder not in {type(event) for event in sent}
