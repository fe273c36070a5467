"""The commands about brokers, as a user types them."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import redis

from tests.feeds.rig import COUNTS, ENGINE, EXAMPLES, Running, row, wait_listener, wait_row
from tests.feeds.servers import free_port
from tests.feeds.test_redis_feed import CONTROL, bar, end, send


def engine(database: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [str(ENGINE), *arguments], env={**os.environ, "DATABASE_URL": database, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.req("R44")
def test_files_are_played_to_a_run_that_listens(database: str, redis_at: str) -> None:
    broker: dict[str, Any] = {"feed.kind": "redis", "redis.url": redis_at}
    run = Running(database, broker, **{"data.symbols": ["IBM"]})
    code, output, errors = engine(
        database, "publish", "--to", "redis", "--data", f"{EXAMPLES}/data/IBM.parquet",
        "--set", "data.adjust=true", "--set", "data.price_decimals=9", REDIS_URL=redis_at,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert output.split() == ["published", "3,270", "bars", "to", "redis"]
    code, _, errors = run.wait()
    assert code == 0, errors
    assert row(database, COUNTS) == (3270, 3270, 0, 0)


def test_nobody_listens(database: str, redis_at: str) -> None:
    data = ("--data", f"{EXAMPLES}/data/IBM.parquet")
    code, _, errors = engine(
        database, "publish", "--to", "redis", *data, "--wait", "0.1", REDIS_URL=redis_at
    )
    assert code == 75
    assert errors == (
        "engine: nobody has listened to IBM within 0.1 s: start the engine first, or publish to "
        "nobody with --wait 0\n"
    )
    code, _, errors = engine(database, "publish", "--to", "carrier-pigeon", *data)
    assert (code, errors) == (
        2, "engine: setting feed.kind = 'carrier-pigeon': one of files, redis, kafka\n"
    )  # fmt: skip
    code, _, errors = engine(
        database, "publish", "--to", "kafka", *data, "--set", "feed.events=trade"
    )
    assert (code, errors) == (
        2, "engine: the data is bars and feed.events is 'trade': set feed.events=bar\n"
    )  # fmt: skip


@pytest.mark.req("P22")
def test_a_dead_letter_is_shown_and_sent_again(database: str, redis_at: str) -> None:
    broker: dict[str, Any] = {"feed.kind": "redis", "redis.url": redis_at}
    run = Running(database, broker, **{"data.symbols": ["IBM"]})
    wait_listener(redis_at, CONTROL)
    send(redis_at, ("market_data:IBM", bar(1, high=1)))
    wait_row(database, COUNTS, lambda counts: counts[3] == 1)
    code, output, _ = engine(database, "dead-letters", "list")
    assert code == 0
    assert output.split()[:4] == ["1", "SmaCross", "market_data:IBM", "IMPOSSIBLE"]
    code, output, _ = engine(database, "dead-letters", "show", "1")
    assert code == 0
    assert "detail   open 100.0 and close 100.0 are not within 99.25 to 1.0\n" in output
    assert 'content  {"symbol": "IBM"' in output
    code, output, errors = engine(
        database, "dead-letters", "retry", "1", "--set", "feed.kind=redis", REDIS_URL=redis_at
    )
    assert (code, output, errors) == (0, "sent dead letter 1 to market_data:IBM again\n", "")
    wait_row(database, COUNTS, lambda counts: counts[3] == 2)
    send(redis_at, ("market_data:IBM", bar(1)), *end("IBM"))
    assert run.wait()[0] == 0
    assert "sent again" in engine(database, "dead-letters", "list")[1]


def test_there_is_none(database: str) -> None:
    assert engine(database, "dead-letters", "list") == (0, "no dead letters\n", "")
    for command in ("show", "retry"):
        assert engine(database, "dead-letters", command, "7") == (
            2, "", "engine: there is no dead letter 7; engine dead-letters list\n"
        )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("feed.kind=redis", "redis.url=redis://127.0.0.1:{port}"), "Redis does not answer: "),
        (
            ("feed.kind=kafka", "kafka.bootstrap_servers=127.0.0.1:{port}", "kafka.timeout=1",
             "data.symbols=[\"IBM\"]"),
            "Kafka does not answer at 127.0.0.1:{port}: ",
        ),
    ],
)  # fmt: skip
def test_no_broker_answers(database: str, settings: tuple[str, ...], said: str) -> None:
    port = free_port()
    chosen = [word for each in settings for word in ("--set", each.format(port=port))]
    strategy = f"{EXAMPLES}/strategies/sma_cross.py:SmaCross"
    code, _, errors = engine(database, "run", strategy, "--profile", "paper", *chosen)
    assert code == 75
    assert said.format(port=port) in errors
    assert errors.endswith("run the same command again to go on\n")


@pytest.mark.req("D10")
def test_publishing_marks_its_symbols_as_active_and_takes_the_mark_back(redis_at: str) -> None:
    code, _, _ = engine(
        "", "publish", "--to", "redis", "--data", f"{EXAMPLES}/data/FB.parquet", "--wait", "0",
        REDIS_URL=redis_at,
    )  # fmt: skip
    assert code == 0
    with redis.Redis.from_url(redis_at) as client:
        assert client.keys("*") == []
