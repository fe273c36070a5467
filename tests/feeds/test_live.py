"""The live profile: what it refuses, and a run in the time of day with a venue outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from adapters.postgres.conninfo import is_encrypted, with_password
from engine.config import load_config
from engine.errors import ConfigError
from engine.oms import ReferenceOms
from engine.wiring import open_history
from engine.wiring.safety import require_safe
from tests.cli.rig import bar_text
from tests.feeds.rig import COUNTS, row, wait_listener, wait_row
from tests.integration.rig import oms_edge

ROOT = Path(__file__).resolve().parents[2]
ENGINE = Path(sys.executable).with_name("engine")
READY: dict[str, Any] = {
    "kafka.bootstrap_servers": "broker:9093",
    "store.url": "postgresql://u@db/x?sslmode=verify-full",
    "data.symbols": ["A"],
    "instruments.A.price_decimals": 2,
}
TOLD: dict[str, Any] = {
    "feed.kind": "redis",
    "redis.url": "rediss://r:6379",
    "kafka.options": {"security.protocol": "PLAINTEXT"},
}
BUYER = """
from engine import Bar, Strategy


class Buyer(Strategy):
    def on_bar(self, bar: Bar) -> None:
        if not self.orders:
            self.buy(bar.symbol, 10, limit=bar.close - 50)
"""


def safe(profile: str = "live", **changes: Any) -> None:
    require_safe(load_config(profile, settings={**READY, **changes}))


@pytest.mark.req("R126", "P38")
class TestWhatItRefuses:
    def test_a_profile_that_has_all_of_it(self) -> None:
        safe()
        safe(**{"store.url": None})  # a database of our own, over a socket
        safe(**{"store.url": "host=/run/postgresql dbname=x"})
        safe(**{"feed.kind": "redis", "redis.url": "rediss://r:6379"})
        safe(**{"venue.kind": "http", "gateway.url": "https://g"})
        safe("paper", **{"store.url": "postgresql://u@db/x"})

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"store.url": "postgresql://u@db/x"}, "store.url is not encrypted: add sslmode"),
            ({"store.url": "postgresql://u@localhost/x?sslmode=require"}, "store.url is not"),
            ({"feed.kind": "redis"}, "redis.url is not encrypted: write rediss://"),
            ({"run.executions": "redis"}, "redis.url is not encrypted: write rediss://"),
            ({"kafka.options": {"security.protocol": "PLAINTEXT"}}, "is PLAINTEXT: set SSL"),
            ({**TOLD, "publish.kind": "kafka"}, "is PLAINTEXT: set SSL"),
            ({**TOLD, "run.executions": "kafka"}, "is PLAINTEXT: set SSL"),
            ({"kafka.options": {"security.protocol": "sasl_plaintext"}}, "is SASL_PLAINTEXT"),
            ({"oms_grpc.tls.enabled": False}, "oms_grpc.tls.enabled is false"),
            ({"venue.kind": "http"}, "gateway.url is not encrypted: write https://"),
            ({"venue.kind": "alpaca", "alpaca.url": "http://127.0.0.1:1"}, "alpaca.url is not"),
            ({"venue.kind": "simulated"}, 'venue.kind is "simulated"'),
            ({"venue.routes": [{"kind": "http", "symbol": "A"}]}, "gateway.url is not encrypted"),
            ({"safety.environment": "development"}, 'safety.environment (ENVIRONMENT) is "dev'),
            ({"feed.kind": "files"}, 'feed.kind is "files"'),
            ({"feed.time": "data", "feed.silent_after": None}, 'feed.time is "data"'),
            ({"feed.silent_after": None}, "feed.silent_after is not set"),
            ({"data.symbols": ["A", "B"]}, r"[instruments.B] is missing"),
        ],
    )
    def test_what_is_missing_is_named(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match="profile 'live' asks for safety") as raised:
            safe(**changes)
        assert words in str(raised.value)

    @pytest.mark.req("R107")
    @pytest.mark.parametrize("said", ["production", "PRODUCTION", "prod", ""])
    def test_where_real_orders_leave_from(self, said: str) -> None:
        environment = {"ENVIRONMENT": said}
        require_safe(load_config("live", settings=READY, environment=environment))

    @pytest.mark.req("R107")
    def test_a_profile_for_no_real_orders_runs_anywhere(self) -> None:
        config = load_config("paper", environment={"ENVIRONMENT": "development"})
        assert config.safety.environment == "development"
        require_safe(config)

    def test_all_of_it_at_once(self) -> None:
        with pytest.raises(ConfigError) as raised:
            safe(**{"store.url": "postgresql://u@db/x", "venue.kind": "simulated"})
        assert "store.url" in str(raised.value)
        assert "venue.kind" in str(raised.value)

    def test_who_insists_says_so(self) -> None:
        safe(**{"safety.connections": "any", "store.url": "postgresql://u@db/x"})


class TestConnectionStrings:
    def test_a_password_from_elsewhere(self) -> None:
        assert "secret" in with_password("postgresql://u@db/x", "secret")
        own = "postgresql://u:mine@db/x"
        assert with_password(own, "secret") == with_password(own, None) == own

    def test_one_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="is no connection string") as raised:
            is_encrypted("postgresql://u:hush%@db/x?nonsense=1")
        assert "hush" not in str(raised.value)


def bars(count: int) -> list[bytes]:
    """Give minute bars up to now."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    fields = {"symbol": "A", "timeframe": "1Min", "open": 100, "high": 101, "low": 99}
    return [
        json.dumps(
            {
                **fields,
                "close": 100,
                "volume": 10,
                "timestamp": f"{now - timedelta(minutes=count - n):%Y-%m-%dT%H:%M:%SZ}",
            }
        ).encode()
        for n in range(count)
    ]


