"""The ingest: turns what a broker delivers into events of the core, and says what it cannot use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from engine.domain.control_wire import ControlEvent, read_control
from engine.domain.deliveries import (
    Consumed,
    Delivery,
    Fed,
    FeedDown,
    FeedFailed,
    FeedUp,
    Position,
    Rejected,
    SetFeedState,
    SymbolEnded,
)
from engine.domain.intake import FeedState, Intake
from engine.domain.market import MarketEvent
from engine.domain.market_wire import MarketReader, RejectedError, dead_letter
from engine.errors import FeedError
from engine.runtime.actor import Actor, Handler

NEVER = 2**63 - 1
_TS = attrgetter("ts_event")


class Look(msgspec.Struct, frozen=True):
    """Timer: see which symbols have gone silent."""


class Channel(msgspec.Struct, frozen=True):
    """How messages of one topic are read.

    Attributes:
        reader: reads them.
        intake: what has come of them.
        symbol: whose they are; None when a topic has those of many.
    """

    reader: MarketReader
    intake: Intake
    symbol: str | None = None


class Ingest(Actor):
    """Validates, orders and counts; every message ends as an event, a repetition or a dead letter.

    Args:
        name: actor name.
        channels: by topic; what comes of any other is about sessions.
        state: how far the feed has come.
        is_end: tells whether the end of a session is that of its symbol.
        core: address of all of the core.
        gate: actor name of the risk gate.
        advance: told the time of each event before it is sent: moves a clock that data moves.
        ended: called when nothing more will come of any symbol.
        silent_ns: time without a message after which a symbol's price is stale; None for ever.
        ahead_ns: how far a message may be ahead of the clock; None when the data moves the clock.
        keep_bytes: how much of a dead letter is kept.
        lossy: whether what is published while nobody listens is lost.
    """

    def __init__(
        self,
        name: str,
        *,
        channels: Mapping[str, Channel],
        state: FeedState,
        is_end: Callable[[ControlEvent], bool],
        core: str,
        gate: str,
        advance: Callable[[int], Any],
        ended: Callable[[], None],
        silent_ns: int | None,
        ahead_ns: int | None,
        keep_bytes: int,
        lossy: bool,
    ) -> None:
        super().__init__(name)
        self._channels = channels
        self._state = state
        self._is_end = is_end
        self._core = core
        self._gate = gate
        self._advance = advance
        self._ended = ended
        self._silent_ns = silent_ns
        self._ahead_ns = ahead_ns
        self._keep_bytes = keep_bytes
        self._lossy = lossy
        self._stale: set[str] = set()
        self._heard: dict[str, int] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """Handle deliveries and the state of the connection."""
        return {
            Delivery: self.on_delivery,
            SymbolEnded: self.on_symbol_ended,
            FeedUp: self.on_feed_up,
            FeedDown: self.on_feed_down,
            FeedFailed: self.on_feed_failed,
            Look: self.on_look,
        }

    def on_start(self) -> None:
        """Trust no price from before a restart, if messages may have been lost since."""
        if self._lossy:
            for symbol in self._state.seen:
                self._set_state(symbol, True, "FEED_DOWN")
        if self._state.is_over:
            self._ended()
        self._look_later()

    def on_delivery(self, delivery: Delivery) -> None:
        """Read messages and send on what came of them, as one."""
        events: list[MarketEvent] = []
        rejected: list[Rejected] = []
        repeated = 0
        ended: list[str] = []
        latest = NEVER if self._ahead_ns is None else self.ctx.now + self._ahead_ns
        channels, known = self._channels, self._state.positions
        read: dict[tuple[str, int], int] = {}
        for topic, partition, offset, content in delivery.messages:
            if offset >= 0:
                place = topic, partition
                if offset < known.get(place, 0):
                    repeated += 1
                    continue
                known[place] = read[place] = offset + 1
            channel = channels.get(topic)
            try:
                if channel is None:
                    ended += self._control(content)
                    continue
                parsed = channel.reader.read(content, channel.symbol)
                if parsed is None:
                    continue
                if channel.intake.take(parsed, latest):
                    events.append(parsed.event)
                else:
                    repeated += 1
            except RejectedError as error:
                message = (topic, partition, offset, content)
                rejected.append(dead_letter(message, error, self._keep_bytes))
        self._trust(events)
        positions = tuple(Position(*place, following) for place, following in read.items())
        if events or rejected or repeated or positions or ended:
            consumed = Consumed(positions, len(events), repeated, tuple(rejected), tuple(ended))
            self._feed(tuple(events), consumed)
        if ended and self._state.is_over:
            self._ended()

    def _control(self, content: bytes) -> list[str]:
        """Read what becomes of a session; give the symbols of which nothing more will come."""
        event = read_control(content)
        if event.action != "unsubscribe" or not self._runs(event.symbol):
            return []
        if not self._is_end(event):
            return []
        self._state.ended.add(event.symbol)
        return [event.symbol]

    def _runs(self, symbol: str) -> bool:
        return symbol in self._state.symbols and symbol not in self._state.ended

    def _feed(self, events: tuple[MarketEvent, ...], consumed: Consumed) -> None:
        if events:
            self._advance(max(map(_TS, events)))
        self.ctx.send(self._core, Fed(events, consumed))

    def on_symbol_ended(self, end: SymbolEnded) -> None:
        """Note that nothing more will come of a symbol; when that is so of all, say it."""
        if not self._runs(end.symbol):
            return
        self._state.ended.add(end.symbol)
        positions = () if end.position is None else (end.position,)
        self._feed((), Consumed(positions, 0, 0, (), (end.symbol,)))
        if self._state.is_over:
            self._ended()

    # Whether prices can be trusted.

    def on_feed_up(self, up: FeedUp) -> None:
        """Keep where reading begins; a price is trusted again when a new one has come."""
        new = {(at.topic, at.partition): at.offset for at in up.positions}
        if any(self._state.positions.get(place) != offset for place, offset in new.items()):
            self._state.positions |= new
            self._feed((), Consumed(up.positions, 0, 0, ()))

    def on_feed_failed(self, failed: FeedFailed) -> None:
        """End the run: without market data nothing can be decided.

        Raises:
            FeedError: always.
        """
        raise FeedError(f"market data does not come any more: {failed.detail}")

    def on_feed_down(self, down: FeedDown) -> None:
        """Trust no price: what is published now does not come."""
        for symbol in self._state.seen:
            self._set_state(symbol, True, down.reason)

    def on_look(self, look: Look) -> None:
        """Distrust the price of every symbol that has been silent for too long."""
        if self._silent_ns is not None:
            since = self.ctx.now - self._silent_ns
            for symbol, heard in self._heard.items():
                if heard <= since:
                    self._set_state(symbol, True, "FEED_SILENT")
        self._look_later()

    def _look_later(self) -> None:
        if self._silent_ns is not None:
            self.ctx.set_timer(self.ctx.now + self._silent_ns // 2, Look())

    def _trust(self, events: Sequence[MarketEvent]) -> None:
        """Take note of prices that came; the next after a gap is the first to be trusted."""
        now = self.ctx.now
        if self._silent_ns is not None:
            self._heard |= {event.symbol: now for event in events}
        symbols = {event.symbol: None for event in events}
        gapped: dict[str, None] = {}
        for channel in self._channels.values():
            gapped |= channel.intake.gapped
            channel.intake.gapped.clear()
        for symbol in symbols:
            if symbol in gapped:
                self._set_state(symbol, True, "FEED_GAP")
            else:
                self._set_state(symbol, False, "FEED_BACK")

    def _set_state(self, symbol: str, stale: bool, reason: str) -> None:
        if stale is (symbol in self._stale):
            return
        (self._stale.add if stale else self._stale.discard)(symbol)
        self.ctx.send(
            self._gate,
            SetFeedState(symbol=symbol, stale=stale, reason=reason, ts_init=self.ctx.now),
        )
