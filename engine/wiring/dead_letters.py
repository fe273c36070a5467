"""Messages that could not be used: read them, send them again."""

from __future__ import annotations

from adapters.postgres.dead_letters import DeadLetterRow, DeadLetters
from engine.config import Config
from engine.errors import ConfigError
from engine.wiring.feeds import open_publisher
from engine.wiring.session import reach_database

__all__ = ["DeadLetterRow", "read_dead_letters", "retry_dead_letter"]


def read_dead_letters(
    config: Config, *, run: str | None, number: int | None, limit: int
) -> list[DeadLetterRow]:
    """Give dead letters of a profile's database, the latest first; see ``adapters.postgres``."""
    with reach_database(config.store) as conninfo:
        letters = DeadLetters(conninfo, timeout_s=config.store.timeout)
        return letters.find(run=run, number=number, limit=limit)


def retry_dead_letter(config: Config, number: int) -> DeadLetterRow:
    """Publish a dead letter again where it came from, and note it.

    Raises:
        ConfigError: there is none of that number, or not all of it was kept.
        FeedError: the broker does not answer.
        StoreError: the database does not answer.
    """
    with reach_database(config.store) as conninfo:
        letters = DeadLetters(conninfo, timeout_s=config.store.timeout)
        found = letters.find(run=None, number=number, limit=1)
        if not found:
            raise ConfigError(f"there is no dead letter {number}; engine dead-letters list")
        letter = found[0]
        if letter.size > len(letter.content):
            raise ConfigError(
                f"dead letter {number} was too large to be kept whole "
                f"({len(letter.content):,} of {letter.size:,} bytes): it cannot be sent again"
            )
        publisher = open_publisher(config)
        try:
            publisher.send(letter.topic, letter.content)
        finally:
            publisher.close()
        letters.mark_retried(number)
        return letter
