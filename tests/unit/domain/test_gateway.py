"""What open orders and positions take of a balance."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.gateway import Resting, taken_by
from engine.domain.instruments import Instrument
from engine.domain.orders import Side
from engine.domain.positions import apply_fill

A = Instrument(symbol="A")
ORDERS = st.lists(
    st.builds(Resting, st.sampled_from(Side), st.integers(1, 50), st.integers(1, 200)), max_size=4
)


def short_takes(held: int, cost: int) -> int:
    return -2 * cost if held < 0 else 0


@pytest.mark.req("R38")
@given(held=st.integers(-60, 60), px=st.integers(1, 200), orders=ORDERS, side=st.sampled_from(Side))
def test_whatever_of_one_side_fills_in_whatever_order_was_covered(
    held: int, px: int, orders: list[Resting], side: Side
) -> None:
    """Filled at the prices they were judged at, they never need more than what was taken."""
    cost = A.notional(px, held)
    of_side = [order for order in orders if order.side is side]
    taken = taken_by(A, held, cost, of_side)
    for filled in permutations(of_side):
        now, now_cost, cash = held, cost, 0
        for order in filled:
            signed = side.sign * order.leaves
            value = A.notional(order.px, signed)
            opens = abs(now + signed) > abs(now) or now * (now + signed) < 0
            closing = min(abs(now), order.leaves) if now * signed < 0 else 0
            cash -= A.notional(order.px, order.leaves - closing) if opens else 0
            now, now_cost, _ = apply_fill(now, now_cost, signed, value)
        # A sale that opens brings cash in, and its short position takes it and as much again.
        assert -cash <= taken - short_takes(held, cost)


@given(held=st.integers(-60, 60), orders=ORDERS, more=st.integers(0, 3))
def test_more_orders_never_take_less(held: int, orders: list[Resting], more: int) -> None:
    cost = A.notional(10, held)
    assert taken_by(A, held, cost, orders[:more]) <= taken_by(A, held, cost, orders)


@given(orders=ORDERS, held=st.integers(1, 60))
def test_closing_takes_nothing(orders: list[Resting], held: int) -> None:
    sells = [order for order in orders if order.side is Side.SELL]
    if sum(order.leaves for order in sells) <= held:
        assert taken_by(A, held, A.notional(10, held), sells) == 0
