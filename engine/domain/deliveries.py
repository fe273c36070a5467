"""What a broker delivers, before anybody knows what it is worth, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from engine.domain.market import MarketEvent

__all__ = [
    "Consumed",
    "Delivery",
    "Fed",
    "FeedDown",
    "FeedFailed",
    "FeedUp",
    "Position",
    "Raw",
    "Rejected",
    "RejectionCode",
    "SetFeedState",
    "SymbolBegan",
    "SymbolEnded",
]

Raw = tuple[str, int, int, bytes]
"""A message as it came: topic, partition, offset, content. Without partitions both are -1."""


class RejectionCode(StrEnum):
    """Why a message is a dead letter."""

    NOT_JSON = "NOT_JSON"
    NOT_UTF8 = "NOT_UTF8"
    TOO_DEEP = "TOO_DEEP"
    TOO_LARGE = "TOO_LARGE"
    WRONG_SHAPE = "WRONG_SHAPE"
    WRONG_SYMBOL = "WRONG_SYMBOL"
    BAD_NUMBER = "BAD_NUMBER"
    BAD_TIME = "BAD_TIME"
    BAD_TIMEFRAME = "BAD_TIMEFRAME"
    IMPOSSIBLE = "IMPOSSIBLE"
    IN_THE_FUTURE = "IN_THE_FUTURE"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    CONFLICTING = "CONFLICTING"


class Position(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How far a partition has been read.

    Attributes:
        topic: which topic.
        partition: which partition of it.
        offset: the next message to read.
    """

    topic: str
    partition: int
    offset: int


class Rejected(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message that cannot be used, kept as it came.

    Attributes:
        topic: where it came from; partition and offset are -1 where there are none.
        partition: its partition.
        offset: its place there.
        code: what is wrong with it.
        detail: the same in words.
        size: its length in bytes.
        content: the message; its beginning when it is too large.
    """

    topic: str
    partition: int
    offset: int
    code: RejectionCode
    detail: str
    size: int
    content: bytes


class Delivery(msgspec.Struct, frozen=True):
    """Feed to ingest: messages, in the order they came.

    Attributes:
        messages: as they came.
    """

    messages: tuple[Raw, ...]


class SymbolBegan(msgspec.Struct, frozen=True):
    """Feed to listener: a symbol is among the active ones.

    Attributes:
        symbol: which.
    """

    symbol: str


class SymbolEnded(msgspec.Struct, frozen=True):
    """Feed to ingest: nothing more will come of a symbol.

    Attributes:
        symbol: which.
        position: how far the partition that said so has been read; None without partitions.
    """

    symbol: str
    position: Position | None = None


class FeedUp(msgspec.Struct, frozen=True):
    """Feed to ingest: there is a connection.

    Attributes:
        positions: where each partition is read from.
    """

    positions: tuple[Position, ...] = ()


class FeedFailed(msgspec.Struct, frozen=True):
    """Feed to ingest: nothing more comes until the engine is started again.

    Attributes:
        detail: why.
    """

    detail: str


class FeedDown(msgspec.Struct, frozen=True):
    """Feed to ingest: there is none, or messages were lost.

    Attributes:
        reason: why, as a code.
        detail: the same in words.
    """

    reason: str
    detail: str = ""


class SetFeedState(msgspec.Struct, frozen=True, kw_only=True, tag="set_feed_state"):
    """Ingest to risk gate: prices of a symbol can be trusted, or cannot.

    Attributes:
        symbol: which.
        stale: whether its price counts as too old to judge an order by.
        reason: ``FEED_GAP``, ``FEED_SILENT``, ``FEED_DOWN``, ``MESSAGES_LOST`` or ``FEED_BACK``.
        ts_init: time of the cause, UTC nanoseconds.
    """

    symbol: str
    stale: bool
    reason: str
    ts_init: int


class Consumed(msgspec.Struct, frozen=True, array_like=True, tag="consumed"):
    """What became of a delivery; kept together with the events that it held.

    Every message received is exactly one of applied, repeated and rejected. Those of symbols that
    the run does not trade are not received by it.

    Attributes:
        positions: how far each partition has been read since.
        applied: messages that became events.
        repeated: messages that had come before.
        rejected: dead letters.
        ended: symbols that will get nothing more.
    """

    positions: tuple[Position, ...]
    applied: int
    repeated: int
    rejected: tuple[Rejected, ...]
    ended: tuple[str, ...] = ()

    @property
    def received(self) -> int:
        """How many messages came."""
        return self.applied + self.repeated + len(self.rejected)


class Fed(msgspec.Struct, frozen=True):
    """From a broker to the core: what came and what is to be kept with it, handled as one.

    Attributes:
        events: market events, in the order they are to be handled.
        consumed: what all of it came from.
        told: messages to single actors, each behind the actor's name; handled after the events.
    """

    events: tuple[MarketEvent, ...]
    consumed: Consumed
    told: tuple[tuple[str, Any], ...] = ()
