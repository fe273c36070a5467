"""One connection to a gateway, from the opening of a link to its loss."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from string import printable
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

from adapters.http.calls import Answer, Call, Line
from adapters.http.endpoint import Endpoint
from adapters.http.wire import (
    BEAT_MISSED_S,
    EXECUTE,
    KEY_HEADER,
    LINK_HEADER,
    LINKS,
    UNREADABLE,
    LinkOpened,
    OpenLink,
    encode,
    reason_of,
)
from engine.link.connection import PROBE_EVERY_S
from engine.link.session import Answered, Lost, Opened, Probed

__all__ = ["HTTP_LINK", "HTTP_PLAIN", "HttpSession"]

HTTP_PLAIN = "http"
"""``POST /internal/execute`` alone."""
HTTP_LINK = "http-link"
"""That, cancels, replacements, queries, and a stream of reports."""
_LINE_MAX = 65_536
_NO_LINKS = frozenset({404, 405, 501})
_JSON = {"Content-Type": "application/json"}
_OPENED = msgspec.json.Decoder(LinkOpened)


class _Over(Exception):  # noqa: N818 - it ends a session, in order or not
    """The session is over; ``args`` is the reason."""


class HttpSession:
    """Finds out what the gateway offers, and carries calls one after another.

    A thread of its own sends; a second one reads reports where there are links. Everything that
    happens is posted, the loss last and once.

    Args:
        endpoint: where the gateway is.
        post: takes what happens; called from the session's threads.
        client: our name there: what an earlier session of it has sent and has not arrived, never
            will; empty for none.
    """

    def __init__(self, endpoint: Endpoint, post: Callable[[object], None], *, client: str) -> None:
        self._endpoint = endpoint
        self._post = post
        self._client = client
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._over = threading.Event()
        self._door = threading.Lock()  # one reason for the end, and nothing posted after it
        self._link: int | None = None
        self._reports: socket.socket | None = None
        threading.Thread(target=self._run, name="http-session", daemon=True).start()

    def send(self, message: Call) -> None:
        """Send a call; never waits. It may be lost with the connection."""
        self._calls.put(message)

    def probe(self) -> None:
        """Ask for anything: an answer of any kind shows that the gateway is there."""
        threading.Thread(target=self._probe, name="http-probe", daemon=True).start()

    def close(self) -> None:
        """Let go of the connection; a call that is on its way may still arrive."""
        self._over.set()
        self._calls.put(None)
        reports = self._reports
        if reports is not None:
            with suppress(OSError):  # it is gone already
                reports.shutdown(socket.SHUT_RDWR)

    def _say(self, event: object) -> None:
        if not self._over.is_set():
            self._post(event)

    def _lose(self, reason: str) -> None:
        with self._door:
            is_first = not self._over.is_set()
            self.close()
        if is_first:
            self._post(Lost(self, reason))

    def _run(self) -> None:
        try:
            with self._endpoint.client() as client:
                if self._open_link(client):
                    reader = threading.Thread(target=self._listen, name="http-reports", daemon=True)
                    reader.start()
                else:
                    self._say(Opened(self, HTTP_PLAIN, watched=False))
                while (call := self._calls.get()) is not None and not self._over.is_set():
                    self._carry(client, call)
        except _Over as over:
            self._lose(str(over))

    def _open_link(self, client: httpx2.Client) -> bool:
        """Open a link; False when the gateway has none."""
        opening = Call("link", "", LINKS, encode(OpenLink(client=self._client)))
        answer = self._ask(client, opening, self._endpoint.timeout_s)
        if answer.status in _NO_LINKS:
            return False
        if not answer.is_done:
            raise _Over(_reason(answer))
        try:
            self._link = _OPENED.decode(answer.body).link
        except UNREADABLE as error:
            raise _Over(f"NO_LINK: the gateway did not name one: {error}") from None
        return True

    def _carry(self, client: httpx2.Client, call: Call) -> None:
        """Make a call and post what came of it; without links, again while that is open."""
        deadline = time.monotonic() + self._endpoint.timeout_s
        answer = self._ask(client, call, self._endpoint.timeout_s)
        if self._link is not None and answer.status in (0, 410):
            raise _Over(_reason(answer))  # what is known is asked for over a new link
        wait_s = self._endpoint.retry.backoff_ms / 1_000
        for _ in range(self._endpoint.retry.max_attempts - 1):
            left_s = deadline - time.monotonic() - wait_s
            if answer.is_done or answer.is_refused or left_s <= 0 or self._over.wait(wait_s):
                break
            answer = self._ask(client, call, left_s)
            wait_s *= 2
        self._say(Answered(self, answer, answer.body))

    def _ask(self, client: httpx2.Client, call: Call, timeout_s: float) -> Answer:
        headers = dict(_JSON)
        path = call.path
        if call.about == "order":
            headers[KEY_HEADER] = quote(call.order_id, safe=printable)
        if self._link is not None:
            headers[LINK_HEADER] = str(self._link)
            if call.about != "order":
                path = f"{LINKS}/{self._link}{path}"
        try:
            response = client.post(path, content=call.body, headers=headers, timeout=timeout_s)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            words = f"{type(error).__name__}: {error}".rstrip(": ")
            return Answer(call, 0, words.encode())
        return Answer(call, response.status_code, response.content)

    def _probe(self) -> None:
        try:
            with self._endpoint.client() as client:
                client.get(EXECUTE, timeout=PROBE_EVERY_S)
            is_there = True
        except httpx2.HTTPError:
            is_there = False
        self._say(Probed(self, is_there))

    def _listen(self) -> None:
        """Read reports to their end."""
        timeout = httpx2.Timeout(BEAT_MISSED_S, connect=self._endpoint.timeout_s)
        path = f"{LINKS}/{self._link}/reports"
        try:
            with (
                self._endpoint.client() as client,
                client.stream("GET", path, timeout=timeout) as response,
            ):
                if response.status_code != 200:
                    response.read()
                    self._lose(_words(response.status_code, response.content))
                    return
                self._reports = _socket_of(response)
                self._say(Opened(self, HTTP_LINK, watched=True))
                for raw in _lines(response):
                    self._say(Answered(self, Line(raw), raw))
            self._lose("STREAM_ENDED: the gateway has ended the reports")
        except httpx2.ReadTimeout:
            self._lose(f"SILENT: the gateway said nothing for {BEAT_MISSED_S:g} s")
        except (httpx2.HTTPError, ValueError) as error:
            self._lose(f"UNAVAILABLE: {type(error).__name__}: {error}")


def _lines(response: httpx2.Response) -> Any:
    """Give the lines that are not empty; one without an end is cut, and will not be readable."""
    rest = b""
    for chunk in response.iter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > _LINE_MAX:
            yield rest
            rest = b""


def _socket_of(response: httpx2.Response) -> socket.socket | None:
    stream = response.extensions.get("network_stream")
    return None if stream is None else stream.get_extra_info("socket")


def _reason(answer: Answer) -> str:
    if answer.status == 410:
        return "SUPERSEDED: the client has connected anew"
    if answer.status == 0:
        return f"UNAVAILABLE: {answer.body.decode(errors='replace')}"
    return _words(answer.status, answer.body)


def _words(status: int, body: bytes) -> str:
    return f"HTTP_{status}: {reason_of(status, body)}"
