"""RSI mean reversion: buy weakness inside an uptrend, sell the recovery."""

from engine import Bar, Strategy, param, ta


class RsiReversion(Strategy):
    """Buy when the RSI is low while the close is above its long average; sell when it is high."""

    period: int = param(3, low=2, high=50)
    trend: int = param(200, low=20, high=400)
    oversold: float = param(15.0, low=1.0, high=50.0)
    overbought: float = param(65.0, low=50.0, high=99.0)
    share: float = param(0.19, low=0.01, high=1.0)

    def on_start(self) -> None:
        self.rsi = self.use(ta.RSI(self.period))
        self.average = self.use(ta.SMA(self.trend))

    def on_bar(self, bar: Bar) -> None:
        if self.position(bar.symbol):
            if self.rsi.value > self.overbought:
                self.close(bar.symbol)
        elif self.rsi.value < self.oversold and bar.close > self.average.value:
            self.target_percent(bar.symbol, self.share)
