"""backtesting.py on the bench rule: one run per symbol, its equities added up.

Market orders fill at the next bar's open (``trade_on_close=False``), commission on entry and exit.
``backtesting.lib.crossover`` is strict on both sides, so the rule's ``<=`` is written out.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main


def sma(closes, period):
    """Simple moving average from one running sum, NaN until ``period`` closes are in."""
    total = np.concatenate(([0.0], np.cumsum(np.asarray(closes))))
    out = np.full(len(closes), np.nan)
    out[period - 1 :] = (total[period:] - total[:-period]) / period
    return out


class SmaCross(Strategy):
    """Long one unit from a cross up to a cross down."""

    def init(self):
        """Declare the two averages."""
        self.fast = self.I(sma, self.data.Close, FAST_BARS)
        self.slow = self.I(sma, self.data.Close, SLOW_BARS)

    def next(self):
        """Decide on one closed bar."""
        fast, slow = self.fast, self.slow
        if not self.position:
            if fast[-2] <= slow[-2] and fast[-1] > slow[-1]:
                self.buy(size=1)
        elif fast[-2] >= slow[-2] and fast[-1] < slow[-1]:
            self.position.close()


def run(paths: list[Path], workload: str) -> Outcome:
    """Run every file on its own and add the results up."""
    warnings.simplefilter("ignore")
    loop_s, fills, trades, gain, bars = 0.0, 0, 0, 0.0, 0
    for path in paths:
        frame = pd.read_parquet(path).set_index("ts")
        frame.index = frame.index.tz_localize(None)
        frame.columns = [name.capitalize() for name in frame.columns]
        backtest = Backtest(frame, SmaCross, cash=CASH, commission=COMMISSION_RATE)
        started = time.process_time()
        stats = backtest.run()
        loop_s += time.process_time() - started
        closed = len(stats["_strategy"].closed_trades)
        fills += 2 * closed + len(stats["_strategy"].trades)
        trades += closed
        gain += float(stats["Equity Final [$]"]) - CASH
        bars += len(frame)
    return Outcome(loop_s, fills, trades, CASH + gain, bars)


if __name__ == "__main__":
    main("backtesting", run)
