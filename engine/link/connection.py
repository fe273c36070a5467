"""Keeping a connection up: attempts, how long to wait between them, and watching the peer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from engine.link.deadlines import Deadlines
from engine.link.session import Lost, Opened, Opener, Probed, Session
from engine.sections import RetryConfig

__all__ = ["PROBE_EVERY_S", "Connection"]

PROBE_EVERY_S = 2.0
"""Seconds of silence after which a peer is asked whether it is there."""
_BACKOFF_MAX_S = 10.0
_CONNECT, _OPENING, _PROBE, _STEADY = "connect", "opening", "probe", "steady"
_OWN = (_CONNECT, _OPENING, _PROBE, _STEADY)


class Down(Protocol):
    """Hears of a connection that is not there."""

    def __call__(self, reason: str, is_news: bool) -> None:
        """Hear why, and whether it is time to say so."""


class Connection:
    """One session after another, for one thread, which hands it what the sessions post.

    The first attempt after a loss is made at once when the connection had stood for a while. From
    the beginning of one attempt to that of the next it is ``retry.backoff_ms``, doubled each time
    up to 10 s; so a peer that accepts and hangs up is not called in a hot loop.

    Args:
        opener: begins a session.
        target: where the peer is, for people.
        timeout_s: longest that a connection may take to stand, seconds.
        retry: how a lost connection is tried again.
        deadlines: those of the thread.
        post: takes what the sessions post, from their threads.
        up: called with the name of the service when a connection stands.
        down: called when one is lost and when an attempt has failed; it is news when a connection
            stood, when it is the first failure, and from ``retry.max_attempts`` failures on.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        target: str,
        timeout_s: float,
        retry: RetryConfig,
        deadlines: Deadlines,
        post: Callable[[object], None],
        up: Callable[[str], None],
        down: Down,
    ) -> None:
        self.target = target
        self._opener = opener
        self._timeout_s = timeout_s
        self._retry = retry
        self._deadlines = deadlines
        self._post = post
        self._say_up = up
        self._say_down = down
        self._session: Session | None = None
        self._is_up = False
        self._failures = 0
        self._began = 0.0

    def is_current(self, session: Session) -> bool:
        """Tell whether a session is the one of now; what others post comes too late."""
        return session is self._session

    def send(self, message: Any) -> None:
        """Send a message over the connection that stands."""
        if self._session is not None:
            self._session.send(message)

    def begin(self) -> None:
        """Make an attempt."""
        self._began = time.monotonic()
        self._session = self._opener(self._post)
        self._deadlines.set((_OPENING, ""), self._timeout_s)

    def end(self) -> None:
        """Let go of the connection and make no further attempt."""
        for what in _OWN:
            self._deadlines.drop((what, ""))
        self._is_up = False
        if self._session is not None:
            self._session.close()
            self._session = None

    def on_opened(self, opened: Opened) -> None:
        """Note that an attempt has succeeded."""
        if opened.session is not self._session:
            return
        self._deadlines.drop((_OPENING, ""))
        self._deadlines.set((_STEADY, ""), self._backoff_s(1))
        if not opened.watched:
            self._deadlines.set((_PROBE, ""), PROBE_EVERY_S)
        self._is_up = True
        self._say_up(opened.service)

    def on_probed(self, probed: Probed) -> None:
        """Go on, or take the peer for gone."""
        if probed.session is not self._session:
            return
        if probed.is_there:
            self._deadlines.set((_PROBE, ""), PROBE_EVERY_S)
        else:
            self._lose(f"SILENT: the peer did not answer within {PROBE_EVERY_S:g} s")

    def on_lost(self, lost: Lost) -> None:
        """Note that a session is over."""
        if lost.session is not self._session:
            return
        self._lose(lost.reason)

    def on_due(self, what: str) -> None:
        """Do what is due."""
        if what == _CONNECT:
            self.begin()
        elif what == _OPENING:
            self._lose(f"NO_CONNECTION: none within {self._timeout_s:g} s")
        elif what == _STEADY:
            self._failures = 0
        elif self._session is not None:
            self._session.probe()

    def _lose(self, reason: str) -> None:
        was_up = self._is_up
        self.end()
        self._failures += 1
        is_news = was_up or self._failures == 1 or self._failures >= self._retry.max_attempts
        self._say_down(reason, is_news)
        since_s = time.monotonic() - self._began
        wait_s = max(0.0, self._backoff_s(self._failures) - since_s)
        self._deadlines.set((_CONNECT, ""), wait_s)

    def _backoff_s(self, failures: int) -> float:
        doublings = min(failures - 1, 32)
        return min(self._retry.backoff_ms / 1_000 * float(2**doublings), _BACKOFF_MAX_S)