@pytest.mark.req("R126", "D10", "D15")
def test_a_live_run_in_the_time_of_day(database: str, redis_at: str, tmp_path: Path) -> None:
    """Orders leave for the venue; a stop leaves them there; secrets are in no output and row."""
    (tmp_path / "A.csv").write_text(bar_text())
    (tmp_path / "buyer.py").write_text(BUYER)
    config = load_config("backtest", settings={"data.paths": [str(tmp_path / "A.csv")]})
    history = open_history(config)
    system = ReferenceOms(config, history, oms_edge(history), speed=24)
    system.start()
    port = system.serve("127.0.0.1", 0)
    settings = {
        "safety.connections": "any", "feed.kind": "redis", "oms_grpc.tls.enabled": False,
        "oms_grpc.host": "127.0.0.1", "oms_grpc.port": port, "data.symbols": ["A"],
        "instruments.A.price_decimals": 2, "gateway.token": "hush-hush",
    }  # fmt: skip
    command = [str(ENGINE), "run", str(tmp_path / "buyer.py")]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    environment = {
        **os.environ, "DATABASE_URL": database, "REDIS_URL": redis_at, "CONFIG_PATH": "live",
        "DB_PASSWORD": "hush-hush",
    }  # fmt: skip
    try:
        with (
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as child,
            ExitStack() as stack,
        ):
            stack.callback(child.kill)
            wait_listener(redis_at, "market_data:A")
            with redis.Redis.from_url(redis_at) as client:
                for bar in bars(3):
                    assert client.publish("market_data:A", bar)
            query = "SELECT inner_status, ts_init FROM strategy_worker.execution_orders"
            found = wait_row(database, query, lambda seen: seen[0] == "ACCEPTED")
            assert abs(found[1].timestamp() - time.time()) < 600
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=30)
        assert child.returncode == 143, err
        assert "Traceback" not in err
        assert "hush-hush" not in out + err
    finally:
        system.stop()
    with psycopg.connect(database) as connection:
        header = connection.execute("SELECT header::text FROM strategy_worker.runs").fetchone()
        assert header is not None
        assert "hush-hush" not in header[0]


@pytest.mark.req("R107")
def test_paper_on_services(database: str, redis_at: str) -> None:
    """The commands of the page, their servers named by the environment."""
    text = (ROOT / "docs/live.md").read_text("utf-8").replace("\\\n", "")
    listen, play = (
        next(line.split()[1:] for line in text.splitlines() if line.startswith(start))
        for start in ("engine run examples", "engine publish")
    )
    environment = {**os.environ, "DATABASE_URL": database, "REDIS_URL": redis_at}
    options: Any = {"cwd": ROOT, "env": environment, "text": True}
    with (
        subprocess.Popen(
            [str(ENGINE), *listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        ) as child,
        ExitStack() as stack,
    ):
        stack.callback(child.kill)
        wait_listener(redis_at, "market_data:IBM")
        more = ["--set", "data.price_decimals=9"]
        done = subprocess.run(
            [str(ENGINE), *play, *more], capture_output=True, timeout=60, check=False, **options
        )
        assert done.returncode == 0, done.stderr
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "fills" in out
    assert row(database, COUNTS) == (3270, 3270, 0, 0)


def test_a_profile_from_nowhere(tmp_path: Path) -> None:
    (tmp_path / "buyer.py").write_text(BUYER)
    for more, words in (
        ([], "name a profile"),
        (["--profile", "backtest", "--services"], "--services goes with --profile paper"),
        (["--profile", "live"], "asks for safety that is not there"),
    ):
        done = subprocess.run(
            [str(ENGINE), "run", str(tmp_path / "buyer.py"), *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
