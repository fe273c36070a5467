"""Market data from Redis channels (pub/sub).

A thread of its own reads; it hands on all that is there at once. Redis keeps nothing for who does
not listen, and a connection that is gone without a word looks like a quiet one, so the server is
asked for a sign of life and taken for gone when it gives none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import redis
from redis.connection import AbstractConnection

from adapters.redis.channels import CONTROL
from adapters.redis.client import active_symbols, connect
from engine.domain.deliveries import Delivery, FeedDown, FeedUp, Raw, SymbolBegan, SymbolEnded
from engine.sections import RedisConfig

__all__ = ["RedisFeed"]

BATCH_MAX = 256
"""Messages handed on at once."""
PINGS = 3
"""Signs of life asked for within the time that silence may last."""
LOOK_S = 0.1
"""How soon the thread sees that it is to end."""
BACKOFF_MAX_S = 10.0
SUBSCRIBE_MAX = 500
"""Channels named in one command."""


class RedisFeed:
    """Listens to channels, for one run.

    Args:
        config: the server.
        channels: channels of market data.
        symbols: what is traded.
        active: symbols that were among the active ones when somebody last listened; None for a
            listener that wants to hear of an end only.

    Raises:
        ConfigError: ``redis.url`` is refused.
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        channels: Sequence[str],
        symbols: Sequence[str],
        active: Collection[str] | None = None,
    ) -> None:
        connect(config).close()  # the thread would have nobody to tell
        self._config = config
        self._channels = [*channels, CONTROL]
        self._symbols = set(symbols)
        self._tells_beginnings = active is not None
        self._active: set[str] = set(active or ())
        self._report: Callable[[Any], None] = lambda message: None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redis-feed", daemon=True)

    def open(self, positions: Mapping[tuple[str, int], int], report: Callable[[Any], None]) -> None:
        """Listen from now on; there are no positions to go on from."""
        self._report = report
        self._thread.start()

    def close(self, *, timeout_s: float) -> None:
        """Stop listening.

        Raises:
            TimeoutError: the thread did not end in time.
        """
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise TimeoutError(f"the Redis feed did not end within {timeout_s:g} s")

    def _run(self) -> None:
        backoff_s = self._config.retry.backoff_ms / 1000
        wait_s = backoff_s
        while not self._closing.is_set():
            client = connect(self._config)
            try:
                self._reconcile(client)
                connection = client.connection_pool.get_connection()
                self._subscribe(connection)
                self._report(FeedUp())
                wait_s = backoff_s
                self._listen(connection)
            except (redis.RedisError, OSError) as error:
                self._report(FeedDown("FEED_DOWN", " ".join(str(error).split())))
            finally:
                client.close()
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, BACKOFF_MAX_S)

    def _reconcile(self, client: redis.Redis) -> None:
        """See which sessions have ended while nobody listened."""
        active = self._symbols.intersection(active_symbols(client))
        for symbol in sorted(self._active - active):
            self._report(SymbolEnded(symbol))
        if not self._tells_beginnings:
            self._active |= active
            return
        for symbol in sorted(active):
            self._report(SymbolBegan(symbol))
        self._active = active

    def _subscribe(self, connection: AbstractConnection) -> None:
        for start in range(0, len(self._channels), SUBSCRIBE_MAX):
            self._ask(connection, "SUBSCRIBE", *self._channels[start : start + SUBSCRIBE_MAX])
        limit = time.monotonic() + self._config.timeout
        for _ in self._channels:
            if not connection.can_read(max(0.0, limit - time.monotonic())):
                raise redis.TimeoutError("the subscription is not confirmed")
            connection.read_response(disconnect_on_error=False)

    def _ask(self, connection: AbstractConnection, *words: str) -> None:
        connection.send_command(*words)  # type: ignore[no-untyped-call]

    # The client's own PubSub costs more than twice what reading does: it makes a dictionary of
    # each message and is ready to send a command again.
    def _listen(self, connection: AbstractConnection) -> None:
        timeout_s = self._config.timeout
        pause_s = timeout_s / PINGS
        heard = asked = time.monotonic()
        batch: list[Raw] = []
        while not self._closing.is_set():
            # What is there is taken before anything is handed on.
            if connection.can_read(0 if batch else LOOK_S):
                received = connection.read_response()
                if received[0] == b"message":
                    batch.append((received[1].decode(), -1, -1, received[2]))
                    if len(batch) < BATCH_MAX:
                        continue
                heard = time.monotonic()
            if batch:
                self._report(Delivery(tuple(batch)))
                batch.clear()
                heard = time.monotonic()
            now = time.monotonic()
            if now - heard > timeout_s:
                raise redis.TimeoutError(f"no sign of life for {timeout_s:g} s")
            if now - asked >= pause_s:
                self._ask(connection, "PING")
                asked = now
