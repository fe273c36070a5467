from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.instruments import Instrument
from engine.domain.money import (
    CASH_UNIT,
    MAX_UNITS,
    cash_units,
    div_half_even,
    format_units,
    round_units,
    to_units,
)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (0, 3, 0),
        (1, 2, 0),
        (3, 2, 2),
        (5, 2, 2),
        (7, 2, 4),
        (-1, 2, 0),
        (-3, 2, -2),
        (-5, 2, -2),
        (-7, 2, -4),
        (1, 3, 0),
        (2, 3, 1),
        (-1, 3, 0),
        (-2, 3, -1),
        (10**40 + 1, 2, 5 * 10**39),
        (10**40 + 3, 2, 5 * 10**39 + 2),
    ],
)
def test_division_rounds_half_to_even(numerator: int, denominator: int, expected: int) -> None:
    assert div_half_even(numerator, denominator) == expected


@given(st.integers(), st.integers(min_value=1))
def test_division_is_the_exact_quotient_rounded(numerator: int, denominator: int) -> None:
    assert div_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(), st.integers(min_value=1))
def test_division_is_odd(numerator: int, denominator: int) -> None:
    assert div_half_even(-numerator, denominator) == -div_half_even(numerator, denominator)


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (175.5, 2, 17_550),
        (0.1, 1, 1),
        (-1.25, 2, -125),
        (7, 0, 7),
        (7, 3, 7_000),
        ("0.00000001", 8, 1),
        (Decimal("1e3"), 2, 100_000),
        ("92233720368547758.07", 2, MAX_UNITS),
        ("-92233720368547758.07", 2, -MAX_UNITS),
        (1e-8, 8, 1),
        (np.float64(175.5), 2, 17_550),
        (np.int64(7), 2, 700),
    ],
)
@pytest.mark.req("D2")
def test_numbers_come_in_exactly(
    value: float | str | Decimal, decimals: int, expected: int
) -> None:
    assert to_units(value, decimals) == expected


@pytest.mark.parametrize(
    ("value", "decimals", "words"),
    [
        (0.001, 2, "more than 2 digits"),
        (0.1 + 0.2, 2, "more than 2 digits"),
        (1.5, 0, "more than 0 digits"),
        (float("nan"), 2, "not a finite"),
        (float("inf"), 2, "not a finite"),
        ("-Infinity", 2, "not a finite"),
        ("92233720368547758.08", 2, "too large"),
        (1e300, 2, "too large"),
        ("1.000000000000000000000000000001", 2, "more than 2 digits"),
        ("ten", 2, "not a number"),
    ],
)
@pytest.mark.req("D2", "P11")
def test_what_does_not_fit_is_refused(value: float | str, decimals: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_units(value, decimals)


@given(st.integers(-MAX_UNITS, MAX_UNITS), st.integers(0, 9))
def test_text_of_units_reads_back(units: int, decimals: int) -> None:
    assert to_units(format_units(units, decimals), decimals) == units


@given(st.integers(-(2**50) + 1, 2**50 - 1), st.integers(0, 9))
def test_floats_of_units_read_back(units: int, decimals: int) -> None:
    assert round_units(units / 10**decimals, decimals) == units


@pytest.mark.parametrize(
    ("value", "expected"), [(1.005, 100), (1.015, 101), (0.125, 12), (0.375, 38), (-0.125, -12)]
)
def test_computed_numbers_round(value: float, expected: int) -> None:
    assert round_units(value, 2) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (9_999_999_999.99, 999_999_999_999_000_000),  # a float times 10**8 is 64 units off
        (0.1, 10_000_000),
        (100_000, 100_000 * CASH_UNIT),
        (1.5e-8, 2),
        (2.5e-8, 2),
        (1e300, 10**308),
    ],
)
@pytest.mark.req("D2")
def test_amounts_that_people_write_are_exact(value: float, expected: int) -> None:
    assert cash_units(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_amount_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        cash_units(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_computed_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not a usable number"):
        round_units(value, 2)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(0, 2, "0"), (100, 0, "100"), (100, 2, "1"), (-5, 3, "-0.005"), (123_456, 4, "12.3456")],
)
def test_units_are_shown_without_zeros(units: int, decimals: int, text: str) -> None:
    assert format_units(units, decimals) == text


@pytest.mark.parametrize(
    ("prices", "quantities", "multiplier", "scale"),
    [
        (2, 0, 1, (10**6, 1)),
        (2, 0, 50, (50 * 10**6, 1)),
        (0, 0, 1, (CASH_UNIT, 1)),
        (4, 4, 1, (1, 1)),
        (5, 4, 1, (1, 10)),
        (9, 8, 1, (1, 10**9)),
        (9, 8, 3, (3, 10**9)),
    ],
)
def test_cash_scale(prices: int, quantities: int, multiplier: int, scale: tuple[int, int]) -> None:
    instrument = Instrument(
        symbol="X", price_decimals=prices, quantity_decimals=quantities, multiplier=multiplier
    )
    assert instrument.cash_scale() == scale
    assert all(type(part) is int for part in scale)


@given(
    st.integers(0, 9), st.integers(0, 8), st.integers(1, 1000), st.integers(1, 10**12),
    st.integers(-(10**12), 10**12),
)  # fmt: skip
def test_notional_is_price_times_quantity(
    prices: int, quantities: int, multiplier: int, px: int, qty: int
) -> None:
    instrument = Instrument(
        symbol="X", price_decimals=prices, quantity_decimals=quantities, multiplier=multiplier
    )
    value = Fraction(px, instrument.price_unit) * Fraction(qty, instrument.quantity_unit)
    exact = value * multiplier * CASH_UNIT
    assert instrument.notional(px, qty) == round(exact)
    assert instrument.notional(px, -qty) == -instrument.notional(px, qty)
