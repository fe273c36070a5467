"""What librdkafka says, in words."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException

__all__ = ["Silent", "refusal"]


def refusal(error: Exception) -> str:
    """Give why a client with such settings cannot be made."""
    if isinstance(error, KafkaException) and error.args:
        said = getattr(error.args[0], "str", None)
        return str(error if said is None else said())
    return str(error)


class Silent:
    """librdkafka's own log: what matters of it comes as errors."""

    def log(self, *message: Any) -> None:
        """Nothing."""
