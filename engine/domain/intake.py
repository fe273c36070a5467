"""What has come of a feed so far, and what that makes of the next message.

A message about a symbol is the next of its series, a repetition, or something that cannot be. What
is known of a series is a pure function of its events, so a restart knows it from the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from engine.domain.deliveries import Consumed, RejectionCode
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.market_wire import Parsed, RejectedError

__all__ = ["FeedState", "Intake", "Series"]

RECENT = 256
"""Bars of a series that are remembered, to tell a repetition from a contradiction."""


class Series:
    """One symbol's events of one kind.

    Attributes:
        ts: time of the latest, UTC nanoseconds; -1 before the first.
        sequence: the publisher's number of the latest; None when it has none.
    """

    __slots__ = ("_order", "_recent", "sequence", "ts")

    def __init__(self) -> None:
        self.ts = -1
        self.sequence: int | None = None
        self._recent: dict[int, Bar] = {}
        self._order: deque[int] = deque()

    def note(self, event: MarketEvent) -> None:
        """Take in the next event."""
        self.ts = ts = event.ts_event
        if type(event) is not Bar:
            return
        self._recent[ts] = event
        order = self._order
        order.append(ts)
        if len(order) > RECENT:
            del self._recent[order.popleft()]

    def is_repeated(self, event: MarketEvent) -> bool:
        """Tell whether an event that is not later than the latest came before.

        Raises:
            RejectedError: it is none of those that came, or contradicts one.
        """
        if type(event) is not Bar:
            if event.ts_event == self.ts:
                return False  # trades and quotes may share a time
            raise _out_of_order(event, self.ts)
        known = self._recent.get(event.ts_event)
        if known is None:
            raise _out_of_order(event, self.ts)
        if _content(known) != _content(event):
            raise RejectedError(
                RejectionCode.CONFLICTING,
                f"the bar of {event.symbol} that ends at {event.ts_event} came before, and was "
                "another",
            )
        return True


def _out_of_order(event: MarketEvent, ts: int) -> RejectedError:
    return RejectedError(
        RejectionCode.OUT_OF_ORDER,
        f"{event.symbol} at {event.ts_event} comes after {ts}",
    )


def _content(bar: Bar) -> tuple[int, ...]:
    return (bar.ts_open, bar.open_px, bar.high_px, bar.low_px, bar.close_px, bar.volume_qty)


class Intake:
    """Everything taken in of one kind of event.

    Args:
        symbols: what is traded.

    Attributes:
        numbers: what the next event of each symbol is numbered.
        gapped: symbols of which the publisher's numbers have a gap, until whoever asks clears it.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self.numbers = dict.fromkeys(symbols, 0)
        self.gapped: dict[str, None] = {}
        self._series = {symbol: Series() for symbol in self.numbers}

    def recall(self, event: MarketEvent) -> None:
        """Take in an event of before a restart."""
        self.numbers[event.symbol] = event.seq + 1
        self._series[event.symbol].note(event)

    def take(self, parsed: Parsed, latest: int) -> bool:
        """Take in what a message says; False when it came before.

        Args:
            parsed: the event, numbered as the next of its series.
            latest: latest time that it may have, UTC nanoseconds.

        Raises:
            RejectedError: it cannot be.
        """
        event, sequence = parsed
        series = self._series[event.symbol]
        if sequence is not None and series.sequence is not None and sequence <= series.sequence:
            return False
        ts = event.ts_event
        if ts > latest:
            raise RejectedError(
                RejectionCode.IN_THE_FUTURE, f"{event.symbol} at {ts} is after {latest}"
            )
        if ts <= series.ts and series.is_repeated(event):
            return False
        series.note(event)
        self.numbers[event.symbol] += 1
        if sequence is not None:
            if series.sequence is not None and sequence > series.sequence + 1:
                self.gapped[event.symbol] = None
            series.sequence = sequence
        return True


class FeedState:
    """How far the feed of a run has come.

    Args:
        kinds: types of event that the run is to have.
        symbols: what is traded.

    Attributes:
        intakes: what was taken in, by type of event.
        positions: the next offset of each partition, by topic and partition.
        ended: symbols of which nothing more will come.
    """

    def __init__(self, kinds: Iterable[type], symbols: Iterable[str]) -> None:
        names = tuple(symbols)
        self.symbols = names
        self.intakes: dict[type, Intake] = {kind: Intake(names) for kind in kinds}
        self.positions: dict[tuple[str, int], int] = {}
        self.ended: set[str] = set()

    def recall(self, entered: Any) -> None:
        """Take in what entered the run before a restart."""
        if isinstance(entered, Bar | Trade | Quote):
            self.intakes[type(entered)].recall(entered)
        elif isinstance(entered, Consumed):
            for at in entered.positions:
                self.positions[at.topic, at.partition] = at.offset
            self.ended.update(entered.ended)

    @property
    def seen(self) -> list[str]:
        """Symbols of which something has come, in order."""
        numbers = [intake.numbers for intake in self.intakes.values()]
        return [symbol for symbol in self.symbols if any(each[symbol] for each in numbers)]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come at all."""
        return self.ended.issuperset(self.symbols)
