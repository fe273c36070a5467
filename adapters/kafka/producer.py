"""A producer of librdkafka: what every one of ours is made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from adapters.kafka.errors import refusal
from engine.errors import ConfigError
from engine.sections import KafkaConfig

__all__ = ["new_producer"]


def new_producer(config: KafkaConfig, settings: Mapping[str, Any], **more: Any) -> Producer:
    """Make a producer whose messages are kept by all replicas, once each and in order.

    Args:
        config: the cluster.
        settings: of librdkafka; they win over ``kafka.options``.
        more: further arguments of the client, such as ``logger``.

    Raises:
        ConfigError: ``kafka.options`` are refused.
    """
    given = {
        "bootstrap.servers": config.bootstrap_servers,
        "linger.ms": 5,
        "socket.keepalive.enable": True,
        **config.options,
        **settings,
        "acks": "all",
        "enable.idempotence": True,
    }
    try:
        return Producer(given, **more)
    except (KafkaException, TypeError, ValueError) as error:
        raise ConfigError(f"kafka.options: {refusal(error)}") from error
