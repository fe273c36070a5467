"""Laws of limits: what holds of every limit and every order, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.monitor import Monitor
from engine.domain.commands import ClosePosition
from engine.domain.events import OrderFilled, PositionChanged, PricedBy, RiskEvent, Severity
from engine.domain.guards import GuardBounds, levels
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, OrderType
from engine.domain.risk import (
    NO_LIMIT,
    PPM,
    CheckInputs,
    DenyCode,
    RiskLimits,
    bounds,
    checks,
    judge,
    symbol_bounds,
)
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from tests.limits import UNLIMITED, limits
from tests.unit.actors.gate_rig import Rig

SECOND = 10**9
CENT = CASH_UNIT // 100
A = Instrument(symbol="A")
FEWER = settings(max_examples=settings.default.max_examples // 4)  # type: ignore[union-attr]
FREE: dict[str, Any] = {**UNLIMITED, "self_trade_prevention": False}

# Limits and inputs are drawn from the same few numbers, so that they meet.

NUMBERS = (0, 1, 2, 3, 5, 8, 13)
AMOUNTS = tuple(float(n) for n in NUMBERS)
SHARES = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)
ABOVE_ZERO = (0.01, 0.1, 0.25, 0.5, 1.0)
NONE = ("unlimited",)

# From loose to tight: every limit that the measured checks look at.
LADDERS: dict[str, tuple[Any, ...]] = {
    "min_order_size": ("unlimited", *AMOUNTS),
    "max_order_size": ("unlimited", *AMOUNTS[::-1]),
    "max_order_quantity": ("unlimited", *AMOUNTS[::-1]),
    "price_collar": ("unlimited", *ABOVE_ZERO[::-1]),
    "max_price_age": ("unlimited", 8.0, 5.0, 3.0, 1.0),
    "max_position_size": ("unlimited", *SHARES[::-1]),
    "max_total_exposure": ("unlimited", *AMOUNTS[::-1]),
    "max_leverage": ("unlimited", 3.0, 1.0, 0.5, 0.1),
    "max_net_leverage": ("unlimited", 3.0, 1.0, 0.5, 0.1),
    "max_sector_exposure": ("unlimited", *SHARES[::-1]),
    "min_cash": ("unlimited", *AMOUNTS),
    "initial_margin": ("unlimited", *ABOVE_ZERO),
    "short_selling": (True, False),
    "locates": ("unlimited", {"A": 5.0}, {"A": 1.0}, {"A": 0.0}, {}),
    "self_trade_prevention": (False, True),
    "max_open_orders": ("unlimited", *NUMBERS[::-1]),
    "max_orders_per_day": ("unlimited", *NUMBERS[::-1]),
    "order_burst": (13, 8, 5, 3, 2, 1),
    "max_repeated_orders": ("unlimited", *NUMBERS[:0:-1]),
    "max_daily_loss": ("unlimited", *SHARES[::-1]),
    "max_daily_loss_amount": ("unlimited", *AMOUNTS[::-1]),
    "max_drawdown": ("unlimited", *SHARES[::-1]),
    "max_losing_trades": ("unlimited", *NUMBERS[::-1]),
}
EACH: dict[str, tuple[Any, ...]] = {
    "max_exposure": ("unlimited", *AMOUNTS[::-1]),
    "max_daily_loss": ("unlimited", *AMOUNTS[::-1]),
    "max_losing_trades": ("unlimited", *NUMBERS[::-1]),
    "max_open_orders": ("unlimited", *NUMBERS[::-1]),
    "max_orders_per_day": ("unlimited", *NUMBERS[::-1]),
    "order_burst": (13, 8, 5, 3, 2, 1),
}
OF_SYMBOL = ("max_order_size", "max_order_quantity", "max_position_size", "price_collar")

AMOUNT = st.one_of(
    st.sampled_from(NUMBERS).map(lambda n: n * CASH_UNIT),
    st.integers(0, 1_400).map(lambda n: n * CENT),
    st.builds(lambda n, d: n * CASH_UNIT + d, st.sampled_from(NUMBERS), st.integers(-1, 1)),
)
COUNT = st.integers(0, 14)
NANOS = st.one_of(st.just(0), COUNT.map(lambda n: n * SECOND), st.integers(0, 14 * SECOND))
SIGNED = st.one_of(AMOUNT, AMOUNT.map(lambda a: -a))
FIELDS: dict[str, st.SearchStrategy[int]] = {
    **dict.fromkeys(CheckInputs._fields, AMOUNT),
    **dict.fromkeys(
        ("repeats", "open_orders", "strategy_open_orders", "day_orders", "strategy_day_orders",
         "losing_streak", "strategy_losing_streak", "order_qty"), COUNT,
    ),
    **dict.fromkeys(("reference_age", "backlog", "strategy_backlog"), NANOS),
    **dict.fromkeys(("cash_after", "equity", "strategy_loss"), SIGNED),
    "short_after": st.one_of(st.just(0), COUNT),
    # An account opens with something, and the peak is never below what it opened with.
    "peak_equity": AMOUNT.map(lambda amount: max(amount, 1)),
    "own_px": st.sampled_from((0, 0, 0, 9_900)),
    "reference_px": st.just(10_000),
    "through_ppm": st.one_of(
        st.integers(-PPM, 2 * PPM), st.sampled_from([int(s * PPM) for s in ABOVE_ZERO])
    ),
    "buys": st.integers(0, 1),
    "exempt": st.sampled_from((0, 0, 0, 0, 1, 2)),
}  # fmt: skip
HARMLESS = dict.fromkeys(CheckInputs._fields, 0) | {
    "order_qty": 1, "reference_px": 10_000, "cash_after": 10**6 * CASH_UNIT,
    "equity": 10**6 * CASH_UNIT, "order_value": 13 * CASH_UNIT, "buys": 1,
    "peak_equity": 1,
}  # fmt: skip


@st.composite
def measured(draw: st.DrawFn) -> CheckInputs:
    """Draw inputs: of all fields, or of a few beside a harmless rest, so that late checks fail."""
    names = draw(
        st.one_of(
            st.just(list(FIELDS)), st.lists(st.sampled_from(list(FIELDS)), max_size=9, unique=True)
        )
    )
    return CheckInputs(**{**HARMLESS, **{name: draw(FIELDS[name]) for name in names}})


Steps = dict[str, int]


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Steps, Steps]:
    """Draw how tight each limit is, most of them not at all."""

    def drawn(table: Mapping[str, tuple[Any, ...]]) -> Steps:
        names = draw(st.lists(st.sampled_from(list(table)), max_size=6, unique=True))
        return {name: draw(st.integers(0, len(table[name]) - 1)) for name in names}

    return drawn(LADDERS), drawn(EACH)


def at(account: Steps, each: Steps, symbol: Steps | None = None) -> RiskLimits | None:
    """Give the limits of a position on the ladders; None when they contradict each other."""
    changes = {name: LADDERS[name][account.get(name, 0)] for name in LADDERS}
    changes["per_strategy"] = {
        name: EACH[name][each.get(name, 0)] for name in EACH
    } | {"max_order_rate": 1.0}  # fmt: skip
    own = {name: LADDERS[name][step] for name, step in (symbol or {}).items()}
    try:
        return limits(**{**FREE, "max_order_rate": 1.0, "maintenance_margin": "unlimited",
                         **changes, "symbols": {"A": own} if own else {}})  # fmt: skip
    except ValueError:
        return None


def code_of(chosen: RiskLimits, inputs: CheckInputs) -> DenyCode | None:
    return judge(inputs, bounds(chosen), symbol_bounds(chosen, A))


@pytest.mark.req("P15", "R97")
@given(ladders(), measured())
def test_the_judge_names_the_first_failing_check_of_the_table(
    tight: tuple[Steps, Steps], inputs: CheckInputs
) -> None:
    chosen = at(*tight)
    if chosen is None:
        return
    listed = checks(inputs, bounds(chosen), symbol_bounds(chosen, A), A)
    failed = [check.code for check in listed if not check.passed]
    assert code_of(chosen, inputs) == (failed[0] if failed else None)
    assert failed == sorted(failed, key=list(DenyCode).index)


@pytest.mark.req("P10", "P11", "R88")
@pytest.mark.parametrize("name", [*LADDERS, *(f"per_strategy.{name}" for name in EACH)])
def test_a_tighter_limit_admits_nothing_that_a_looser_one_denies(name: str) -> None:
    section, _, each_name = name.rpartition(".")
    table = EACH if section else LADDERS
    rungs = len(table[each_name])

    @FEWER
    @given(ladders(), measured(), st.integers(0, rungs - 1), st.integers(0, rungs - 1))
    def law(others: tuple[Steps, Steps], inputs: CheckInputs, one: int, other: int) -> None:
        account, each = others
        mine = each if section else account
        mine[each_name] = min(one, other)
        loose = at(account, each)
        mine[each_name] = max(one, other)
        tight = at(account, each)
        if loose is not None and tight is not None and code_of(loose, inputs) is not None:
            assert code_of(tight, inputs) is not None

    law()


@pytest.mark.req("R88", "P11")
@pytest.mark.parametrize("name", OF_SYMBOL)
def test_a_symbols_own_limit_replaces_the_accounts(name: str) -> None:
    rungs = len(LADDERS[name])

    @FEWER
    @given(ladders(), measured(), st.integers(0, rungs - 1))
    def law(others: tuple[Steps, Steps], inputs: CheckInputs, own: int) -> None:
        account, each = others
        with_own = at(account, each, {name: own})
        everywhere = at({**account, name: own}, each)
        if with_own is not None and everywhere is not None:
            assert code_of(with_own, inputs) == code_of(everywhere, inputs)

    law()


# Scale.

MONEY = (
    "reference_px", "own_px", "order_value", "position_before", "position_after", "exposure_after",
    "net_after", "sector_after", "cash_after", "strategy_exposure", "equity", "day_start_equity",
    "peak_equity", "strategy_loss",
)  # fmt: skip
IN_CURRENCY = (
    "min_order_size", "max_order_size", "max_total_exposure", "min_cash", "max_daily_loss_amount",
)  # fmt: skip
EACH_IN_CURRENCY = ("max_exposure", "max_daily_loss")


def tenfold(chosen: RiskLimits) -> RiskLimits:
    """Give limits with every amount of money ten times as large."""

    def times(of: Any, names: tuple[str, ...]) -> dict[str, Any]:
        values = {name: getattr(of, name) for name in names}
        return {name: v if v == "unlimited" else v * 10 for name, v in values.items()}

    changes: dict[str, Any] = {n: getattr(chosen, n) for n in RiskLimits.__struct_fields__}
    each = chosen.per_strategy
    changes["per_strategy"] = {
        **{n: getattr(each, n) for n in type(each).__struct_fields__},
        **times(each, EACH_IN_CURRENCY),
    }
    return limits(**{**changes, **times(chosen, IN_CURRENCY), "symbols": {}})


@pytest.mark.req("P11", "P15")
@given(ladders(), measured())
def test_money_has_no_scale(tight: tuple[Steps, Steps], inputs: CheckInputs) -> None:
    chosen = at(*tight)
    if chosen is not None:
        larger = inputs._replace(**{name: getattr(inputs, name) * 10 for name in MONEY})
        assert code_of(tenfold(chosen), larger) == code_of(chosen, inputs)


SMALL: dict[str, Any] = {
    "max_order_size": 30_000.0, "min_order_size": 300.0, "max_position_size": 0.06,
    "max_total_exposure": 90_000.0, "max_net_leverage": 0.07, "max_sector_exposure": 0.05,
    "min_cash": 940_000.0, "max_daily_loss_amount": 900.0, "price_collar": 0.02,
    "per_strategy": {"max_exposure": 70_000.0, "max_daily_loss": 500.0},
}  # fmt: skip
Move = tuple[int, int, int]
MOVES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(-40, 40)), min_size=5, max_size=30
)


class Scaled:
    """A gate whose account, prices and limits are so many times as large."""

    def __init__(self, times: int) -> None:
        self.times = times
        chosen = limits(**SMALL)
        larger = tenfold(chosen) if times == 10 else chosen
        changes = {n: getattr(larger, n) for n in RiskLimits.__struct_fields__}
        each = changes.pop("per_strategy")
        changes["per_strategy"] = {n: getattr(each, n) for n in type(each).__struct_fields__}
        self.rig = Rig(1_000_000 * times, prices={}, **changes)
        for symbol in ("A", "T1", "T2"):
            self.rig.price(symbol, 10_000 * times)
        self.open: list[Any] = []

    def move(self, move: Move) -> Any:
        what, which, size = move
        rig, times = self.rig, self.times
        symbol = ("A", "T1", "T2")[which % 3]
        if what < 6:
            fields: dict[str, Any] = {"strategy_id": "ST"[which % 2]}
            if what % 2:
                fields |= {"order_type": OrderType.LIMIT, "limit_px": (10_000 + size * 9) * times}
            order = rig.order((size or 1) * 9, symbol, **fields)
            code = rig.submit(order)
            if code is None:
                self.open.append(order)
            return code
        if what < 8:
            return [e[:1] for e in self.price(symbol, 10_000 + size * 8)]
        if self.open:
            order = self.open.pop(which % len(self.open))
            rig.world.heard.clear()
            rig.fill(order, order.order_qty, 0, px=rig.prices[order.symbol])
            return [e[:1] for e in rig.risk_events()]
        return None

    def price(self, symbol: str, px: int) -> list[tuple[str, Severity, str]]:
        self.rig.world.heard.clear()
        self.rig.price(symbol, px * self.times)
        return self.rig.risk_events()


@pytest.mark.req("P11", "P10")
@given(MOVES)
def test_a_gate_ten_times_as_large_says_the_same(moves: list[Move]) -> None:
    one, ten = Scaled(1), Scaled(10)
    for move in moves:
        assert one.move(move) == ten.move(move)
    assert one.rig.gate.book.equity() * 10 == ten.rig.gate.book.equity()


# Rates.


@pytest.mark.req("P14")
@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 1)), min_size=5, max_size=50),
    st.sampled_from((1, 2, 4, 5, 8, 10)),
    st.integers(1, 5),
    st.sampled_from((1, 2, 4, 5)),
    st.integers(1, 4),
)
def test_a_rate_is_a_bucket_of_tokens(
    arrivals: list[tuple[int, int]], rate: int, burst: int, each_rate: int, each_burst: int
) -> None:
    """Hold the gate against buckets that are filled with fractions of tokens as time passes."""
    each = {"max_order_rate": float(each_rate), "order_burst": each_burst}
    changes = {**FREE, "max_order_rate": float(rate), "order_burst": burst, "per_strategy": each}
    rig = Rig(**changes)
    tokens = {"": Fraction(burst), "S": Fraction(each_burst), "T": Fraction(each_burst)}
    speed = {"": rate, "S": each_rate, "T": each_rate}
    most = {"": burst, "S": each_burst, "T": each_burst}
    for gap, who in arrivals:
        rig.cell.now += gap * SECOND // 1_000
        for name, had in tokens.items():
            tokens[name] = min(had + Fraction(gap * speed[name], 1_000), Fraction(most[name]))
        name = "ST"[who]
        expected = None
        if tokens[name] < 1:
            expected = DenyCode.STRATEGY_ORDER_RATE
        if tokens[""] < 1:
            expected = DenyCode.ORDER_RATE
        assert rig.send(1, strategy_id=name) is expected
        if expected is None:
            tokens[""] -= 1
            tokens[name] -= 1


@pytest.mark.req("P14", "P10")
@given(
    st.lists(st.integers(0, 900), min_size=5, max_size=50),
    st.integers(1, 10), st.integers(1, 10), st.integers(1, 5), st.integers(1, 5),
)  # fmt: skip
def test_a_slower_rate_never_lets_more_through(
    gaps: list[int], one: int, other: int, burst: int, other_burst: int
) -> None:
    slow = Rig(**{**FREE, "max_order_rate": float(min(one, other)),
                  "order_burst": min(burst, other_burst)})  # fmt: skip
    fast = Rig(**{**FREE, "max_order_rate": float(max(one, other)),
                  "order_burst": max(burst, other_burst)})  # fmt: skip
    passed = [0, 0]
    for gap in gaps:
        for number, rig in enumerate((slow, fast)):
            rig.cell.now += gap * SECOND // 1_000
            passed[number] += rig.send(1) is None
        assert passed[0] <= passed[1]


# Guards.

CENTS = Instrument(symbol="A", price_decimals=2, quantity_decimals=0)
FINE = Instrument(symbol="A", price_decimals=5, quantity_decimals=4)
PPMS = st.one_of(st.just(NO_LIMIT), st.integers(0, 400_000), st.integers(0, 40).map(
    lambda n: n * 10_000))  # fmt: skip


@pytest.mark.req("D12", "R93", "R94", "R95")
@given(
    st.integers(-30, 30).filter(bool), st.integers(40, 160), st.integers(-3, 3),
    st.integers(40, 160), st.sampled_from((CENTS, FINE)), PPMS, PPMS, PPMS,
)  # fmt: skip
def test_levels_are_the_first_prices_of_a_scan(
    quantity: int, entry: int, odd: int, best: int, instrument: Instrument,
    stop: int, trail: int, take: int,
) -> None:  # fmt: skip
    factor, divisor = instrument.cash_scale()
    cost = instrument.notional(entry, quantity) + odd
    if cost * quantity <= 0:
        return
    found = levels(
        quantity, cost, best, (factor, divisor),
        GuardBounds(stop, NO_LIMIT if trail >= PPM else trail, take),
    )  # fmt: skip
    way = 1 if quantity > 0 else -1

    def gain(px: int) -> Fraction:
        return Fraction(quantity * px * factor, divisor) - cost

    size = abs(cost)
    rules: dict[str, tuple[int, Callable[[int], bool], int]] = {
        "stop": (stop, lambda px: -gain(px) >= Fraction(size * stop, PPM), -way),
        "take": (take, lambda px: gain(px) >= Fraction(size * take, PPM), way),
        "trail": (trail, lambda px: (best - px) * way >= Fraction(best * trail, PPM), -way),
    }
    for name, (ppm, reached, direction) in rules.items():
        level = getattr(found, name)
        if ppm == NO_LIMIT:
            assert level is None
            continue
        prices = range(-50, 400) if direction > 0 else range(400, -51, -1)
        assert level == next(px for px in prices if reached(px))


class Ear(Actor):
    """Hears what the monitor says."""

    def __init__(self) -> None:
        super().__init__("ear")
        self.heard: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return {ClosePosition: self.heard.append, RiskEvent: lambda event: None}


@pytest.mark.req("D12", "R93", "R94", "R95", "P10")
@given(
    st.sampled_from((-7, 7)), st.lists(st.integers(60, 140), min_size=1, max_size=40),
    st.sampled_from((NO_LIMIT, 50_000, 100_000, 333_333)),
    st.sampled_from((NO_LIMIT, 40_000, 100_000, 250_000)),
    st.sampled_from((NO_LIMIT, 50_000, 100_000, 300_000)),
)  # fmt: skip
def test_the_monitor_closes_at_the_events_of_a_naive_scan(
    quantity: int, path: list[int], stop: int, trail: int, take: int
) -> None:
    monitor = Monitor("monitor", guards=GuardBounds(stop, trail, take), instruments={"A": A})
    ear = Ear()
    table: dict[type, tuple[str, ...]] = {ClosePosition: ("ear",), RiskEvent: ("ear",)}
    cell = Cell("core", [monitor, ear], table)
    cell.start()
    fill = OrderFilled(
        "O", "E", "S", "A", quantity, 100, abs(quantity), 0, 0, 0, Liquidity.TAKER, 0,
        PricedBy.REPORT, -1, 0,
    )  # fmt: skip
    cost = A.notional(100, quantity)
    cell.deliver("monitor", PositionChanged(fill, quantity, cost, 0, 0))
    best, way = 100, 1 if quantity > 0 else -1
    for px in path:
        best = max(best * way, px * way) * way
        expected = None
        if (px - 100) * way * PPM >= 100 * take:
            expected = "TAKE_PROFIT"
        if (best - px) * way * PPM >= best * trail:
            expected = "TRAILING_STOP"
        if (100 - px) * way * PPM >= 100 * stop:
            expected = "STOP_LOSS"
        ear.heard.clear()
        cell.deliver_market(Bar("A", 0, 0, 0, px, px, px, px, 1, 100, 1))
        assert [close.reason for close in ear.heard] == ([expected] if expected else [])
