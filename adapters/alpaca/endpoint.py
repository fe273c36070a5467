"""Where the broker is, what it takes to be let in, and how much it may be asked."""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2

from engine.errors import ConfigError
from engine.sections import AlpacaConfig

__all__ = ["CONNECTIONS", "KEY_ID", "SECRET_KEY", "Endpoint", "Pace"]

KEY_ID, SECRET_KEY = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
"""Environment variables of the credentials; they are no settings, so nothing writes them down."""
_PAPER = "paper-api.alpaca.markets"
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_MINUTE_S = 60.0
_PAUSE_S = 1.0  # after a 429 that does not say how long
_PAUSE_MAX_S = 60.0
CONNECTIONS = 32
"""How many requests may be on their way at one time."""
_IDLE_S = 20.0  # shorter than the broker's own limit, so that it is us who hang up


class Pace:
    """How much was asked in the last minute, and until when the broker wants to be left alone.

    Args:
        per_minute: how many requests the broker takes in a minute.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._asked: deque[float] = deque()
        self._until = 0.0
        self._lock = threading.Lock()

    def note(self) -> None:
        """Count a request."""
        with self._lock:
            self._asked.append(time.monotonic())

    def has_room(self) -> bool:
        """Tell whether it can be looked around: a quarter of a minute's requests is for orders."""
        since = time.monotonic() - _MINUTE_S
        with self._lock:
            while self._asked and self._asked[0] < since:
                self._asked.popleft()
            return len(self._asked) < self._per_minute * 3 // 4

    def pause(self, headers: Mapping[str, str]) -> None:
        """Take a 429 in: nothing is asked until the time that it names."""
        seconds = _PAUSE_S
        text = headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            seconds = min(float(text), _PAUSE_MAX_S)
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @property
    def until(self) -> float:
        """When the broker may be asked again, by the monotonic clock."""
        return self._until


class Endpoint:
    """The broker's address and our credentials there.

    Args:
        config: section ``alpaca``.
        environment: where the credentials are.

    Attributes:
        target: host and port, for people.
        timeout_s: longest that one request may take, seconds.
        poll_s: time from one look at the open orders to the next, seconds.
        pace: how much it may be asked.

    Raises:
        ConfigError: it is not known to be paper trading and ``alpaca.live`` is not set, it would
            send the credentials unencrypted, or there are none.
    """

    def __init__(self, config: AlpacaConfig, environment: Mapping[str, str]) -> None:
        parts = urlsplit(config.url)
        host = parts.hostname or ""
        if host not in _HERE | {_PAPER} and not config.live:
            raise ConfigError(
                f"alpaca.url is {config.url}, which is not {_PAPER}: orders there may be for real "
                "money; set alpaca.live = true as well if that is what you want"
            )
        if parts.scheme != "https" and host not in _HERE:
            raise ConfigError(
                f"alpaca.url is {config.url}: the keys would go unencrypted; write https://"
            )
        missing = [name for name in (KEY_ID, SECRET_KEY) if not environment.get(name)]
        if missing:
            raise ConfigError(
                f"venue.kind is alpaca and {missing[0]} is not in the environment: set {KEY_ID} "
                f"and {SECRET_KEY} to the keys of your account"
            )
        headers = {
            "APCA-API-KEY-ID": environment[KEY_ID].strip(),
            "APCA-API-SECRET-KEY": environment[SECRET_KEY].strip(),
        }
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise ConfigError(f"{KEY_ID} or {SECRET_KEY} holds what cannot be in a key: see to it")
        self.target = parts.netloc.rpartition("@")[2]
        self.timeout_s = config.timeout
        self.poll_s = config.poll_ms / 1_000
        self.pace = Pace(config.requests_per_minute)
        self._base = config.url.rstrip("/")
        self._headers = {**headers, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._verify = ssl.create_default_context() if parts.scheme == "https" else False

    def client(self) -> httpx2.Client:
        """Make a client with connections of its own; it follows no redirect."""
        return httpx2.Client(
            base_url=self._base,
            headers=self._headers,
            verify=self._verify,
            timeout=self.timeout_s,
            limits=httpx2.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=_IDLE_S,
            ),
            trust_env=False,
        )
