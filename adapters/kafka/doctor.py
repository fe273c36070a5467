"""Whether a Kafka cluster has what a profile reads and writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports OffsetSpec unsaid
    AdminClient,
    OffsetSpec,
)

from adapters.kafka.errors import Silent, refusal
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.sections import KafkaConfig

__all__ = ["examine"]

NAME = "Kafka"
_LOOK_S = 0.2
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


def examine(config: KafkaConfig, topics: Sequence[str]) -> Iterator[Finding]:
    """Look at a cluster; nothing is made there, and each call has ``kafka.timeout``.

    Args:
        config: the cluster.
        topics: what must be there, by name.
    """
    errors: list[KafkaError] = []
    settings: dict[str, Any] = {
        "bootstrap.servers": config.bootstrap_servers,
        **config.options,
        "allow.auto.create.topics": False,
        "error_cb": errors.append,
    }
    try:
        client = AdminClient(settings, logger=Silent())
    except (KafkaException, TypeError, ValueError) as error:
        yield problem(NAME, f"kafka.options: {refusal(error)}", "correct section kafka.options")
        return
    try:
        there = client.list_topics(timeout=config.timeout)
    except KafkaException as error:
        client.poll(_LOOK_S)
        yield _unreached(config, error, errors)
        return
    yield fine(NAME, f"{len(there.brokers)} brokers answer at {config.bootstrap_servers}")
    yield _encryption(config)
    present: list[str] = []
    for topic in topics:
        found = there.topics.get(topic)
        if found is None or found.error is not None or not found.partitions:
            yield _missing(config, topic)
            continue
        present.append(topic)
        yield fine(f"{NAME} topic {topic}", f"{len(found.partitions)} partitions")
    for topic in present:
        partitions = sorted(there.topics[topic].partitions)
        trouble = _leaders(client, config, topic, partitions)
        if trouble is not None:
            yield trouble
            return


def _unreached(config: KafkaConfig, error: KafkaException, errors: Sequence[KafkaError]) -> Finding:
    refused = [each for each in (error.args[0], *errors) if each.code() in _REFUSED]
    if refused:
        return problem(
            NAME,
            f"refuses us at {config.bootstrap_servers}: {refused[0].str()}",
            "correct security.protocol, sasl.* and ssl.* in section kafka.options",
        )
    return silence(
        NAME,
        f"does not answer at {config.bootstrap_servers} within {config.timeout:g} s: "
        f"{error.args[0].str()}",
        "start it, or correct kafka.bootstrap_servers",
    )


def _encryption(config: KafkaConfig) -> Finding:
    protocol = str(config.options.get("security.protocol", "PLAINTEXT")).upper()
    hosts = {each.strip().rpartition(":")[0] for each in config.bootstrap_servers.split(",")}
    if protocol in {"SSL", "SASL_SSL"} or hosts <= {"localhost", "127.0.0.1", "[::1]"}:
        return fine(f"{NAME} encryption", protocol)
    return warning(
        f"{NAME} encryption",
        protocol,
        'set "security.protocol" in kafka.options to SSL or SASL_SSL',
    )


def _missing(config: KafkaConfig, topic: str) -> Finding:
    return problem(
        f"{NAME} topic {topic}",
        "is not there, or this user may not see it",
        f"kafka-topics.sh --bootstrap-server {config.bootstrap_servers} --create --topic {topic} "
        "--partitions 1, or name another in kafka.topics",
    )


def _leaders(
    client: AdminClient, config: KafkaConfig, topic: str, partitions: Sequence[int]
) -> Finding | None:
    """Ask the brokers that lead a topic: their own addresses may not be reachable from here."""
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, each): end for each in partitions}
    limit = time.monotonic() + config.timeout
    answers = client.list_offsets(asked, request_timeout=config.timeout)
    try:
        for answer in answers.values():
            answer.result(timeout=max(0.0, limit - time.monotonic()) + _LOOK_S)
    except (KafkaException, TimeoutError) as error:
        said = "no answer" if isinstance(error, TimeoutError) else error.args[0].str()
        return silence(
            f"{NAME} topic {topic}",
            f"the broker that leads it is not reached: {said}",
            "see that the broker runs, and that advertised.listeners is an address that is "
            "reachable from here",
        )
    return None
