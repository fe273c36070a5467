from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import ReplaceOrder
from engine.domain.events import OrderReplaced
from engine.domain.instruments import Instrument
from engine.domain.orders import Order, OrderType, Side
from engine.domain.reservations import Reservation, Reservations

A = Instrument(symbol="A")
C = Instrument(symbol="C", price_decimals=5, quantity_decimals=4)
UNIT = 10**6
"""Cash units of one price unit times one quantity unit of A."""


def book() -> Reservations:
    return Reservations({"A": A, "C": C})


def order(qty: int, order_id: str = "O", **fields: Any) -> Order:
    given: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_px": 100, "symbol": "A"}
    given |= fields
    side = Side.BUY if qty > 0 else Side.SELL
    return Order(order_id, "S", side=side, order_qty=abs(qty), ts_init=0, **given)


def replacement(qty: int | None = None, **fields: Any) -> ReplaceOrder:
    return ReplaceOrder("O", "S", 7, order_qty=qty, **fields)


def state(held: Reservation | None) -> tuple[int, int]:
    assert held is not None
    return held.leaves_qty, held.amount // UNIT


@pytest.mark.req("P10")
@pytest.mark.parametrize(
    ("fields", "px"),
    [
        ({}, 100),
        ({"order_type": OrderType.MARKET, "limit_px": None}, 90),
        ({"order_type": OrderType.STOP, "limit_px": None, "stop_px": 120}, 120),
        ({"order_type": OrderType.STOP_LIMIT, "stop_px": 120}, 100),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_order_reserves_its_quantity_at_its_own_price(
    fields: dict[str, Any], px: int, sign: int
) -> None:
    reservations = book()
    held = reservations.reserve(order(sign * 10, **fields), 90)
    assert (held.leaves_qty, held.px, held.amount) == (10, px, 10 * px * UNIT)
    expected = (held.amount, 0) if sign > 0 else (0, held.amount)
    assert (reservations.buys, reservations.sells) == expected
    assert reservations.orders == {"O": held}


@pytest.mark.parametrize("sign", [1, -1])
def test_fills_take_their_part_and_the_end_the_rest(sign: int) -> None:
    reservations = book()
    held = reservations.reserve(order(sign * 10), 100)
    other = reservations.reserve(order(sign * 3, "P"), 100)
    reservations.fill(held, 4, 6)
    assert state(held) == (6, 600)
    reservations.fill(held, 9, 1)
    assert state(held) == (1, 100)
    assert reservations.end("O") is held
    assert state(held) == (0, 0)
    assert reservations.end("O") is None
    left = (other.amount, 0) if sign > 0 else (0, other.amount)
    assert (reservations.buys, reservations.sells) == left
    reservations.fill(other, 3, 0)
    assert state(other) == (0, 0)
    assert (reservations.buys, reservations.sells, reservations.orders) == (0, 0, {})


@pytest.mark.req("D14")
def test_a_reduce_only_order_reserves_no_value() -> None:
    reservations = book()
    held = reservations.reserve(order(-10, reduce_only=True), 100)
    assert state(held) == (10, 0)
    assert (held.amount, reservations.sells) == (0, 0)
    reservations.fill(held, 4, 6)
    assert state(held) == (6, 0)
    assert reservations.sells == 0


def test_a_fine_scale_rounds_half_to_even() -> None:
    reservations = book()
    held = reservations.reserve(order(5, symbol="C", limit_px=3), 3)
    assert held.amount == 2  # 15 tenths
    reservations.fill(held, 4, 1)
    assert held.amount == 0  # 3 tenths
    assert reservations.buys == 0


def test_what_a_replacement_would_make() -> None:
    reservations = book()
    held = reservations.reserve(order(10), 100)
    reservations.fill(held, 4, 6)
    kept = reservations.replaced(held, replacement())
    assert (kept.order_qty, kept.limit_px, kept.stop_px, kept.ts_init) == (6, 100, None, 7)
    changed = reservations.replaced(held, replacement(20, limit_px=90, stop_px=80))
    assert (changed.order_qty, changed.limit_px, changed.stop_px) == (16, 90, 80)


@pytest.mark.req("P10", "P15")
def test_until_it_is_answered_a_replacement_reserves_the_larger_and_the_dearer() -> None:
    reservations = book()
    held = reservations.reserve(order(10), 100)
    reservations.fill(held, 4, 6)
    for wanted in (replacement(20, limit_px=90), replacement(15, limit_px=130)):
        reservations.widen(held, reservations.replaced(held, wanted), 0)
    assert state(held) == (16, 16 * 130)
    settled = reservations.settle(OrderReplaced("O", 20, 90, None, 0))
    assert settled is held
    assert state(held) == (16, 16 * 130)  # the other is still on its way
    assert held.order.limit_px == 90
    reservations.settle(OrderReplaced("O", 15, 130, None, 0))
    assert state(held) == (11, 11 * 130)
    assert held.pending == []
    assert reservations.buys == held.amount
    assert reservations.settle(OrderReplaced("?", 15, 130, None, 0)) is None


@pytest.mark.req("P10")
def test_a_refusal_lets_the_smallest_go_until_all_are_answered() -> None:
    reservations = book()
    held = reservations.reserve(order(10), 100)
    for quantity in (30, 20):
        reservations.widen(held, reservations.replaced(held, replacement(quantity)), 0)
    assert state(held) == (30, 3_000)
    assert reservations.refuse("O") is held
    assert state(held) == (30, 3_000)
    reservations.refuse("O")
    assert state(held) == (10, 1_000)
    reservations.refuse("O")  # one too many changes nothing
    assert state(held) == (10, 1_000)
    assert reservations.refuse("?") is None


@pytest.mark.req("P10")
def test_an_answer_that_is_none_of_those_asked_for_lets_the_smallest_go() -> None:
    reservations = book()
    held = reservations.reserve(order(10), 100)
    for quantity in (30, 20):
        reservations.widen(held, reservations.replaced(held, replacement(quantity)), 0)
    reservations.settle(OrderReplaced("O", 15, 100, None, 0))
    assert state(held) == (30, 3_000)
    reservations.settle(OrderReplaced("O", 15, 100, None, 0))
    assert state(held) == (15, 1_500)


def test_an_order_without_a_price_of_its_own_keeps_the_one_of_its_verdict() -> None:
    reservations = book()
    held = reservations.reserve(order(10, order_type=OrderType.MARKET, limit_px=None), 90)
    changed = reservations.replaced(held, replacement(12))
    reservations.widen(held, changed, 95)
    assert state(held) == (12, 12 * 95)
    reservations.settle(OrderReplaced("O", 12, None, None, 0))
    assert state(held) == (12, 12 * 90)
    stop = reservations.reserve(order(1, "P", order_type=OrderType.STOP, limit_px=None,
                                      stop_px=70), 90)  # fmt: skip
    reservations.settle(OrderReplaced("P", 1, None, 60, 0))
    assert (stop.px, stop.order.stop_px) == (60, 60)


@pytest.mark.req("P10")
def test_a_buy_stop_that_is_moved_below_the_market_reserves_at_the_market() -> None:
    """It triggers at once there; moved above it again, it is what it says."""
    reservations = book()
    stop = order(3, order_type=OrderType.STOP, limit_px=None, stop_px=100)
    held = reservations.reserve(stop, 90)
    assert state(held) == (3, 300)
    for stop_px, px in ((50, 90), (95, 95)):
        changed = reservations.replaced(held, replacement(stop_px=stop_px))
        reservations.widen(held, changed, 90)
        reservations.settle(OrderReplaced("O", 3, None, stop_px, 0))
        assert state(held) == (3, 3 * px)


def test_a_smaller_order_than_has_filled_reserves_nothing() -> None:
    reservations = book()
    held = reservations.reserve(order(10), 100)
    reservations.fill(held, 8, 2)
    reservations.settle(OrderReplaced("O", 5, 100, None, 0))
    assert state(held) == (0, 0)


def test_after_a_restart_it_reserves_what_it_did() -> None:
    before, after = book(), book()
    held = before.reserve(order(10), 100)
    before.fill(held, 4, 6)
    before.widen(held, before.replaced(held, replacement(20, limit_px=130)), 0)
    again = after.again(held.order, held.order_qty, held.px, held.cum_qty, held.pending or [])
    assert state(again) == state(held) == (16, 16 * 130)
    assert after.buys == before.buys
