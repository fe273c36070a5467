"""The listener: turns messages about strategies into commands to the executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from engine.domain.deliveries import (
    Consumed,
    Delivery,
    Fed,
    FeedDown,
    FeedFailed,
    FeedUp,
    Position,
    Rejected,
    SymbolBegan,
    SymbolEnded,
)
from engine.domain.executions import BeginExecution, EndExecution
from engine.domain.listening import Heard
from engine.domain.market_wire import RejectedError, dead_letter, require_size
from engine.errors import FeedError
from engine.runtime.actor import Actor, Handler

Command = BeginExecution | EndExecution


class Reader(Protocol):
    """What the messages of one broker mean."""

    def read(self, content: bytes, now: int) -> Sequence[Command] | None:
        """Give what a message says; None when it came before.

        Raises:
            RejectedError: it cannot be used.
        """

    def began(self, symbol: str, now: int) -> Sequence[Command]:
        """Give what it means that a symbol is among the active ones."""

    def ended(self, symbol: str, now: int) -> Sequence[Command]:
        """Give what it means that nothing more will come of a symbol, or of what has its name."""


class Listener(Actor):
    """Reads, counts and hands on; every message ends as commands, a repetition or a dead letter.

    Args:
        name: actor name.
        reader: what the messages mean.
        heard: how far they have been read.
        core: address of all of the core.
        executor: actor name of the executor.
        size_max: longest message in bytes; a longer one is a dead letter, of which as much is kept.
    """

    def __init__(
        self, name: str, *, reader: Reader, heard: Heard, core: str, executor: str, size_max: int
    ) -> None:
        super().__init__(name)
        self._reader = reader
        self._heard = heard
        self._core = core
        self._executor = executor
        self._size_max = size_max

    def handlers(self) -> Mapping[type, Handler]:
        """Handle deliveries and the state of the connection."""
        return {
            Delivery: self.on_delivery,
            SymbolBegan: self.on_symbol_began,
            SymbolEnded: self.on_symbol_ended,
            EndExecution: self.on_end_execution,
            FeedUp: self.on_feed_up,
            FeedDown: self.on_feed_down,
            FeedFailed: self.on_feed_failed,
        }

    def on_delivery(self, delivery: Delivery) -> None:
        """Read messages and hand on what they say, as one."""
        commands: list[Command] = []
        rejected: list[Rejected] = []
        read: dict[tuple[str, int], int] = {}
        applied = repeated = 0
        for message in delivery.messages:
            topic, partition, offset, content = message
            if offset >= 0:
                place = topic, partition
                if offset < self._heard.positions.get(place, 0):
                    repeated += 1
                    continue
                self._heard.positions[place] = read[place] = offset + 1
            try:
                said = self._read(content)
                if said is None:
                    repeated += 1
                else:
                    commands += said
                    applied += 1
            except RejectedError as error:
                rejected.append(dead_letter(message, error, self._size_max))
        positions = tuple(Position(*place, following) for place, following in read.items())
        self._hand_on(commands, Consumed(positions, applied, repeated, tuple(rejected)))

    def _read(self, content: bytes) -> Sequence[Command] | None:
        require_size(content, self._size_max)
        commands = self._reader.read(content, self.ctx.now)
        for command in commands or ():
            self._heard.recall(command)
        return commands

    def _hand_on(self, commands: Sequence[Command], consumed: Consumed) -> None:
        told = tuple((self._executor, command) for command in commands)
        self.ctx.send(self._core, Fed((), consumed, told))

    def on_symbol_began(self, began: SymbolBegan) -> None:
        """Hand on what it means that a symbol is among the active ones."""
        self._say(self._reader.began(began.symbol, self.ctx.now), ())

    def on_symbol_ended(self, end: SymbolEnded) -> None:
        """Hand on what it means that something has ended."""
        at = () if end.position is None else (end.position,)
        for position in at:
            self._heard.positions[position.topic, position.partition] = position.offset
        self._say(self._reader.ended(end.symbol, self.ctx.now), at)

    def on_end_execution(self, end: EndExecution) -> None:
        """Hand on what a person says."""
        self._say((end,), ())

    def _say(self, commands: Sequence[Command], positions: tuple[Position, ...]) -> None:
        for command in commands:
            self._heard.recall(command)
        if commands or positions:
            self._hand_on(commands, Consumed(positions, 0, 0, ()))

    def on_feed_up(self, up: FeedUp) -> None:
        """Keep where reading begins."""
        new = {(at.topic, at.partition): at.offset for at in up.positions}
        if any(self._heard.positions.get(place) != offset for place, offset in new.items()):
            self._heard.positions |= new
            self._hand_on((), Consumed(up.positions, 0, 0, ()))

    def on_feed_down(self, down: FeedDown) -> None:
        """Nothing: strategies at work go on, and what was said meanwhile is read later."""

    def on_feed_failed(self, failed: FeedFailed) -> None:
        """End the run: a strategy that is to end would not be told.

        Raises:
            FeedError: always.
        """
        raise FeedError(f"messages about strategies do not come any more: {failed.detail}")
