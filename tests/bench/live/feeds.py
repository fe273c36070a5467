"""How fast messages of real brokers reach a strategy, beside the bare client in the same run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import Consumer, Producer, TopicPartition

from engine import Bar, Strategy
from engine.config import load_config
from engine.domain.market_wire import render
from engine.session import run_session
from tests.feeds.kafka import ApacheKafka
from tests.feeds.servers import RedisServer

SECOND = 10**9
BEGIN = 1_704_067_200 * SECOND
CHANNEL = "market_data:AAA"
TOPIC = "bench"
# The server itself publishes what a list holds: no publisher competes for the processor.
PUBLISH = """
local from = 0
while true do
    local page = redis.call('LRANGE', KEYS[1], from, from + 999)
    if #page == 0 then return from end
    for _, message in ipairs(page) do redis.call('PUBLISH', KEYS[2], message) end
    from = from + #page
end"""
END = '{"action":"unsubscribe","symbol":"AAA","type":"stock"}'


WATCHES: list[Callable[[int], None]] = []
"""Called with the number of bars seen, now and then."""


class Counting(Strategy):
    """Counts bars, and notes when the first and the last came."""

    seen = 0
    first = last = 0.0

    def on_bar(self, bar: Bar) -> None:
        cls = type(self)
        cls.last = time.perf_counter()
        if not cls.seen:
            cls.first = cls.last
        cls.seen += 1
        if not cls.seen & 0xFFF:
            for watch in WATCHES:
                watch(cls.seen)


def messages(count: int) -> Iterator[bytes]:
    """Give so many bars of a second each, as they are published."""
    for number in range(count):
        ts, px = BEGIN + number * SECOND, 10_000 + number % 50
        yield render(
            Bar("AAA", 0, ts, ts + SECOND, px, px + 5, px - 5, px, 100, 100, 1), number + 1
        )


def settings(database: str, name: str, broker: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of a run over a broker."""
    return {
        "data.symbols": ["AAA"], "store.url": database, "store.timeout": 30, "run.name": name,
        "report.html": False, **broker,
    }  # fmt: skip


def listen(database: str, name: str, broker: dict[str, Any]) -> float:
    """Run the engine until the feed ends; give the messages a second that it handled."""
    Counting.seen = 0
    run_session(load_config("paper", settings=settings(database, name, broker)), Counting)
    return (Counting.seen - 1) / (Counting.last - Counting.first)


def fill_redis(server: RedisServer, count: int) -> None:
    """Put the messages on the server, which is to drop no listener however far behind."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        client.config_set("lua-time-limit", 0)
        client.delete("bench")
        pipeline = client.pipeline(transaction=False)
        for number, message in enumerate(messages(count)):
            pipeline.rpush("bench", message)
            if number % 2_000 == 1_999:
                pipeline.execute()
        pipeline.execute()


def publish(server: RedisServer) -> None:
    """Have the server publish them to whoever listens, and end the symbol."""
    with redis.Redis.from_url(server.url) as client:
        while not client.pubsub_numsub(CHANNEL)[0][1]:
            threading.Event().wait(0.01)
        client.eval(PUBLISH, 2, "bench", CHANNEL)
        client.publish("system:subscription_updates", END)


def bare_redis(server: RedisServer, count: int) -> float:
    """Give the messages a second of redis-py alone."""
    with redis.Redis.from_url(server.url, protocol=2) as client, client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        publisher = threading.Thread(target=publish, args=(server,))
        publisher.start()
        got, first = 0, 0.0
        for message in pubsub.listen():
            if message["type"] != "message":
                continue
            if not got:
                first = time.perf_counter()
            got += 1
            if got == count:
                break
        rate = (got - 1) / (time.perf_counter() - first)
        publisher.join()
    return rate


def engine_redis(server: RedisServer, database: str, name: str) -> float:
    """Give the messages a second of the engine over Redis."""
    publisher = threading.Thread(target=publish, args=(server,))
    publisher.start()
    rate = listen(database, name, {"feed.kind": "redis", "redis.url": server.url,
                                   "redis.timeout": 30})  # fmt: skip
    publisher.join()
    return rate


def fill_kafka(kafka: ApacheKafka, count: int) -> None:
    """Put the messages in a topic, and end the symbol."""
    kafka.create(TOPIC)
    producer = Producer({"bootstrap.servers": kafka.servers, "linger.ms": 20})
    for message in messages(count):
        while True:
            try:
                producer.produce(TOPIC, message, "AAA")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)
    producer.produce(TOPIC, None, "AAA")
    producer.flush(60)


def bare_kafka(kafka: ApacheKafka, count: int) -> float:
    """Give the messages a second of confluent-kafka alone."""
    consumer = Consumer({"bootstrap.servers": kafka.servers, "group.id": "bare"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    got, first = 0, 0.0
    while got < count:
        for message in consumer.consume(256, 1.0):
            if message.error() is None and message.value() is not None:
                got += 1
        if not first:
            first = time.perf_counter()
            begun = got
    rate = (got - begun) / (time.perf_counter() - first)
    consumer.close()
    return rate


def engine_kafka(kafka: ApacheKafka, database: str, name: str) -> float:
    """Give the messages a second of the engine over Kafka."""
    return listen(
        database, name,
        {"feed.kind": "kafka", "kafka.bootstrap_servers": kafka.servers, "kafka.start": "earliest",
         "kafka.topics.market_data": TOPIC},
    )  # fmt: skip


def resident_kb() -> int:
    """Give the memory that this process holds."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
