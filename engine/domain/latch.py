"""The trading state: what may leave, of the account and of each strategy.

The gate is its one writer. The router reads it again immediately before it sends, so a halt stops
also what was approved a moment before.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from engine.domain.risk import DenyCode

Reset = Literal["next_day", "manual"]


class TradingState(StrEnum):
    """What the gate lets through: all, only what reduces risk, or nothing new."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


_ACTIVE = TradingState.ACTIVE
_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class Hold(msgspec.Struct, frozen=True, array_like=True, tag="hold"):
    """Why the account or a strategy is not ACTIVE.

    Attributes:
        state: REDUCING or HALTED.
        reason: code of the rule, such as ``DAILY_LOSS`` or ``KILL_SWITCH``.
        reset: ``next_day`` ends with the trading day, ``manual`` by an operator only.
        ts_event: since when, UTC nanoseconds.
    """

    state: TradingState
    reason: str
    reset: Reset
    ts_event: int


class TradingLatch:
    """The trading state of one account and its strategies.

    Attributes:
        is_open: True while nothing is held: the one look that an order costs then.
        holds: why something is not ACTIVE, by strategy; ``""`` is the account.
    """

    __slots__ = ("holds", "is_open")

    def __init__(self, holds: dict[str, Hold] | None = None) -> None:
        self.holds = dict(holds or {})
        self.is_open = not self.holds

    def state(self, strategy_id: str = "") -> TradingState:
        """Give the state of a strategy by itself; of the account without an argument."""
        hold = self.holds.get(strategy_id)
        return _ACTIVE if hold is None else hold.state

    def enter(self, hold: Hold, strategy_id: str = "") -> bool:
        """Enter a stricter state, or the same one for longer; say whether that changed anything.

        A rule never loosens what another has tightened: only :meth:`release` does.
        """
        before = self.holds.get(strategy_id)
        if before is not None:
            strictness = _STRICTNESS[hold.state] - _STRICTNESS[before.state]
            longer = hold.reset == "manual" and before.reset != "manual"
            if strictness < 0 or (strictness == 0 and not longer):
                return False
            if before.reset == "manual" and hold.reset != "manual":
                hold = msgspec.structs.replace(hold, reset="manual")
        self.holds[strategy_id] = hold
        self.is_open = False
        return True

    def set(self, hold: Hold, strategy_id: str = "") -> None:
        """Enter a state whatever it was before: what an operator does."""
        self.holds[strategy_id] = hold
        self.is_open = False

    def release(self, strategy_id: str = "") -> bool:
        """Make a strategy or the account ACTIVE; say whether it was not."""
        released = self.holds.pop(strategy_id, None) is not None
        self.is_open = not self.holds
        return released

    def end_day(self) -> list[str]:
        """Release what is held for the day only; give whose."""
        ended = [name for name, hold in self.holds.items() if hold.reset == "next_day"]
        for name in ended:
            self.release(name)
        return ended

    def refusal(self, strategy_id: str, *, reduce_only: bool, closing: bool) -> DenyCode | None:
        """Say why an order may not leave now; None when it may.

        Args:
            strategy_id: whose order.
            reduce_only: it can only shrink a position.
            closing: the engine itself closes a position with it, which it always may (D14).
        """
        if self.is_open or (reduce_only and closing):
            return None
        account, strategy = self.state(), self.state(strategy_id)
        if account is TradingState.HALTED:
            return DenyCode.TRADING_HALTED
        if account is TradingState.REDUCING and not reduce_only:
            return DenyCode.TRADING_REDUCING
        if strategy is TradingState.HALTED:
            return DenyCode.STRATEGY_HALTED
        if strategy is TradingState.REDUCING and not reduce_only:
            return DenyCode.STRATEGY_REDUCING
        return None
