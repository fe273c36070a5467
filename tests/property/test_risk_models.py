"""Books of the gate against models that know nothing of them, and laws of the trading state."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import engine.config
from engine.config import load_config
from engine.domain.commands import ReplaceOrder
from engine.domain.events import OrderReplaced
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold, Reset, TradingLatch, TradingState
from engine.domain.orders import Order, OrderType, Side
from engine.domain.reservations import Reservations
from engine.domain.risk import DenyCode, RiskLimits
from engine.errors import ConfigError
from engine.research.fuzz.shadow import Shadow, Working
from tests.limits import SHIPPED, limits
from tests.unit.actors.gate_rig import Rig

FEWER = settings.default.max_examples // 2  # type: ignore[union-attr]
INSTRUMENTS = {
    "A": Instrument(symbol="A"),
    "C": Instrument(symbol="C", price_decimals=5, quantity_decimals=4),
}

# Reservations: a machine that does to them whatever gate and ledger may do.


class ReservationsMachine(RuleBasedStateMachine):
    """The real reservations beside plain lists; a drawn order of everything that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Reservations(INSTRUMENTS)
        self.naive: dict[str, Working] = {}
        self.shadow = Shadow(limits(), INSTRUMENTS, 0)
        self.shadow.working = self.naive
        self.count = 0

    def pick(self, which: int) -> tuple[str, Working]:
        order_id = sorted(self.naive)[which % len(self.naive)]
        return order_id, self.naive[order_id]

    @rule(
        symbol=st.sampled_from(("A", "C")), side=st.sampled_from(Side),
        quantity=st.integers(1, 10**6), px=st.integers(1, 10**7),
        own_px=st.none() | st.integers(1, 10**7), reduce_only=st.integers(0, 4).map(bool),
    )  # fmt: skip
    def reserve(
        self, symbol: str, side: Side, quantity: int, px: int, own_px: int | None, reduce_only: bool
    ) -> None:
        self.count += 1
        kind = OrderType.MARKET if own_px is None else OrderType.LIMIT
        order = Order(
            f"O{self.count:04}", "S", symbol, side, kind, quantity, 0, limit_px=own_px,
            reduce_only=not reduce_only,
        )  # fmt: skip
        self.real.reserve(order, px)
        self.naive[order.client_order_id] = Working(order, px)

    @precondition(lambda self: self.naive)
    @rule(which=st.integers(0, 9), part=st.integers(1, 10**6))
    def fill(self, which: int, part: int) -> None:
        order_id, one = self.pick(which)
        if one.filled >= one.total:
            return
        one.filled += min(part, one.total - one.filled)
        leaves = one.total - one.filled
        self.real.fill(self.real.orders[order_id], one.filled, leaves)
        if not leaves:
            del self.naive[order_id]

    @precondition(lambda self: self.naive)
    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        order_id, _ = self.pick(which)
        self.real.end(order_id)
        del self.naive[order_id]

    @precondition(lambda self: self.naive)
    @rule(which=st.integers(0, 9), quantity=st.integers(1, 10**6), px=st.integers(1, 10**7))
    def ask(self, which: int, quantity: int, px: int) -> None:
        order_id, one = self.pick(which)
        total = one.filled + quantity
        limit_px = None if one.limit_px is None else px
        replace = ReplaceOrder(order_id, "S", 0, total, limit_px)
        held = self.real.orders[order_id]
        self.real.widen(held, self.real.replaced(held, replace), px)
        one.asked.append((total, px))

    @precondition(lambda self: self.naive)
    @rule(which=st.integers(0, 9), first=st.booleans(), unasked=st.booleans())
    def confirm(self, which: int, first: bool, unasked: bool) -> None:
        order_id, one = self.pick(which)
        if not one.asked and not unasked:
            return
        total, px = one.asked[0 if first else -1] if one.asked else (one.total + 1, one.px)
        limit_px = None if one.limit_px is None else px
        self.real.settle(OrderReplaced(order_id, total, limit_px, None, 0))
        one.answered(total)
        one.total, one.limit_px = total, limit_px
        one.px = limit_px or one.px

    @precondition(lambda self: self.naive)
    @rule(which=st.integers(0, 9))
    def refuse(self, which: int) -> None:
        order_id, one = self.pick(which)
        self.real.refuse(order_id)
        one.answered(None)

    @rule()
    def say_what_is_not_known(self) -> None:
        assert self.real.end("nobody") is None
        assert self.real.refuse("nobody") is None
        assert self.real.settle(OrderReplaced("nobody", 1, None, None, 0)) is None

    @rule()
    def restart(self) -> None:
        again = Reservations(INSTRUMENTS)
        for r in self.real.orders.values():
            again.again(r.order, r.order_qty, r.px, r.cum_qty, list(r.pending or ()))
        self.real = again

    @invariant()
    def all_is_what_the_lists_say(self) -> None:
        assert set(self.real.orders) == set(self.naive)
        for order_id, one in self.naive.items():
            held = self.real.orders[order_id]
            amount = round(self.shadow.worth(one.order.symbol, one.leaves, one.dearest))
            assert held.leaves_qty == one.leaves
            assert held.amount == (0 if one.order.reduce_only else amount)
        assert self.real.buys == self.shadow.reserved(Side.BUY) >= 0
        assert self.real.sells == self.shadow.reserved(Side.SELL) >= 0
        if not self.naive:
            assert self.real.buys == self.real.sells == 0


