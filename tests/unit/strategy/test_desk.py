"""What a strategy's actions put into its outbox."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    OrderApproved,
    ReplaceOrder,
    SubmitOrder,
)
from engine.domain.events import CancelRejected, OrderReplaced
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Order, OrderType, Side, TimeInForce
from engine.domain.risk import symbol_bounds
from engine.domain.signals import Signal
from engine.errors import UnknownSymbolError
from engine.strategy.base import Strategy
from engine.strategy.desk import Desk, tick_px
from engine.strategy.indicators import Studies
from tests.limits import limits

A = Instrument(symbol="A")
COIN = Instrument(symbol="COIN", quantity_decimals=3, lot_size=10, tick_size=5)


class Now:
    """The part of a context that a desk needs."""

    def __init__(self) -> None:
        self.now = 1_000
        self.latest: dict[str, Any] = {}

    def last(self, symbol: str) -> Any:
        return self.latest.get(symbol)


class Rig:
    def __init__(self, cash: int = 10_000, **changes: Any) -> None:
        self.ctx = Now()
        self.desk = Desk(
            "S",
            instruments={"A": A, "COIN": COIN},
            ctx=self.ctx,  # type: ignore[arg-type]
            cash=cash * CASH_UNIT,
            time_in_force=TimeInForce.GTC,
            history=0,
            slice_sizes={i.symbol: symbol_bounds(limits(**changes), i) for i in (A, COIN)},
        )
        self.strategy = Strategy()
        self.strategy.attach(self.desk, Studies(lambda *a: None, lambda *a: None))
        self.seq = -1
        self.bar()

    def bar(self, px: int = 10_000, symbol: str = "A") -> Bar:
        self.seq += 1
        self.ctx.now += 60
        now = self.ctx.now
        bar = Bar(symbol, self.seq, now - 60, now, px, px, px, px, 1, 100, 1)
        self.desk.event = self.ctx.latest[symbol] = bar
        return bar

    def take(self) -> list[Any]:
        out = [c.order if type(c) is SubmitOrder else c for c in self.desk.outbox]
        self.desk.outbox.clear()
        return out

    def one(self) -> Order:
        (order,) = self.take()
        assert isinstance(order, Order)
        return order

    def hold(self, units: int, symbol: str = "A") -> None:
        self.desk.hold(self.desk.positions[symbol], units)


def done(rig: Rig) -> None:
    """Let every order so far have ended."""
    rig.desk.orders.clear()
    rig.take()


@pytest.mark.req("P5", "D17")
def test_an_id_is_a_pure_function_of_the_input() -> None:
    ids = []
    for _ in range(2):
        rig = Rig()
        rig.strategy.buy("A", 1)
        rig.strategy.sell("COIN", 0.01)
        rig.bar(symbol="COIN")
        rig.strategy.buy("A", 1)
        ids.append([order.client_order_id for order in rig.take()])
    assert ids[0] == ids[1] == ["S:A:0:1", "S:A:0:2", "S:COIN:1:1"]


EVENTS = [
    Bar("A", 5, 0, 9, 1, 1, 1, 1, 1, 1, 1),
    Trade("A", 5, 9, 1, 1, 1, 1),
    Quote("A", 5, 9, 1, 1, 1, 1, 1, 1),
    Bar("B", 5, 0, 9, 1, 1, 1, 1, 1, 1, 1),
    CancelRejected("O", "X", 9),
    CancelRejected("O", "X", 9),
    CancelRejected("O", "X", 10),
    CancelRejected("P", "X", 9),
    OrderReplaced("O", 1, None, None, 9),
    OrderReplaced("O", 1, None, None, 10),
    Signal(strategy_id="T", symbol="A", ts_event=9, signal=True, score=1.0),
    Signal(strategy_id="T", symbol="A", ts_event=9, signal=True, score=2.0),
    Signal(strategy_id="U", symbol="A", ts_event=9, signal=True, score=1.0),
    ClosePosition(strategy_id="S", symbol="A", reason="STOP_LOSS", ts_init=9),
    ClosePosition(strategy_id="S", symbol="B", reason="STOP_LOSS", ts_init=9),
    ClosePosition(strategy_id="S", symbol="B", reason="OTHER", ts_init=9),
]


@pytest.mark.req("P5")
@given(st.permutations(EVENTS), st.lists(st.integers(1, 3), min_size=16, max_size=16))
def test_ids_are_unique_whatever_comes_in_whatever_order(
    events: list[Any], legs: list[int]
) -> None:
    rig = Rig()
    ids = []
    for event, count in zip(events, legs, strict=True):
        rig.desk.event = event
        ids += [rig.desk.next_id() for _ in range(count)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (OrderType.MARKET, None, None, None, None)),
        ({"limit": 99.5}, (OrderType.LIMIT, 9_950, None, None, None)),
        ({"stop": 99.5}, (OrderType.STOP, None, 9_950, None, None)),
        ({"stop": 99.5, "limit": 99}, (OrderType.STOP_LIMIT, 9_900, 9_950, None, None)),
        ({"trail": 1.5}, (OrderType.TRAILING_STOP, None, None, 150, None)),
        ({"trail_percent": 2.5}, (OrderType.TRAILING_STOP, None, None, None, 250)),
        ({"trail": 1, "stop": 90}, (OrderType.TRAILING_STOP, None, 9_000, 100, None)),
    ],
)
def test_the_arguments_name_the_order_type(fields: Any, expected: tuple[Any, ...]) -> None:
    rig = Rig()
    handle = rig.strategy.buy("A", 3, tag="t", **fields)
    order = rig.one()
    found = (order.order_type, order.limit_px, order.stop_px, order.trail_px, order.trail_bps)
    assert found == expected
    assert (order.order_qty, order.side, order.tag, order.ts_init) == (3, Side.BUY, "t", 1_060)
    assert handle.order is order
    assert rig.strategy.orders == (handle,)


# A limit is rounded away from the market (a buy's down), a stop too (a buy's up).
@pytest.mark.parametrize(
    ("price", "down", "up"),
    [
        (100.0, 10_000, 10_000),
        (100.004, 10_000, 10_001),
        (100.006, 10_000, 10_001),
        (0.1 + 0.2, 30, 30),
        (99.999999999, 10_000, 10_000),
        (1.1 * 3, 330, 330),
        (0.01, 1, 1),
    ],
)
def test_prices_are_rounded_to_ticks_away_from_the_market(price: float, down: int, up: int) -> None:
    assert tick_px(A, price, up=False) == down
    assert tick_px(A, price, up=True) == up
    rig = Rig()
    rig.strategy.buy("A", 1, limit=price)
    rig.strategy.sell("A", 1, limit=price)
    rig.strategy.buy("A", 1, stop=price)
    rig.strategy.sell("A", 1, stop=price)
    limits_and_stops = [order.limit_px or order.stop_px for order in rig.take()]
    assert limits_and_stops == [down, up, up, down]


def test_ticks_of_several_units() -> None:
    assert tick_px(COIN, 100.03, up=False) == 10_000
    assert tick_px(COIN, 100.03, up=True) == 10_005
    assert tick_px(COIN, 100.05, up=True) == 10_005
    assert tick_px(COIN, None, up=True) is None


@pytest.mark.req("P11")
@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), 1e18])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="price of A"):
        rig.strategy.buy("A", 1, limit=price)
    assert rig.take() == []
    assert rig.strategy.orders == ()


@pytest.mark.req("P11", "D2")
@pytest.mark.parametrize(
    ("symbol", "quantity", "words"),
    [
        ("A", 1.5, "quantity of A: 1.5 has more than 0 digits"),
        ("A", float("nan"), "quantity of A: nan is not a finite number"),
        ("A", float("inf"), "not a finite number"),
        ("A", 10**30, "too large"),
        ("COIN", 0.0001, "quantity of COIN: 0.0001 has more than 3 digits.*round it first"),
    ],
)
def test_a_quantity_that_does_not_fit_is_refused(symbol: str, quantity: Any, words: str) -> None:
    for act in (Rig().strategy.buy, Rig().strategy.target_quantity):
        with pytest.raises(ValueError, match=words):
            act(symbol, quantity)


def test_quantities_are_scaled() -> None:
    rig = Rig()
    rig.strategy.buy("A", 3.0)
    rig.strategy.buy("COIN", 0.25)
    rig.strategy.buy("COIN", 2)
    assert [order.order_qty for order in rig.take()] == [3, 250, 2_000]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"trail": 1, "trail_percent": 1}, "either trail or trail_percent"),
        ({"trail": 1, "limit": 1}, "and no limit"),
        ({"tif": "FOREVER"}, "unknown time in force 'FOREVER'; one of DAY, GTC"),
        ({"tif": "DAY", "good_till": 5}, "good_till goes with time in force GTD, not DAY"),
    ],
)
def test_arguments_that_contradict_each_other(fields: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rig().strategy.buy("A", 1, **fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (TimeInForce.GTC, None)),
        ({"tif": "IOC"}, (TimeInForce.IOC, None)),
        ({"tif": TimeInForce.DAY}, (TimeInForce.DAY, None)),
        ({"good_till": 5}, (TimeInForce.GTD, 5)),
        ({"good_till": 5, "tif": "GTD"}, (TimeInForce.GTD, 5)),
    ],
)
def test_time_in_force(fields: Any, expected: tuple[Any, ...]) -> None:
    rig = Rig()
    rig.strategy.buy("A", 1, **fields)
    order = rig.one()
    assert (order.time_in_force, order.expire_ts) == expected


def test_an_unknown_symbol_is_named() -> None:
    for act in ("buy", "sell", "target_quantity", "target_percent"):
        with pytest.raises(UnknownSymbolError, match=r"no symbol 'Z' in this run .it has: A, COIN"):
            getattr(Rig().strategy, act)("Z", 1)
    for look in ("position", "close"):
        with pytest.raises(UnknownSymbolError, match="no symbol 'Z'"):
            getattr(Rig().strategy, look)("Z")


@pytest.mark.parametrize(
    ("held", "target", "side", "qty", "reduce_only"),
    [
        (0, 10, Side.BUY, 10, False),
        (10, 4, Side.SELL, 6, True),
        (10, 0, Side.SELL, 10, True),
        (10, -5, Side.SELL, 15, False),
        (10, 15, Side.BUY, 5, False),
        (-10, -4, Side.BUY, 6, True),
        (-10, 0, Side.BUY, 10, True),
        (-10, 3, Side.BUY, 13, False),
        (-10, -12, Side.SELL, 2, False),
    ],
)
def test_a_target_is_one_market_order_away(
    held: int, target: int, side: Side, qty: int, reduce_only: bool
) -> None:
    rig = Rig()
    rig.hold(held)
    rig.strategy.target_quantity("A", target)
    order = rig.one()
    assert (order.side, order.order_qty, order.reduce_only) == (side, qty, reduce_only)
    assert rig.strategy.target_quantity("A", target) is None  # what is under way counts
    assert rig.take() == []


@pytest.mark.parametrize("held", [10, -10])
def test_a_target_changed_before_its_order_has_filled_adds_back(held: int) -> None:
    rig = Rig()
    rig.hold(held)
    rig.strategy.target_quantity("A", 0)
    rig.take()
    rig.strategy.target_quantity("A", held // 2)
    order = rig.one()
    # Not reduce-only: on this side there is nothing to reduce, the gate would deny it.
    assert (order.side.sign * order.order_qty, order.reduce_only) == (held // 2, False)


def test_a_target_counts_market_orders_and_no_resting_ones() -> None:
    rig = Rig()
    rig.strategy.buy("A", 5, limit=1.0)
    rig.strategy.target_quantity("A", 5)
    assert [order.order_qty for order in rig.take()] == [5, 5]


@pytest.mark.parametrize(
    ("share", "units"), [(0.5, 50), (0.505, 50), (0.5099, 50), (-0.505, -50), (0.0099, 0)]
)
def test_a_share_is_rounded_towards_zero(share: float, units: int) -> None:
    rig = Rig()
    assert rig.desk.share_units("A", share) == units
    order = rig.strategy.target_percent("A", share)
    assert (order is None) == (units == 0)


def test_a_share_is_in_whole_lots() -> None:
    rig = Rig()
    rig.bar(33_300, "COIN")
    assert rig.desk.share_units("COIN", 0.5) == 15_010  # 5,000 / 333 = 15.015
    assert rig.desk.share_units("COIN", -0.5) == -15_010


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_a_share_must_be_a_number(share: float) -> None:
    with pytest.raises(ValueError, match="share of equity must be a finite number"):
        Rig().strategy.target_percent("A", share)


def test_nothing_is_sized_without_a_price_or_equity() -> None:
    rig = Rig()
    assert rig.strategy.target_percent("COIN", 0.5) is None
    ruined = Rig(cash=-5)
    assert ruined.strategy.target_percent("A", 0.5) is None
    assert ruined.desk.share_units("A", -0.5) == 0


def test_a_small_drift_is_left_alone() -> None:
    rig = Rig(cash=5_000)
    rig.hold(50)  # half of an equity of 10,000
    assert rig.strategy.target_percent("A", 0.54) is None
    assert rig.strategy.target_percent("A", 0.46) is None
    order = rig.strategy.target_percent("A", 0.56)
    assert order is not None
    done(rig)
    assert rig.strategy.target_percent("A", 0.52, drift=0.0) is not None
    done(rig)
    assert rig.strategy.target_percent("A", 0.0) is not None


def test_close_cancels_the_symbols_orders_and_goes_flat() -> None:
    rig = Rig()
    rig.hold(7)
    entry = rig.strategy.buy("A", 1, limit=50.0)
    other = rig.strategy.buy("COIN", 1, limit=50.0)
    rig.take()
    handle = rig.strategy.close("A", tag="bye")
    cancel, order = rig.take()
    assert cancel == CancelOrder(entry.id, "S", rig.ctx.now)
    assert (order.side, order.order_qty, order.reduce_only) == (Side.SELL, 7, True)
    assert (order.order_type, order.tag) == (OrderType.MARKET, "bye")
    assert other in rig.strategy.orders
    assert rig.strategy.close("A") is handle  # under way: not sent again
    assert [type(command) for command in rig.take()] == [CancelOrder]


def test_a_close_of_another_size_is_replaced() -> None:
    rig = Rig()
    rig.hold(7)
    first = rig.strategy.close("A")
    rig.hold(9)
    rig.take()
    second = rig.strategy.close("A")
    cancel, order = rig.take()
    assert first is not None
    assert second is not first
    assert cancel.client_order_id == first.id
    assert order.order_qty == 9


def test_closing_what_is_flat_does_nothing() -> None:
    rig = Rig()
    assert rig.strategy.close("A") is None
    assert rig.take() == []


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_bracket_is_an_entry_and_two_exits_that_wait_for_it(side: str) -> None:
    rig = Rig()
    up, down = (110.0, 90.0) if side == "BUY" else (90.0, 110.0)
    bracket = rig.strategy.bracket("A", 5, side=side, take_profit=up, stop_loss=down, tag="b")
    entry, loss, profit = rig.take()
    assert bracket.entry.order is entry
    assert (entry.side.value, entry.order_type, entry.group_id) == (side, OrderType.MARKET, None)
    for exit_order in (loss, profit):
        assert exit_order.side is entry.side.opposite
        assert exit_order.parent_id == entry.client_order_id
        assert exit_order.reduce_only
        assert exit_order.order_qty == 5
        assert exit_order.tag == "b"
    assert loss.group_id == profit.group_id is not None
    assert (loss.order_type, loss.stop_px) == (OrderType.STOP, int(down * 100))
    assert (profit.order_type, profit.limit_px) == (OrderType.LIMIT, int(up * 100))


def test_a_bracket_may_have_one_exit_and_must_have_one() -> None:
    rig = Rig()
    bracket = rig.strategy.bracket("A", 5, limit=99.0, trail_percent=3.0)
    entry, loss = rig.take()
    assert entry.limit_px == 9_900
    assert (loss.trail_bps, bracket.take_profit) == (300, None)
    with pytest.raises(ValueError, match="a bracket needs take_profit, stop_loss, trail"):
        rig.strategy.bracket("A", 5)
    assert rig.take() == []


def test_one_cancels_other_joins_the_orders_of_its_block() -> None:
    rig = Rig()
    with rig.strategy.oco():
        rig.strategy.buy("A", 1, limit=90.0)
        rig.strategy.buy("A", 1, stop=110.0)
    with rig.strategy.oco():
        rig.strategy.buy("A", 1)
    rig.strategy.buy("A", 1)
    first, second, third, last = [order.group_id for order in rig.take()]
    assert first == second != third
    assert None not in (first, third)
    assert last is None


def test_a_group_ends_with_its_block_also_when_the_block_fails() -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="price of A"), rig.strategy.oco():
        rig.strategy.buy("A", 1, limit=-1.0)
    rig.strategy.buy("A", 1)
    assert rig.one().group_id is None


def test_a_replacement_is_scaled_and_rounded_like_an_order() -> None:
    rig = Rig()
    handle = rig.strategy.sell("A", 5, limit=110.0)
    rig.take()
    rig.strategy.replace(handle, quantity=6, limit=109.999)
    assert rig.take() == [ReplaceOrder(handle.id, "S", rig.ctx.now, 6, 11_000, None)]


def test_a_signal_with_an_order() -> None:
    rig = Rig()
    rig.strategy.send_signal("buy", 99.0, 5, 0.7)
    said, order = rig.take()
    assert (said.symbol, said.action, said.score, said.signal) == ("A", "BUY", 0.7, True)
    assert (order.limit_px, order.order_qty, order.confidence) == (9_900, 5, 0.7)
    with pytest.raises(ValueError, match="HOLD"):
        rig.strategy.send_signal("HOLD", None, 5)
    assert OrderApproved not in {type(command) for command in rig.take()}


def test_a_signal_needs_a_symbol_that_is_being_handled() -> None:
    rig = Rig()
    rig.desk.event = CancelRejected("O1", "UNKNOWN_ORDER", 1_000)
    with pytest.raises(ValueError, match="here there is none"):
        rig.strategy.send_signal("BUY", None, 1)
    assert rig.take() == []


def test_views() -> None:
    rig = Rig()
    assert rig.strategy.price("A") == 100.0
    assert rig.strategy.price("COIN") is None
    assert (rig.strategy.cash, rig.strategy.equity) == (10_000.0, 10_000.0)
    rig.hold(-10)
    rig.desk.positions["A"].cost = -10 * 90 * CASH_UNIT
    position = rig.strategy.position("A")
    assert (position.quantity, position.value, position.average_price) == (-10.0, -1_000.0, 90.0)
    assert position.unrealized == -100.0
    assert rig.strategy.equity == 9_000.0
    with pytest.raises(ValueError, match="needs history"):
        rig.strategy.bars("A")
