"""Market data to Redis channels (pub/sub)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis

from adapters.redis.channels import ACTIVE, CONTROL, channel_of
from adapters.redis.client import connect, gone
from engine.domain.control_wire import ControlEvent, render_control
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.market_wire import render
from engine.sections import RedisConfig

__all__ = ["RedisPublisher"]

_KINDS: Mapping[type, str] = {Bar: "bar", Trade: "trade", Quote: "quote"}


class RedisPublisher:
    """Publishes events, each to the channel of its symbol, numbered from 1 on.

    Args:
        config: the server.
        kind: what is published.
    """

    def __init__(self, config: RedisConfig, *, kind: str) -> None:
        self._client = connect(config)
        self._config = config
        self._kind = kind
        self._numbers: dict[str, int] = {}

    def begin(self, symbols: Sequence[str]) -> None:
        """Say that symbols have a running session.

        Raises:
            ConfigError: encryption fails.
            FeedError: the server does not answer.
        """
        try:
            self._client.sadd(ACTIVE[0], *symbols)
        except redis.RedisError as error:
            raise gone(self._config, error) from error

    def listeners(self, symbol: str) -> int | None:
        """Count who listens to a symbol.

        Raises:
            ConfigError: encryption fails.
            FeedError: the server does not answer.
        """
        try:
            counts = self._client.pubsub_numsub(channel_of(self._kind, symbol))
        except redis.RedisError as error:
            raise gone(self._config, error) from error
        return int(counts[0][1])

    def publish(self, events: Sequence[MarketEvent]) -> None:
        """Publish events, in order.

        Raises:
            ConfigError: encryption fails.
            FeedError: the server does not answer.
        """
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            number = self._numbers[event.symbol] = self._numbers.get(event.symbol, 0) + 1
            channel = channel_of(_KINDS[type(event)], event.symbol)
            pipeline.publish(channel, render(event, number))
        try:
            pipeline.execute()
        except redis.RedisError as error:
            raise gone(self._config, error) from error

    def send(self, topic: str, content: bytes) -> None:
        """Publish one message as it stands.

        Raises:
            ConfigError: encryption fails.
            FeedError: the server does not answer.
        """
        try:
            self._client.publish(topic, content)
        except redis.RedisError as error:
            raise gone(self._config, error) from error

    def end(self, symbols: Sequence[str]) -> None:
        """Say that the sessions of symbols are over.

        Raises:
            ConfigError: encryption fails.
            FeedError: the server does not answer.
        """
        pipeline = self._client.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.srem(ACTIVE[0], symbol)
            event = ControlEvent(action="unsubscribe", symbol=symbol, type="stock")
            pipeline.publish(CONTROL, render_control(event))
        try:
            pipeline.execute()
        except redis.RedisError as error:
            raise gone(self._config, error) from error

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
