"""How much is sent: rates, repetitions and counts, in the time of the events.

A rate is a leaky bucket in its virtual-scheduling form (GCRA, ITU-T I.371): one integer, the time
at which the bucket would be empty. It needs no timer and is the same in virtual and real time.
"""

from __future__ import annotations

from collections import deque

import msgspec

from engine.domain.orders import Order
from engine.domain.risk import NO_LIMIT, Bounds

NO_REPEATS = 0
SWEEP_MIN = 1_000
"""Different orders remembered before those out of the window are looked for."""


Traffic = tuple[int, int, int, int, int, int, int]
"""What was sent before an order: ``backlog`` to ``strategy_day_orders`` of CheckInputs."""


class Sent(msgspec.Struct):
    """What one sender, the account or a strategy, has sent.

    Attributes:
        empty_at: when its bucket is empty, nanoseconds.
        working: its working orders.
        today: its orders since the trading day began.
    """

    empty_at: int = 0
    working: int = 0
    today: int = 0


Key = tuple[str, str, str, str, int, int | None, int | None]


def _key(order: Order) -> Key:
    return (
        order.strategy_id, order.symbol, order.side, order.order_type, order.order_qty,
        order.limit_px, order.stop_px,
    )  # fmt: skip


class Throttle:
    """Counts orders as they are sent and as they end.

    Args:
        bound: the rates and the window of repetitions.

    Attributes:
        account: what the account has sent.
        strategies: what each strategy has sent.
        repeats: when each equal order was sent, within the window.
    """

    __slots__ = (
        "_bound",
        "_counts_repeats",
        "_keyed",
        "_newest",
        "_sweep_at",
        "account",
        "repeats",
        "strategies",
    )

    def __init__(self, bound: Bounds) -> None:
        self._bound = bound
        self._counts_repeats = bound.repeats != NO_LIMIT
        self.account = Sent()
        self.strategies: dict[str, Sent] = {}
        self.repeats: dict[Key, deque[int]] = {}
        self._newest = 0
        self._sweep_at = SWEEP_MIN
        # The order measured last and its key: it is most often the one that is sent next.
        self._keyed: tuple[Order | None, Key] = (None, ("", "", "", "", 0, None, None))

    def of(self, strategy_id: str) -> Sent:
        """Give a strategy's counts."""
        sent = self.strategies.get(strategy_id)
        if sent is None:
            sent = self.strategies[strategy_id] = Sent()
        return sent

    def measure(self, order: Order, now: int) -> Traffic:
        """Look at what was sent before an order."""
        account = self.account
        strategy = self.strategies.get(order.strategy_id) or self.of(order.strategy_id)
        backlog = account.empty_at - now
        strategy_backlog = strategy.empty_at - now
        return (
            backlog if backlog > 0 else 0,
            strategy_backlog if strategy_backlog > 0 else 0,
            self._repeats(order, now) if self.repeats else NO_REPEATS,
            account.working,
            strategy.working,
            account.today,
            strategy.today,
        )

    def _repeats(self, order: Order, now: int) -> int:
        key = _key(order)
        self._keyed = (order, key)
        times = self.repeats.get(key)
        if times is None:
            return NO_REPEATS
        oldest = now - self._bound.repeat_window
        while times and times[0] < oldest:
            times.popleft()
        return len(times)

    def sent(self, order: Order, now: int) -> None:
        """Count an order that leaves."""
        bound, account = self._bound, self.account
        strategy = self.strategies.get(order.strategy_id) or self.of(order.strategy_id)
        account.working += 1
        account.today += 1
        strategy.working += 1
        strategy.today += 1
        # Written out for the two senders: this runs once per order.
        if bound.interval:
            account.empty_at = max(account.empty_at, now) + bound.interval
        if bound.strategy_interval:
            strategy.empty_at = max(strategy.empty_at, now) + bound.strategy_interval
        if self._counts_repeats:
            self._note(order, now)

    def _note(self, order: Order, now: int) -> None:
        if self.repeats and now - self._newest > self._bound.repeat_window:
            self.repeats.clear()
        self._newest = now
        measured, key = self._keyed
        if measured is not order:
            key = _key(order)
        times = self.repeats.get(key)
        if times is None:
            if len(self.repeats) >= self._sweep_at:
                self._sweep(now)
            self.repeats[key] = deque((now,))
        else:
            times.append(now)

    def _sweep(self, now: int) -> None:
        """Forget what is out of the window, for a strategy that never pauses that long.

        The next sweep comes when as many again are remembered, so one costs little per order.
        """
        oldest = now - self._bound.repeat_window
        self.repeats = {
            key: times for key, times in self.repeats.items() if times and times[-1] >= oldest
        }
        self._sweep_at = max(SWEEP_MIN, 2 * len(self.repeats))

    def put_repeats(self, repeats: list[tuple[Key, list[int]]]) -> None:
        """Take in what was sent within the window before a restart."""
        self.repeats = {key: deque(times) for key, times in repeats}
        self._newest = max((times[-1] for _, times in repeats if times), default=0)

    def amended(self, strategy_id: str, now: int) -> None:
        """Count a replacement that leaves: a message like an order, but no order more."""
        bound = self._bound
        for sender, interval in (
            (self.account, bound.interval),
            (self.of(strategy_id), bound.strategy_interval),
        ):
            sender.today += 1
            sender.empty_at = max(sender.empty_at, now) + interval

    def ended(self, strategy_id: str) -> None:
        """Count an order that works no longer."""
        self.account.working -= 1
        self.strategies[strategy_id].working -= 1

    def end_day(self) -> None:
        """Begin the counts of a day."""
        self.account.today = 0
        for sent in self.strategies.values():
            sent.today = 0
