"""A pairs trade: bet that the ratio of two stocks returns to its average."""

from collections import deque
from statistics import fmean, pstdev

from engine import Bar, Strategy, param


class Pairs(Strategy):
    """Sell the rich one and buy the cheap one when their price ratio is far from its mean."""

    left: str = "MSFT"
    right: str = "IBM"
    window: int = param(60, low=10, high=500)
    entry: float = param(2.0, low=0.5, high=5.0)
    exit: float = param(0.5, low=0.0, high=3.0)
    share: float = param(0.25, low=0.01, high=0.5)

    def on_start(self) -> None:
        self.ratios: deque[float] = deque(maxlen=self.window)
        self.closes: dict[str, tuple[int, float]] = {}

    def on_bar(self, bar: Bar) -> None:
        if bar.symbol not in (self.left, self.right):
            return
        self.closes[bar.symbol] = (bar.ts_event, bar.close)
        left, right = self.closes.get(self.left), self.closes.get(self.right)
        if left is None or right is None or left[0] != right[0]:
            return  # the other leg's bar of this moment is still to come
        self.ratios.append(left[1] / right[1])
        if len(self.ratios) == self.window:
            self.trade((self.ratios[-1] - fmean(self.ratios)) / (pstdev(self.ratios) or 1.0))

    def trade(self, score: float) -> None:
        if abs(score) < self.exit:
            self.close(self.left)
            self.close(self.right)
        elif abs(score) > self.entry and not self.position(self.left):
            side = -1 if score > 0 else 1
            self.target_percent(self.left, side * self.share)
            self.target_percent(self.right, -side * self.share)
