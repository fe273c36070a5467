"""What messages mean by which strategies begin and end while a run is at work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from engine.domain.approved_wire import read_approved
from engine.domain.control_wire import read_control
from engine.domain.deliveries import Consumed, RejectionCode
from engine.domain.executions import BeginExecution, EndExecution, WireId
from engine.domain.market_wire import RejectedError

__all__ = ["ApprovalReader", "Heard", "Identify", "SessionReader"]

Command = BeginExecution | EndExecution

Identify = Callable[[str, str], str]
"""Gives the id of an execution: (id of the strategy in the run, occasion)."""


class Heard:
    """How far the messages have been read, and which strategies were told to be at work.

    What was told is not what came of it: a strategy may have failed, or never begun.

    Args:
        topics: where the messages come from.

    Attributes:
        positions: the next offset of each partition, by topic and partition.
        running: ids of strategies, each with the symbols it was begun on.
        begun: ids of all executions.
    """

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics
        self.positions: dict[tuple[str, int], int] = {}
        self.running: dict[str, tuple[str, ...]] = {}
        self.begun: set[str] = set()

    def recall(self, entered: Any) -> None:
        """Take in what entered the run, or was told to an actor of it."""
        if isinstance(entered, Consumed):
            for at in entered.positions:
                if at.topic in self._topics:
                    self.positions[at.topic, at.partition] = at.offset
        elif isinstance(entered, BeginExecution):
            self.running[entered.strategy_id] = entered.symbols
            self.begun.add(entered.execution_id)
        elif isinstance(entered, EndExecution):
            self.running.pop(entered.strategy_id, None)

    def on(self, symbol: str) -> list[str]:
        """Give the ids of strategies on a symbol, in the order they began."""
        return [name for name, symbols in self.running.items() if symbol in symbols]


class ApprovalReader:
    """Reads ``strategy.approved``: each message begins an execution of its own strategy.

    A message without content ends the strategy that its key names, as in a compacted topic.

    Args:
        heard: what was heard before.
        identify: gives the ids of executions.
        refuse_unknown: whether a field that nobody knows makes a message unusable.
    """

    def __init__(self, heard: Heard, identify: Identify, *, refuse_unknown: bool) -> None:
        self._heard = heard
        self._identify = identify
        self._refuse_unknown = refuse_unknown

    def read(self, content: bytes, now: int) -> Sequence[Command] | None:
        """Give what a message says; None when it came before.

        Raises:
            RejectedError: it cannot be used.
        """
        approved = read_approved(content, refuse_unknown=self._refuse_unknown)
        strategy_id = str(approved.strategy_id)
        # The message's own time tells two approvals of a strategy apart, and is the same each
        # time that a publisher sends one of them.
        execution = self._identify(strategy_id, str(approved.ts_event))
        if execution in self._heard.begun:
            return None
        begin = BeginExecution(
            execution_id=execution,
            strategy_id=strategy_id,
            wire_id=approved.strategy_id,
            user_id=approved.user_id,
            symbols=approved.symbols,
            parameters=approved.parameters,
            config=approved.config,
            on_stop="flatten",
            ts_init=now,
        )
        return (begin,)

    def began(self, symbol: str, now: int) -> Sequence[Command]:
        """Nothing: symbols do not begin here."""
        return ()

    def ended(self, name: str, now: int) -> Sequence[Command]:
        """End the strategy of a name."""
        if name not in self._heard.running:
            return ()
        return (EndExecution(strategy_id=name, reason="REVOKED", ts_init=now),)


class SessionReader:
    """Reads the control channel: a session is one strategy on one symbol.

    Args:
        heard: what was heard before.
        identify: gives the ids of executions.
        symbols: what the run trades.
        strategy: name of the strategy of sessions that name none.
    """

    def __init__(
        self, heard: Heard, identify: Identify, *, symbols: Collection[str], strategy: str
    ) -> None:
        self._heard = heard
        self._identify = identify
        self._symbols = symbols
        self._strategy = strategy

    def read(self, content: bytes, now: int) -> Sequence[Command] | None:
        """Give what a message says; None when it came before.

        Raises:
            RejectedError: it cannot be used.
        """
        event = read_control(content)
        symbol, strategy = event.symbol, event.strategy_id
        if event.action == "unsubscribe":
            return self._end(symbol, strategy, now)
        if symbol not in self._symbols:
            raise RejectedError(
                RejectionCode.WRONG_SYMBOL, f"{symbol} is not traded here; add it to data.symbols"
            )
        given = self._strategy if strategy is None else strategy
        name = f"{given}/{symbol}"
        if name in self._heard.running:
            return None
        occasion = str(now) if event.session_id is None else str(event.session_id)
        return (self._begin(name, given, symbol, occasion, now),)

    def _begin(
        self, name: str, given: WireId, symbol: str, occasion: str, now: int
    ) -> BeginExecution:
        return BeginExecution(
            execution_id=self._identify(name, occasion),
            strategy_id=name,
            wire_id=given,
            symbols=(symbol,),
            on_stop="keep",
            ts_init=now,
        )

    def _end(self, symbol: str, strategy: WireId | None, now: int) -> Sequence[Command]:
        names = self._heard.on(symbol)
        if strategy is not None:
            names = [name for name in names if name == f"{strategy}/{symbol}"]
        return [
            EndExecution(strategy_id=name, reason="UNSUBSCRIBED", ts_init=now) for name in names
        ]

    def began(self, symbol: str, now: int) -> Sequence[Command]:
        """Begin a session on a symbol that is among the active ones and has none."""
        if symbol not in self._symbols or self._heard.on(symbol):
            return ()
        name = f"{self._strategy}/{symbol}"
        return (self._begin(name, self._strategy, symbol, str(now), now),)

    def ended(self, symbol: str, now: int) -> Sequence[Command]:
        """End the sessions on a symbol that is not among the active ones any more."""
        return self._end(symbol, None, now)
