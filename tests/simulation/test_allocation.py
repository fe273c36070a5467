"""The allocation strategy inside the real core: what it buys, when, and how it keeps its shares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.commands import OrderApproved
from engine.domain.events import StrategyFailed
from engine.domain.executions import BeginExecution
from engine.domain.market import Quote, Trade
from engine.domain.orders import Side
from engine.strategy.allocation import Allocation
from engine.strategy.base import Strategy
from tests.simulation.rig import MINUTE, NO_LIMITS, START, Core

WIDE = {**NO_LIMITS, "account.cash": 1_000_000.0, "costs.commission_bps": 0}
CAPITAL = 10_000.0
HALVES = {"A": 0.5, "B": 0.5}


def core(parameters: dict[str, Any], more: dict[str, Any] | None = None) -> Core:
    given = {"allocation": HALVES, "initial_capital": CAPITAL, "rebalance_interval": 60}
    strategy = Allocation(**{**given, **parameters})
    return Core({"S": strategy}, {**WIDE, **(more or {})}).start()


def both(run: Core, a: int, b: int, *, times: int = 1) -> None:
    for _ in range(times):
        run.bar("A", a)
        run.bar("B", b)
        run.idle(run.cell.now)  # the timers of this moment


def orders(run: Core) -> list[tuple[str, Side, int, bool]]:
    sent = [event.order for event in run.events(OrderApproved)]
    return [(o.symbol, o.side, o.order_qty, o.reduce_only) for o in sent]


def held(run: Core, symbol: str) -> int:
    return int(run.ledger.position("S", symbol)[0])


@pytest.mark.req("R59", "R100", "R101")
def test_it_buys_its_shares_of_its_capital_rounded_down() -> None:
    run = core({"allocation": {"A": 0.35, "B": 0.3}})
    both(run, 10_001, 3_333, times=2)
    # 3,500 / 100.01 = 34.996, 3,000 / 33.33 = 90.009
    assert orders(run) == [("A", Side.BUY, 34, False), ("B", Side.BUY, 90, False)]
    assert (held(run, "A"), held(run, "B")) == (34, 90)


def test_without_a_capital_of_its_own_it_has_that_of_the_account() -> None:
    run = core({"allocation": {"A": 0.1}, "initial_capital": 0.0})
    both(run, 10_000, 10_000, times=2)
    assert held(run, "A") == 1_000


@pytest.mark.parametrize(
    ("allocation", "says"),
    [
        ({}, "ValueError: allocation is empty: set strategy.allocation = {SYMBOL = 0.5}"),
        ({"A": 0.5, "Z": 0.5}, "UnknownSymbolError: no symbol 'Z' in this run (it has: A, B)"),
    ],
)
def test_shares_of_nothing_are_refused(allocation: dict[str, float], says: str) -> None:
    run = core({"allocation": allocation})
    (failed,) = run.events(StrategyFailed)
    assert failed.error == says


@pytest.mark.req("R101", "R87")
def test_one_that_begins_at_work_buys_at_once_where_there_is_a_price() -> None:
    def begin(given: BeginExecution) -> Strategy:
        return Allocation(**given.parameters)

    run = Core({}, WIDE, begin=begin).start()
    run.bar("A", 10_000)
    began = BeginExecution(
        execution_id="x", strategy_id="S", wire_id="S", symbols=("A", "B"), ts_init=run.cell.now,
        parameters={"allocation": HALVES, "initial_capital": CAPITAL},
    )  # fmt: skip
    run.deliver("executor", began)
    assert orders(run) == [("A", Side.BUY, 50, False)]
    run.bar("B", 5_000)
    assert orders(run)[1:] == [("B", Side.BUY, 100, False)]


@pytest.mark.req("R54", "R81", "R103")
@pytest.mark.parametrize(
    ("price", "sent"),
    [
        # A weighs p * 50 / (5,000 + p * 50): at 120.00 it is 0.5454, at 122.50 0.5506.
        (12_000, []),
        # 11,125 / 2 / 122.50 = 45.4 of 50 are kept; B is off by 0.0506: 55.625 for 50.
        (12_250, [("A", Side.SELL, 5, True), ("B", Side.BUY, 5, False)]),
        (8_000, [("A", Side.BUY, 6, False), ("B", Side.SELL, 5, True)]),
    ],
)
def test_it_rebalances_what_has_drifted(price: int, sent: list[Any]) -> None:
    run = core({})
    both(run, 10_000, 10_000, times=3)
    before = len(orders(run))
    both(run, price, 10_000)
    assert orders(run)[before:] == sent


@pytest.mark.req("R103")
def test_a_drift_that_is_at_the_limit_is_left_alone() -> None:
    run = core({"allocation": {"A": 0.5}, "drift": 0.1})
    both(run, 10_000, 10_000, times=3)
    both(run, 15_000, 10_000)  # 7,500 of 12,500 is 0.6
    assert len(orders(run)) == 1
    both(run, 15_200, 10_000)
    assert orders(run)[1:] == [("A", Side.SELL, 9, True)]  # 12,600 / 2 / 152 = 41.4


@pytest.mark.req("R54", "R81")
def test_it_rebalances_no_sooner_than_its_interval() -> None:
    run = core({"rebalance_interval": 300})
    both(run, 10_000, 10_000, times=2)
    both(run, 20_000, 10_000, times=2)  # to the fourth minute
    assert len(orders(run)) == 2
    both(run, 20_000, 10_000)
    assert len(orders(run)) == 4


def test_what_is_refused_is_tried_again_by_the_next_rebalancing_only() -> None:
    run = core({"rebalance_interval": 300}, {"risk.max_order_size": 4_000.0})
    both(run, 10_000, 10_000, times=4)
    assert (held(run, "A"), len(run.journal.orders())) == (0, 2)
    both(run, 10_000, 10_000)
    assert len(run.journal.orders()) == 4


@pytest.mark.req("R85")
def test_a_share_is_cut_to_the_largest_position() -> None:
    run = core({"max_position_size": 0.3})
    both(run, 10_000, 10_000, times=2)
    assert (held(run, "A"), held(run, "B")) == (30, 30)


@pytest.mark.req("D12", "R85", "R102")
@pytest.mark.parametrize(("price", "left"), [(9_301, 50), (9_300, 0)])
def test_the_stop_loss_closes_at_its_limit_and_for_good(price: int, left: int) -> None:
    run = core({"stop_loss_pct": 0.05, "drift": 1.0})
    both(run, 10_000, 10_000, times=2)
    both(run, price, 10_000, times=2)
    assert held(run, "A") == left
    both(run, 10_000, 10_000, times=3)
    assert held(run, "A") == left
    assert held(run, "B") == 50


@pytest.mark.req("R85")
def test_who_has_lost_too_much_in_a_day_sells_and_waits_for_the_next() -> None:
    run = core({"max_daily_loss": 0.05})
    both(run, 10_000, 10_000, times=2)
    both(run, 9_001, 10_000)  # 499.50 of 10,000
    assert held(run, "A") == 50
    both(run, 9_000, 10_000, times=2)
    assert (held(run, "A"), held(run, "B")) == (0, 0)
    both(run, 9_000, 10_000, times=3)
    assert (held(run, "A"), held(run, "B")) == (0, 0)
    next_day = (run.cell.now // (86_400 * 10**9) + 1) * 86_400 * 10**9
    while run.cell.now <= next_day + 2 * MINUTE:
        both(run, 9_000, 10_000)
    assert held(run, "A") == 52  # 9,500 / 2 / 90 = 52.7


@pytest.mark.req("D20", "R86")
@pytest.mark.parametrize("rules", ["rsi", "macd", "both"])
def test_a_buy_waits_for_its_rules(rules: str) -> None:
    closes = [10_000 + round(900 * math.sin(k / 7) + 400 * math.sin(k / 3)) for k in range(90)]
    prices = np.array(closes) / 100
    rsi = talib.RSI(prices, 14)
    macd, signal, _ = talib.MACD(prices, 12, 26, 9)
    wanted = np.ones(len(closes), bool)
    parameters: dict[str, Any] = {"allocation": {"A": 0.5}}
    with np.errstate(invalid="ignore"):
        if rules in ("rsi", "both"):
            threshold = parameters["rsi_threshold"] = 45.0 if rules == "rsi" else 70.0
            wanted &= rsi < threshold
        if rules in ("macd", "both"):
            parameters["macd_bullish"] = True
            wanted &= macd > signal
    first = int(np.argmax(wanted))
    assert wanted[first], "the rules hold somewhere"
    assert first > 0, "and not at once"
    run = core(parameters)
    for number, close in enumerate(closes):
        run.bar("A", close)
        assert bool(orders(run)) is (number >= first), number


@pytest.mark.req("D20", "R86")
@pytest.mark.parametrize("kind", [Trade, Quote])
@pytest.mark.parametrize("rule_bars", ["", "1m"])
def test_rules_on_ticks_are_of_bars_made_of_them(kind: type[Trade | Quote], rule_bars: str) -> None:
    given = {"allocation": HALVES, "initial_capital": CAPITAL, "rule_bars": rule_bars}
    # RSI of what only rises is 100, of what only falls 0; both come at the same times.
    strategy = Allocation(**given, rsi_threshold=50.0, macd_bullish=False)
    run = Core({"S": strategy}, WIDE, kinds=(kind,)).start()
    for minute in range(20):
        ts = START + minute * MINUTE
        run.tick(kind, "A", 10_000 + 10 * minute, ts + 1)
        run.tick(kind, "B", 10_000 - 10 * minute, ts + 2)
        # The 15th bar is complete with the first tick of the 16th minute.
        bought = [("B", Side.BUY)] if rule_bars and minute >= 15 else []
        assert [(symbol, side) for symbol, side, *_ in orders(run)] == bought, minute
    assert run.events(StrategyFailed) == []


@pytest.mark.req("D20")
def test_a_sale_does_not_wait() -> None:
    run = core({"allocation": {"A": 0.5}, "rsi_threshold": 100.0})
    for k in range(20):
        run.bar("A", 10_000 + 10 * (k % 2))
    run.idle(run.cell.now)
    run.host("S").strategy.rsi_threshold = 0.001  # type: ignore[attr-defined]
    assert held(run, "A") == 49
    for _ in range(2):
        run.bar("A", 20_000)
        run.idle(run.cell.now)
    assert orders(run)[-1][1] is Side.SELL


@given(
    shares=st.tuples(st.floats(0.05, 0.5), st.floats(0.05, 0.5)),
    path=st.lists(st.tuples(st.integers(500, 50_000), st.integers(500, 50_000)), min_size=4,
                  max_size=12),
    drift=st.floats(0.01, 0.3),
)  # fmt: skip
@settings(max_examples=60)
def test_after_a_rebalancing_every_share_is_within_its_drift(
    shares: tuple[float, float], path: list[tuple[int, int]], drift: float
) -> None:
    allocation = dict(zip("AB", shares, strict=True))
    run = core({"allocation": allocation, "drift": drift})
    strategy: Any = run.host("S").strategy
    for a, b in path:
        both(run, a, b, times=3)  # drifted, sent, filled
        capital = strategy.capital
        assert sum(strategy.position(s).value for s in "AB") <= capital + 1e-6
        for symbol, px in (("A", a), ("B", b)):
            off = strategy.position(symbol).value / capital - allocation[symbol]
            lot = px / 100 / capital
            assert -drift - lot - 1e-9 <= off <= drift + lot + 1e-9
