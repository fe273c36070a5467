"""The recorder: hands every event it is routed to the journal, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.domain.commands import (
    ClosePosition,
    KillSwitch,
    OrderApproved,
    ReplaceApproved,
    SetSymbolState,
    SetTradingState,
)
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    PositionChanged,
    ReplaceDenied,
    ReplaceRejected,
    RiskEvent,
    StrategyFailed,
)
from engine.domain.signals import Signal
from engine.ports import Journal
from engine.runtime.actor import Actor, Handler

RECORDED: Sequence[type] = (
    OrderApproved,
    OrderDenied,
    OrderSubmitted,
    OrderAccepted,
    OrderRejected,
    OrderCanceled,
    OrderExpired,
    OrderUnknown,
    OrderReplaced,
    CancelRejected,
    ReplaceApproved,
    ReplaceDenied,
    ReplaceRejected,
    PositionChanged,
    Signal,
    RiskEvent,
    StrategyFailed,
    ClosePosition,
    SetTradingState,
    SetSymbolState,
    KillSwitch,
)
"""What is kept. A fill is kept inside the PositionChanged that booked it."""


class Recorder(Actor):
    """Buffers events and writes them to the journal once a batch.

    Args:
        name: actor name.
        journal: where they go.
    """

    def __init__(self, name: str, *, journal: Journal) -> None:
        super().__init__(name)
        self._journal = journal
        self._buffer: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle every recorded type with one append; the C method is the handler itself."""
        return dict.fromkeys(RECORDED, self._buffer.append)

    def on_batch(self) -> None:
        """Write what has come since the last batch."""
        if self._buffer:
            self._journal.write(tuple(self._buffer))
            self._buffer.clear()
