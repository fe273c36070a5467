"""One request and its whole answer, with a deadline over all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import msgspec

from adapters.alpaca.endpoint import KEY_ID, SECRET_KEY, Endpoint
from adapters.alpaca.wire import refusal_of

__all__ = ["Client", "NoReplyError", "Reply"]

_BODY_MAX = 16 * 1024 * 1024
_SLOW = (httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.PoolTimeout)


class Reply(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        status: status code.
        body: all of it.
    """

    status: int
    body: bytes


class NoReplyError(Exception):
    """Nothing came back; what was asked may have been done all the same.

    Attributes:
        reason: a code, and the words of the transport.
        is_lost: more than this request will find the broker out of reach.
        is_broken: the connection broke; another may not.
    """

    def __init__(self, reason: str, *, is_lost: bool, is_broken: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_lost = is_lost
        self.is_broken = is_broken


class _OverError(Exception):
    """The client was closed before the request had left."""


class Client:
    """Asks, from any thread.

    Args:
        endpoint: where.

    Attributes:
        heard_at: when the last whole answer came, by the monotonic clock.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._pace = endpoint.pace
        self._http = endpoint.client()
        self._over = threading.Event()
        self.heard_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        """True once it is closed."""
        return self._over.is_set()

    def close(self) -> None:
        """Hang up: what has not left yet never will."""
        self._over.set()
        self._http.close()

    def wait(self, seconds: float) -> bool:
        """Wait; True when the client was closed meanwhile."""
        return self._over.wait(seconds)

    def ask(self, path: str, params: Mapping[str, str] | None = None, *, timeout_s: float) -> Reply:
        """Read something; asked once more when the connection breaks.

        Raises:
            NoReplyError: nothing came back.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return self.tell("GET", path, params=params, timeout_s=timeout_s)
        except NoReplyError as error:
            left_s = deadline - time.monotonic()
            if not error.is_broken or self.is_over or left_s <= 0:
                raise
            return self.tell("GET", path, params=params, timeout_s=left_s)

    def tell(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
    ) -> Reply:
        """Make one request, once.

        It waits while the broker wants to be left alone, and is not made when that is longer than
        ``timeout_s``.

        Raises:
            NoReplyError: nothing came back.
        """
        deadline = time.monotonic() + timeout_s
        self._wait_for_leave(deadline)
        self._pace.note()
        try:
            reply = self._exchange(method, path, params, body, deadline)
        except _SLOW as error:
            raise NoReplyError(f"NO_ANSWER: {type(error).__name__}", is_lost=False) from error
        except (httpx2.HTTPError, OSError) as error:
            reason = f"UNAVAILABLE: {type(error).__name__}: {error}"[:500].replace("\n", " ")
            raise NoReplyError(reason, is_lost=True, is_broken=True) from error
        except (RuntimeError, _OverError) as error:  # closed meanwhile, here or in the client
            raise NoReplyError("CLOSED: the connection was let go of", is_lost=False) from error
        if reply.status == 401:
            words = refusal_of(reply.body) or "no reason given"
            reason = f"UNAUTHORIZED: the broker refuses {KEY_ID} and {SECRET_KEY}: {words}"
            raise NoReplyError(reason, is_lost=True)
        return reply

    def _wait_for_leave(self, deadline: float) -> None:
        while (wait_s := self._pace.until - time.monotonic()) > 0:
            if self._pace.until > deadline:
                raise NoReplyError("RATE_LIMITED: the broker wants us to wait", is_lost=False)
            if self.wait(wait_s):
                break

    def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        deadline: float,
    ) -> Reply:
        headers = {} if body is None else {"Content-Type": "application/json"}
        left_s = max(deadline - time.monotonic(), 0.001)
        with self._http.stream(
            method,
            path,
            params=params,
            content=body,
            headers=headers,
            timeout=left_s,
            extensions={"trace": self._on_step},
        ) as response:
            content = bytearray()
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > _BODY_MAX or time.monotonic() > deadline:
                    raise NoReplyError(f"NO_ANSWER: {len(content)} bytes and no end", is_lost=False)
            self.heard_at = time.monotonic()
            if response.status_code == 429:
                self._pace.pause(response.headers)
            return Reply(response.status_code, bytes(content))

    def _on_step(self, step: str, info: dict[str, Any]) -> None:
        """Let nothing leave any more once the client is closed."""
        if self.is_over and step.endswith("send_request_headers.started"):
            raise _OverError
