"""What is told of a run on Kafka: all of it, in order, whatever is killed or down meanwhile."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from adapters.kafka import events
from engine.cli import main
from engine.config import load_config
from engine.domain.events import RiskEvent
from engine.domain.publications import Publication
from engine.errors import ConfigError, StrategyError
from engine.ports import Outcome
from engine.research.backtest import run_backtest
from engine.research.result import BacktestResult
from engine.sections import KafkaConfig, TopicsConfig
from engine.session import paper
from tests.feeds.kafka import ApacheKafka, Kafka, MockKafka
from tests.feeds.rig import (
    ENGINE,
    EXAMPLES,
    FILES,
    KILLED,
    SMA,
    Listening,
    Running,
    row,
    wait_row,
)
from tests.feeds.servers import free_port, wait_until

PARTS = ("execution", "positions", "errors")
WRITTEN = "SELECT sequence, topic, key, content FROM strategy_worker.publications ORDER BY sequence"
BACKLOG = "SELECT acknowledged, waiting, refused FROM strategy_worker.publication_backlog"
CURSOR = "SELECT next_sequence, failing_since, last_error FROM strategy_worker.publication_cursors"
FAIL = """
from engine import Bar, Strategy


class Falls(Strategy):
    def on_bar(self, bar: Bar) -> None:
        if bar.seq == 0:
            self.buy(bar.symbol, 20)
        if bar.seq == self.last:
            raise ValueError("x" * 100_000)

    last: int = 5
