"""The edge of a gateway: orders over HTTP, and links with their lines of reports."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapters.http import wire
from adapters.http.serving import Serving
from adapters.http.writer import MalformedError, Writer, outcome_of
from engine.domain.clients import ClientGone, ClientRequest, FromClient, ListOrders, QueryOrder
from engine.domain.commands import CancelOrder
from engine.domain.gateway import AskedOrder, GatewayOrder, RefusalCode
from engine.domain.instruments import Instrument
from engine.domain.orders import Order
from engine.errors import EngineHaltedError, StoreError
from engine.oms_ports import GatewayBook

__all__ = ["PLAIN_SESSION", "GatewayServer"]

PLAIN_SESSION = -1
"""The desk's session of clients without a link."""
BODY_MAX = 65_536
WAITING_MAX = 100_000
ANSWER_S = 3.0
"""How long an order without a link waits for the venue's first word; less than clients wait."""
_STATUSES: Mapping[RefusalCode, tuple[int, str]] = {
    RefusalCode.UNKNOWN_SESSION: (404, "there is no such session"),
    RefusalCode.SESSION_STOPPED: (403, "the session is not running"),
    RefusalCode.UNKNOWN_SYMBOL: (422, "the symbol is not traded here"),
    RefusalCode.SYMBOL_INACTIVE: (422, "the symbol is not active"),
    RefusalCode.INSUFFICIENT_FUNDS: (400, "Insufficient funds"),
    RefusalCode.KEY_REUSED: (422, "the Idempotency-Key was used for another order"),
    RefusalCode.UNKNOWN_ORDER: (404, "there is no such order"),
}
_OPEN = msgspec.json.Decoder(wire.OpenLink)
_CANCEL = msgspec.json.Decoder(wire.CancelBody)
_QUERY = msgspec.json.Decoder(wire.QueryBody)


class _RefusedError(Exception):
    """A request that is not done; ``response`` says so."""

    def __init__(self, status: int, code: str, error: str) -> None:
        super().__init__(error)
        refusal = wire.Refusal(error=error, code=code)
        self.response = Response(wire.encode(refusal), status, media_type="application/json")


class _Link:
    """A client's link: what is to be said to it."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.is_over = False
        self.is_read = False
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def say(self, line: bytes) -> None:
        """Put a line in, from any thread; never waits. A client that does not read is cut off."""
        with self._lock:
            if len(self._waiting) >= WAITING_MAX:
                self.is_over = True
            else:
                self._waiting.append(line)
            if self._wake is not None:
                self._wake()

    def end(self) -> None:
        """Say nothing more."""
        with self._lock:
            self.is_over = True
            if self._wake is not None:
                self._wake()

    def _take(self) -> bytes:
        with self._lock:
            said, self._waiting = self._waiting, []
        return b"".join(said)

    async def lines(self) -> AsyncIterator[bytes]:
        """Give what is said, and an empty line a second, until the link is over."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(news.set)

        with self._lock:
            self._wake = wake
        yield b"\n"
        while not self.is_over:
            news.clear()
            said = self._take()
            if said:
                yield said
                continue
            try:
                await asyncio.wait_for(news.wait(), wire.BEAT_EVERY_S)
            except TimeoutError:
                yield b"\n"


