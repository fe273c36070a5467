"""backtrader on the bench rule: one cerebro, ``runonce``, market orders at the next open.

``loop_s`` is the event loop with its indicators; preloading the bars, which backtrader does bar by
bar in Python before the loop, is counted in the whole process only.
"""

from __future__ import annotations

import time
from pathlib import Path

import backtrader as bt
import pandas as pd
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main


class TimedCerebro(bt.Cerebro):
    """Cerebro that measures its loop without the preloading."""

    loop_s = 0.0

    def _runonce(self, runstrats):
        started = time.process_time()
        super()._runonce(runstrats)
        self.loop_s += time.process_time() - started


class SmaCross(bt.Strategy):
    """Long one unit of each symbol from a cross up to a cross down."""

    def __init__(self):
        """Declare two averages for each symbol."""
        self.fills = 0
        self.closed = 0
        self.lanes = [
            (data, bt.ind.SMA(data, period=FAST_BARS), bt.ind.SMA(data, period=SLOW_BARS))
            for data in self.datas
        ]

    def notify_order(self, order):
        """Count executions."""
        if order.status == order.Completed:
            self.fills += 1

    def notify_trade(self, trade):
        """Count closed round trips."""
        if trade.isclosed:
            self.closed += 1

    def next(self):
        """Decide on one closed bar of every symbol."""
        for data, fast, slow in self.lanes:
            if not self.getposition(data).size:
                if fast[-1] <= slow[-1] and fast[0] > slow[0]:
                    self.buy(data, size=1)
            elif fast[-1] >= slow[-1] and fast[0] < slow[0]:
                self.sell(data, size=1)


def run(paths: list[Path], workload: str) -> Outcome:
    """Run all files in one account."""
    cerebro = TimedCerebro(stdstats=False)
    bars = 0
    for path in paths:
        frame = pd.read_parquet(path).set_index("ts")
        frame.index = frame.index.tz_localize(None)
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=path.stem)
        bars += len(frame)
    cerebro.addstrategy(SmaCross)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=COMMISSION_RATE)
    strategy = cerebro.run(runonce=True)[0]
    return Outcome(cerebro.loop_s, strategy.fills, strategy.closed, cerebro.broker.getvalue(), bars)


if __name__ == "__main__":
    main("backtrader", run)
