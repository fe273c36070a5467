"""Settings of feeds, each seen at work on a real broker."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import load_config
from engine.errors import ConfigError
from engine.session import run_session
from engine.wiring.feeds import feed_instruments
from tests.feeds.kafka import Kafka, MockKafka
from tests.feeds.rig import (
    COMMON,
    COUNTS,
    ENGINE,
    EXAMPLES,
    SMA,
    Listening,
    play,
    row,
    wait_listener,
    wait_row,
)
from tests.feeds.test_redis_feed import CONTROL, bar, broker, end, send

DEAD = "SELECT array_agg(code ORDER BY dead_letter_id) FROM strategy_worker.dead_letters"


def trade(symbol: str, ns: int, **more: Any) -> bytes:
    fields = {
        "symbol": symbol,
        "price": "10.5",
        "size": 3,
        "timestamp": ns,
        "tickType": "+",
        **more,
    }
    return msgspec.json.encode(fields)


@pytest.mark.req("R34")
@pytest.mark.req("P23")
def test_on_the_wall_clock_the_future_is_refused_and_silence_is_told(
    database: str, redis_at: str
) -> None:
    settings = broker(redis_at, **{"feed.time": "wall", "feed.events": "trade"})
    run = Listening(database, settings, **{"feed.silent_after": 0.4, "feed.ahead_max": 3600})
    wait_listener(redis_at, CONTROL)
    now = time.time_ns()
    channel = "market_trades:IBM"
    send(redis_at, (channel, trade("IBM", now)), (channel, trade("IBM", now + 7_200 * 10**9)))
    assert run.wait_alarm("FEED_SILENT").symbol == "IBM"
    send(redis_at, (channel, trade("IBM", time.time_ns())), *end("AAPL", "GOOG", "IBM"))
    result = run.wait()
    assert row(database, COUNTS) == (3, 2, 0, 1)
    assert row(database, DEAD) == (["IN_THE_FUTURE"],)
    assert result.data.kind == "trade"


def test_quotes_have_channels_of_their_own(database: str, redis_at: str) -> None:
    run = Listening(database, broker(redis_at, **{"feed.events": "quote"}))
    wait_listener(redis_at, CONTROL)
    quote = b'{"symbol":"IBM","bid":1,"ask":2,"bidSize":3,"askSize":4,"timestamp":1700000000}'
    send(redis_at, ("market_quotes:IBM", quote), *end("AAPL", "GOOG", "IBM"))
    assert run.wait().data.kind == "quote"


def test_fields_nobody_knows_and_long_messages(database: str, redis_at: str) -> None:
    lenient = {"feed.unknown_fields": "ignore", "feed.message_max": 200}
    run = Listening(database, broker(redis_at, **lenient))
    wait_listener(redis_at, CONTROL)
    send(redis_at, ("market_data:IBM", bar(1, more=1)), ("market_data:IBM", bar(2, more="x" * 99)))
    send(redis_at, *end("AAPL", "GOOG", "IBM"))
    run.wait()
    assert row(database, DEAD) == (["TOO_LARGE"],)
    assert row(database, COUNTS) == (2, 1, 0, 1)


def test_bars_of_one_length_are_wanted(database: str, redis_at: str) -> None:
    run = Listening(database, broker(redis_at), **{"data.interval": "1d"})
    wait_listener(redis_at, CONTROL)
    send(redis_at, ("market_data:IBM", bar(1, timeframe="1Min")), ("market_data:IBM", bar(2)))
    send(redis_at, *end("AAPL", "GOOG", "IBM"))
    assert run.wait().summary["bars"] == 1
    assert row(database, COUNTS) == (1, 1, 0, 0)
    bad = {**COMMON, **broker(redis_at), "store.url": database, "data.interval": "often",
           "run.name": "another"}  # fmt: skip
    with pytest.raises(ConfigError, match=r"data\.interval: 'often' is not the length of a bar"):
        run_session(load_config("paper", settings=bad), SMA)


def test_instruments_are_what_the_settings_say() -> None:
    own = {"price_decimals": 4, "tick_size": 0.0005, "multiplier": 50, "sector": "tech",
           "calendar": "NYSE", "quantity_decimals": 3}  # fmt: skip
    settings = {"feed.kind": "kafka", "data.quantity_decimals": 1, "instruments.ES": own,
                "instruments.IBM": {}}  # fmt: skip
    first, second = feed_instruments(load_config("paper", settings=settings))
    assert msgspec.structs.asdict(first) == {
        **own, "symbol": "ES", "tick_size": 5, "lot_size": 1, "currency": "USD",
    }  # fmt: skip
    assert (second.price_decimals, second.quantity_decimals, second.tick_size) == (2, 1, 1)
    fine = {**settings, "instruments.IBM": {"tick_size": 0.001}}
    with pytest.raises(ConfigError, match=r"tick_size of IBM: 0\.001 has more than 2 digits"):
        feed_instruments(load_config("paper", settings=fine))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"instruments.IBM.colour": 1}, "unknown setting 'instruments.IBM.colour'"),
        ({"instruments.IBM": 3}, "instruments.IBM is a section"),
        ({"instruments.IBM.price_decimals": 12}, "instruments.IBM.price_decimals = 12: write a"),
        ({"redis.url": "http://x"}, "redis.url = 'http://x': write text that matches"),
        ({"feed.kind": "fax"}, "feed.kind = 'fax': one of files, redis, kafka"),
        ({"kafka.start": "soon"}, "kafka.start = 'soon': one of latest, earliest"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config("paper", settings=settings)


@pytest.mark.req("R69")
def test_options_go_to_librdkafka(database: str, mock_kafka: MockKafka) -> None:
    settings = {"feed.kind": "kafka", "kafka.bootstrap_servers": mock_kafka.servers}
    wrong = {"kafka.options": {"colour": "red"}}
    with pytest.raises(ConfigError, match=r"kafka\.options: No such configuration property"):
        run_session(
            load_config("paper", settings={**COMMON, **settings, **wrong, "store.url": database}),
            SMA,
        )
    with pytest.raises(ConfigError, match=r"kafka\.options: No such configuration property"):
        play(settings, **wrong)


@pytest.mark.req("R68")
def test_topics_have_the_names_they_are_given(database: str, mock_kafka: Kafka) -> None:
    settings: dict[str, Any] = {
        "feed.kind": "kafka", "kafka.bootstrap_servers": mock_kafka.servers,
        "feed.events": "trade", "kafka.start": "earliest", "kafka.consumer_group": "mine",
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"Kafka has no topic 'nowhere' at .*: create it, or name"
    ):
        Listening(database, settings, **{"kafka.topics.market_trades": "nowhere"}).wait()
    with pytest.raises(ConfigError, match=r"no broker: set feed\.kind to redis or kafka"):
        play({})


def test_the_first_try_of_the_page(
    database: str, redis_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EXAMPLES.parent / "docs" / "feeds.md").read_text()
    commands = re.findall(r"```sh\n(engine (?:run|publish) .*?)```", page, re.DOTALL)
    assert len(commands) == 2
    monkeypatch.setenv("REDIS_URL", redis_at)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("PATH", f"{ENGINE.parent}:/usr/bin:/bin")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    running = [
        subprocess.Popen(["sh", "-ec", command], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    outputs = [each.communicate(timeout=60)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0]
    assert "published         3,270 bars to redis" in outputs[1]
    wait_row(database, COUNTS, lambda counts: counts[1] == 3270)
