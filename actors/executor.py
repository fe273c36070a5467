"""The executor: lets strategies begin and end while the run is at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from engine.domain.commands import StopStrategy
from engine.domain.events import PositionChanged, StrategyFailed, StrategyStopped
from engine.domain.executions import (
    BeginExecution,
    EndExecution,
    ExecutionBegan,
    ExecutionEnded,
    ExecutionRefused,
    OnStop,
)
from engine.errors import TetradError
from engine.runtime.actor import Actor, Handler

EXECUTIONS = "executions"
"""Name of the group of its hosts."""


class MakeHost(Protocol):
    """Makes the host of a strategy that begins."""

    def __call__(
        self,
        begin: BeginExecution,
        /,
        *,
        order_prefix: str,
        cash: int,
        held: Mapping[str, tuple[int, int]],
    ) -> Actor:
        """Make it.

        Args:
            begin: what begins.
            order_prefix: what its order ids begin with.
            cash: of the account, in cash units.
            held: quantity units and cost in cash units of what the strategy holds, by symbol.

        Raises:
            TetradError: the strategy cannot begin with these parameters.
        """


class Execution(msgspec.Struct):
    """One strategy at work, or what is left of it.

    Attributes:
        begin: what began it.
        host: actor name of its host.
        reason: why it ends; None while it is at work.
        has_failed: whether its code raised.
        is_over: whether it has ended; its host stays while it holds something, because somebody
            must be able to close that.
    """

    begin: BeginExecution
    host: str
    reason: str | None = None
    has_failed: bool = False
    is_over: bool = False


class Executor(Actor):
    """Admits the host of each strategy that begins and dismisses it when it has ended.

    Args:
        name: actor name.
        make_host: makes the hosts.
        initial_cash: opening cash of the account, in cash units.
    """

    leads = EXECUTIONS

    def __init__(self, name: str, *, make_host: MakeHost, initial_cash: int) -> None:
        super().__init__(name)
        self._make_host = make_host
        self._cash = initial_cash
        self._known: set[str] = set()
        self._begun: dict[str, int] = {}
        self._executions: dict[str, Execution] = {}
        self._held: dict[str, dict[str, tuple[int, int]]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """Handle what begins and ends, and what strategies come to hold."""
        return {
            BeginExecution: self.on_begin_execution,
            EndExecution: self.on_end_execution,
            StrategyFailed: self.on_strategy_failed,
            StrategyStopped: self.on_strategy_stopped,
            PositionChanged: self.on_position_changed,
        }

    def on_begin_execution(self, begin: BeginExecution) -> None:
        """Let a strategy begin; the same message again begins nothing."""
        if begin.execution_id in self._known:
            return
        self._known.add(begin.execution_id)
        earlier = self._executions.get(begin.strategy_id)
        if earlier is not None and not earlier.is_over:
            state = "is at work" if earlier.reason is None else "is being wound down"
            self._refuse(begin, f"an execution of strategy {begin.wire_id} {state}: end it first")
            return
        number = self._begun.get(begin.strategy_id, 0) + 1
        prefix = begin.strategy_id if number == 1 else f"{begin.strategy_id}/{number}"
        try:
            held = self._held.get(begin.strategy_id, {})
            host = self._make_host(begin, order_prefix=prefix, cash=self._cash, held=held)
        except TetradError as error:
            self._refuse(begin, str(error))
            return
        if earlier is not None:
            self.ctx.dismiss(earlier.host)
        self._begun[begin.strategy_id] = number
        self._executions[begin.strategy_id] = Execution(begin, host.name)
        # Before what it does at its start, so that nobody hears of an order of nobody.
        self.ctx.publish(
            ExecutionBegan(
                execution_id=begin.execution_id,
                strategy_id=begin.strategy_id,
                wire_id=begin.wire_id,
                user_id=begin.user_id,
                symbols=begin.symbols,
                config=begin.config,
                ts_event=self.ctx.now,
            )
        )
        self.ctx.admit(host)

    def _refuse(self, begin: BeginExecution, reason: str) -> None:
        self.ctx.publish(
            ExecutionRefused(
                execution_id=begin.execution_id,
                strategy_id=begin.strategy_id,
                wire_id=begin.wire_id,
                user_id=begin.user_id,
                reason=reason,
                ts_event=self.ctx.now,
            )
        )

    def on_end_execution(self, end: EndExecution) -> None:
        """Let a strategy end."""
        execution = self._executions.get(end.strategy_id)
        if execution is not None and execution.reason is None:
            self._stop(execution, end.reason, end.on_stop or execution.begin.on_stop)

    def on_strategy_failed(self, failed: StrategyFailed) -> None:
        """Let a strategy end whose code raised: nobody is left to watch what it holds."""
        execution = self._executions.get(failed.strategy_id)
        if execution is not None and not execution.is_over:
            execution.has_failed = True
            self._stop(execution, failed.error, "flatten")

    def _stop(self, execution: Execution, reason: str, on_stop: OnStop) -> None:
        execution.reason = reason
        strategy_id = execution.begin.strategy_id
        stop = StopStrategy(strategy_id=strategy_id, positions=on_stop, ts_init=self.ctx.now)
        self.ctx.send(execution.host, stop)

    def on_strategy_stopped(self, stopped: StrategyStopped) -> None:
        """Note that a strategy has ended."""
        execution = self._executions[stopped.strategy_id]
        execution.is_over = True
        self.ctx.publish(
            ExecutionEnded(
                execution_id=execution.begin.execution_id,
                strategy_id=stopped.strategy_id,
                status="error" if execution.has_failed else "stopped",
                reason=execution.reason or "",
                is_flat=stopped.is_flat,
                ts_event=self.ctx.now,
            )
        )
        self._let_go(execution)

    def on_position_changed(self, changed: PositionChanged) -> None:
        """Note cash and positions, which a strategy that begins must know."""
        self._cash = changed.cash
        fill = changed.fill
        held = self._held.setdefault(fill.strategy_id, {})
        if changed.quantity:
            held[fill.symbol] = changed.quantity, changed.cost
            return
        held.pop(fill.symbol, None)
        execution = self._executions.get(fill.strategy_id)
        if execution is not None and execution.is_over:
            self._let_go(execution)

    def _let_go(self, execution: Execution) -> None:
        strategy_id = execution.begin.strategy_id
        if not self._held.get(strategy_id):
            self._held.pop(strategy_id, None)
            del self._executions[strategy_id]
            self.ctx.dismiss(execution.host)
