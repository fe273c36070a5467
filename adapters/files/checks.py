"""The rules every row keeps by itself, vectorised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapters.files.layout import PRICES, VALUES, Kind
from engine.domain.money import MAX_UNITS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


CACHED_ROWS = 32_768
"""Rows worked on at a time: temporary arrays then stay in the processor's cache."""

_NOISE = 1e-12  # relative: float arithmetic on the way into the file, not digits of a price


@dataclass(frozen=True, slots=True)
class Violation:
    """Rows that break one rule.

    Attributes:
        rule: its short name.
        bad: which rows do.
        describe: what is wrong in a row, given its position in the batch.
    """

    rule: str
    bad: Bools
    describe: Callable[[int], str]


def is_clean(kind: Kind, values: list[Floats]) -> bool:
    """Tell, quickly, whether no row breaks a rule; NaN fails every comparison."""
    held = _bars_hold if kind == "bar" else _trades_hold if kind == "trade" else _quotes_hold
    # Block by block, so that temporary arrays stay in the processor's cache.
    return all(
        held([column[at : at + CACHED_ROWS] for column in values])
        for at in range(0, values[0].size, CACHED_ROWS)
    )


def _bars_hold(values: list[Floats]) -> bool:
    opens, highs, lows, closes, volumes = values
    held = lows > 0
    for low, high in ((lows, opens), (opens, highs), (lows, closes), (closes, highs)):
        held &= low <= high
    return bool(held.all()) and _fits(highs) and _is_quantity(volumes)


def _trades_hold(values: list[Floats]) -> bool:
    prices, sizes = values
    return bool((prices > 0).all()) and _fits(prices) and _is_quantity(sizes)


def _quotes_hold(values: list[Floats]) -> bool:
    bids, asks, bid_sizes, ask_sizes = values
    held = (bids > 0) & (bids <= asks)
    return bool(held.all()) and _fits(asks) and _is_quantity(bid_sizes) and _is_quantity(ask_sizes)


def _fits(column: Floats) -> bool:
    # MAX_UNITS as a float is 2**63, the first value that does not fit.
    return float(column.max()) < MAX_UNITS


def _is_quantity(column: Floats) -> bool:
    return float(column.min()) >= 0 and _fits(column)


def find_violations(kind: Kind, values: list[Floats]) -> list[Violation]:
    """List every rule with the rows that break it, in the order the rules are reported."""
    columns = list(zip(VALUES[kind], values, strict=True))
    prices, quantities = columns[: PRICES[kind]], columns[PRICES[kind] :]
    found = [_told("missing_value", n, np.isnan(c), "is missing or no number") for n, c in columns]
    found += [
        _told("too_large", n, np.abs(c) >= MAX_UNITS, "is infinite or too large")
        for n, c in columns
    ]
    found += [_shown("positive_price", n, c, c <= 0, "is not above zero") for n, c in prices]
    found += [_shown("volume_not_negative", n, c, c < 0, "is below zero") for n, c in quantities]
    if kind == "bar":
        found += _bar_violations(values)
    elif kind == "quote":
        bids, asks = values[0], values[1]

        def crossed(at: int) -> str:
            return f"bid {bids[at]:.15g} is above ask {asks[at]:.15g}"

        found.append(Violation("not_crossed", bids > asks, crossed))
    return found


def _told(rule: str, name: str, bad: Bools, fault: str) -> Violation:
    return Violation(rule, bad, lambda _: f"{name} {fault}")


def _shown(rule: str, name: str, column: Floats, bad: Bools, fault: str) -> Violation:
    return Violation(rule, bad, lambda at: f"{name} {column[at]:.15g} {fault}")


def _bar_violations(values: list[Floats]) -> list[Violation]:
    opens, highs, lows, closes, _ = values

    def inverted(at: int) -> str:
        return f"high {highs[at]:.15g} is below low {lows[at]:.15g}"

    def outside(name: str, column: Floats) -> Violation:
        bad = (column < lows) | (column > highs)
        return Violation(
            f"{name}_within_range",
            bad,
            lambda at: f"{name} {column[at]:.15g} is outside [{lows[at]:.15g}, {highs[at]:.15g}]",
        )

    return [
        Violation("high_not_below_low", highs < lows, inverted),
        outside("open", opens),
        outside("close", closes),
    ]


def exceeds_decimals(column: Floats, decimals: int) -> Bools:
    """Tell which numbers have more digits after the point, float noise aside."""
    scale = 10.0**decimals
    exceeding: Bools = np.abs(np.rint(column * scale) / scale - column) > _NOISE * np.abs(column)
    return exceeding


def adjust_bars(values: list[Floats], adj_close: Floats) -> list[Floats]:
    """Scale prices by ``adj_close / close`` and divide volume by it.

    Prices are rounded to 6 decimals, half to even; all four are multiplied by the same factor, so
    their order survives that. Volumes are not rounded here: the series does it, to the digits of
    its raw volumes. A row without a usable adjusted close becomes NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.where(adj_close > 0, adj_close / values[3], np.nan)
        prices = [np.rint(column * factor * 1e6) / 1e6 for column in values[:4]]
        return [*prices, values[4] / factor]
