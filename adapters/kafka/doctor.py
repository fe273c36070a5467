"""A look at a Kafka cluster: whether it answers and has the topics that a run uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from adapters.kafka.errors import Silent, refusal
from engine.domain.findings import Finding, ok, problem
from engine.sections import KafkaConfig

__all__ = ["examine"]

SUBJECT = "kafka"


def examine(config: KafkaConfig, topics: Sequence[str]) -> Iterator[Finding]:
    """Look at a cluster; nothing is changed there.

    Args:
        config: the cluster.
        topics: those that a run reads or writes.
    """
    where = config.bootstrap_servers
    try:
        settings = {"bootstrap.servers": where, **config.options}
        admin = AdminClient(settings, logger=Silent())
    except (KafkaException, TypeError, ValueError) as error:
        yield problem(SUBJECT, refusal(error), "correct kafka.options")
        return
    try:
        there = admin.list_topics(timeout=config.timeout)
    except KafkaException as error:
        advice = "start it, or correct kafka.bootstrap_servers"
        yield problem(SUBJECT, f"{where} does not answer: {refusal(error)}", advice, is_silent=True)
        return
    yield ok(SUBJECT, f"{len(there.brokers)} brokers at {where}")
    for topic in topics:
        found = there.topics.get(topic)
        if found is None or found.error is not None:
            advice = f"kafka-topics.sh --bootstrap-server {where} --create --topic {topic}"
            yield problem(SUBJECT, f"there is no topic {topic}", advice)
        else:
            yield ok(SUBJECT, f"topic {topic}, {len(found.partitions)} partitions")
