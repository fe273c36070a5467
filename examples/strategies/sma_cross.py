"""Moving-average cross: hold each stock while its fast average is above its slow one."""

from engine import Bar, Strategy, param, ta


class SmaCross(Strategy):
    """Long while the fast average of closes is above the slow one, flat otherwise."""

    fast: int = param(20, low=2, high=200, step=5)
    slow: int = param(100, low=5, high=400, step=20)
    share: float = param(0.19, low=0.01, high=1.0)

    def on_start(self) -> None:
        self.fast_ma = self.use(ta.SMA(self.fast))
        self.slow_ma = self.use(ta.SMA(self.slow))

    def on_bar(self, bar: Bar) -> None:
        position = self.position(bar.symbol)
        if self.fast_ma.value > self.slow_ma.value:
            if not position:
                self.target_percent(bar.symbol, self.share)
        elif position:
            self.close(bar.symbol)