@pytest.mark.req("P10", "D17")
class TestReservations(ReservationsMachine.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=FEWER, stateful_step_count=30)


# The trading state.

STATES = st.sampled_from((TradingState.REDUCING, TradingState.HALTED))
RESETS: st.SearchStrategy[Reset] = st.sampled_from(("next_day", "manual"))
WHOSE = st.sampled_from(("", "S", "T"))
ACTIONS = st.one_of(
    st.tuples(st.just("enter"), WHOSE, STATES, RESETS),
    st.tuples(st.just("set"), WHOSE, STATES, st.just("manual")),
    st.tuples(st.just("release"), WHOSE),
    st.tuples(st.just("end_day")),
)
STRICT = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
CODES = {
    DenyCode.TRADING_HALTED, DenyCode.TRADING_REDUCING, DenyCode.STRATEGY_HALTED,
    DenyCode.STRATEGY_REDUCING,
}  # fmt: skip


def act(latch: TradingLatch, action: tuple[Any, ...]) -> None:
    name, *rest = action
    if name in ("enter", "set"):
        whose, state, reset = rest
        getattr(latch, name)(Hold(state, "R", reset, 0), whose)
    else:
        getattr(latch, name)(*rest)


@pytest.mark.req("P12", "P13", "D13")
@given(st.lists(ACTIONS, max_size=20))
def test_a_rule_never_loosens_and_only_its_end_or_a_person_does(actions: list[Any]) -> None:
    latch = TradingLatch()
    for action in actions:
        before = dict(latch.holds)
        act(latch, action)
        assert latch.is_open == (not latch.holds)
        for whose in ("", "S", "T"):
            was = before[whose].state if whose in before else TradingState.ACTIVE
            now = latch.state(whose)
            if STRICT[now] < STRICT[was]:
                daily = action[0] == "end_day" and before[whose].reset == "next_day"
                assert daily or (action[0] in ("set", "release") and action[1] == whose)
            kept = whose in before and whose in latch.holds and action[0] == "enter"
            if kept and before[whose].reset == "manual":
                assert latch.holds[whose].reset == "manual"


@pytest.mark.req("P12")
@given(st.lists(ACTIONS, max_size=12), st.permutations(("", "S", "T")))
def test_the_order_in_which_rules_are_entered_makes_no_other_state(
    actions: list[Any], order: list[str]
) -> None:
    entered = [action for action in actions if action[0] == "enter"]
    one, two = TradingLatch(), TradingLatch()
    for action in entered:
        act(one, action)
    for action in sorted(entered, key=lambda a: (order.index(a[1]), a[2], a[3])):
        act(two, action)
    # What ends a hold may differ: a weaker rule adds nothing to a stricter one that came first.
    assert {k: h.state for k, h in one.holds.items()} == {k: h.state for k, h in two.holds.items()}


@pytest.mark.req("D14", "P13")
@pytest.mark.check("TRADING_HALTED")
@pytest.mark.check("TRADING_REDUCING")
@pytest.mark.check("STRATEGY_HALTED")
@pytest.mark.check("STRATEGY_REDUCING")
@given(st.lists(ACTIONS, max_size=8), st.sampled_from(("S", "T")), st.booleans(), st.booleans())
def test_what_is_refused_follows_from_the_two_states_alone(
    actions: list[Any], whose: str, reduce_only: bool, closing: bool
) -> None:
    latch = TradingLatch()
    for action in actions:
        act(latch, action)
    strictest = max(STRICT[latch.state()], STRICT[latch.state(whose)])
    may_leave = strictest == 0 or (reduce_only and (closing or strictest == 1))
    code = latch.refusal(whose, reduce_only=reduce_only, closing=closing)
    assert (code is None) is may_leave
    assert code is None or code in CODES
    # A stricter state of anybody lets nothing more through.
    tighter = TradingLatch(latch.holds)
    tighter.enter(Hold(TradingState.HALTED, "R", "manual", 0))
    if code is not None:
        assert tighter.refusal(whose, reduce_only=reduce_only, closing=closing) is not None


