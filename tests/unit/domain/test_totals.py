"""Executions worked out from totals."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.instruments import Instrument
from engine.domain.orders import Order, OrderType, Side
from engine.domain.totals import Totals

ORDER = Order("o", "s", "A", Side.SELL, OrderType.MARKET, 1_000, 0)
CENTS = Instrument(symbol="A")


@pytest.mark.req("D8")
def test_each_step_is_what_the_totals_grew_by() -> None:
    totals = Totals(ORDER, CENTS)
    first = totals.step(100, 10.0, 1_000, 7)
    second = totals.step(400, 10.75, 1_000, 8)
    assert first is not None
    assert second is not None
    assert (first.exec_id, first.signed_qty, first.last_px) == ("o:100", -100, 1_000)
    assert (second.exec_id, second.signed_qty, second.last_px) == ("o:400", -300, 1_100)
    assert (second.cum_qty, second.leaves_qty, second.ts_event) == (400, 600, 8)
    assert totals.step(400, 10.75, 1_000, 9) is None
    assert totals.step(100, 10.0, 1_000, 9) is None


def test_an_overfill_leaves_nothing_open() -> None:
    fill = Totals(ORDER, CENTS).step(1_001, 1.0, 1_000, 0)
    assert fill is not None
    assert (fill.cum_qty, fill.leaves_qty) == (1_001, 0)


def test_it_goes_on_from_what_is_booked() -> None:
    first = Totals(ORDER, CENTS).step(100, 10.0, 1_000, 0)
    assert first is not None
    totals = Totals(ORDER, CENTS, [first])
    assert totals.step(100, 10.0, 1_000, 0) is None
    second = totals.step(200, 11.0, 1_000, 0)
    assert second is not None
    assert (second.signed_qty, second.last_px) == (-100, 1_200)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -1.0, 1e300, 0.001])
def test_a_price_that_cannot_be_books_nothing(price: float) -> None:
    totals = Totals(ORDER, CENTS)
    with pytest.raises(ValueError, match="price"):
        totals.step(100, price, 1_000, 0)
    assert totals.cum_qty == 0


def test_an_average_that_fell_too_far_books_nothing() -> None:
    totals = Totals(ORDER, CENTS)
    totals.step(100, 10.0, 1_000, 0)
    with pytest.raises(ValueError, match="execution at -"):
        totals.step(101, 1.0, 1_000, 0)
    assert totals.cum_qty == 100


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 100_000)), min_size=1, max_size=20),
)
def test_the_value_never_drifts_from_the_venues(steps: list[tuple[int, int]]) -> None:
    order = Order("o", "s", "A", Side.BUY, OrderType.MARKET, 10**6, 0)
    totals, cum, value = Totals(order, CENTS), 0, 0
    booked = 0
    for qty, px in steps:
        cum += qty
        value += qty * px
        average = float(Fraction(value, cum * 100))
        fill = totals.step(cum, average, 10**6, 0)
        assert fill is not None
        booked += fill.signed_qty * fill.last_px
        assert abs(booked - value) <= Fraction(fill.signed_qty, 2) + Fraction(1, 1000)
