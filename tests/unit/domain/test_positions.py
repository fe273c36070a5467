from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.positions import apply_fill


@pytest.mark.parametrize(
    ("held", "fill", "after"),
    [
        # (quantity, cost), (signed quantity, notional), (quantity, cost, realized)
        ((0, 0), (100, 10_000), (100, 10_000, 0)),
        ((0, 0), (-100, -10_000), (-100, -10_000, 0)),
        ((100, 10_000), (50, 6_000), (150, 16_000, 0)),
        ((-100, -10_000), (-50, -4_000), (-150, -14_000, 0)),
        ((2, 5), (1, 3), (3, 8, 0)),
        ((-2, -5), (-1, -3), (-3, -8, 0)),
        ((100, 10_000), (-40, -4_400), (60, 6_000, 400)),
        ((100, 10_000), (-40, -3_600), (60, 6_000, -400)),
        ((-100, -10_000), (40, 3_600), (-60, -6_000, 400)),
        ((100, 10_000), (-100, -11_000), (0, 0, 1_000)),
        ((-100, -10_000), (100, 11_000), (0, 0, -1_000)),
        ((100, 10_000), (-150, -16_500), (-50, -5_500, 1_000)),
        ((-100, -10_000), (150, 13_500), (50, 4_500, 1_000)),
        # Thirds of a cash unit: half to even, and the last share takes what is left.
        ((3, 10), (-1, -4), (2, 7, 1)),
        ((2, 7), (-1, -4), (1, 3, 0)),
        ((1, 3), (-1, -4), (0, 0, 1)),
        ((2, 5), (-1, -3), (1, 3, 1)),
        ((-3, -10), (1, 3), (-2, -7, 0)),
        # A flip divides the fill's own notional.
        ((1, 10), (-3, -25), (-2, -17, -2)),
    ],
)
def test_average_cost(
    held: tuple[int, int], fill: tuple[int, int], after: tuple[int, int, int]
) -> None:
    assert apply_fill(*held, *fill) == after


fills = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**6)), min_size=1, max_size=30
)


@pytest.mark.req("P17")
@given(fills)
def test_results_are_what_came_in_minus_what_is_left(script: list[tuple[int, int]]) -> None:
    quantity = cost = realized = spent = 0
    for signed, px in script:
        before = cost
        quantity, cost, gain = apply_fill(quantity, cost, signed, signed * px)
        assert gain == cost - before - signed * px
        realized += gain
        spent += signed * px
        assert quantity != 0 or cost == 0
        assert cost * quantity >= 0
    assert quantity == sum(signed for signed, _ in script)
    assert realized == cost - spent


@given(fills)
def test_a_mirrored_position_has_mirrored_results(script: list[tuple[int, int]]) -> None:
    one = other = (0, 0, 0)
    for signed, px in script:
        one = apply_fill(*one[:2], signed, signed * px)
        other = apply_fill(*other[:2], -signed, -signed * px)
        assert other == (-one[0], -one[1], -one[2])


@given(st.integers(1, 10**6), st.integers(1, 10**12), st.data())
def test_reducing_keeps_the_average_to_half_a_unit(
    quantity: int, cost: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(1, quantity))
    after, cost_after, _ = apply_fill(quantity, cost, -part, -part)
    exact = cost - Fraction(cost * part, quantity)
    assert after == quantity - part
    assert abs(cost_after - exact) <= Fraction(1, 2)
