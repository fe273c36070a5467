from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.guards import GuardBounds, Levels, levels
from engine.domain.instruments import Instrument
from engine.domain.risk import NO_LIMIT, PPM
from tests.limits import limits

A = Instrument(symbol="A").cash_scale()
FINE = Instrument(symbol="C", price_decimals=5, quantity_decimals=4).cash_scale()
UNIT = A[0]
NONE = NO_LIMIT


def test_the_buffer_comes_on_top_of_the_stop() -> None:
    guards = GuardBounds.of(limits(stop_loss_pct=0.05, stop_loss_buffer=0.02))
    assert guards == GuardBounds(70_000, NONE, NONE)
    assert guards.any
    assert GuardBounds.of(limits(take_profit_pct=0.5, trailing_stop_pct=0.1)) == GuardBounds(
        NONE, 100_000, 500_000
    )
    assert not GuardBounds.of(limits()).any


@pytest.mark.req("D12")
@pytest.mark.parametrize(
    ("quantity", "bounds", "best", "expected"),
    [
        (100, (70_000, NONE, NONE), 10_000, (9_300, None, None)),
        (-100, (70_000, NONE, NONE), 10_000, (10_700, None, None)),
        (100, (NONE, 100_000, NONE), 12_345, (None, 11_110, None)),
        (-100, (NONE, 100_000, NONE), 8_765, (None, 9_642, None)),
        (100, (NONE, NONE, 100_000), 10_000, (None, None, 11_000)),
        (-100, (NONE, NONE, 100_000), 10_000, (None, None, 9_000)),
        (3, (33_333, NONE, 33_333), 10_000, (9_666, None, 10_334)),
        (-3, (33_333, NONE, 33_333), 10_000, (10_334, None, 9_666)),
        (1, (70_000, 100_000, 200_000), 10_000, (9_300, 9_000, 12_000)),
        (-1, (70_000, 100_000, 200_000), 10_000, (10_700, 11_000, 8_000)),
    ],
)
def test_levels(
    quantity: int,
    bounds: tuple[int, int, int],
    best: int,
    expected: tuple[int | None, int | None, int | None],
) -> None:
    cost = quantity * 10_000 * UNIT
    assert levels(quantity, cost, best, A, GuardBounds(*bounds)) == expected


@pytest.mark.req("D12")
@given(
    st.integers(-500, 500).filter(bool),
    st.integers(1, 10**7),
    st.integers(0, PPM),
    st.integers(0, 3 * PPM),
    st.sampled_from(
        (A, Instrument(symbol="C", price_decimals=5, quantity_decimals=4).cash_scale())
    ),
    st.integers(-3, 3),
)
def test_a_level_is_the_first_price_at_which_the_share_is_reached(
    quantity: int, size: int, stop_ppm: int, take_ppm: int, scale: tuple[int, int], near: int
) -> None:
    cost = size if quantity > 0 else -size
    found = levels(quantity, cost, 1, scale, GuardBounds(stop_ppm, NONE, take_ppm))
    assert found.stop is not None
    assert found.take is not None
    factor, divisor = scale
    for level, sign, share in ((found.stop, -1, stop_ppm), (found.take, 1, take_ppm)):
        px = level + near
        gain = Fraction(quantity * px * factor, divisor) - cost
        reached = sign * gain >= Fraction(size * share, PPM)
        favorable = sign * (1 if quantity > 0 else -1)
        assert reached == ((px - level) * favorable >= 0)


@pytest.mark.parametrize(
    ("found", "px", "long", "short"),
    [
        (Levels(90, None, None), 90, "STOP_LOSS", "STOP_LOSS"),
        (Levels(90, None, None), 89, "STOP_LOSS", None),
        (Levels(90, None, None), 91, None, "STOP_LOSS"),
        (Levels(None, 95, None), 95, "TRAILING_STOP", "TRAILING_STOP"),
        (Levels(None, 95, None), 96, None, "TRAILING_STOP"),
        (Levels(None, None, 99), 99, "TAKE_PROFIT", "TAKE_PROFIT"),
        (Levels(None, None, 99), 98, None, "TAKE_PROFIT"),
        (Levels(90, 95, None), 90, "STOP_LOSS", "STOP_LOSS"),
        (Levels(None, None, None), 1, None, None),
    ],
)
def test_which_guard_a_price_triggers(
    found: Levels, px: int, long: str | None, short: str | None
) -> None:
    for quantity in (1, 5):
        assert found.reason(quantity, px) == long
        assert found.reason(-quantity, px) == short
