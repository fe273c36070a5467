"""What the gate hears of prices, when it looks at them, and what it warns of."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import OrderApproved, SubmitOrder
from engine.domain.events import OrderCanceled, OrderDenied, Severity
from engine.domain.latch import TradingState
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import CASH_UNIT
from engine.domain.risk import DenyCode
from tests.limits import UNLIMITED
from tests.unit.actors.gate_rig import Rig

D = DenyCode
WARNED = [("POSITION_SIZE", Severity.WARNING, "NONE")]


def event(kind: str, px: int, symbol: str = "A") -> Any:
    """Give a market event at a price; neither its other prices nor its sizes are that price."""
    if kind == "bar":
        return Bar(symbol, 0, 0, 0, px + 7, px + 9, px - 9, px, 1, 100, 1)
    if kind == "trade":
        return Trade(symbol, 0, 0, px, 1, 100, 1)
    return Quote(symbol, 0, 0, px - 3, px + 3, 1, 1, 100, 1)


def heard(rig: Rig, symbol: str = "A") -> int:
    """Count who hears a symbol's prices; in the rig only the gate ever does."""
    return len(rig.cell.lane(symbol).handlers)


# Whose prices it hears.


def test_prices_are_heard_exactly_while_something_is_held_or_works() -> None:
    rig = Rig()
    assert heard(rig) == 0
    entry = rig.order(10)
    rig.submit(entry)
    assert (heard(rig), heard(rig, "B")) == (1, 0)
    rig.tell(OrderCanceled(entry.client_order_id, "USER", 0))
    assert heard(rig) == 0
    rig.hold(10)
    exit_ = rig.order(-10, reduce_only=True)
    rig.submit(exit_)
    assert heard(rig) == 1
    rig.fill(exit_, 4, 6)
    assert heard(rig) == 1
    rig.fill(exit_, 6, 0)
    assert heard(rig) == 0


def test_a_fill_of_an_order_it_never_saw_is_watched_like_any_other() -> None:
    rig = Rig()
    rig.hold_anyway(1_000)
    assert heard(rig) == 1
    rig.price("A", 5_000)
    assert rig.gate.latch.state() is TradingState.HALTED
    rig.hold_anyway(-1_000)
    assert heard(rig) == 0


# What a price is.


@pytest.mark.req("D13", "R96")
@pytest.mark.parametrize("kind", ["bar", "trade", "quote"])
@pytest.mark.parametrize("by_lane", [True, False])
@pytest.mark.parametrize(
    ("quantity", "safe", "reached"), [(1_000, 5_001, 5_000), (-1_000, 14_999, 15_000)]
)
def test_a_loss_halts_at_the_last_price_of_whatever_brings_it(
    kind: str, by_lane: bool, quantity: int, safe: int, reached: int
) -> None:
    """50,000 on 1,000 at 100.00, long or short; prices come by lane or as a message."""
    rig = Rig()
    rig.hold(quantity)
    for px, state in ((safe, TradingState.ACTIVE), (reached, TradingState.HALTED)):
        if by_lane:
            rig.cell.deliver_market(event(kind, px))
        else:
            rig.tell(event(kind, px))
        assert rig.gate.latch.state() is state


def test_a_price_without_a_lane_values_what_is_held_but_judges_no_order() -> None:
    rig = Rig(prices={"B": 10_000})
    rig.tell(event("trade", 9_000))
    assert rig.send(10) is D.NO_REFERENCE_PRICE  # nothing says how old that price is
    rig.hold_anyway(1_000)  # bought at 100.00
    assert rig.send(10, "B") is None
    inputs = rig.world.heard[0].verdict.inputs
    assert inputs.equity == 990_000 * CASH_UNIT


@pytest.mark.req("D13", "R96")
def test_a_fill_is_valued_at_the_latest_price_though_the_gate_did_not_hear_it() -> None:
    rig = Rig()
    rig.price("A", 5_000)  # nothing is held: nobody listens
    rig.hold_anyway(1_000)  # bought at 100.00
    assert rig.gate.latch.state() is TradingState.HALTED
    told = [(e.event_type, e.value) for e in rig.world.heard]
    assert told == [("DAILY_LOSS", 50_000.0)]


def test_a_fill_in_a_symbol_without_any_price_is_valued_at_its_own() -> None:
    rig = Rig(prices={"B": 10_000})
    rig.hold_anyway(1_000)  # bought at 100.00
    assert rig.world.heard == []
    assert rig.send(10, "B") is None
    inputs = rig.world.heard[0].verdict.inputs
    assert inputs.equity == 1_000_000 * CASH_UNIT
    assert inputs.exposure_after == 101_000 * CASH_UNIT


