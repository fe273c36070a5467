"""Donchian breakout: enter on a new high, leave by a trailing stop."""

from engine import Bar, Fill, Side, Strategy, param, ta


class DonchianBreakout(Strategy):
    """Buy a close above the highest high of the bars before; protect it with a trailing stop."""

    period: int = param(55, low=5, high=250)
    trail_percent: float = param(12.0, low=0.5, high=50.0)
    share: float = param(0.19, low=0.01, high=1.0)

    def on_start(self) -> None:
        self.highest = self.use(ta.MAX(self.period, price="high"))

    def on_bar(self, bar: Bar) -> None:
        if self.position(bar.symbol) or self.waiting(bar.symbol):
            return
        if bar.close > self.highest[-2]:
            self.target_percent(bar.symbol, self.share)

    def on_fill(self, fill: Fill) -> None:
        if fill.side is Side.BUY:
            self.sell(
                fill.symbol, fill.quantity, trail_percent=self.trail_percent, reduce_only=True
            )

    def waiting(self, symbol: str) -> bool:
        return any(order.symbol == symbol for order in self.orders)