"""
# So that there is something to warn of.
RUN = {**FILES, "risk.position_warning": 0.1}
_numbers = itertools.count(1)


@cache
def run_hash() -> str:
    """Give the hash of the same run when nothing of it is told."""
    return run_backtest(load_config("backtest", settings=RUN), SMA).run_hash


def topics(kafka: Kafka, partitions: int = 1) -> dict[str, str]:
    """Make a topic of each part, with a name of its own; give the settings that name them."""
    number = next(_numbers)
    names = {f"kafka.topics.{part}": f"strategy.{part}.{number}" for part in PARTS}
    for name in names.values():
        kafka.create(name, partitions)
    return names


def publishing(kafka: Kafka, names: dict[str, str], **settings: Any) -> dict[str, Any]:
    return {
        **RUN, "publish.kind": "kafka", "kafka.bootstrap_servers": kafka.servers, **names,
        **settings,
    }  # fmt: skip


def heard(kafka: Kafka, names: dict[str, str]) -> dict[str, list[Message]]:
    """Read all there is on each topic, by part."""
    consumer = Consumer({"bootstrap.servers": kafka.servers, "group.id": "tests"})
    try:
        return {part: read(consumer, names[f"kafka.topics.{part}"]) for part in PARTS}
    finally:
        consumer.close()


def read(consumer: Consumer, topic: str) -> list[Message]:
    found: list[Message] = []
    for partition in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 20, cached=False)
        consumer.assign([TopicPartition(topic, partition, 0)])
        first = len(found)
        while len(found) - first < end:
            message = consumer.poll(20)
            assert message is not None, f"{topic} ended at {len(found)} of {end}"
            assert message.error() is None, message.error()
            found.append(message)
    return found


def number_of(message: Message) -> int:
    headers = dict(message.headers() or [])
    return int(headers["id"].rsplit(b"/", 1)[1])


def once(messages: list[Message]) -> list[tuple[int, str, str]]:
    """Drop the repeats as a consumer does, by their ids; the rest is in order or the test fails."""
    seen: dict[int, tuple[int, str, str]] = {}
    for message in messages:
        number = number_of(message)
        told = number, message.key().decode(), message.value().decode()
        assert seen.setdefault(number, told) == told, "one id, two messages"
    assert list(seen) == sorted(seen), "out of order"
    return list(seen.values())


def written(database: str) -> dict[str, list[tuple[int, str, str]]]:
    with psycopg.connect(database) as connection:
        rows = connection.execute(WRITTEN).fetchall()
    assert [number for number, *_ in rows] == list(range(len(rows)))
    return {part: [(n, key, text) for n, topic, key, text in rows if topic == part]
            for part in PARTS}  # fmt: skip


def require_all(database: str, kafka: Kafka, names: dict[str, str]) -> int:
    """Hold what was heard against what was written; give how many messages were repeats."""
    found = heard(kafka, names)
    expected = written(database)
    assert {part: once(messages) for part, messages in found.items()} == expected
    total = sum(map(len, expected.values()))
    assert row(database, BACKLOG) == (total, 0, 0)
    return sum(map(len, found.values())) - total


def require_true(database: str, result: BacktestResult) -> None:
    """Hold what was written against the result of the run and its tables."""
    told = {part: [json.loads(text) for _, _, text in lines]
            for part, lines in written(database).items()}  # fmt: skip
    execution = told["execution"]
    assert [execution[0]["type"], execution[-1]["type"]] == [
        "strategy.execution.started", "strategy.execution.completed",
    ]  # fmt: skip
    fills = result.fills.select("exec_id", "order_id", "side", "quantity", "price").to_dicts()
    moved = [line["fill"] for line in told["positions"]]
    assert [{key: line[key] for key in fills[0]} for line in moved] == fills
    last = {line["order_id"]: line for line in execution if "order_id" in line}
    with psycopg.connect(database) as connection:
        orders = connection.execute(
            "SELECT order_id, status, inner_status, filled_quantity::float8 "
            "FROM strategy_worker.execution_orders"
        ).fetchall()
        risks = connection.execute(
            "SELECT event_type, severity, description FROM strategy_worker.risk_events "
            "ORDER BY event_id"
        ).fetchall()
    assert len(orders) == result.summary["orders"] == len(last)
    for order_id, *values in orders:
        line = last[order_id]
        assert [line["status"], line["inner_status"], line["filled_quantity"]] == values
    said = [(line["event_type"], line["severity"], line["description"])
            for line in told["errors"]]  # fmt: skip
    assert said == risks
    assert any(severity == "WARNING" for _, severity, _ in said)


@pytest.mark.req("D10")
@pytest.mark.req("R71")
def test_all_of_a_run_is_told_and_the_run_is_the_same(database: str, kafka: Kafka) -> None:
    names = topics(kafka)
    result = Listening(database, publishing(kafka, names)).wait()
    assert result.run_hash == run_hash()
    assert require_all(database, kafka, names) == 0
    require_true(database, result)
    assert result.summary["fills"] > 10


@pytest.mark.req("R87")
def test_a_start_is_told_with_its_orders(tmp_path: Path, database: str, kafka: Kafka) -> None:
    names, falls = topics(kafka), tmp_path / "falls.py"
    falls.write_text(FAIL)
    settings = publishing(
        kafka, names, **{"strategy.last": 9_999, "store.url": database, "publish.user_id": "u-7"}
    )
    data = settings.pop("data.paths")
    result = paper(str(falls), data, settings=settings)
    told = json.loads(once(heard(kafka, names)["execution"])[0][2])
    execution = row(database, "SELECT execution_id::text FROM strategy_worker.strategy_executions")
    assert execution == (told["execution_id"],)
    assert told["strategy_id"] == "Falls"
    assert told["user_id"] == "u-7"
    orders = result.orders.head(3).select("symbol", "side", "quantity").to_dicts()
    kept = ("symbol", "side", "quantity")
    assert [{key: each[key] for key in kept} for each in told["initial_orders"]] == orders
    closes = {bar["symbol"]: bar["close"] for bar in first_bars(result)}
    for each in told["initial_orders"]:
        assert each["price"] == pytest.approx(closes[each["symbol"]], abs=1e-9)
        assert each["value"] == pytest.approx(20 * each["price"], rel=1e-12)


def first_bars(result: BacktestResult) -> list[dict[str, Any]]:
    return [
        {"symbol": each.symbol, "close": result.data.columns(each.symbol)["close"][0]}
        for each in result.data.instruments
    ]


@pytest.mark.parametrize(
    "crash",
    ["store.in_transaction:2", "store.committed:2", "publication.sent:1",
     "publication.acknowledged:1", "session.completed:1"],
)  # fmt: skip
@pytest.mark.req("P2")
def test_a_kill_between_commit_and_acknowledgement_loses_nothing(
    database: str, kafka: Kafka, crash: str
) -> None:
    names = topics(kafka)
    settings = publishing(kafka, names)
    slow = {"feed.speed": 100_000_000}  # or everything might be in the first commit
    code, _, errors = Running(database, settings, crash=crash, **slow).wait()
    assert code == KILLED, errors
    result = Listening(database, settings).wait()
    assert result.run_hash == run_hash()
    repeats = require_all(database, kafka, names)
    require_true(database, result)
    if crash == "publication.acknowledged:1":
        assert repeats > 0


@pytest.mark.req("P24")
def test_a_cluster_that_is_down_holds_up_nothing(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = MockKafka()
    try:
        names = topics(kafka)
        kafka.down()
        settings = publishing(kafka, names, **{"kafka.timeout": 0.3, "publish.wait": 1.5})
        run = Listening(database, settings)
        result = run.wait()
        assert result.run_hash == run_hash()
        assert [each.event_type for each in run.alarms if "PUBLISH" in each.event_type] == [
            "PUBLISH_DOWN", "PUBLISH_LEFT",
        ]  # fmt: skip
        acknowledged, since, error = row(database, CURSOR) or ()
        assert acknowledged == 0
        assert since is not None
        assert error
        assert backlog(database, capsys)[0].startswith("SmaCross to kafka: 0 acknowledged, ")
        kafka.up()
        again = Listening(database, settings)  # complete: it only sends what is left
        assert again.wait().run_hash == result.run_hash
        require_all(database, kafka, names)
        assert (row(database, CURSOR) or ())[1:] == (None, None)
        assert "0 waiting" in backlog(database, capsys)[0]
    finally:
        kafka.stop()


def backlog(database: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main(["db", "backlog", "--set", f"store.url={database}"])
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


REFUSALS = {
    "no leader": KafkaError.NOT_LEADER_FOR_PARTITION,
    "timed out": KafkaError.REQUEST_TIMED_OUT,
    "too few replicas": KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    "lost count": KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    "fenced": KafkaError.INVALID_PRODUCER_EPOCH,
    "too large": KafkaError.MSG_SIZE_TOO_LARGE,
    "not allowed": KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


@pytest.mark.parametrize("why", REFUSALS)
def test_refusals_that_pass_cost_neither_a_message_nor_the_order(database: str, why: str) -> None:
    kafka = MockKafka()
    try:
        names = topics(kafka)
        kafka.refuse_next(REFUSALS[why], 0, REFUSALS[why])
        Listening(database, publishing(kafka, names, **{"publish.wait": 60})).wait()
        require_all(database, kafka, names)
    finally:
        kafka.stop()


def test_a_full_queue_lets_none_overtake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_MESSAGES", 3)
    kafka = MockKafka()
    try:
        names = topics(kafka)
        kafka.down()
        topic = TopicsConfig(execution=names["kafka.topics.execution"])
        config = KafkaConfig(bootstrap_servers=kafka.servers, topics=topic)
        publisher = events.KafkaEventPublisher(config, run_name="r")
        publisher.send([Publication(number, "execution", "k", "{}") for number in range(6)])
        full = {each.sequence: each for each in publisher.outcomes(0.1)}
        assert set(full) == {3, 4, 5}
        assert {(each.error, each.never) for each in full.values()} == {
            ("the queue of the client is full", False)
        }
        kafka.up()
        sent: list[Outcome] = []
        wait_until(lambda: sent.extend(publisher.outcomes(0.1)) or len(sent) == 3, "three answers")
        assert sent == [Outcome(0), Outcome(1), Outcome(2)]
        publisher.close()
        publisher.close()
        assert [number_of(each) for each in heard(kafka, names)["execution"]] == [0, 1, 2]
    finally:
        kafka.stop()


def test_nobody_publishes_where_nothing_is_told(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Listening(database, RUN).wait()
    assert written(database) == {part: [] for part in PARTS}
    assert backlog(database, capsys) == ["no run publishes anything"]


@pytest.mark.req("P23")
def test_a_cluster_that_goes_and_comes_back_misses_nothing(database: str) -> None:
    kafka = MockKafka()
    try:
        names = topics(kafka)
        settings = publishing(kafka, names, **{"kafka.timeout": 0.3, "publish.wait": 60})
        run = Listening(database, settings, **{"feed.speed": 10_000_000})
        wait_row(database, BACKLOG, lambda found: found[0] > 5)
        kafka.down()
        assert run.wait_alarm("PUBLISH_DOWN").severity == "WARNING"
        kafka.up()
        run.wait_alarm("PUBLISH_BACK")
        run.wait()
        require_all(database, kafka, names)
    finally:
        kafka.stop()


def test_a_run_that_began_in_silence_is_told_from_its_beginning(
    database: str, kafka: Kafka
) -> None:
    names = topics(kafka)
    silent = Running(database, RUN, **{"feed.speed": 20_000_000})
    wait_row(database, "SELECT count(*) FROM strategy_worker.execution_fills", lambda n: n[0] > 5)
    silent.stop()
    result = Listening(database, publishing(kafka, names)).wait()
    require_all(database, kafka, names)
    require_true(database, result)


def test_a_topic_that_is_not_there_is_told_and_waited_for(
    database: str, apache_kafka: ApacheKafka
) -> None:
    names = {f"kafka.topics.{part}": f"late.{part}" for part in PARTS}
    for part in ("execution", "errors"):
        apache_kafka.create(f"late.{part}")
    options = {"kafka.options": {"topic.metadata.propagation.max.ms": 300,
                                 "topic.metadata.refresh.interval.ms": 300}}  # fmt: skip
    settings = publishing(apache_kafka, names, **options, **{"publish.wait": 60})
    run = Listening(database, settings)
    assert "Unknown topic" in run.wait_alarm("PUBLISH_DOWN").description
    waits = wait_row(database, CURSOR, lambda found: found[1] is not None)
    assert "Unknown topic" in waits[2]
    apache_kafka.create("late.positions")
    run.wait()
    require_all(database, apache_kafka, names)


def limited(kafka: ApacheKafka, topic: str, largest: int) -> None:
    client = AdminClient({"bootstrap.servers": kafka.servers})
    new = NewTopic(topic, 1, 1, config={"max.message.bytes": str(largest)})
    client.create_topics([new], operation_timeout=20)[topic].result(20)


def fails(
    folder: Path, database: str, settings: dict[str, Any]
) -> tuple[list[RiskEvent], dict[str, list[tuple[int, str, str]]]]:
    """Run a strategy that raises with a very long text; give the alarms and what was written."""
    falls, alarms = folder / "falls.py", []
    falls.write_text(FAIL)
    given = {**settings, "store.url": database}
    data = given.pop("data.paths")
    with pytest.raises(StrategyError):
        paper(str(falls), data, settings=given, alarm=alarms.append)
    return alarms, written(database)


def test_a_strategy_that_fails_is_told_whatever_it_says(
    tmp_path: Path, database: str, kafka: Kafka
) -> None:
    names = topics(kafka)
    _, lines = fails(tmp_path, database, publishing(kafka, names))
    require_all(database, kafka, names)
    error = json.loads(lines["errors"][-1][2])
    assert error["type"] == "strategy.errors.strategy"
    assert len(error["error"]) < 5_000
    assert json.loads(lines["execution"][-1][2])["status"] == "error"


@pytest.mark.parametrize("where", ["broker", "client"])
def test_a_message_that_is_refused_for_good_blocks_no_other(
    tmp_path: Path, database: str, apache_kafka: ApacheKafka, where: str
) -> None:
    number = next(_numbers)
    names = {f"kafka.topics.{part}": f"small.{part}.{number}" for part in PARTS}
    for part in PARTS:
        limited(apache_kafka, names[f"kafka.topics.{part}"], 2_000 if where == "broker" else 10**6)
    options = {"kafka.options": {"message.max.bytes": 2_000}} if where == "client" else {}
    settings = publishing(apache_kafka, names, **options)
    alarms, lines = fails(tmp_path, database, settings)
    refused = [each for each in alarms if each.event_type == "PUBLISH_REFUSED"]
    assert len(refused) == 1
    number, _, _ = lines["errors"].pop()
    found = heard(apache_kafka, names)
    assert {part: once(messages) for part, messages in found.items()} == lines
    assert row(database, "SELECT sequence FROM strategy_worker.publications_refused") == (number,)
    assert (row(database, BACKLOG) or ())[1:] == (0, 1)


def test_settings_of_the_producer_are_looked_at_before_the_run(
    database: str, mock_kafka: MockKafka
) -> None:
    settings = publishing(mock_kafka, {}, **{"kafka.options": {"colour": "red"}})
    with pytest.raises(ConfigError, match=r"kafka\.options: No such configuration property"):
        Listening(database, settings).wait()
    # Idempotence cannot be turned off, or these would be taken.
    risky = {"enable.idempotence": False, "acks": 1, "max.in.flight": 100}
    with pytest.raises(ConfigError, match=r"kafka\.options: .*max\.in\.flight.*idempotence"):
        Listening(database, settings, **{"kafka.options": risky}).wait()
    with pytest.raises(ConfigError, match=r"publish\.kind = 'fax': one of none, kafka"):
        Listening(database, settings, **{"publish.kind": "fax"})
    with pytest.raises(ConfigError, match=r"kafka\.topics\.errors = '': write text that matches"):
        Listening(database, settings, **{"kafka.topics.errors": ""})


def test_a_stop_does_not_wait_for_a_cluster_that_never_was(database: str) -> None:
    nobody = {**RUN, "publish.kind": "kafka",
              "kafka.bootstrap_servers": f"127.0.0.1:{free_port()}"}  # fmt: skip
    run = Running(database, nobody, **{"feed.speed": 10_000_000})
    wait_row(database, BACKLOG, lambda found: found[1] > 3)
    began = time.monotonic()
    run.stop()
    assert time.monotonic() - began < 8


def test_the_command_of_the_page_publishes(
    tmp_path: Path, database: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = topics(kafka)
    page = (EXAMPLES.parent / "docs" / "topics.md").read_text()
    (command,) = re.findall(r"```sh\n(engine run .*?)\n```", page, re.DOTALL)
    for key, value in {**names, "kafka.bootstrap_servers": kafka.servers}.items():
        command += f" --set {key}={value}"
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("PATH", f"{ENGINE.parent}:/usr/bin:/bin")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, timeout=60)
    require_all(database, kafka, names)
    assert len(written(database)["positions"]) > 10
