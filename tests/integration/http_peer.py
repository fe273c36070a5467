"""A scripted gateway on a real socket: what a test tells it is what it answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapters.http import wire
from adapters.http.link import HttpVenueLink
from adapters.http.serving import Serving
from engine.domain.events import BadAnswer
from engine.domain.money import format_units
from engine.domain.orders import Order
from engine.sections import GatewayConfig, RetryConfig
from tests.integration.peers import EVERYTHING, INSTRUMENTS, NOW, WAIT_S


class HttpPeer:
    """A gateway with links; ``answers`` are what it says to orders instead, one after another."""

    offers = EVERYTHING
    links = True

    def __init__(self) -> None:
        self.port = 0
        self.received: list[str] = []
        self.requests: list[tuple[str, bytes, dict[str, str]]] = []
        self.history: dict[str, list[bytes]] = {}
        self.working: list[str] = []
        self.answers: list[tuple[int, bytes]] = []
        self.silent = False
        self._changed = threading.Condition()
        self._out: tuple[asyncio.AbstractEventLoop, asyncio.Queue[bytes | None]] | None = None
        self._opened = 0
        self._executions = 0
        self._serving: Serving | None = None

    def start(self) -> None:
        routes = [Route(wire.EXECUTE, self._execute, methods=["POST"])]
        if self.links:
            routes += [
                Route(wire.LINKS, self._open, methods=["POST"]),
                Route(wire.LINKS + "/{link}/reports", self._reports),
                Route(wire.LINKS + "/{link}/{what}", self._request, methods=["POST"]),
            ]
        self._serving = Serving(Starlette(routes=routes), grace_s=0)
        self.port = self._serving.start("127.0.0.1", self.port)

    def stop(self) -> None:
        if self._serving is not None:
            self._serving.stop(timeout_s=WAIT_S)
            self._serving = None

    def link(
        self,
        on_bad_answer: Callable[[BadAnswer], None],
        *,
        port: int | None = None,
        timeout: float = 5.0,
        **settings: Any,
    ) -> HttpVenueLink:
        config = GatewayConfig(
            url=f"http://127.0.0.1:{port or self.port}",
            timeout=timeout,
            **{"retry": RetryConfig(backoff_ms=20), **settings},
        )
        return HttpVenueLink(
            config,
            instruments=INSTRUMENTS,
            keep_closed=100,
            on_bad_answer=on_bad_answer,
            now=lambda: NOW,
            price_of={"A": 1_234}.get,
        )

    async def _take(self, request: Request, order_id: str | None) -> bytes:
        body = await request.body()
        with self._changed:
            self.requests.append((request.url.path, body, dict(request.headers)))
            if order_id is not None:
                self.received.append(order_id)
            self._changed.notify_all()
        return body

    async def _open(self, request: Request) -> Response:
        await self._take(request, None)
        self._opened += 1
        return Response(wire.encode(wire.LinkOpened(link=self._opened)), 201)

    async def _reports(self, request: Request) -> Response:
        out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out = asyncio.get_running_loop(), out

        async def lines() -> AsyncIterator[bytes]:
            yield b"\n"
            while True:
                try:
                    raw = await asyncio.wait_for(out.get(), wire.BEAT_EVERY_S)
                except TimeoutError:
                    raw = b""
                if raw is None:
                    return
                yield raw + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _execute(self, request: Request) -> Response:
        await self._take(request, request.headers[wire.KEY_HEADER])
        if self.answers:
            status, body = self.answers.pop(0)
            return Response(body, status)
        return Response(b"{}", 202 if self.links else 201)

    async def _request(self, request: Request) -> Response:
        body = await self._take(request, None)
        what = request.path_params["what"]
        if what == "query":
            order_id = msgspec.json.decode(body, type=wire.QueryBody).client_order_id
            said = self.history.get(order_id)
            for raw in said or []:
                self.send_raw(raw)
            end = wire.NotFound if said is None else wire.QueryDone
            self.send_raw(wire.encode(end(client_order_id=order_id)))
        elif what == "working":
            self.send_raw(wire.encode(wire.Working(client_order_ids=self.working)))
        return Response(b"{}", 202)

    def wait_received(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, WAIT_S)

    def wait_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, WAIT_S)

    def send_raw(self, raw: bytes | None) -> None:
        """Say a line as it stands; None ends the stream in order."""
        if self._out is not None:
            loop, out = self._out
            loop.call_soon_threadsafe(out.put_nowait, raw)

    def say(self, order: Order, message: Any) -> None:
        """Say something about an order, and remember it for a query."""
        raw = wire.encode(message)
        self.history.setdefault(order.client_order_id, []).append(raw)
        self.send_raw(raw)

    def repeat(self, order: Order) -> None:
        self.send_raw(self.history[order.client_order_id][-1])

    def accept(self, order: Order) -> None:
        order_id = order.client_order_id
        self.say(
            order,
            wire.Accepted(
                client_order_id=order_id, venue_order_id=f"V-{order_id}", timestamp=NOW + 1
            ),
        )

    def reject(self, order: Order, reason: str) -> None:
        self.say(
            order,
            wire.Rejected(client_order_id=order.client_order_id, reason=reason, timestamp=NOW + 1),
        )

    def fill(self, order: Order, quantity: int, px: int) -> None:
        instrument = INSTRUMENTS[order.symbol]
        self._executions += 1
        self.say(
            order,
            wire.Executed(
                client_order_id=order.client_order_id,
                exec_id=f"E{self._executions}",
                last_quantity=format_units(quantity, instrument.quantity_decimals),
                last_price=format_units(px, instrument.price_decimals),
                timestamp=NOW + 1,
            ),
        )

    def cancel(self, order: Order) -> None:
        self.say(
            order,
            wire.Canceled(client_order_id=order.client_order_id, reason="USER", timestamp=NOW + 1),
        )


class PlainHttpPeer(HttpPeer):
    """A gateway with ``POST /internal/execute`` alone."""

    offers = frozenset()
    links = False
