"""The rule every backtester is measured on (see tests/bench/workloads.py)."""

from engine import Bar, Strategy, crossed, ta


class SmaCrossBench(Strategy):
    """Buy one unit when the fast average crosses above the slow one, sell it on the way down."""

    fast: int = 10
    slow: int = 30
    trading: bool = True

    def on_start(self) -> None:
        self.cross = self.use(crossed(ta.SMA(self.fast), ta.SMA(self.slow)))

    def on_bar(self, bar: Bar) -> None:
        cross = self.cross.value
        if cross and self.trading:
            held = self.position(bar.symbol)
            if cross > 0:
                if not held:
                    self.buy(bar.symbol, 1)
            elif held:
                self.sell(bar.symbol, 1)
