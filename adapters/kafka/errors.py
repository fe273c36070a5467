"""What librdkafka says, in words."""

from __future__ import annotations

from confluent_kafka import KafkaException

__all__ = ["refusal"]


def refusal(error: Exception) -> str:
    """Give why a client with such settings cannot be made."""
    if isinstance(error, KafkaException) and error.args:
        said = getattr(error.args[0], "str", None)
        return str(error if said is None else said())
    return str(error)
