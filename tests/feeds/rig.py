"""A paper run that listens to a broker, in a thread, and what is looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import redis

from engine.config import load_config
from engine.domain.events import RiskEvent
from engine.publish import publish
from engine.registry import load_strategy
from engine.research.backtest import run_backtest
from engine.research.result import BacktestResult
from engine.session import run_session
from engine.strategy.base import Strategy
from tests.feeds.servers import wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STRATEGY = f"{EXAMPLES}/strategies/sma_cross.py:SmaCross"
ENGINE = Path(sys.executable).with_name("engine")
TERMINATED, KILLED = 143, -9
SMA = load_strategy(f"{EXAMPLES}/strategies/sma_cross.py")
COMMON: dict[str, Any] = {
    "data.adjust": True,
    "data.symbols": ["AAPL", "GOOG", "IBM"],
    "data.price_decimals": 9,
    "costs.commission_bps": 3,
}
FILES: dict[str, Any] = {
    **COMMON,
    "data.paths": [str(EXAMPLES / "data")],
    "data.start": "2007-06-01",
    "data.end": "2009-06-01",
}


def backtested() -> BacktestResult:
    return run_backtest(load_config("backtest", settings=FILES), SMA)


def play(broker: dict[str, Any], **settings: Any) -> int:
    """Publish the data of :func:`backtested`."""
    return publish(load_config("paper", settings={**FILES, **broker, **settings}), wait_s=30)


class Listening:
    """A paper run in a thread of its own."""

    def __init__(
        self,
        database: str,
        broker: dict[str, Any],
        strategy: type[Strategy] = SMA,
        **settings: Any,
    ) -> None:
        self._strategy = strategy
        changes = {**COMMON, **broker, "store.url": database, "store.timeout": 20, **settings}
        self._config = load_config("paper", settings=changes)
        self.alarms: list[RiskEvent] = []
        self.result: BacktestResult | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = run_session(self._config, self._strategy, alarm=self.alarms.append)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.error = error

    def wait(self) -> BacktestResult:
        """Wait for the end of the run."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the run did not end"
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def wait_error(self) -> BaseException:
        self._thread.join(60)
        assert self.error is not None
        return self.error

    def wait_alarm(self, event_type: str) -> RiskEvent:
        """Wait for a risk event that is told of."""
        found: list[RiskEvent] = []

        def there() -> bool:
            found[:] = [a for a in self.alarms if a.event_type == event_type]
            assert self._thread.is_alive(), self.error
            return bool(found)

        wait_until(there, f"alarm {event_type}")
        return found[0]


def wait_listener(url: str, channel: str) -> None:
    """Wait until somebody listens to a channel."""
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: client.pubsub_numsub(channel)[0][1], f"a listener of {channel}")


def row(database: str, query: str, *values: Any) -> tuple[Any, ...] | None:
    with psycopg.connect(database) as connection:
        return connection.execute(query, values).fetchone()  # type: ignore[call-overload]


def wait_row(database: str, query: str, is_so: Callable[[Any], object]) -> Any:
    """Wait until the first row of a query is as it should be; give it."""
    found: list[Any] = []

    def there() -> bool:
        found[:] = [row(database, query)]
        return found[0] is not None and bool(is_so(found[0]))

    wait_until(there, query)
    return found[0]


COUNTS = "SELECT received, applied, repeated, dead FROM strategy_worker.feed_counts"


class Running:
    """The same as a process, started as a user does; ``all`` are ended with the test."""

    all: ClassVar[list[Running]] = []

    def __init__(
        self,
        database: str,
        broker: dict[str, Any],
        *,
        strategy: str = STRATEGY,
        crash: str = "",
        **settings: Any,
    ) -> None:
        command = [str(ENGINE), "run", strategy, "--profile", "paper", "--json"]
        changes = {**COMMON, **broker, "store.timeout": 20, **settings}
        for key, value in changes.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        environment = {**os.environ, "DATABASE_URL": database, "TETRAD_CRASH": crash}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        Running.all.append(self)

    def stop(self) -> None:
        """Ask it to stop, and see that it does."""
        self._process.terminate()
        assert self.wait()[0] == TERMINATED

    @classmethod
    def end_all(cls) -> None:
        """Kill what a test that failed has left."""
        for each in cls.all:
            each._process.kill()
            each._process.communicate()
        cls.all.clear()

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end; give exit code, output and errors."""
        output, errors = self._process.communicate(timeout=60)
        Running.all.remove(self)
        return self._process.returncode, output, errors