@pytest.mark.req("P12")
@given(st.lists(ACTIONS, max_size=12), st.lists(ACTIONS, max_size=12))
def test_a_latch_that_was_written_and_read_goes_on_as_it_was(
    before: list[Any], after: list[Any]
) -> None:
    one = TradingLatch()
    for action in before:
        act(one, action)
    wire = msgspec.json.encode(one.holds)
    two = TradingLatch(msgspec.json.decode(wire, type=dict[str, Hold]))
    for action in after:
        act(one, action)
        act(two, action)
    assert (one.holds, one.is_open) == (two.holds, two.is_open)


# What a limits file may not say.

WORDS = ("trading_hours", "halt_reset", "on_halt")
NUMBERS = [
    name
    for name, value in SHIPPED.items()
    if name not in WORDS and isinstance(value, (int, float, str)) and not isinstance(value, bool)
]
EACH = list(SHIPPED["per_strategy"])
BAD = [math.nan, math.inf, -math.inf, -1, -0.000_001, 1e300, 10**30, "unlimted", "", None, [], True]


def changed(name: str, value: Any) -> dict[str, Any]:
    if name.startswith("per_strategy."):
        each = {**SHIPPED["per_strategy"], name.partition(".")[2]: value}
        return {**SHIPPED, "per_strategy": each}
    return {**SHIPPED, name: value}


@pytest.mark.req("P16", "R88")
@pytest.mark.parametrize("name", [*NUMBERS, *(f"per_strategy.{name}" for name in EACH)])
def test_what_is_no_limit_is_refused_wherever_it_stands(name: str) -> None:
    for value in BAD:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(changed(name, value), RiskLimits)


@pytest.mark.req("P16", "R88")
@pytest.mark.parametrize("name", [*NUMBERS, *(f"per_strategy.{name}" for name in EACH)])
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "1e300", '"unlimted"', "true"])
def test_a_setting_that_is_no_limit_is_refused_by_its_name(name: str, text: str) -> None:
    value = tomllib.loads(f"value = {text}")["value"]
    with pytest.raises(ConfigError, match=name.rpartition(".")[2]):
        load_config("backtest", settings={f"risk.{name}": value})


@pytest.mark.req("P16")
@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "per_strategy"])
def test_a_limits_file_that_leaves_one_out_is_refused(name: str, tmp_path: Path) -> None:
    rest = {k: v for k, v in SHIPPED.items() if k != name}
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.convert(rest, RiskLimits)
    shipped = (Path(engine.config.__file__).parent / "limits.toml").read_text().splitlines()
    file = tmp_path / "mine.toml"
    # The first of its name: the account's, not a strategy's.
    at = next(n for n, line in enumerate(shipped) if line.startswith(f"{name} ="))
    file.write_text("\n".join(shipped[:at] + shipped[at + 1 :]))
    with pytest.raises(ConfigError, match=name):
        load_config("backtest", limits=file)


# Two symbols that are alike.

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 1), st.integers(-3_000, 3_000).filter(bool),
                  st.sampled_from("ST")),
        st.tuples(st.just("fill"), st.integers(0, 9), st.integers(1, 3_000)),
        st.tuples(st.just("price"), st.integers(0, 1), st.integers(9_000, 11_000)),
    ),
    max_size=25,
)  # fmt: skip


def said(moves: list[tuple[Any, ...]], symbols: tuple[str, str]) -> list[Any]:
    """Give every verdict, and every state in between, of a gate with two symbols."""
    rig = Rig(
        prices=dict.fromkeys(symbols, 10_000), max_position_size=0.2, max_leverage=0.5,
        max_sector_exposure=0.3, max_daily_loss_amount=8_000.0, max_open_orders=6,
    )  # fmt: skip
    working: list[list[Any]] = []
    found: list[Any] = []
    for move, *rest in moves:
        if move == "send":
            order = rig.order(rest[1], symbols[rest[0]], strategy_id=rest[2])
            found.append(rig.submit(order))
            if found[-1] is None:
                working.append([order, order.order_qty])
        elif move == "price":
            rig.price(symbols[rest[0]], rest[1])
        elif working:
            one = working[rest[0] % len(working)]
            part = min(rest[1], one[1])
            one[1] -= part
            rig.fill(one[0], part, one[1], px=rig.prices[one[0].symbol])
            working = [w for w in working if w[1]]
        found.append((rig.gate.latch.state(), rig.gate.book.equity()))
    return found


@pytest.mark.req("P10", "D17")
@given(MOVES)
@settings(max_examples=FEWER)
def test_what_two_symbols_are_called_makes_no_difference(moves: list[tuple[Any, ...]]) -> None:
    assert said(moves, ("T1", "T2")) == said(moves, ("T2", "T1"))