def test_the_smallest_price_is_a_price() -> None:
    rig = Rig()
    rig.price("A", 1)
    assert rig.send(10_000) is None  # 100.00, the least that an order may be worth
    rig.price("A", 0)
    assert rig.send(10_000) is D.NO_REFERENCE_PRICE


@pytest.mark.req("D13", "R96")
def test_an_order_that_overtakes_its_price_is_judged_after_what_that_price_halts() -> None:
    """Somebody ahead of the gate sends an order at a price that the gate has not heard yet."""
    rig = Rig()
    early = rig.order(1)
    rig.cell.lane("A").watch(lambda _: rig.cell.send("risk_gate", SubmitOrder(early)))
    rig.hold(1_000)
    rig.price("A", 5_000)
    denied = [e.verdict.code for e in rig.world.heard if type(e) is OrderDenied]
    assert denied == [D.TRADING_HALTED]
    assert rig.risk_events() == [("DAILY_LOSS", Severity.CRITICAL, "TRADING_HALTED")]


# Prices that can set off nothing. Of a million the first alarm is the warning at a loss of 35,000;
# a band is a 32nd of that, 1,093.75, which on 1,000 held is 1.09 whole cents a piece.


@pytest.mark.parametrize(
    ("quantity", "inside", "edge"), [(1_000, 9_892, 9_891), (-1_000, 10_108, 10_109)]
)
def test_inside_the_band_a_price_waits_and_at_its_edge_it_is_marked(
    quantity: int, inside: int, edge: int
) -> None:
    rig = Rig()
    rig.hold(quantity)
    book = rig.gate.book.exposure
    market = book.markets["A"]
    rig.price("A", inside)
    rig.price("A", inside)
    assert (market.px, book.stale) == (10_000, [market])  # it waits once
    rig.price("A", edge)
    assert market.px == edge


@pytest.mark.req("D13", "R96")
@pytest.mark.parametrize(
    ("px", "state"), [(5_151, TradingState.ACTIVE), (5_150, TradingState.HALTED)]
)
def test_a_loss_that_two_symbols_reach_together_halts_though_one_price_still_waits(
    px: int, state: TradingState
) -> None:
    """Without a warning before it the alarm is at 50,000, and a band 1,562.50 wide."""
    rig = Rig(daily_loss_warning=1.0)
    rig.hold(1_000)
    rig.hold(1_000, "B")
    rig.price("B", 9_850)  # 1,500
    assert rig.gate.book.exposure.markets["B"].px == 10_000
    rig.price("A", px)  # 48,490 more, or 48,500
    assert rig.gate.latch.state() is state


@pytest.mark.parametrize("symbol", ["A", "B"])
def test_the_next_order_in_any_symbol_sees_every_price_that_waited(symbol: str) -> None:
    rig = Rig()
    rig.hold(1_000)
    rig.price("A", 9_900)
    assert rig.send(10, symbol) is None
    inputs = rig.world.heard[0].verdict.inputs
    assert inputs.equity == 999_000 * CASH_UNIT
    assert rig.gate.book.exposure.stale == []
    rig.price("A", 9_899)
    assert rig.gate.snapshot().markets[0].px == 9_899


# Positions near their limit: 24 % of equity is 80 % of the 30 % that are allowed.


@pytest.mark.req("R92", "R98")
def test_only_an_order_that_can_make_a_position_larger_is_warned_of() -> None:
    rig = Rig(max_order_size="unlimited")
    rig.hold(2_390)
    rig.price("A", 10_200)  # 243,780 of 1,004,780: above 24 % by no order's doing
    assert rig.send(-1) is None
    assert rig.risk_events() == []
    assert rig.send(1) is None
    assert rig.risk_events() == WARNED


@pytest.mark.req("R92", "R98")
def test_it_is_warned_of_again_once_there_was_nothing() -> None:
    rig = Rig(max_order_size="unlimited")
    for _ in range(2):
        order = rig.order(2_400)
        assert rig.submit(order) is None
        assert rig.risk_events() == WARNED
        rig.tell(OrderCanceled(order.client_order_id, "USER", 0))


@pytest.mark.req("R92", "R98")
def test_it_is_warned_of_again_after_a_smaller_one() -> None:
    rig = Rig(max_order_size="unlimited")
    rig.hold(1_000)
    for _ in range(2):
        order = rig.order(1_400)
        assert rig.submit(order) is None
        assert rig.risk_events() == WARNED
        rig.tell(OrderCanceled(order.client_order_id, "USER", 0))
        assert rig.send(1) is None
        assert rig.risk_events() == []


def test_without_a_limit_there_is_nothing_to_warn_of_even_without_equity() -> None:
    rig = Rig(cash=0, **UNLIMITED)
    assert rig.send(10) is None
    assert [type(e) for e in rig.world.heard] == [OrderApproved]
