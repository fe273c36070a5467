"""Strategies that begin and end by messages over real brokers, while the run is at work."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from engine.naming import execution_id
from engine.strategy.allocation import Allocation
from engine.strategy.base import Strategy
from tests.feeds.kafka import Kafka
from tests.feeds.rig import (
    ENGINE,
    EXAMPLES,
    KILLED,
    Listening,
    Running,
    row,
    wait_listener,
    wait_row,
)
from tests.feeds.servers import wait_until
from tests.feeds.test_kafka_feed import send as send_kafka
from tests.feeds.test_redis_feed import CONTROL, bar
from tests.feeds.test_redis_feed import broker as redis_broker
from tests.feeds.test_redis_feed import send as send_redis
from tests.postgres.test_operator import command

STRATEGY, USER = (f"{each}0e8400-e29b-41d4-a716-446655440000" for each in ("55", "66"))
# As document 001 has it, but for what is traded here and the rules of entry.
APPROVED: dict[str, Any] = {
    "type": "strategy.approved",
    "strategy_id": STRATEGY,
    "user_id": USER,
    "timestamp": "2024-01-01T00:00:00Z",
    "config": {
        "name": "Tech Growth Strategy",
        "type": "MOMENTUM",
        "symbols": ["IBM"],
        "allocation": {"IBM": 0.25},
        "initial_capital": 100000.00,
    },
}
RUN: dict[str, Any] = {
    "run.name": "worker",
    "data.symbols": ["AAPL", "IBM"],
    "data.adjust": False,
    "data.price_decimals": 2,
    "costs.commission_bps": 0,
    "publish.kind": "none",
}
_numbers = itertools.count(1)


class Once(Strategy):
    """Buys a quarter of 10,000 once, on the symbol that it has."""

    def on_bar(self, bar: Any) -> None:
        if not self.position(bar.symbol) and not self.orders:
            self.buy(bar.symbol, int(2_500 / bar.close))


def approve(**changes: Any) -> bytes:
    return json.dumps({**APPROVED, **changes}).encode()


def kafka_run(kafka: Kafka, **settings: Any) -> tuple[dict[str, Any], str, str]:
    """Make topics of market data and approvals; give settings and the names of both."""
    number = next(_numbers)
    market, approved = f"bars_{number}", f"approved_{number}"
    kafka.create(market, 1)
    kafka.create(approved, 1)
    broker = {
        **RUN,
        "feed.kind": "kafka",
        "run.executions": "kafka",
        "kafka.bootstrap_servers": kafka.servers,
        "kafka.topics.market_data": market,
        "kafka.topics.approved": approved,
        "kafka.start": "earliest",
        "kafka.timeout": 20,
        **settings,
    }
    return broker, market, approved


def executions(database: str) -> list[dict[str, Any]]:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT * FROM strategy_worker.strategy_executions ORDER BY created_at"
        ).fetchall()


COUNT = "SELECT count(*) FROM strategy_worker.strategy_executions WHERE status = 'active'"
HELD = "SELECT (positions -> 'IBM' ->> 'quantity')::int FROM strategy_worker.strategy_executions"
ENDS: list[tuple[str | None, bytes | None]] = [("AAPL", None), ("IBM", None)]


def one_that_holds(database: str, kafka: Kafka) -> tuple[Listening, str, str]:
    """Give a run whose approved strategy has bought; and the topics of market and approvals."""
    broker, market, approved = kafka_run(kafka)
    run = Listening(database, broker, Allocation)
    send_kafka(kafka, approved, (STRATEGY, approve()))
    send_kafka(kafka, market, ("IBM", bar(1)))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    send_kafka(kafka, market, ("IBM", bar(2)), ("IBM", bar(3)))
    wait_row(database, HELD, lambda found: found[0] == 250)
    return run, market, approved


@pytest.mark.req("R48", "R50", "R57", "R58", "R83", "R84", "R99", "R100", "R213")
def test_an_approved_strategy_begins_trades_and_ends_with_the_run(
    database: str, kafka: Kafka
) -> None:
    run, market, approved = one_that_holds(database, kafka)
    send_kafka(kafka, market, *ENDS)
    result = run.wait()
    assert result.summary["orders"] == 1
    (execution,) = executions(database)
    assert (execution["strategy_id"], execution["user_id"]) == (STRATEGY, USER)
    assert str(execution["execution_id"]) == execution_id("worker", STRATEGY, "1704067200000000000")
    assert execution["status"] == "completed"
    assert execution["config"] == APPROVED["config"]
    assert execution["positions"]["IBM"]["quantity"] == "250"
    assert row(
        database,
        "SELECT next_offset FROM strategy_worker.feed_positions WHERE topic = %s",
        approved,
    ) == (1,)


@pytest.mark.req("D15", "R104", "R56")
def test_a_message_without_content_ends_a_strategy_and_closes_its_positions(
    database: str, kafka: Kafka
) -> None:
    run, market, approved = one_that_holds(database, kafka)
    send_kafka(kafka, approved, (STRATEGY, None))
    wait_row(
        database,
        "SELECT count(*) FROM strategy_worker.execution_orders WHERE side = 'SELL'",
        lambda found: found[0] == 1,
    )
    send_kafka(kafka, market, ("IBM", bar(4)), ("IBM", bar(5)))
    wait_row(
        database,
        "SELECT status, positions FROM strategy_worker.strategy_executions",
        lambda found: found == ("stopped", {}),
    )
    again = approve(timestamp="2024-02-01T00:00:00Z")
    send_kafka(kafka, approved, (STRATEGY, approve()), (STRATEGY, again))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    send_kafka(kafka, market, *ENDS)
    run.wait()
    assert [each["status"] for each in executions(database)] == ["stopped", "completed"]
    counts = row(database, "SELECT repeated FROM strategy_worker.feed_counts")
    assert counts == (1,), "the approval that came again"


@pytest.mark.req("R127", "D1")
def test_what_cannot_begin_is_told_and_blocks_nothing(database: str, kafka: Kafka) -> None:
    broker, market, approved = kafka_run(kafka, **{"publish.kind": "kafka"})
    for part in ("execution", "positions", "errors"):
        name = f"strategy.{part}.x{next(_numbers)}"
        kafka.create(name, 1)
        broker[f"kafka.topics.{part}"] = name
    run = Listening(database, broker, Allocation)
    elsewhere = {**APPROVED["config"], "symbols": ["MSFT"], "allocation": {"MSFT": 1}}
    send_kafka(
        kafka,
        approved,
        ("x", b"{nothing"),
        ("x", approve(type="strategy.rejected")),
        ("x", approve(strategy_id=7, config=elsewhere)),
        ("8", approve(strategy_id=8)),
    )
    send_kafka(kafka, market, ("IBM", bar(1)))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    send_kafka(kafka, market, *ENDS)
    run.wait()
    assert [each["strategy_id"] for each in executions(database)] == ["8"]
    with psycopg.connect(database) as connection:
        dead = connection.execute("SELECT code FROM strategy_worker.dead_letters").fetchall()
        told = connection.execute(
            "SELECT sequence, key, content FROM strategy_worker.publications ORDER BY sequence"
        ).fetchall()
    assert dead == [("NOT_JSON",), ("WRONG_SHAPE",)]
    messages = [(key, json.loads(content)) for _, key, content in told]
    ((key, refused),) = (each for each in messages if each[1]["type"] == "strategy.errors.refused")
    assert (key, refused["strategy_id"]) == ("7", 7)
    assert refused["error"] == "MSFT is not traded here; add it to data.symbols or [instruments]"
    kind = "strategy.execution.started"
    ((key, started),) = (each for each in messages if each[1]["type"] == kind)
    assert (key, started["strategy_id"], started["user_id"]) == ("8", 8, USER)


@pytest.mark.req("D15", "R104")
def test_a_person_stops_one_strategy(database: str, redis_at: str) -> None:
    broker = {**RUN, **redis_broker(redis_at), "run.executions": "redis"}
    run = Listening(database, broker, Once)
    wait_listener(redis_at, "market_data:IBM")
    subscribe = session("subscribe", "IBM")
    with redis.Redis.from_url(redis_at) as client:
        wait_until(lambda: client.pubsub_numsub(CONTROL)[0][1] == 2, "both listeners")
    send_redis(redis_at, subscribe, ("market_data:IBM", bar(1)))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    # The first bar may have come before the session: two connections, no order between them.
    send_redis(redis_at, ("market_data:IBM", bar(2)), ("market_data:IBM", bar(3)))
    wait_row(database, HELD, lambda found: found[0] == 25)
    code, _, errors = command(database, "stop", "nobody")
    assert code == 2
    assert "'nobody' is not at work in run 'worker'; there are: Once/IBM" in errors
    code, output, _ = command(database, "stop", "Once/IBM", "--positions", "flatten")
    assert code == 0
    assert output.startswith("stop-flatten of strategy Once/IBM: run worker took it at 2")
    wait_row(
        database,
        "SELECT count(*) FROM strategy_worker.execution_orders WHERE side = 'SELL'",
        lambda found: found[0] == 1,
    )
    send_redis(redis_at, ("market_data:IBM", bar(4)))
    wait_row(
        database,
        "SELECT status, positions FROM strategy_worker.strategy_executions",
        lambda found: found == ("stopped", {}),
    )
    send_redis(redis_at, subscribe)
    wait_row(database, COUNT, lambda found: found[0] == 1)
    send_redis(redis_at, session("unsubscribe", "AAPL"), session("unsubscribe", "IBM"))
    run.wait()


@pytest.mark.req("P2", "P21", "R182", "D17")
@pytest.mark.parametrize("crash", ["", "store.in_transaction:2", "store.committed:2"])
def test_a_kill_begins_nothing_twice_and_forgets_nothing(
    database: str, kafka: Kafka, crash: str
) -> None:
    broker, market, approved = kafka_run(kafka)
    run = Running(database, broker, strategy="allocation", crash=crash)
    # Both together may hold no more of IBM than the account's limit, 30 %.
    small = {**APPROVED["config"], "allocation": {"IBM": 0.04}}
    send_kafka(kafka, approved, (STRATEGY, approve()), ("9", approve(strategy_id=9, config=small)))
    send_kafka(kafka, market, ("IBM", bar(1)))
    if crash:
        assert run.wait()[0] == KILLED
        run = Running(database, broker, strategy="allocation")
    wait_row(database, COUNT, lambda found: found[0] == 2)
    send_kafka(kafka, market, ("IBM", bar(2)), ("IBM", bar(3)))
    wait_row(
        database,
        "SELECT count(*) FROM strategy_worker.execution_fills",
        lambda found: found[0] == 2,
    )
    run.stop()
    again = Running(database, broker, strategy="allocation")
    send_kafka(kafka, approved, (STRATEGY, approve()), (STRATEGY, None))
    wait_row(
        database,
        "SELECT count(*) FROM strategy_worker.execution_orders WHERE side = 'SELL'",
        lambda found: found[0] == 1,
    )
    send_kafka(kafka, market, ("IBM", bar(4)), *ENDS)
    code, _, errors = again.wait()
    assert code == 0, errors
    found = {each["strategy_id"]: each for each in executions(database)}
    assert {name: each["status"] for name, each in found.items()} == {
        STRATEGY: "stopped",
        "9": "completed",
    }
    assert found[STRATEGY]["positions"] == {}
    assert found["9"]["positions"]["IBM"]["quantity"] == "40"
    orders = row(
        database, "SELECT count(*), count(DISTINCT order_id) FROM strategy_worker.execution_orders"
    )
    assert orders == (3, 3)


def session(action: str, symbol: str, **more: Any) -> tuple[str, bytes]:
    event = {"action": action, "symbol": symbol, "type": "stock", **more}
    return CONTROL, json.dumps(event).encode()


@pytest.mark.req("R5", "R10", "R11", "R12", "R15", "R16", "R17", "R20")
def test_sessions_begin_and_end_by_the_control_channel(database: str, redis_at: str) -> None:
    broker = {**RUN, **redis_broker(redis_at), "run.executions": "redis"}
    run = Listening(database, broker, Once)
    wait_listener(redis_at, "market_data:IBM")
    with redis.Redis.from_url(redis_at) as client:
        wait_until(lambda: client.pubsub_numsub(CONTROL)[0][1] == 2, "both listeners")
    send_redis(redis_at, session("subscribe", "IBM", strategyId="s1", sessionId="a"))
    send_redis(redis_at, session("subscribe", "IBM", strategyId=2))
    send_redis(redis_at, session("subscribe", "XYZ"))
    send_redis(redis_at, ("market_data:IBM", bar(1)), ("market_data:AAPL", bar(1, "AAPL")))
    wait_row(database, COUNT, lambda found: found[0] == 2)
    send_redis(redis_at, ("market_data:IBM", bar(2)), ("market_data:IBM", bar(3)))
    wait_row(
        database,
        "SELECT count(*) FROM strategy_worker.execution_fills",
        lambda found: found[0] == 2,
    )
    send_redis(redis_at, session("unsubscribe", "IBM", strategyId="s1"))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    send_redis(redis_at, session("unsubscribe", "AAPL"), session("unsubscribe", "IBM"))
    run.wait()
    found = {each["run_strategy_id"]: each for each in executions(database)}
    assert {name: each["status"] for name, each in found.items()} == {
        "s1/IBM": "stopped",
        "2/IBM": "stopped",
    }
    assert found["2/IBM"]["strategy_id"] == "2"
    # A session keeps what it holds (decision D15).
    assert {each["positions"]["IBM"]["quantity"] for each in found.values()} == {"25"}
    assert row(database, "SELECT code FROM strategy_worker.dead_letters") == ("WRONG_SYMBOL",)


@pytest.mark.req("D10")
def test_sessions_that_are_active_when_the_run_begins(database: str, redis_at: str) -> None:
    broker = {**RUN, **redis_broker(redis_at), "run.executions": "redis"}
    with redis.Redis.from_url(redis_at) as client:
        client.sadd("active_subscriptions:stock", "IBM", "OTHER")
    run = Listening(database, broker, Once)
    wait_listener(redis_at, "market_data:IBM")
    send_redis(redis_at, ("market_data:IBM", bar(1)))
    wait_row(database, COUNT, lambda found: found[0] == 1)
    (execution,) = executions(database)
    assert execution["run_strategy_id"] == "Once/IBM"
    send_redis(redis_at, session("unsubscribe", "AAPL"), session("unsubscribe", "IBM"))
    run.wait()


PAGE = EXAMPLES.parent.joinpath("docs", "executions.md").read_text("utf-8")


def as_documented(word: str, database: str, **settings: str) -> subprocess.Popen[str]:
    """Start the command of the page that has a word, as a user does."""
    (text,) = (each for each in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if word in each)
    command = text.replace("\\\n", " ").strip().removeprefix("engine")
    more = " ".join(f"--set {key}={value}" for key, value in settings.items())
    return subprocess.Popen(
        f"exec {ENGINE} {command} --set store.timeout=20 {more}",
        shell=True, cwd=EXAMPLES.parent, env={**os.environ, "DATABASE_URL": database},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_approvals_as_they_are_documented(database: str, kafka: Kafka) -> None:
    broker, market, approved = kafka_run(kafka)
    brokers = {key: value for key, value in broker.items() if key.startswith("kafka.")}
    run = as_documented("run.executions=kafka", database, **brokers)
    try:
        (message,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
        send_kafka(kafka, approved, ("x", message.encode()))
        send_kafka(kafka, market, ("AAPL", bar(1, "AAPL")))
        wait_row(database, COUNT, lambda found: found[0] == 1)
        (execution,) = executions(database)
        assert execution["config"] == json.loads(message)["config"]
        send_kafka(kafka, market, *((symbol, None) for symbol in ("AAPL", "MSFT", "GOOGL")))
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.communicate()


def test_sessions_as_they_are_documented(database: str, redis_at: str) -> None:
    run = as_documented("run.executions=redis", database, **{"redis.url": redis_at})
    try:
        with redis.Redis.from_url(redis_at) as client:
            wait_until(lambda: client.pubsub_numsub(CONTROL)[0][1] == 2, "both listeners")
        (message,) = re.findall(r"`(\{\"action.*?\})`", PAGE, re.DOTALL)
        send_redis(redis_at, (CONTROL, " ".join(message.split()).encode()))
        send_redis(redis_at, ("market_data:IBM", bar(1)))
        wait_row(database, COUNT, lambda found: found[0] == 1)
        assert executions(database)[0]["run_strategy_id"] == "s1/IBM"
        send_redis(redis_at, session("unsubscribe", "AAPL"), session("unsubscribe", "IBM"))
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.communicate()
