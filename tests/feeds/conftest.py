"""Real brokers, started once, and a fresh database for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.feeds.servers import RedisServer, redis_server
from tests.postgres.conftest import database, server  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_at(one_redis: RedisServer) -> str:
    """Give the address of a Redis server that is empty."""
    import redis

    with redis.Redis.from_url(one_redis.url) as client:
        client.flushall()
    return one_redis.url
