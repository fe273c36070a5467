"""Market data over Kafka: read once each, from where the run is, or the run says why not."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.config import load_config
from engine.errors import ConfigError, FeedError
from engine.session import run_session
from tests.feeds.kafka import ApacheKafka, Kafka, MockKafka
from tests.feeds.rig import (
    COMMON,
    COUNTS,
    KILLED,
    SMA,
    Listening,
    Running,
    backtested,
    play,
    row,
    wait_row,
)
from tests.feeds.servers import free_port
from tests.feeds.test_redis_feed import bar

POSITION = "SELECT topic, partition, next_offset FROM strategy_worker.feed_positions"
_numbers = itertools.count(1)


def new_topic(kafka: Kafka, partitions: int = 1) -> str:
    name = f"market_data_{next(_numbers)}"
    kafka.create(name, partitions)
    return name


def broker(kafka: Kafka, topic: str, **settings: Any) -> dict[str, Any]:
    return {
        "feed.kind": "kafka",
        "kafka.bootstrap_servers": kafka.servers,
        "kafka.topics.market_data": topic,
        "kafka.start": "earliest",
        "kafka.timeout": 20,
        **settings,
    }


def send(kafka: Kafka, topic: str, *messages: tuple[str | None, bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": kafka.servers})
    for key, content in messages:
        producer.produce(topic, content, key)
    assert producer.flush(20) == 0


ENDS: list[tuple[str | None, bytes | None]] = [(symbol, None) for symbol in COMMON["data.symbols"]]


@pytest.mark.req("D10")
@pytest.mark.req("P33")
def test_a_run_over_kafka_makes_the_events_of_the_backtest(database: str, kafka: Kafka) -> None:
    expected, topic = backtested(), new_topic(kafka)
    published = play(broker(kafka, topic))
    result = Listening(database, broker(kafka, topic)).wait()
    assert result.run_hash == expected.run_hash
    assert result.statistics == expected.statistics
    assert row(database, COUNTS) == (published, published, 0, 0)
    # The last tombstone is not about what was read, so it does not matter whether it counts.
    assert row(database, POSITION) == (topic, 0, published + 3)


@pytest.mark.req("R182")
@pytest.mark.req("P2")
@pytest.mark.req("P21")
def test_a_run_goes_on_at_the_message_it_was_left_at(database: str, kafka: Kafka) -> None:
    topic = new_topic(kafka)
    run = Running(database, broker(kafka, topic))
    send(kafka, topic, ("IBM", bar(1)), ("IBM", bar(2)))
    wait_row(database, COUNTS, lambda counts: counts[1] == 2)
    run.stop()
    assert row(database, POSITION) == (topic, 0, 2)
    send(kafka, topic, ("IBM", bar(2)), ("IBM", bar(3)), *ENDS)
    result = Listening(database, broker(kafka, topic)).wait()
    assert result.summary["bars"] == 3
    assert row(database, COUNTS) == (4, 3, 1, 0)


@pytest.mark.req("P25")
def test_a_poison_message_at_the_head_blocks_nothing(database: str, kafka: Kafka) -> None:
    topic = new_topic(kafka)
    send(kafka, topic, (None, b"\0poison"), ("IBM", bar(1)), ("X", bar(1, "X")), *ENDS)
    assert Listening(database, broker(kafka, topic)).wait().summary["bars"] == 1
    assert row(database, COUNTS) == (2, 1, 0, 1)
    dead = "SELECT topic, partition, record_offset, code FROM strategy_worker.dead_letters"
    assert row(database, dead) == (topic, 0, 0, "NOT_JSON")


def test_a_new_run_begins_with_what_comes(database: str, kafka: Kafka) -> None:
    topic = new_topic(kafka)
    send(kafka, topic, ("IBM", bar(1)))
    run = Listening(database, broker(kafka, topic, **{"kafka.start": "latest"}))
    wait_row(database, POSITION, lambda position: position[2] == 1)
    send(kafka, topic, ("IBM", bar(2)), *ENDS)
    assert run.wait().summary["bars"] == 1


def test_every_partition_is_read(database: str, kafka: Kafka) -> None:
    topic = new_topic(kafka, partitions=3)
    producer = Producer({"bootstrap.servers": kafka.servers})
    for partition, symbol in enumerate(COMMON["data.symbols"]):
        producer.produce(topic, bar(1, symbol), symbol, partition)
        producer.produce(topic, None, symbol, partition)
    producer.flush(20)
    assert Listening(database, broker(kafka, topic)).wait().summary["bars"] == 3


@pytest.mark.req("P25")
def test_messages_that_are_gone_are_never_passed_over_silently(
    database: str, apache_kafka: ApacheKafka
) -> None:
    topic = new_topic(apache_kafka)
    settings = broker(apache_kafka, topic)
    run = Running(database, settings)
    send(apache_kafka, topic, ("IBM", bar(1)))
    wait_row(database, COUNTS, lambda counts: counts[1] == 1)
    run.stop()
    send(apache_kafka, topic, ("IBM", bar(2)), ("IBM", bar(3)), ("IBM", bar(4)), *ENDS)
    client = AdminClient({"bootstrap.servers": apache_kafka.servers})
    for done in client.delete_records([TopicPartition(topic, 0, 3)]).values():
        done.result(20)
    with pytest.raises(ConfigError, match=r"holds messages 3 to 6, and the run stands at 1"):
        Listening(database, settings).wait()
    skipping = Listening(database, settings, **{"kafka.on_lost": "skip"})
    result = skipping.wait()
    assert result.risk_events["event_type"].to_list() == ["MESSAGES_LOST", "FEED_BACK"]
    assert result.summary["bars"] == 2


@pytest.mark.req("P25")
def test_a_topic_that_has_begun_anew_ends_the_run(database: str, apache_kafka: ApacheKafka) -> None:
    topic = new_topic(apache_kafka)
    settings = broker(apache_kafka, topic)
    run = Running(database, settings)
    send(apache_kafka, topic, ("IBM", bar(1)), ("IBM", bar(2)))
    wait_row(database, COUNTS, lambda counts: counts[1] == 2)
    run.stop()
    apache_kafka.delete(topic)
    apache_kafka.create(topic)
    with pytest.raises(ConfigError, match=r"and the run stands at 2: what was between is gone"):
        Listening(database, settings).wait()


@pytest.mark.req("P23")
@pytest.mark.req("P24")
def test_a_cluster_that_is_gone_is_noticed_and_read_from_again(database: str) -> None:
    kafka = MockKafka()
    try:
        topic = new_topic(kafka)
        run = Listening(database, broker(kafka, topic, **{"kafka.timeout": 1.0}))
        send(kafka, topic, ("IBM", bar(1)))
        wait_row(database, COUNTS, lambda counts: counts[1] == 1)
        kafka.down()
        assert run.wait_alarm("FEED_DOWN").symbol == "IBM"
        kafka.up()
        send(kafka, topic, ("IBM", bar(2)), *ENDS)
        result = run.wait()
    finally:
        kafka.stop()
    assert result.risk_events["event_type"].to_list() == ["FEED_DOWN", "FEED_BACK"]
    assert row(database, COUNTS) == (2, 2, 0, 0)


def test_no_cluster_and_no_topic_are_one_message_each(database: str, mock_kafka: MockKafka) -> None:
    settings = {**COMMON, "feed.kind": "kafka", "store.url": database, "kafka.timeout": 1.0}
    nobody = {**settings, "kafka.bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with pytest.raises(FeedError, match=r"Kafka does not answer at 127\.0\.0\.1:\d+: .*; is it"):
        run_session(load_config("paper", settings=nobody), SMA)


@pytest.mark.req("P2")
def test_a_message_is_handled_once_whatever_the_moment_of_a_kill(
    database: str, kafka: Kafka
) -> None:
    """Positions are in the transaction of their effects: kill -9 at each point of it, go on."""
    expected, topic = backtested(), new_topic(kafka)
    settings = broker(kafka, topic)
    published = play(settings)
    for point in ("store.before_commit:1", "store.in_transaction:1", "store.committed:1"):
        code, _, errors = Running(database, settings, crash=point).wait()
        assert code == KILLED, errors
    result = Listening(database, settings).wait()
    assert result.run_hash == expected.run_hash
    assert row(database, COUNTS) == (published, published, 0, 0)
