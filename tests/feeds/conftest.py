"""Real brokers, started once, and a fresh database for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.feeds.kafka import ApacheKafka, Kafka, MockKafka, apache, must_be_apache, why_no_apache
from tests.feeds.rig import Running
from tests.feeds.servers import RedisServer, redis_server
from tests.postgres.conftest import database, server  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_engine_left() -> Iterator[None]:
    yield
    Running.end_all()


@pytest.fixture
def redis_at(one_redis: RedisServer) -> str:
    """Give the address of a Redis server that is empty."""
    import redis

    with redis.Redis.from_url(one_redis.url) as client:
        client.flushall()
    return one_redis.url


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Give Apache Kafka; without Java that is a skip, and a failure where it has to be there."""
    missing = why_no_apache()
    if missing is not None:
        (pytest.fail if must_be_apache() else pytest.skip)(missing)
    with apache(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[MockKafka]:
    running = MockKafka()
    yield running
    running.stop()


@pytest.fixture(params=["apache", "mock"])
def kafka(request: pytest.FixtureRequest) -> Kafka:
    """Give each cluster there is."""
    found: Kafka = request.getfixturevalue(f"{request.param}_kafka")
    return found
