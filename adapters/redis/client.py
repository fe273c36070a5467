"""Connections to Redis: each call has a deadline and is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.redis.channels import ACTIVE
from adapters.redis.tls import tls_fault
from engine.errors import ConfigError, FeedError
from engine.sections import RedisConfig

__all__ = ["active_symbols", "connect", "gone", "reaching"]


def connect(config: RedisConfig) -> redis.Redis:
    """Make a client; nothing is sent yet.

    The client of itself would send a command again ten times when an answer does not come, which
    makes two messages of one.

    Raises:
        ConfigError: what stands behind the ``?`` of ``redis.url`` is refused.
    """
    has_own = "@" in config.url or config.password is None
    # A socket of this machine is not kept alive, and the client does not even take the word.
    is_socket = config.url.startswith("unix:")
    try:
        client = redis.Redis.from_url(
            config.url,
            **({} if has_own else {"password": config.password}),
            **({} if is_socket else {"socket_keepalive": True}),
            protocol=2,
            socket_timeout=config.timeout,
            socket_connect_timeout=config.timeout,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            client_name="tetrad",
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # looks at its words, and connects later
    except (redis.RedisError, ValueError, TypeError) as error:
        words = str(error).rpartition("__init__() ")[2].rstrip(".")
        raise ConfigError(
            f"redis.url (REDIS_URL): what stands behind its ? is refused: {words}; leave it out"
        ) from None
    return client


@contextmanager
def reaching(config: RedisConfig) -> Iterator[redis.Redis]:
    """Use a client, and tell a server that does not answer as what it is.

    Raises:
        ConfigError: encryption fails.
        FeedError: the server does not answer or refuses.
    """
    client = connect(config)
    try:
        yield client
    except redis.RedisError as error:
        raise gone(config, error) from error
    finally:
        client.close()


def gone(config: RedisConfig, error: redis.RedisError) -> ConfigError | FeedError:
    """Give what is to be raised for a server that does not answer.

    That encryption fails is no matter of waiting.
    """
    fault = tls_fault(config, error)
    if fault is not None:
        return ConfigError(f"Redis at redis.url: {fault[0]}; {fault[1]}")
    return FeedError(f"Redis does not answer: {error}; is it running, and is redis.url right?")


def active_symbols(client: redis.Redis) -> list[str]:
    """Give the symbols that have a running session, in alphabetical order."""
    members: set[bytes] = set()
    for key in ACTIVE:
        members |= client.smembers(key)  # type: ignore[arg-type]  # typed for both clients
    return sorted(member.decode(errors="replace") for member in members)
