"""Brackets: every entry carries its stop loss and its take profit, one cancelling the other."""

from engine import Bar, Strategy, crossed_above, param, ta


class BracketEntry(Strategy):
    """Buy when the MACD crosses above its signal; exits at multiples of the average range."""

    loss_ranges: float = param(2.0, low=0.5, high=10.0)
    profit_ranges: float = param(4.0, low=0.5, high=20.0)
    share: float = param(0.15, low=0.01, high=1.0)

    def on_start(self) -> None:
        macd = ta.MACD()
        self.entry = self.use(crossed_above(macd.macd, macd.macdsignal))
        self.range = self.use(ta.ATR(14))

    def on_bar(self, bar: Bar) -> None:
        busy = self.position(bar.symbol) or any(o.symbol == bar.symbol for o in self.orders)
        if busy or not self.entry.value:
            return
        quantity = int(self.equity * self.share / bar.close)
        if quantity:
            self.bracket(
                bar.symbol,
                quantity,
                stop_loss=bar.close - self.loss_ranges * self.range.value,
                take_profit=bar.close + self.profit_ranges * self.range.value,
            )
