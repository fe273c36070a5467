"""Messages about a run to Kafka topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from adapters.kafka.errors import Silent
from adapters.kafka.producer import new_producer
from engine.domain.publications import Publication
from engine.ports import Outcome
from engine.sections import KafkaConfig

__all__ = ["KafkaEventPublisher"]

QUEUE_MESSAGES = 10_000
QUEUE_KBYTES = 32_768
_NEVER = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE,
                    KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD})  # fmt: skip
"""Errors of the message itself (or of one of those it was sent with)."""


class KafkaEventPublisher:
    """Sends messages, in order for each key; see ``engine.ports.EventPublisher``.

    A message stays in librdkafka until a broker has acknowledged it, however long that takes, so
    none can overtake another while the cluster is down. Its header ``id`` is the run and its
    number, the same whenever it is sent again.

    Args:
        config: the cluster and the names of the topics.
        run_name: the run.

    Raises:
        ConfigError: ``kafka.options`` are refused.
    """

    def __init__(self, config: KafkaConfig, *, run_name: str) -> None:
        self._config = config
        self._run_name = run_name
        topics = config.topics
        self._topics: Mapping[str, str] = {
            "execution": topics.execution,
            "positions": topics.positions,
            "errors": topics.errors,
        }
        self._trouble = ""
        self._has_failed = False
        self._found: list[Outcome] = []
        self._open: set[int] = set()
        self._producer = self._new_producer()

    @property
    def trouble(self) -> str:
        """What was last wrong with the connection; empty when nothing was."""
        return self._trouble

    def send(self, messages: Sequence[Publication]) -> None:
        """Hand messages over, in order; each has one outcome in the end."""
        for number, message in enumerate(messages):
            try:
                self._produce(message)
            except BufferError:
                # With it the rest: there may be room for the next, which must not overtake it.
                full = "the queue of the client is full"
                self._found += [Outcome(each.sequence, full) for each in messages[number:]]
                break

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Give the outcomes there are; wait for one when there is none, not without end."""
        if not self._found:
            self._poll(timeout_s)
        self._poll(0)
        if self._has_failed:
            self._begin_anew()
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Let go of the connection and of what has no outcome. May be called again."""
        self._producer.purge()
        self._poll(0)

    def _begin_anew(self) -> None:
        """Let go of a producer that has lost count of what the brokers have: it does no more."""
        self._found += [Outcome(sequence, self._trouble) for sequence in sorted(self._open)]
        self._open.clear()
        self._producer.purge()
        self._producer, self._has_failed = self._new_producer(), False

    def _poll(self, timeout_s: float) -> None:
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:
            self._on_error(error.args[0])

    def _new_producer(self) -> Producer:
        settings: dict[str, Any] = {
            "message.timeout.ms": 0,  # for ever
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            "queue.buffering.max.kbytes": QUEUE_KBYTES,
            "error_cb": self._on_error,
        }
        return new_producer(self._config, settings, logger=Silent())

    def _produce(self, message: Publication) -> None:
        identity = f"{self._run_name}/{message.sequence}"
        try:
            self._producer.produce(
                self._topics[message.topic],
                message.content.encode(),
                message.key,
                headers=[("id", identity.encode())],
                on_delivery=self._delivered(message.sequence),
            )
        except KafkaException as error:
            self._take(message.sequence, error.args[0])
        else:
            self._open.add(message.sequence)

    def _delivered(self, sequence: int) -> Callable[[KafkaError | None, Any], None]:
        return lambda error, _: self._take(sequence, error)

    def _take(self, sequence: int, error: KafkaError | None) -> None:
        self._open.discard(sequence)
        if error is None:
            self._trouble = ""
            self._found.append(Outcome(sequence))
            return
        self._on_error(error)
        self._found.append(Outcome(sequence, error.str(), error.code() in _NEVER))

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error.str()
        self._has_failed = self._has_failed or error.fatal()
