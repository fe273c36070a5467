"""What an account and its strategies have won and lost: since the day began, and in a row."""

from __future__ import annotations

import msgspec

from engine.domain.events import PositionChanged

__all__ = ["Result", "Results"]


class Result(msgspec.Struct):
    """Results of the account or of one strategy.

    Attributes:
        day_start: equity when the trading day began, in cash units; of a strategy what it had
            earned by then.
        peak: highest equity at the end of any trading day, or at the beginning.
        losing_streak: losing round trips in a row today.
        warned: whether today's loss has been warned about.
    """

    day_start: int = 0
    peak: int = 0
    losing_streak: int = 0
    warned: bool = False

    def start_day(self, equity: int) -> None:
        """Begin a trading day."""
        self.day_start = equity
        self.peak = max(self.peak, equity)
        self.losing_streak = 0
        self.warned = False


class Results:
    """Results of one account and of each of its strategies.

    A round trip is a position from flat to flat (or through a flip); it loses when all that its
    fills realised, less their commissions, is below zero.

    Args:
        equity: equity at the beginning, in cash units.

    Attributes:
        account: of the account.
        strategies: of each strategy.
        trips: what the open round trip of (strategy, symbol) has realised, in cash units.
    """

    __slots__ = ("account", "strategies", "trips")

    def __init__(self, equity: int) -> None:
        self.account = Result(equity, equity)
        self.strategies: dict[str, Result] = {}
        self.trips: dict[tuple[str, str], int] = {}

    def of(self, strategy_id: str) -> Result:
        """Give a strategy's results."""
        result = self.strategies.get(strategy_id)
        if result is None:
            result = self.strategies[strategy_id] = Result()
        return result

    def book(self, changed: PositionChanged) -> bool:
        """Take in a booked fill; say whether it ended a losing round trip."""
        fill = changed.fill
        after = changed.quantity
        before = after - fill.signed_qty
        key = (fill.strategy_id, fill.symbol)
        realized = self.trips.get(key, 0) + changed.realized - fill.commission
        if before == 0 or (after != 0 and (after > 0) == (before > 0)):
            self.trips[key] = realized
            return False
        self.trips.pop(key, None)
        strategy = self.of(fill.strategy_id)
        if realized >= 0:
            self.account.losing_streak = strategy.losing_streak = 0
            return False
        self.account.losing_streak += 1
        strategy.losing_streak += 1
        return True
