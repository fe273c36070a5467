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
from engine.domain.executions import ExecutionBegan, ExecutionEnded, ExecutionRefused
from engine.domain.signals import Signal
from engine.ports import Journal
from engine.runtime.actor import Actor, Handler
from engine.runtime.inputs import Batch, Input

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
    ExecutionBegan,
    ExecutionRefused,
    ExecutionEnded,
    ClosePosition,
    SetTradingState,
    SetSymbolState,
    KillSwitch,
)
"""What is kept. A fill is kept inside the PositionChanged that booked it."""


class Recorder(Actor):
    """Buffers events and writes them to the journal once a batch.

    For a run that outlives its process it also sends them, with what had entered the core, to an
    archivist. A batch is cut only between messages: what entered in it has been handled to the
    end and every event that came of it is there, so it is a state to go on from.

    Args:
        name: actor name.
        journal: where they go.
        archivist: name of the actor that keeps batches; None when nobody does.

    Attributes:
        inputs: what has entered the core since the last batch; whoever lets it in appends it.
    """

    def __init__(self, name: str, *, journal: Journal, archivist: str | None = None) -> None:
        super().__init__(name)
        self._journal = journal
        self._archivist = archivist
        self._buffer: list[Any] = []
        self.inputs: list[Input] = []

    def handlers(self) -> Mapping[type, Handler]:
        """Handle every recorded type with one append; the C method is the handler itself."""
        return dict.fromkeys(RECORDED, self._buffer.append)

    def on_batch(self) -> None:
        """Write what has come since the last batch."""
        events = tuple(self._buffer)
        if events:
            self._journal.write(events)
            self._buffer.clear()
        if self._archivist is not None and (events or self.inputs):
            self.ctx.send(self._archivist, Batch(tuple(self.inputs), events))
            self.inputs.clear()
