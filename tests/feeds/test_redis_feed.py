"""Market data over real Redis: the run is the backtest, and nothing gets lost without a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.config import load_config
from engine.errors import ConfigError, FeedError
from engine.session import run_session
from tests.feeds.rig import (
    COMMON,
    COUNTS,
    SMA,
    Listening,
    backtested,
    play,
    row,
    wait_listener,
    wait_row,
)
from tests.feeds.servers import RedisServer, free_port, redis_server
from tests.integration.proxy import FaultProxy

CONTROL = "system:subscription_updates"


def broker(url: str, **settings: Any) -> dict[str, Any]:
    return {"feed.kind": "redis", "redis.url": url, "redis.retry.backoff_ms": 50, **settings}


def bar(day: int, symbol: str = "IBM", **changes: Any) -> bytes:
    fields = {
        "symbol": symbol, "timeframe": "1Day", "open": 100.0, "high": 101.5, "low": "99.25",
        "close": 100, "volume": 1200, "timestamp": f"2024-03-{day:02d}T00:00:00Z",
    }  # fmt: skip
    return json.dumps({**fields, **changes}).encode()


def end(*symbols: str) -> list[tuple[str, bytes]]:
    return [
        (CONTROL, json.dumps({"action": "unsubscribe", "symbol": s, "type": "stock"}).encode())
        for s in symbols
    ]


def send(url: str, *messages: tuple[str, bytes]) -> None:
    with redis.Redis.from_url(url) as client:
        for channel, content in messages:
            assert client.publish(channel, content) >= 1, f"nobody heard of {channel}"


@pytest.mark.req("R1")
@pytest.mark.req("R2")
@pytest.mark.req("R32")
@pytest.mark.req("R33")
@pytest.mark.req("P33")
def test_a_run_over_redis_makes_the_events_of_the_backtest(database: str, redis_at: str) -> None:
    expected = backtested()
    assert expected.summary["fills"] > 3
    run = Listening(database, broker(redis_at))
    published = play(broker(redis_at))
    result = run.wait()
    assert result.run_hash == expected.run_hash
    assert result.statistics == expected.statistics
    assert row(database, COUNTS) == (published, published, 0, 0)


@pytest.mark.req("P22")
@pytest.mark.req("P25")
@pytest.mark.req("R14")
def test_what_cannot_be_used_is_kept_and_counted(database: str, redis_at: str) -> None:
    run = Listening(database, broker(redis_at), **{"data.price_decimals": 2})
    wait_listener(redis_at, CONTROL)
    bad = [
        (b"{", "NOT_JSON"),
        (b"\xff\xfe", "NOT_JSON"),
        (b'{"symbol": "IBM\xff"}', "NOT_UTF8"),
        (b'{"symbol":' + b"[" * 60_000, "WRONG_SHAPE"),
        (b" " * 70_000, "TOO_LARGE"),
        (b'{"symbol": "IBM"}', "WRONG_SHAPE"),
        (bar(1, colour="red"), "WRONG_SHAPE"),
        (bar(1, open=True), "WRONG_SHAPE"),
        (bar(1, "AAPL"), "WRONG_SYMBOL"),
        (bar(1, open="NaN"), "BAD_NUMBER"),
        (bar(1, close=100.123), "BAD_NUMBER"),
        (bar(1, volume=-1), "BAD_NUMBER"),
        (bar(1, low=1e300), "BAD_NUMBER"),
        (bar(1, timestamp="yesterday"), "BAD_TIME"),
        (bar(1, timeframe="moment"), "BAD_TIMEFRAME"),
        (bar(1, high=50), "IMPOSSIBLE"),
    ]
    send(redis_at, *[("market_data:IBM", content) for content, _ in bad])
    send(redis_at, *[("market_data:IBM", bar(day)) for day in (4, 5, 5, 6)])
    send(redis_at, ("market_data:IBM", bar(5, open=100.5)), ("market_data:IBM", bar(1)))
    send(redis_at, (CONTROL, b'{"action": "explode"}'))
    send(redis_at, *end("AAPL", "GOOG", "IBM"))
    run.wait()
    codes = [*(code for _, code in bad), "CONFLICTING", "OUT_OF_ORDER", "WRONG_SHAPE"]
    assert row(database, COUNTS) == (len(codes) + 4, 3, 1, len(codes))
    kept = row(
        database,
        "SELECT array_agg(code ORDER BY dead_letter_id), (array_agg(content ORDER BY "
        "dead_letter_id))[2], max(size) FROM strategy_worker.dead_letters",
    )
    assert kept == (codes, b"\xff\xfe", 70_000)


@pytest.mark.req("P23")
def test_a_gap_in_the_numbers_of_the_publisher_makes_a_price_stale(
    database: str, redis_at: str
) -> None:
    run = Listening(database, broker(redis_at))
    wait_listener(redis_at, CONTROL)
    for day, number in ((1, 1), (2, 2), (3, 5)):
        send(redis_at, ("market_data:IBM", bar(day, sequence=number)))
    told = run.wait_alarm("FEED_GAP")
    assert (told.symbol, told.action_taken) == ("IBM", "SYMBOL_STALE")
    send(redis_at, ("market_data:IBM", bar(4, sequence=6)), *end("AAPL", "GOOG", "IBM"))
    result = run.wait()
    assert result.risk_events["event_type"].to_list() == ["FEED_GAP", "FEED_BACK"]


@pytest.mark.req("P24")
@pytest.mark.req("R226")
@pytest.mark.parametrize("fault", ["half_open", "reset", "pause", "kill"])
def test_a_server_that_is_gone_is_noticed_and_listened_to_again(
    database: str, tmp_path: Path, fault: str
) -> None:
    with redis_server(tmp_path) as server, FaultProxy(server.port) as proxy:
        run = Listening(
            database, broker(f"redis://127.0.0.1:{proxy.port}", **{"redis.timeout": 1.0})
        )
        wait_listener(server.url, CONTROL)
        send(server.url, ("market_data:IBM", bar(1)))
        wait_row(database, COUNTS, lambda counts: counts[1] == 1)
        _hurt(server, proxy, fault)
        told = run.wait_alarm("FEED_DOWN")
        assert told.symbol == "IBM"
        _heal(server, proxy, fault)
        wait_listener(server.url, "market_data:IBM")
        send(server.url, ("market_data:IBM", bar(2)), *end("AAPL", "GOOG", "IBM"))
        result = run.wait()
    assert result.risk_events["event_type"].to_list() == ["FEED_DOWN", "FEED_BACK"]
    assert row(database, COUNTS) == (2, 2, 0, 0)


def _hurt(server: RedisServer, proxy: FaultProxy, fault: str) -> None:
    if fault == "half_open":
        proxy.blackhole()
    elif fault == "reset":
        proxy.refuses = True
        proxy.reset()
    elif fault == "pause":
        server.pause()
    else:
        server.kill()


def _heal(server: RedisServer, proxy: FaultProxy, fault: str) -> None:
    if fault == "pause":
        server.go_on()
    elif fault == "kill":
        server.start()
    else:
        proxy.heal()


@pytest.mark.req("D10")
def test_a_session_that_ended_while_nobody_listened_ends(database: str, redis_at: str) -> None:
    with redis.Redis.from_url(redis_at) as client:
        client.sadd("active_subscriptions:stock", "AAPL", "GOOG")
        client.sadd("active_subscriptions:crypto", "IBM")
        run = Listening(database, broker(redis_at))
        wait_listener(redis_at, CONTROL)
        send(redis_at, ("market_data:IBM", bar(1)))
        wait_row(database, COUNTS, lambda counts: counts[1] == 1)
        client.srem("active_subscriptions:stock", "AAPL", "GOOG")
        client.srem("active_subscriptions:crypto", "IBM")
        client.client_kill_filter(_type="pubsub")
        assert run.wait().summary["bars"] == 1


@pytest.mark.req("D10")
def test_symbols_are_those_with_a_running_session_when_nobody_names_any(
    database: str, redis_at: str
) -> None:
    with redis.Redis.from_url(redis_at) as client:
        client.sadd("active_subscriptions:stock", "IBM")
        run = Listening(database, broker(redis_at), **{"data.symbols": []})
        wait_listener(redis_at, "market_data:IBM")
        send(redis_at, ("market_data:IBM", bar(1)), *end("IBM"))
        assert run.wait().summary["symbols"] == ["IBM"]


def test_a_run_without_any_symbol_says_what_to_do(database: str, redis_at: str) -> None:
    settings = {**COMMON, **broker(redis_at), "data.symbols": [], "store.url": database}
    with pytest.raises(ConfigError, match=r"no symbols: give --symbols, or set data\.symbols"):
        run_session(load_config("paper", settings=settings), SMA)


def test_no_server_to_publish_to_is_one_message() -> None:
    with pytest.raises(FeedError, match=r"Redis does not answer: .*; is it running"):
        play(broker(f"redis://127.0.0.1:{free_port()}"))
