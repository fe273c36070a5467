"""Connections to Redis: each call has a deadline and is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.errors import FeedError
from engine.sections import RedisConfig

__all__ = ["active_symbols", "connect", "reaching"]

from adapters.redis.channels import ACTIVE


def connect(config: RedisConfig) -> redis.Redis:
    """Make a client; nothing is sent yet.

    The client of itself would send a command again ten times when an answer does not come, which
    makes two messages of one.
    """
    has_own = "@" in config.url or config.password is None
    return redis.Redis.from_url(
        config.url,
        **({} if has_own else {"password": config.password}),
        protocol=2,
        socket_timeout=config.timeout,
        socket_connect_timeout=config.timeout,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        client_name="tetrad",
    )


@contextmanager
def reaching(config: RedisConfig) -> Iterator[redis.Redis]:
    """Use a client, and tell a server that does not answer as what it is.

    Raises:
        FeedError: the server does not answer or refuses.
    """
    client = connect(config)
    try:
        yield client
    except redis.RedisError as error:
        raise FeedError(
            f"Redis does not answer: {error}; is it running, and is redis.url right?"
        ) from error
    finally:
        client.close()


def active_symbols(client: redis.Redis) -> list[str]:
    """Give the symbols that have a running session, in alphabetical order."""
    members: set[bytes] = set()
    for key in ACTIVE:
        members |= client.smembers(key)  # type: ignore[arg-type]  # typed for both clients
    return sorted(member.decode(errors="replace") for member in members)
