"""The bench rule computed without any engine, in exact integers, to check engines against.

The rule: on each close compare the 10-bar and 30-bar simple moving averages of closes. Flat and
crossing up (``fast[-2] <= slow[-2] and fast[-1] > slow[-1]``): buy 1. Long and crossing down: sell
it. Commission is 0.1 % of the notional of each fill. A signal on the last bar has no next open and
is not filled.

Prices are held as whole ticks. ``fast > slow`` is compared as ``3 * sum10 > sum30``, so ties are
exact; money is held in thousandths of a tick, so a commission of 0.1 % needs no rounding.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from tests.bench.workloads import build, default_cache

Ints = npt.NDArray[np.int64]
FillRule = Literal["next_open", "signal_close"]
CommissionRounding = Literal["exact", "cents_half_even", "cents_float_half_up"]

FAST_BARS = 10
SLOW_BARS = 30
COMMISSION_DIVISOR = 1000
COMMISSION_RATE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the rule must give.

    Attributes:
        fills: Executions, entries and exits.
        trades: Closed round trips.
        final_equity: Cash plus the open position at the last close, exact, in currency units.
    """

    fills: int
    trades: int
    final_equity: Fraction


def expected(
    paths: Sequence[Path],
    *,
    tick_size: float,
    cash: int,
    fill_rule: FillRule = "next_open",
    commission: CommissionRounding = "exact",
    exit_discount: Fraction = Fraction(0),
) -> Expected:
    """Compute the rule over one file per symbol, in one account.

    Args:
        paths: Parquet files with ``open`` and ``close`` columns, prices multiples of the tick.
        tick_size: The tick, in currency units.
        cash: Starting cash, in currency units.
        fill_rule: Price of a fill: the next bar's open, or the close that gave the signal.
        commission: How each commission is rounded before it is paid: not at all, to cents from
            the exact product, or to cents from a product of binary floats.
        exit_discount: How far below the price every sell fills, in currency units.

    Returns:
        Fills, trades and final equity, exact.

    Raises:
        ValueError: If a price is not a multiple of the tick.
    """
    tick = Fraction(str(tick_size))
    fills = trades = 0
    equity = Fraction(cash)
    for path in paths:
        frame = pl.read_parquet(path, columns=["open", "close"])
        opens = _ticks(frame["open"].to_numpy(), tick_size, path)
        closes = _ticks(frame["close"].to_numpy(), tick_size, path)
        px, last = _fill_prices(opens, closes, fill_rule)
        bought, sold = px[0::2], px[1::2]
        held = len(bought) - len(sold)
        gain = int(sold.sum() - bought.sum()) + held * last
        fills += len(px)
        trades += len(sold)
        equity += gain * tick - _commissions(px, tick, commission)
        equity -= len(sold) * exit_discount * (1 - Fraction(1, COMMISSION_DIVISOR))
    return Expected(fills=fills, trades=trades, final_equity=equity)


def _ticks(px: npt.NDArray[np.float64], tick_size: float, path: Path) -> Ints:
    ticks = np.rint(px / tick_size).astype(np.int64)
    if not np.allclose(ticks * tick_size, px, rtol=0, atol=tick_size * 1e-6):
        raise ValueError(f"{path}: a price is not a multiple of the tick {tick_size}")
    return ticks


def _fill_prices(opens: Ints, closes: Ints, fill_rule: FillRule) -> tuple[Ints, int]:
    # Buys and sells alternate, buys first; returned with the last close, all in ticks.
    signals = _crossings(closes)
    bars: list[int] = []
    for bar, up in signals:
        if up == (len(bars) % 2 == 0):
            bars.append(bar)
    if fill_rule == "next_open":
        index = np.array([bar + 1 for bar in bars if bar + 1 < len(opens)], dtype=np.int64)
        return opens[index], int(closes[-1])
    return closes[np.array(bars, dtype=np.int64)], int(closes[-1])


def _crossings(closes: Ints) -> list[tuple[int, bool]]:
    # (bar index, is it upward), by bar; needs both averages on the bar and on the one before.
    if len(closes) <= SLOW_BARS:
        return []
    total = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(closes)))
    fast = (total[FAST_BARS:] - total[:-FAST_BARS])[SLOW_BARS - FAST_BARS :]
    slow = total[SLOW_BARS:] - total[:-SLOW_BARS]
    gap = fast * (SLOW_BARS // FAST_BARS) - slow
    up = (gap[:-1] <= 0) & (gap[1:] > 0)
    down = (gap[:-1] >= 0) & (gap[1:] < 0)
    return [(int(at) + SLOW_BARS, bool(up[at])) for at in np.flatnonzero(up | down)]


def _commissions(px: Ints, tick: Fraction, rounding: CommissionRounding) -> Fraction:
    if rounding == "exact":
        return int(px.sum()) * tick / COMMISSION_DIVISOR
    cents = 0
    distinct, counts = np.unique(px, return_counts=True)
    for ticks, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        if rounding == "cents_half_even":
            each = round(ticks * tick / COMMISSION_DIVISOR * 100)
        else:
            # Binary floats on purpose: 1025 * 0.001 lies just below 1.025 and rounds down.
            each = floor(float(ticks * tick) * COMMISSION_RATE * 100 + 0.5)
        cents += each * count
    return Fraction(cents, 100)


# The rules met among engines, by the names the peers' catalog uses.
RULES: dict[str, dict[str, object]] = {
    "next_open": {},
    "next_open_cents": {"commission": "cents_half_even"},
    "next_open_book_tick": {"exit_discount": Fraction(1, 2**12)},
    "signal_close_cents": {"fill_rule": "signal_close", "commission": "cents_float_half_up"},
}


def main() -> None:
    """Print, as one JSON object by rule, what every rule must give on one workload."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.oracle")
    parser.add_argument("workload", choices=("W0", "W1", "W2"))
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--bars", type=int)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--cash", type=int, default=10_000_000)
    args = parser.parse_args()
    workload = build(args.workload, args.cache, bars=args.bars, symbols=args.symbols)
    found: dict[str, dict[str, float]] = {}
    for name, options in RULES.items():
        result = expected(
            workload.paths, tick_size=workload.tick_size, cash=args.cash, **cast("Any", options)
        )
        found[name] = {
            "fills": result.fills,
            "trades": result.trades,
            "final_equity": round(float(result.final_equity), 6),
        }
    print(json.dumps({"bars": workload.bars, "rules": found}))


if __name__ == "__main__":
    main()
