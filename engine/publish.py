"""Market data files played to a broker, for runs that listen to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

from engine.config import Config
from engine.domain.market import MarketEvent
from engine.errors import ConfigError, FeedError
from engine.ports import MarketHistory, MarketPublisher
from engine.research.backtest import columns_of
from engine.runtime.sim_runtime import EVENTS_OF
from engine.wiring import open_history
from engine.wiring.feeds import open_publisher

__all__ = ["events_of", "publish"]

BATCH = 256
LOOK_S = 0.05
_NS = 1_000_000_000


def publish(
    config: Config,
    *,
    wait_s: float,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Publish the market data of a profile to its broker; give how many events there were.

    Args:
        config: sections ``data``, ``feed`` and that of the broker are used.
        wait_s: how long a listener is waited for, seconds, where nothing is kept for one who
            comes later; 0 does not wait.
        progress: called with (events published, events in all) now and then.
        stop: ends it early when it is set; the symbols are then not ended.

    Raises:
        InputError: no broker is named, or the data cannot be used.
        FeedError: the broker does not answer, or nobody listens.
    """
    history = open_history(config)
    if history.kind != config.feed.events:
        raise ConfigError(
            f"the data is {history.kind}s and feed.events is {config.feed.events!r}: set "
            f"feed.events={history.kind}"
        )
    publisher = open_publisher(config)
    try:
        symbols = [each.symbol for each in history.instruments]
        publisher.begin(symbols)
        stopped = threading.Event() if stop is None else stop
        _await_listener(publisher, symbols[0], wait_s, stopped)
        count = _play(config, history, publisher, progress, stopped)
        if count == history.rows:
            publisher.end(symbols)
    finally:
        publisher.close()
    return count


def _await_listener(
    publisher: MarketPublisher, symbol: str, wait_s: float, stopped: threading.Event
) -> None:
    limit = time.monotonic() + wait_s
    while wait_s and publisher.listeners(symbol) == 0:
        if time.monotonic() > limit:
            raise FeedError(
                f"nobody has listened to {symbol} within {wait_s:g} s: start the engine first, or "
                "publish to nobody with --wait 0"
            )
        if stopped.wait(LOOK_S):
            return


def _play(
    config: Config,
    history: MarketHistory,
    publisher: MarketPublisher,
    progress: Callable[[int, int], None] | None,
    stopped: threading.Event,
) -> int:
    speed, count = config.feed.speed, 0
    began = time.monotonic_ns()
    events = events_of(history)
    while batch := list(islice(events, BATCH if speed == "max" else 1)):
        if not isinstance(speed, str):
            due = (batch[0].ts_event - history.ts_first) / speed
            stopped.wait(max(0.0, (began + due - time.monotonic_ns()) / _NS))
        if stopped.is_set():
            break
        publisher.publish(batch)
        count += len(batch)
        if progress is not None:
            progress(count, history.rows)
    return count


def events_of(history: MarketHistory) -> Iterator[MarketEvent]:
    """Give all events of a history, in order."""
    alone, make = len(history.instruments) == 1, EVENTS_OF[history.kind]
    for frame in history.chunks():
        yield from make(columns_of(frame, alone=alone), history.instruments)
