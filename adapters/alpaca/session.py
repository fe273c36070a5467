"""One connection to the broker: requests go out, open orders are looked at, silence is noticed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from adapters.alpaca.activities import Activities
from adapters.alpaca.book import Book
from adapters.alpaca.calls import Call
from adapters.alpaca.client import Client, NoReplyError
from adapters.alpaca.desk import Desk
from adapters.alpaca.endpoint import Endpoint
from adapters.alpaca.wire import Account, MarketClock, decode, refusal_of
from engine.link.connection import PROBE_EVERY_S
from engine.link.session import Answered, Lost, Opened, Probed

__all__ = ["SERVICE", "AlpacaSession"]

SERVICE = "alpaca.v2"
_ACCOUNT, _CLOCK = "/v2/account", "/v2/clock"
_SILENT_S = 2 * PROBE_EVERY_S + 0.2
_TICK_S = 0.1


class AlpacaSession:
    """The broker answers, until it does not.

    HTTP has no connection of its own, so a session stands from the first answer on and is lost
    with the first request that finds nobody, or when nothing was heard for four seconds although
    something was asked. Requests about one order go out one after another, those about several at
    one time; each has a thread.

    Args:
        endpoint: where the broker is.
        book: the watched orders.
        activities: their executions.
        post: takes what happens; called from the session's threads.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        book: Book,
        activities: Activities,
        post: Callable[[object], None],
    ) -> None:
        self._endpoint = endpoint
        self._activities = activities
        self._post = post
        self._client = Client(endpoint)
        self._desk = Desk(self._client, endpoint, book, activities, self._say)
        self._door = threading.Lock()  # one reason for the end, and nothing said after it
        self._lanes: dict[str, deque[Call]] = {}
        threading.Thread(target=self._run, name="alpaca-session", daemon=True).start()

    def send(self, message: Call) -> None:
        """Send a request; never waits."""
        with self._door:
            lane = self._lanes.get(message.wire_id)
            if lane is not None:
                lane.append(message)
                return
            self._lanes[message.wire_id] = deque([message])
        thread = threading.Thread(
            target=self._drain, args=(message.wire_id,), name="alpaca-request", daemon=True
        )
        thread.start()

    def probe(self) -> None:
        """Say that the broker is there: the session itself finds out when it is not."""
        self._post(Probed(self, not self._client.is_over))

    def close(self) -> None:
        """Let go of the connection; what has not left yet never will."""
        self._client.close()

    def _say(self, said: object, raw: bytes) -> None:
        if not self._client.is_over:
            self._post(Answered(self, said, raw))

    def _lose(self, reason: str) -> None:
        with self._door:
            is_first = not self._client.is_over
            self._client.close()
        if is_first:
            self._post(Lost(self, reason))

    def _drain(self, wire_id: str) -> None:
        """Carry out what was asked about one order, one after another."""
        while True:
            with self._door:
                lane = self._lanes[wire_id]
                if not lane or self._client.is_over:
                    del self._lanes[wire_id]
                    return
                call = lane.popleft()
            try:
                self._desk.carry(call)
            except NoReplyError as error:
                if error.is_lost:
                    self._lose(error.reason)

    def _run(self) -> None:
        try:
            self._open()
            self._post(Opened(self, SERVICE, watched=True))
            threading.Thread(target=self._listen, name="alpaca-beat", daemon=True).start()
            while not self._client.wait(self._endpoint.poll_s):
                self._look()
        except NoReplyError as error:
            self._lose(error.reason)

    def _open(self) -> None:
        """See that the broker lets us in, and what its time is."""
        self._read(_ACCOUNT, Account)
        clock: MarketClock = self._read(_CLOCK, MarketClock)
        self._activities.begin(clock.timestamp)

    def _read(self, path: str, kind: type) -> MarketClock:
        reply = self._client.ask(path, timeout_s=self._endpoint.timeout_s)
        if reply.status != 200:
            words = refusal_of(reply.body) or reply.body[:200].decode(errors="replace")
            reason = f"UNAVAILABLE: GET {path} was answered with {reply.status}: {words}"
            raise NoReplyError(reason, is_lost=True)
        try:
            read: MarketClock = decode(kind, reply.body)
        except msgspec.DecodeError as error:
            reason = f"NOT_ALPACA: GET {path} was answered with something else: {error}"
            raise NoReplyError(reason, is_lost=True) from None
        return read

    def _look(self) -> None:
        if not self._endpoint.pace.has_room():
            return
        try:
            self._desk.look()
        except NoReplyError as error:
            if error.is_lost:
                raise

    def _listen(self) -> None:
        """Ask for the time when nothing was heard for a while; end the session in silence."""
        asking: threading.Thread | None = None
        while not self._client.wait(_TICK_S):
            heard_at = max(self._client.heard_at, self._endpoint.pace.until)
            silence_s = time.monotonic() - heard_at
            if silence_s > _SILENT_S:
                self._lose(f"SILENT: the broker did not answer for {_SILENT_S:g} s")
            elif silence_s > PROBE_EVERY_S and (asking is None or not asking.is_alive()):
                asking = threading.Thread(target=self._beat, name="alpaca-beat", daemon=True)
                asking.start()

    def _beat(self) -> None:
        try:
            reply = self._client.ask(_CLOCK, timeout_s=PROBE_EVERY_S)
        except NoReplyError as error:
            if error.is_lost:
                self._lose(error.reason)
            return
        if reply.status >= 500:
            self._lose(f"UNAVAILABLE: GET {_CLOCK} was answered with {reply.status}")