class GatewayServer:
    """Serves ``POST /internal/execute`` and links.

    Args:
        instruments: what is traded, by symbol.
        ask: carries a request to the desk; raises ``EngineHaltedError`` when there is none.
        book: decides what a session may order.
        token: what a client must show; None lets in whoever comes.
        certificate: PEM file of the certificate; it encrypts when there is one.
        key: PEM file of that certificate's key.
    """

    def __init__(
        self,
        *,
        instruments: Mapping[str, Instrument],
        ask: Callable[[FromClient | ClientGone], None],
        book: GatewayBook,
        token: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
    ) -> None:
        self._instruments = instruments
        self._ask = ask
        self._book = book
        self._token = None if token is None else f"Bearer {token}".encode()
        self._writer = Writer(instruments)
        self._numbers = count(1)
        self._links: dict[int, _Link] = {}
        self._door = threading.Lock()  # between a request and the desk
        self._first_words: dict[str, Future[None]] = {}
        routes = [
            self._route("/health", self._health, "GET", is_open=True),
            self._route(wire.EXECUTE, self._execute, "POST"),
            self._route(wire.LINKS, self._open, "POST"),
            self._route(wire.LINKS + "/{link:int}/reports", self._reports, "GET"),
            self._route(wire.LINKS + "/{link:int}/{what}", self._request, "POST"),
            self._route("/v1/sessions/{session}", self._session, "GET"),
        ]
        app = Starlette(routes=routes)
        self._serving = Serving(app, grace_s=1, certificate=certificate, key=key)

    def start(self, host: str, port: int) -> int:
        """Listen; give the port, a free one where it is 0.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        return self._serving.start(host, port)

    def stop(self, *, timeout_s: float) -> None:
        """End every connection and stop listening; wait at most so many seconds."""
        for link in tuple(self._links.values()):
            link.end()
        self._serving.stop(timeout_s=timeout_s)

    def recall(self, order: Order) -> None:
        """Take in an order of an earlier life: what is said of it is written by its symbol."""
        self._writer.recall(order)

    def deliver(self, session: int, event: Any) -> None:
        """Say something to a client, for any thread; never waits."""
        if session == PLAIN_SESSION:
            first = self._first_words.get(event.client_order_id)
            if first is not None and not first.done():
                first.set_result(None)
            return
        link = self._links.get(session)
        if link is not None and not link.is_over:
            link.say(self._writer.line(event))

    # Requests.

    def _route(
        self,
        path: str,
        serve: Callable[[Request], Awaitable[Response]],
        method: str,
        *,
        is_open: bool = False,
    ) -> Route:
        """Let in who may, and answer what goes wrong with its name."""

        async def served(request: Request) -> Response:
            try:
                if not is_open:
                    self._require_token(request)
                return await serve(request)
            except _RefusedError as refused:
                return refused.response
            except MalformedError as error:
                return _RefusedError(400, "INVALID_ORDER", str(error)).response
            except (StoreError, EngineHaltedError) as error:
                return _RefusedError(503, "UNAVAILABLE", str(error)).response
            except ClientDisconnect:
                return Response(status_code=499)

        return Route(path, served, methods=[method])

    def _require_token(self, request: Request) -> None:
        shown = request.headers.get("authorization", "").encode()
        if self._token is not None and not hmac.compare_digest(shown, self._token):
            raise _RefusedError(401, "UNAUTHORIZED", "this gateway asks for its token")

    async def _health(self, request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def _session(self, request: Request) -> Response:
        name = request.path_params["session"]
        session = await run_in_threadpool(self._book.session, name)
        if session is None:
            raise _refusal(RefusalCode.UNKNOWN_SESSION)
        return _json(session)

    async def _execute(self, request: Request) -> Response:
        body = await _body(request)
        key = unquote(request.headers.get(wire.KEY_HEADER.lower(), ""))
        asked = self._writer.order(body, key)
        number = request.headers.get(wire.LINK_HEADER.lower())
        if number is not None:
            await run_in_threadpool(self._place, asked, self._number(number))
            return _json({"clientOrderId": asked.order.client_order_id}, 202)
        return await self._execute_now(asked)

    async def _execute_now(self, asked: AskedOrder) -> Response:
        """Place an order and wait for the venue's first word on it."""
        order_id = asked.order.client_order_id
        first = self._first_words.setdefault(order_id, Future())
        try:
            order = await run_in_threadpool(self._place, asked, None)
            if order.status == "PENDING_NEW":
                with suppress(TimeoutError):  # it is taken, and the venue will decide
                    await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(first)), ANSWER_S)
                order = await run_in_threadpool(self._find, order)
        finally:
            self._first_words.pop(order_id, None)
        if order.status == "REJECTED":
            raise _RefusedError(422, "REJECTED", order.reason)
        outcome = outcome_of(order, self._instruments[order.symbol])
        return _json(outcome, 202 if order.status == "PENDING_NEW" else 201)

    def _find(self, order: GatewayOrder) -> GatewayOrder:
        found = self._book.find(order.client_order_id)
        return order if found is None else found

    def _place(self, asked: AskedOrder, number: int | None) -> GatewayOrder:
        """Take an order and put it before the desk, once; one that has ended stays as it is."""
        if number is not None:
            self._require_link(number)
        order_id = asked.order.client_order_id
        taken = self._book.admit(asked)
        if isinstance(taken, RefusalCode):
            raise _refusal(taken)
        self._writer.recall(asked.order)
        is_over = taken.status not in ("PENDING_NEW", "ACCEPTED", "PARTIALLY_FILLED")
        request: ClientRequest = QueryOrder(order_id) if is_over else asked.order
        # Where this fails, the order is in the book and not at the desk: it is there when it is
        # asked for again, and given up when the gateway starts again.
        self._tell(PLAIN_SESSION if number is None else number, request)
        return taken

    def _tell(self, number: int, request: ClientRequest) -> None:
        with self._door:
            if number != PLAIN_SESSION:
                self._require_link(number)
            self._ask(FromClient(number, request))

    # Links.

    async def _open(self, request: Request) -> Response:
        try:
            asked = _OPEN.decode(await _body(request) or b"{}")
        except wire.UNREADABLE as error:
            raise MalformedError(f"not a link: {error}") from None
        number = next(self._numbers)
        await run_in_threadpool(self._take_over, asked.client, number)
        return _json(wire.LinkOpened(link=number), 201)

    def _take_over(self, client: str, number: int) -> None:
        """End the earlier links of a client: what is still on its way there never arrives."""
        with self._door:
            for other in self._links.values():
                if client and other.client == client:
                    other.end()
            self._links[number] = _Link(client)

    async def _reports(self, request: Request) -> Response:
        number = request.path_params["link"]
        link = self._require_link(number)
        if link.is_read:
            raise _RefusedError(409, "LINK_IS_READ", "the reports of this link are read already")
        link.is_read = True

        async def lines() -> AsyncIterator[bytes]:
            try:
                async for said in link.lines():
                    yield said
            finally:
                await run_in_threadpool(self._close, number)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def _close(self, number: int) -> None:
        with self._door:
            link = self._links.pop(number, None)
            if link is None:
                return
            link.end()
            with suppress(EngineHaltedError):  # nobody is left to be told
                self._ask(ClientGone(number))

    async def _request(self, request: Request) -> Response:
        number, what = request.path_params["link"], request.path_params["what"]
        self._require_link(number)
        body = await _body(request)
        await run_in_threadpool(self._carry, number, what, body)
        return _json({}, 202)

    def _carry(self, number: int, what: str, body: bytes) -> None:
        if what == "working":
            self._tell(number, ListOrders())
        elif what == "query":
            self._tell(number, QueryOrder(_read(_QUERY, body).client_order_id))
        elif what == "cancel":
            asked = _read(_CANCEL, body)
            self._tell(
                number, CancelOrder(asked.client_order_id, asked.strategy_id, asked.timestamp)
            )
        elif what == "replace":
            replace = self._writer.replacement(body)
            refused = self._book.admit_replace(replace)
            if refused is not None:
                raise _refusal(refused)
            self._tell(number, replace)
        else:
            raise _RefusedError(404, "UNKNOWN_REQUEST", f"a link has no {what[:50]!r}")

    def _number(self, text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise MalformedError(f"{wire.LINK_HEADER} is to be the number of a link")
        return int(text[:18])

    def _require_link(self, number: int) -> _Link:
        link = self._links.get(number)
        if link is None or link.is_over:
            raise _RefusedError(410, "LINK_IS_OVER", "this link is over; open another")
        return link


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_MAX:
            raise _RefusedError(413, "TOO_LARGE", f"a body may have {BODY_MAX:,} bytes")
        parts.append(part)
    return b"".join(parts)


def _read(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except wire.UNREADABLE as error:
        raise MalformedError(str(error)) from None


def _refusal(code: RefusalCode) -> _RefusedError:
    status, error = _STATUSES[code]
    return _RefusedError(status, code, error)


def _json(message: Any, status: int = 200) -> Response:
    return Response(wire.encode(message), status, media_type="application/json")
