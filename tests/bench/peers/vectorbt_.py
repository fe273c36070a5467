"""vectorbt on the bench rule: signals as arrays, shifted one bar and filled at the open.

Averages are exact for these prices (one running sum), so ties are those of the other peers. The
first call compiles the simulation, which numba cannot cache on disk; it counts in the whole
process, and ``loop_s`` is the second call.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main


def sma(closes, period):
    """Simple moving average down the columns, NaN until ``period`` closes are in."""
    total = np.vstack((np.zeros((1, closes.shape[1])), np.cumsum(closes, axis=0)))
    out = np.full(closes.shape, np.nan)
    out[period - 1 :] = (total[period:] - total[:-period]) / period
    return out


def signals(closes):
    """Entries and exits, one bar after the cross that gives them."""
    fast, slow = sma(closes, FAST_BARS), sma(closes, SLOW_BARS)
    entries = np.zeros(closes.shape, dtype=bool)
    exits = np.zeros(closes.shape, dtype=bool)
    before, now = slice(0, -2), slice(1, -1)
    entries[2:] = (fast[before] <= slow[before]) & (fast[now] > slow[now])
    exits[2:] = (fast[before] >= slow[before]) & (fast[now] < slow[now])
    return entries, exits


def simulate(opens, closes):
    """One account over all columns, and its equity at the last close."""
    entries, exits = signals(closes.to_numpy())
    portfolio = vbt.Portfolio.from_signals(
        closes,
        entries,
        exits,
        price=opens,
        size=1,
        fees=COMMISSION_RATE,
        init_cash=CASH,
        cash_sharing=True,
        group_by=True,
        freq="1min",
    )
    return portfolio, float(portfolio.final_value())


def run(paths: list[Path], workload: str) -> Outcome:
    """Run all files as columns of one account."""
    frames = [pd.read_parquet(path).set_index("ts") for path in paths]
    opens = pd.concat([frame["open"] for frame in frames], axis=1)
    closes = pd.concat([frame["close"] for frame in frames], axis=1)
    opens.columns = closes.columns = [path.stem for path in paths]
    # vectorbt turns a time zone's index into a million Python objects on every call.
    opens.index = closes.index = closes.index.tz_localize(None)
    simulate(opens, closes)
    started = time.process_time()
    portfolio, final_equity = simulate(opens, closes)
    loop_s = time.process_time() - started
    fills = int(portfolio.orders.count())
    trades = int(portfolio.trades.closed.count())
    return Outcome(loop_s, fills, trades, final_equity, closes.size)


if __name__ == "__main__":
    main("vectorbt", run)
