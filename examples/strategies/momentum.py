"""Cross-sectional momentum: every month, hold the strongest stocks in equal parts."""

from engine import Strategy, param, ta


class Momentum(Strategy):
    """At each month's end rank all symbols by their return and hold the best ``top``."""

    lookback: int = param(120, low=20, high=500)
    top: int = param(2, low=1, high=50)
    share: float = param(0.28, low=0.01, high=1.0)

    def on_start(self) -> None:
        self.strength = self.use(ta.ROC(self.lookback))
        self.schedule("rebalance", "month")

    def on_timer(self, name: str) -> None:
        strength = {symbol: self.strength.of(symbol) for symbol in self.symbols}
        ready = [symbol for symbol in self.symbols if strength[symbol].ready]
        best = sorted(ready, key=lambda symbol: strength[symbol].value, reverse=True)[: self.top]
        for symbol in ready:
            if symbol not in best:
                self.close(symbol)
        for symbol in best:
            if strength[symbol].value > 0:
                self.target_percent(symbol, self.share)
            else:
                self.close(symbol)
