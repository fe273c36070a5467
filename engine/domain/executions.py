"""Executions: strategies that begin and end while a run is at work, because a message says so.

A message from outside becomes a command of this module; what became of it is an event. An
execution has an id of its own, a pure function of the run, the strategy and the message, so that
the same message twice begins nothing twice.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "BeginExecution",
    "EndExecution",
    "ExecutionBegan",
    "ExecutionEnded",
    "ExecutionRefused",
    "OnStop",
    "WireId",
]

OnStop = Literal["keep", "flatten"]
"""What becomes of positions when an execution is stopped (decision D15)."""

WireId = str | int
"""An id as it came; answers carry it back in the type it came in (decision D1)."""


class BeginExecution(msgspec.Struct, frozen=True, kw_only=True, tag="begin_execution"):
    """From outside to the executor: let a strategy begin.

    Attributes:
        execution_id: id of the execution; one that began before begins nothing.
        strategy_id: id of the strategy in the run; one execution of it at a time.
        wire_id: its id as it came.
        user_id: whose it is, as it came; None when nobody said.
        symbols: what it sees and trades; all are of the run.
        parameters: values of the strategy's parameters.
        config: what it was begun with, as JSON.
        on_stop: what becomes of its positions when it is stopped.
        ts_init: time of the message, UTC nanoseconds.
    """

    execution_id: str
    strategy_id: str
    wire_id: WireId
    user_id: WireId | None = None
    symbols: tuple[str, ...]
    parameters: dict[str, Any] = {}
    config: str = "{}"
    on_stop: OnStop = "keep"
    ts_init: int


class EndExecution(msgspec.Struct, frozen=True, kw_only=True, tag="end_execution"):
    """From outside to the executor: let a strategy end.

    Attributes:
        strategy_id: id of the strategy in the run; one that is not at work is left alone.
        reason: why, for the record.
        on_stop: what becomes of its positions; what it was begun with when None.
        ts_init: time of the cause, UTC nanoseconds.
    """

    strategy_id: str
    reason: str
    on_stop: OnStop | None = None
    ts_init: int


class ExecutionBegan(msgspec.Struct, frozen=True, kw_only=True, tag="execution_began"):
    """A strategy has begun; attributes as of :class:`BeginExecution`."""

    execution_id: str
    strategy_id: str
    wire_id: WireId
    user_id: WireId | None
    symbols: tuple[str, ...]
    config: str
    ts_event: int


class ExecutionRefused(msgspec.Struct, frozen=True, kw_only=True, tag="execution_refused"):
    """A strategy could not begin.

    Attributes:
        execution_id: id that its execution would have had; the next ones as of
            :class:`BeginExecution`.
        reason: why, in words.
        ts_event: UTC nanoseconds.
    """

    execution_id: str
    strategy_id: str
    wire_id: WireId
    user_id: WireId | None
    reason: str
    ts_event: int


class ExecutionEnded(msgspec.Struct, frozen=True, kw_only=True, tag="execution_ended"):
    """A strategy has ended: it hears nothing more and has no order working.

    Attributes:
        execution_id: which execution.
        strategy_id: of which strategy.
        status: ``stopped``, or ``error`` when its code raised.
        reason: why, for the record.
        is_flat: whether it holds nothing.
        ts_event: UTC nanoseconds.
    """

    execution_id: str
    strategy_id: str
    status: Literal["stopped", "error"]
    reason: str
    is_flat: bool
    ts_event: int
