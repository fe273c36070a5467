"""An order or more with every bar, of every kind that can be sent: what chaos is let loose on."""

from engine import Bar, Strategy, param


class Dense(Strategy):
    """Trades for so many bars, then cancels and closes everything and is quiet to the end."""

    busy_bars: int = param(200, low=1, high=1_000_000)

    def on_start(self) -> None:
        self.resting = {}

    def on_bar(self, bar: Bar) -> None:
        if bar.seq >= self.busy_bars:
            self.end(bar)
            return
        symbol, turn = bar.symbol, bar.seq % 8
        if turn in (0, 2):
            self.buy(symbol, 3 + turn)
        elif turn == 1:
            self.resting[symbol] = self.buy(symbol, 5, limit=round(bar.close * 0.95, 2))
        elif turn == 3 and self.is_resting(symbol):
            self.replace(self.resting[symbol], quantity=4, limit=round(bar.close * 0.96, 2))
        elif turn == 4:
            self.buy(symbol, 2, limit=round(bar.close * 1.01, 2))
        elif turn == 5 and self.is_resting(symbol):
            self.cancel(self.resting[symbol])
        elif turn == 6 and self.position(symbol).quantity >= 8:
            self.sell(symbol, 8)
        elif turn == 7 and self.position(symbol).quantity >= 2:
            self.sell(symbol, 2, limit=round(bar.close * 0.99, 2))

    def is_resting(self, symbol: str) -> bool:
        order = self.resting.get(symbol)
        return order is not None and order.is_open

    def end(self, bar: Bar) -> None:
        """Take back what is open, then close what is held."""
        since = bar.seq - self.busy_bars
        if since % 10 == 0:
            for order in self.orders:
                if order.symbol == bar.symbol:
                    self.cancel(order)
        elif since % 10 == 5 and not any(each.symbol == bar.symbol for each in self.orders):
            self.close(bar.symbol)
