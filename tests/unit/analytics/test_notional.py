"""Money over arrays is the money of one number at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.analytics.notional import cash_scales, notional
from engine.domain.instruments import Instrument
from engine.domain.money import MAX_UNITS

INSTRUMENTS = (
    Instrument(symbol="STOCK"),
    Instrument(symbol="FUTURE", multiplier=50),
    Instrument(symbol="COIN", price_decimals=8, quantity_decimals=8),
    Instrument(symbol="FX", price_decimals=5, quantity_decimals=4),
)
ROW = st.tuples(st.integers(0, 3), st.integers(0, 10**13), st.integers(-(10**10), 10**10))


@pytest.mark.req("D2")
@given(st.lists(ROW, min_size=1, max_size=20))
@example([(2, 60_000 * 10**8, 10**8), (0, 10_000, -3)])  # a coin: the product is beyond 64 bits
def test_notionals_are_those_of_the_instrument(rows: list[tuple[int, int, int]]) -> None:
    series, px, qty = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    factor, divisor = cash_scales(INSTRUMENTS)
    got = notional(px, qty, factor[series], divisor[series]).tolist()
    exact = [INSTRUMENTS[s].notional(p, q) for s, p, q in rows]
    assert got == [max(-MAX_UNITS, min(value, MAX_UNITS)) for value in exact]


def test_one_instrument_serves_all_rows() -> None:
    px, qty = np.array([60_000 * 10**8, 1]), np.array([10**8, 1])
    assert notional(px, qty, *cash_scales(INSTRUMENTS[2:3])).tolist() == [60_000 * 10**8, 0]


def test_no_rows_have_no_value() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert notional(none, none, none, none).tolist() == []
