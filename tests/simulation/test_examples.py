"""The examples run and trade; the moving-average cross equals a computation without engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.research.backtest import backtest
from tests.simulation.rig import NO_LIMITS

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
STRATEGIES = sorted((ROOT / "examples" / "strategies").glob("*.py"))

FAST, SLOW, CASH, QUANTITY = 20, 100, 100_000, 50
COMMISSION = Fraction(1, 1_000)


@pytest.mark.parametrize("file", STRATEGIES, ids=lambda file: file.stem)
def test_every_example_trades(file: Path) -> None:
    result = backtest(str(file), DATA, settings={"data.adjust": True})
    assert result.summary["trades"] >= 3
    assert result.summary["fills"] >= 6
    assert result.equity.height > 1_000
    assert result.summary["final_equity"] > 0
    # No more than a few denials: an example must show what it means to.
    assert result.summary["denied"] <= result.summary["orders"] / 4


def series(symbol: str) -> pl.DataFrame:
    """Read what is on the disk, without the engine: dates, opens and closes."""
    frame = pl.read_parquet(DATA / f"{symbol}.parquet").sort("date")
    average = [
        pl.col("close").rolling_mean(window).alias(name)
        for window, name in ((FAST, "fast"), (SLOW, "slow"))
    ]
    return frame.select("date", "open", "close", *average)


def exact(value: float) -> Fraction:
    return Fraction(Decimal(repr(value)))


def events(symbols: list[str]) -> Iterator[tuple[dt.date, int, str, dict[str, Any]]]:
    """Give every bar of every symbol in the order of days, then of symbols."""
    rows = [
        (row["date"], at, symbol, row)
        for at, symbol in enumerate(symbols)
        for row in series(symbol).iter_rows(named=True)
    ]
    yield from sorted(rows, key=lambda row: row[:2])


Deal = tuple[str, dt.date, int, Fraction]


def cross_by_hand(symbols: list[str], share: Fraction | None) -> tuple[list[Deal], Fraction]:
    """Compute the rule from its words.

    At each close with both averages: flat and fast above slow, buy; long and not above, sell all.
    Filled at the next open of the symbol. A buy is QUANTITY, or the whole shares that a share of
    equity at the latest closes buys at this close. Commission is a thousandth of each deal.
    """
    cash = Fraction(CASH)
    held: dict[str, int] = dict.fromkeys(symbols, 0)
    wanted: dict[str, int] = dict.fromkeys(symbols, 0)
    last: dict[str, Fraction] = {}
    deals: list[Deal] = []
    for date, _, symbol, row in events(symbols):
        if wanted[symbol]:
            px = exact(row["open"])
            cash -= wanted[symbol] * px + abs(wanted[symbol]) * px * COMMISSION
            held[symbol] += wanted[symbol]
            deals.append((symbol, date, wanted[symbol], px))
            wanted[symbol] = 0
        last[symbol] = exact(row["close"])
        if row["slow"] is None:
            continue
        if row["fast"] > row["slow"]:
            if not held[symbol]:
                equity = cash + sum(quantity * last[s] for s, quantity in held.items() if quantity)
                sized = QUANTITY if share is None else int(equity * share / last[symbol])
                wanted[symbol] = sized
        elif held[symbol]:
            wanted[symbol] = -held[symbol]
    return deals, cash + sum(quantity * last[s] for s, quantity in held.items() if quantity)


FIXED = """
from engine import Bar, Strategy, ta

class Fixed(Strategy):
    def on_start(self):
        self.fast, self.slow = self.use(ta.SMA(20)), self.use(ta.SMA(100))

    def on_bar(self, bar: Bar):
        held = self.position(bar.symbol)
        if self.fast.value > self.slow.value:
            if not held:
                self.buy(bar.symbol, 50)
        elif held:
            self.close(bar.symbol)
"""


@pytest.mark.req("P35")
@pytest.mark.parametrize("mode", ["batch", "streaming"])
@pytest.mark.parametrize("sizing", ["fixed", "share"])
@pytest.mark.parametrize("symbols", [["IBM"], ["AAPL", "GOOG", "IBM", "MSFT"]], ids=len)
def test_the_cross_equals_a_computation_without_engine(
    tmp_path: Path, symbols: list[str], sizing: str, mode: str
) -> None:
    fixed = tmp_path / "fixed.py"
    fixed.write_text(FIXED)
    example = ROOT / "examples" / "strategies" / "sma_cross.py"
    share = Fraction(19, 100) if sizing == "share" else None
    settings = {**NO_LIMITS, "costs.commission_bps": 10.0, "indicators.mode": mode}
    strategy = str(fixed if share is None else example)
    result = backtest(strategy, DATA, symbols=symbols, cash=CASH, settings=settings)

    deals, equity = cross_by_hand(symbols, share)
    assert len(deals) > 20
    fills = result.fills
    ordered = [
        (row["symbol"], row["ts"].date(), row["signed_qty"], exact(row["price"]))
        for row in fills.iter_rows(named=True)
    ]
    assert sorted(ordered) == sorted(deals)
    assert result.summary["final_equity"] == pytest.approx(float(equity), abs=1e-6)
    assert result.summary["trades"] == sum(quantity > 0 for _, _, quantity, _ in deals)
    assert set(fills["priced_by"]) == {"bar.open"}
