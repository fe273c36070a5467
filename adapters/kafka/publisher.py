"""Market data to Kafka topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from adapters.kafka.producer import new_producer
from engine.domain.market import MarketEvent
from engine.domain.market_wire import render
from engine.errors import FeedError
from engine.sections import KafkaConfig

__all__ = ["KafkaPublisher"]

FLUSH_S = 30.0


class KafkaPublisher:
    """Publishes events to one topic, the symbol as key, so that a symbol keeps its order.

    Args:
        config: the cluster.
        topic: where to.

    Raises:
        ConfigError: ``kafka.options`` are refused.
    """

    def __init__(self, config: KafkaConfig, *, topic: str) -> None:
        self._topic = topic
        self._failed: KafkaError | None = None
        self._producer = new_producer(config, {"message.timeout.ms": round(FLUSH_S * 1000)})

    def begin(self, symbols: Sequence[str]) -> None:
        """Nothing: who comes later reads what there is."""

    def listeners(self, symbol: str) -> int | None:
        """None: what is published is kept."""
        return None

    def publish(self, events: Sequence[MarketEvent]) -> None:
        """Hand events on, in order; :meth:`end` waits until they are kept.

        Raises:
            FeedError: no broker takes them.
        """
        for event in events:
            self._send(self._topic, render(event), event.symbol)

    def send(self, topic: str, content: bytes) -> None:
        """Publish one message as it stands, and wait until it is kept.

        Raises:
            FeedError: no broker takes it.
        """
        self._send(topic, content, None)
        self._flush()

    def end(self, symbols: Sequence[str]) -> None:
        """Say that nothing more comes of symbols (a key without content), and wait.

        Raises:
            FeedError: no broker takes it.
        """
        for symbol in symbols:
            self._send(self._topic, None, symbol)
        self._flush()

    def close(self) -> None:
        """Let go of the connection."""
        self._producer.purge()

    def _send(self, topic: str, content: bytes | None, key: str | None) -> None:
        while True:
            try:
                self._producer.produce(topic, content, key, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(1.0)
                self._raise_failure()
            except KafkaException as error:
                raise FeedError(f"Kafka does not take a message: {error.args[0].str()}") from error
        self._producer.poll(0)
        self._raise_failure()

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_S)
        self._raise_failure()
        if left:
            raise FeedError(f"Kafka has not taken {left} messages within {FLUSH_S:g} s")

    def _delivered(self, error: KafkaError | None, message: Message | Any) -> None:
        if error is not None and self._failed is None:
            self._failed = error

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise FeedError(f"Kafka does not take a message: {self._failed.str()}")
