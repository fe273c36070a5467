"""Market data from Kafka topics.

A thread of its own reads. Partitions are assigned by hand at the positions that are kept with the
run, so neither a rebalance nor the brokers' idea of progress can repeat or skip a message. When
the engine is busy the thread waits, librdkafka's bounded queue fills and fetching stops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from adapters.kafka.errors import Silent, refusal
from engine.domain.deliveries import (
    Delivery,
    FeedDown,
    FeedFailed,
    FeedUp,
    Position,
    Raw,
    SymbolEnded,
)
from engine.errors import ConfigError, FeedError
from engine.sections import KafkaConfig

__all__ = ["KafkaFeed"]

BATCH_MAX = 256
"""Messages handed on at once."""
POLL_S = 0.1
_PASSING = frozenset({KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._TIMED_OUT,
                      KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # fmt: skip
"""Errors after which librdkafka goes on by itself."""
_LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


class KafkaFeed:
    """Reads topics, for one run.

    Args:
        config: the cluster.
        topics: which topics; all their partitions are read.
    """

    def __init__(self, config: KafkaConfig, *, topics: Sequence[str]) -> None:
        self._config = config
        self._topics = topics
        self._consumer: Consumer | None = None
        self._report: Callable[[Any], None] = lambda message: None
        self._assigned: dict[tuple[str, int], int] = {}
        self._is_up = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-feed", daemon=True)

    def open(self, positions: Mapping[tuple[str, int], int], report: Callable[[Any], None]) -> None:
        """Read on from positions, partitions without one from where the settings say.

        Raises:
            ConfigError: there is no such topic, or messages that were not read are gone.
            FeedError: no broker answers.
        """
        self._report = report
        self._consumer = consumer = self._new_consumer()
        try:
            for topic in self._topics:
                for partition in self._partitions(consumer, topic):
                    place = topic, partition
                    self._assigned[place] = self._begin(consumer, place, positions.get(place))
        except KafkaException as error:
            raise self._unreachable(error) from error
        consumer.assign([TopicPartition(*place, at) for place, at in self._assigned.items()])
        # Where a run begins is kept before the first message comes.
        kept = [Position(*place, at) for place, at in self._assigned.items()]
        report(FeedUp(tuple(kept)))
        self._thread.start()

    def close(self, *, timeout_s: float) -> None:
        """Stop reading.

        Raises:
            TimeoutError: the thread did not end in time.
        """
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise TimeoutError(f"the Kafka feed did not end within {timeout_s:g} s")
        if self._consumer is not None:
            self._consumer.close()

    def _new_consumer(self) -> Consumer:
        try:
            return Consumer(self._settings(), logger=Silent())
        except (KafkaException, TypeError, ValueError) as error:
            raise ConfigError(f"kafka.options: {refusal(error)}") from error

    def _settings(self) -> dict[str, Any]:
        milliseconds = max(1000, round(self._config.timeout * 1000))
        return {
            "bootstrap.servers": self._config.bootstrap_servers,
            "group.id": self._config.consumer_group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "socket.timeout.ms": milliseconds,
            "socket.keepalive.enable": True,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
            **self._config.options,
        }

    def _unreachable(self, error: KafkaException) -> FeedError:
        return FeedError(
            f"Kafka does not answer at {self._config.bootstrap_servers}: {error.args[0].str()}; is "
            "it running, and is kafka.bootstrap_servers right?"
        )

    def _partitions(self, consumer: Consumer, topic: str) -> list[int]:
        found = consumer.list_topics(topic, timeout=self._config.timeout).topics[topic]
        if found.error is not None or not found.partitions:
            raise ConfigError(
                f"Kafka has no topic {topic!r} at {self._config.bootstrap_servers}: create it, or "
                "name another in kafka.topics"
            )
        return sorted(found.partitions)

    def _begin(self, consumer: Consumer, place: tuple[str, int], kept: int | None) -> int:
        low, high = self._range(consumer, place)
        if kept is None:
            return low if self._config.start == "earliest" else high
        if low <= kept <= high:
            return kept
        if self._config.on_lost == "halt":
            raise ConfigError(
                f"{_name(place)} holds messages {low} to {high - 1}, and the run stands at {kept}: "
                "what was between is gone, or the topic is another; go on without it with "
                "--set kafka.on_lost=skip, or begin another run with --set run.name=NAME"
            )
        self._report(FeedDown("MESSAGES_LOST", f"{_name(place)} from {kept}"))
        return low

    def _range(self, consumer: Consumer, place: tuple[str, int]) -> tuple[int, int]:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(*place), timeout=self._config.timeout, cached=False
        )
        return low, high

    # The thread.

    def _run(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        heard = time.monotonic()
        while not self._closing.is_set():
            try:
                first = consumer.poll(POLL_S)
                # consume() alone would wait for the whole batch.
                if first is not None:  # a message without content is false
                    self._hand_on([first, *consumer.consume(BATCH_MAX - 1, 0)])
                    heard = time.monotonic()
                elif time.monotonic() - heard > self._config.timeout:
                    self._look(consumer)
                    heard = time.monotonic()
            except KafkaException as error:
                self._report(FeedFailed(error.args[0].str()))
                return

    def _hand_on(self, messages: Sequence[Message]) -> None:
        batch: list[Raw] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._failed(message, error)
                continue
            place, offset, content = _place(message), message.offset() or 0, message.value()
            if content is not None:
                batch.append((*place, offset, content))
                continue
            # A message without content ends what its key names, as in a compacted topic.
            self._flush(batch)
            key = message.key()
            symbol = "" if key is None else key.decode(errors="replace")
            self._report(SymbolEnded(symbol, Position(*place, offset + 1)))
        self._flush(batch)

    def _flush(self, batch: list[Raw]) -> None:
        if batch:
            self._set_up(True, "")
            self._report(Delivery(tuple(batch)))
            batch.clear()

    def _failed(self, message: Message, error: KafkaError) -> None:
        code = error.code()
        if code in _PASSING:
            return
        consumer, place = self._consumer, _place(message)
        if code not in _LOST or self._config.on_lost == "halt" or consumer is None:
            raise KafkaException(error)
        low, _ = self._range(consumer, place)
        self._report(FeedDown("MESSAGES_LOST", _name(place)))
        consumer.seek(TopicPartition(*place, low))

    def _look(self, consumer: Consumer) -> None:
        """Ask for a sign of life: a connection that is gone without a word looks like a quiet one.

        Partitions that have been added since are read from their first message.
        """
        try:
            for topic in self._topics:
                for partition in self._partitions(consumer, topic):
                    if (topic, partition) not in self._assigned:
                        self._assigned[topic, partition] = 0
                        consumer.incremental_assign([TopicPartition(topic, partition, 0)])
            for place in self._assigned:
                self._range(consumer, place)
        except (KafkaException, ConfigError) as error:
            self._set_up(False, str(error))
        else:
            self._set_up(True, "")

    def _set_up(self, is_up: bool, detail: str) -> None:
        if is_up is not self._is_up:
            self._is_up = is_up
            self._report(FeedUp() if is_up else FeedDown("FEED_DOWN", detail))


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]}[{place[1]}]"
