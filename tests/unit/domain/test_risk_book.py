"""What a risk book alone knows of orders: what counts, what is measured, what rests where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.domain.commands import ReplaceOrder
from engine.domain.events import OrderReplaced
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Order, OrderType
from engine.domain.reservations import Reservation
from tests.unit.domain.risk_book_rig import FINE, Rig

STOP_LIMIT = OrderType.STOP_LIMIT


def held(rig: Rig, order: Order) -> Reservation:
    return rig.book.reservations.orders[order.client_order_id]


def changed(rig: Rig, order: Order, qty: int | None = None, **fields: Any) -> Order:
    """Give the order that a replacement would make."""
    replace = ReplaceOrder(order.client_order_id, order.strategy_id, 0, order_qty=qty, **fields)
    return rig.book.reservations.replaced(held(rig, order), replace)


def widen(rig: Rig, order: Order, qty: int | None = None, **fields: Any) -> None:
    """Take in an approved replacement."""
    market = rig.book.widen(held(rig, order), changed(rig, order, qty, **fields), 0)
    assert market is rig.market(order.symbol)


# Denials that are remembered.


@pytest.mark.parametrize(
    ("before", "today", "denied"),
    [
        ({}, {}, False),
        ({}, {"O": True}, False),
        ({}, {"O": False}, True),
        ({"O": True}, {}, False),
        ({"O": False}, {}, True),
        ({"P": False}, {"Q": False}, False),
    ],
)
def test_what_was_denied_is_known_for_two_days(
    before: dict[str, bool], today: dict[str, bool], denied: bool
) -> None:
    book = Rig().book
    book.judged.update(before)
    book.end_day(1)
    book.judged.update(today)
    assert book.was_denied("O") is denied
    book.end_day(2)
    assert book.was_denied("O") is (denied and "O" in today)
    book.end_day(3)
    assert not book.was_denied("O")


def test_a_book_knows_from_when_on_it_remembers() -> None:
    book = Rig().book
    first = book.day_began
    assert first == book.known_since < -(10**20)
    book.end_day(5)
    assert (book.known_since, book.day_began) == (first, 5)
    book.end_day(7)
    assert (book.known_since, book.day_began) == (5, 7)


# What is measured.


def test_what_is_measured_of_an_order() -> None:
    rig = Rig()
    rig.works(10, limit_px=9_000)
    rig.works(-5, limit_px=11_000, strategy_id="T")
    found = rig.measure(rig.order(3, limit_px=10_100))
    assert (found.order_qty, found.reference_px, found.through_ppm) == (3, 10_000, 10_000)
    assert (found.own_px, found.exempt) == (0, 0)
    assert (found.open_orders, found.strategy_open_orders) == (2, 1)
    assert (found.day_orders, found.strategy_day_orders) == (2, 1)
    assert found.order_value == 303 * CASH_UNIT
    assert found.position_before == 1_500 * CASH_UNIT
    assert found.position_after == (13 * 101 + 5 * 100) * CASH_UNIT
    assert found.cash_after == (100_000 - 900 - 303) * CASH_UNIT
    at_market = rig.measure(rig.order(-2), exempt=1)
    assert (at_market.through_ppm, at_market.exempt, at_market.order_value) == (
        0, 1, 200 * CASH_UNIT,
    )  # fmt: skip


def test_the_age_of_the_price_is_that_of_its_event() -> None:
    rig = Rig()
    order, market = rig.order(1), rig.market()
    event = msgspec.structs.replace(market.seen, ts_event=3)
    assert rig.book.measure(order, market, event, 7, 0).reference_age == 4


def test_losses_are_measured_since_the_day_began() -> None:
    rig = Rig()
    rig.hold(100)
    rig.hold(50, strategy="T")
    rig.price("A", 11_000)
    rig.book.end_day(1)
    rig.price("A", 10_600)
    rig.lose()
    found = rig.measure(rig.order(1))
    assert found.equity == 100_900 * CASH_UNIT
    assert (found.day_start_equity, found.peak_equity) == (101_500 * CASH_UNIT,) * 2
    assert found.strategy_loss == 400 * CASH_UNIT
    assert (found.losing_streak, found.strategy_losing_streak) == (1, 1)
    other = rig.measure(rig.order(1, strategy_id="T"))
    assert other.strategy_loss == 200 * CASH_UNIT
    assert (other.losing_streak, other.strategy_losing_streak) == (1, 0)
    assert rig.measure(rig.order(1, strategy_id="NEW")).strategy_loss == 0


@pytest.mark.parametrize(("fine", "loss"), [(4, 0), (5, 0), (6, 1), (15, 2), (24, 2)])
def test_a_loss_of_less_than_a_cash_unit_is_rounded_half_to_even(fine: int, loss: int) -> None:
    """A price unit of a quantity unit is a tenth of a cash unit."""
    rig = Rig(FINE)
    rig.hold(1, "C")
    rig.price("C", 10_000 - fine)
    assert rig.measure(rig.order(1, "C")).strategy_loss == loss


def test_a_strategy_is_watched_from_its_first_order_on() -> None:
    rig = Rig(per_strategy={"max_daily_loss": 500.0}, daily_loss_warning=1.0)
    rig.measure(rig.order(1))
    assert rig.book.exposure.strategy("S").alarm == -500 * CASH_UNIT


# Where own orders rest.

RESTING: list[tuple[int, dict[str, Any], tuple[list[int], list[int]]]] = [
    (5, {"limit_px": 9_900}, ([9_900], [])),
    (-5, {"limit_px": 10_100}, ([], [10_100])),
    (5, {}, ([], [])),
    (5, {"limit_px": 9_900, "parent_id": "P"}, ([], [])),
    (5, {"limit_px": 9_900, "stop_px": 9_800, "order_type": STOP_LIMIT}, ([], [])),
    (-5, {"stop_px": 9_800, "order_type": OrderType.STOP}, ([], [])),
]


@pytest.mark.parametrize(("qty", "fields", "expected"), RESTING)
@pytest.mark.parametrize("again", [False, True])
def test_only_limit_orders_that_wait_for_nothing_rest(
    qty: int, fields: dict[str, Any], expected: tuple[list[int], list[int]], again: bool
) -> None:
    """A stop or the child of an order works later; after a restart it is the same."""
    rig = Rig()
    if again:
        order = rig.order(qty, **fields)
        rig.book.reserve_again(order, 5, order.limit_px or 10_000, 0, [])
    else:
        order = rig.works(qty, **fields)
    assert rig.ladders() == expected
    assert rig.room() == ((5, 0) if qty > 0 else (0, 5))
    widen(rig, order, 6)
    assert rig.ladders() == tuple([px for px in prices for _ in range(2)] for prices in expected)
    rig.book.release(order.client_order_id)
    assert rig.ladders() == ([], [])
    assert rig.room() == (0, 0)


@pytest.mark.parametrize(
    ("resting", "sent", "own_px"),
    [
        ([(5, 9_900)], (-1, 9_900), 9_900),
        ([(5, 9_900)], (-1, 9_901), 0),
        ([(-5, 10_100)], (1, 10_100), 10_100),
        ([(-5, 10_100)], (1, 10_099), 0),
        ([(5, 9_800), (5, 9_900), (-5, 10_100)], (-1, 9_700), 9_900),
        ([(5, 9_900), (-5, 10_100), (-5, 10_200)], (1, 10_300), 10_100),
        ([], (1, 10_300), 0),
    ],
)
def test_the_nearest_own_order_that_could_be_met(
    resting: list[tuple[int, int]], sent: tuple[int, int], own_px: int
) -> None:
    rig = Rig()
    for qty, px in resting:
        rig.works(qty, limit_px=px, strategy_id="T")
    assert rig.measure(rig.order(sent[0], limit_px=sent[1])).own_px == own_px


# Ends and replacements.


def test_the_end_of_an_order_gives_its_symbol_and_lets_go_of_all_that_it_was() -> None:
    rig = Rig()
    order = rig.works(10, limit_px=9_000)
    rig.works(7, "B")
    rig.fill(order, 4, leaves=6)
    assert rig.room() == (6, 0)
    assert rig.book.release(order.client_order_id) is rig.market()
    assert rig.room() == (0, 0)
    assert rig.ladders() == ([], [])
    assert rig.room("B") == (7, 0)
    found = rig.measure(rig.order(1))
    assert (found.open_orders, found.strategy_open_orders) == (1, 1)
    assert found.position_before == 400 * CASH_UNIT
    assert rig.book.release(order.client_order_id) is None
    assert rig.measure(rig.order(1)).open_orders == 1


@pytest.mark.req("D14")
@pytest.mark.parametrize("qty", [10, -10])
def test_reduce_only_orders_count_for_nothing_whatever_becomes_of_them(qty: int) -> None:
    rig = Rig()
    order = rig.works(qty, reduce_only=True, limit_px=10_000)
    assert (rig.room(), rig.measure(rig.order(1)).open_orders) == ((0, 0), 1)
    widen(rig, order, 20)
    assert rig.room() == (0, 0)
    rig.book.settle(OrderReplaced(order.client_order_id, 20, 10_000, None, 0))
    rig.fill(order, 4, leaves=16)
    assert rig.room() == (0, 0)
    rig.book.release(order.client_order_id)
    assert (rig.room(), rig.measure(rig.order(1)).open_orders) == ((0, 0), 0)
    again = rig.order(qty, reduce_only=True)
    rig.book.reserve_again(again, 10, 10_000, 0, [])
    assert rig.room() == (0, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_fill_turns_what_works_into_what_is_held(sign: int) -> None:
    rig = Rig()
    order = rig.works(sign * 10, limit_px=10_000)
    rig.fill(order, 4, leaves=6)
    assert rig.room() == ((6, 0) if sign > 0 else (0, 6))
    assert rig.book.quantity(rig.market(), "S") == sign * 4
    assert rig.book.quantity(rig.market(), "T") == 0
    rig.fill(order, 6)
    assert rig.room() == (0, 0)
    assert rig.ladders() == ([], [])
    assert rig.book.quantity(rig.market(), "S") == sign * 10
    assert rig.measure(rig.order(1)).open_orders == 0
    rig.fill(order, 1)  # one too many, after the end: it is held all the same
    assert rig.room() == (0, 0)
    assert rig.book.quantity(rig.market(), "S") == sign * 11


def test_a_fill_of_an_order_nobody_knows_is_held() -> None:
    rig = Rig()
    rig.fill(rig.order(5), 5)
    assert rig.book.quantity(rig.market(), "S") == 5
    assert rig.book.equity() == 100_000 * CASH_UNIT
    rig.price("A", 10_100)
    assert rig.book.equity() == 100_005 * CASH_UNIT


@pytest.mark.req("P15")
@pytest.mark.parametrize("sign", [1, -1])
def test_until_a_replacement_is_answered_either_could_be_in_force(sign: int) -> None:
    rig = Rig()

    def state() -> tuple[int, list[int]]:
        (buys, sells), (bids, asks) = rig.room(), rig.ladders()
        return (buys, bids) if sign > 0 else (sells, asks)

    order = rig.works(sign * 10, limit_px=10_000)
    order_id = order.client_order_id
    widen(rig, order, 15, limit_px=9_990)
    assert state() == (15, [9_990, 10_000])
    assert rig.book.refuse(order_id) is rig.market()
    assert state() == (10, [10_000])
    widen(rig, order, 12, limit_px=10_010)
    widen(rig, order, 20)
    assert state() == (20, [10_000, 10_000, 10_010])
    assert rig.book.settle(OrderReplaced(order_id, 12, 10_010, None, 0)) is rig.market()
    assert state() == (20, [10_000, 10_010])
    assert rig.book.settle(OrderReplaced(order_id, 20, 10_000, None, 0)) is rig.market()
    assert state() == (20, [10_000])
    assert rig.measure(rig.order(1)).day_orders == 4  # each is a message
    rig.book.release(order_id)
    assert state() == (0, [])


def test_an_answer_about_an_order_that_has_ended_changes_nothing() -> None:
    rig = Rig()
    rig.works(10, limit_px=10_000)
    assert rig.book.settle(OrderReplaced("?", 20, 9_000, None, 0)) is None
    assert rig.book.refuse("?") is None
    assert (rig.room(), rig.ladders()) == ((10, 0), ([10_000], []))


def test_a_replacement_is_measured_as_if_what_it_replaces_were_not_there() -> None:
    rig = Rig()
    order = rig.works(10, limit_px=9_000)
    rig.works(5, "B", strategy_id="S")
    rig.works(5, "B", strategy_id="T")
    wanted = changed(rig, order, 30)
    found = rig.book.measure_replaced(held(rig, order), wanted, rig.market().seen, 0, 0)
    assert (found.open_orders, found.strategy_open_orders, found.repeats) == (2, 1, 0)
    assert found.order_qty == 30
    assert found.position_before == 0
    assert found.position_after == 3_000 * CASH_UNIT
    assert found.cash_after == (100_000 - 2_700 - 1_000) * CASH_UNIT
    assert rig.room() == (10, 0)  # it is there again
    assert rig.book.reservations.buys == (900 + 1_000) * CASH_UNIT


@pytest.mark.parametrize("sign", [1, -1])
def test_a_reduce_only_order_is_replaced_without_a_trace_of_others(sign: int) -> None:
    rig = Rig()
    rig.works(sign * 5)
    order = rig.works(sign * 3, reduce_only=True)
    wanted = changed(rig, order, 4)
    found = rig.book.measure_replaced(held(rig, order), wanted, rig.market().seen, 0, 1)
    assert found.position_before == found.position_after == 500 * CASH_UNIT
    assert rig.room() == ((5, 0) if sign > 0 else (0, 5))


def test_a_repeated_order_may_be_replaced_by_the_same_again() -> None:
    rig = Rig(max_repeated_orders=1)
    order = rig.works(10, limit_px=9_000)
    assert rig.measure(rig.order(10, limit_px=9_000)).repeats == 1
    wanted = changed(rig, order)
    found = rig.book.measure_replaced(held(rig, order), wanted, rig.market().seen, 0, 0)
    assert found.repeats == 0


def test_after_a_restart_an_order_counts_with_what_is_on_its_way() -> None:
    rig = Rig()
    order = rig.order(10, limit_px=9_000)
    rig.book.reserve_again(order, 12, 9_100, 2, [(20, 9_200)])
    assert rig.room() == (18, 0)
    assert rig.ladders() == ([9_100, 9_200], [])
    assert rig.book.reservations.buys == 18 * 92 * CASH_UNIT
