"""A scripted broker in Alpaca's REST shape on a real socket.

An order that comes is answered when a test has said what becomes of it, as a slow broker does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapters.alpaca.link import AlpacaVenueLink
from adapters.http.serving import Serving
from engine.domain.events import BadAnswer
from engine.domain.money import format_units, to_units
from engine.domain.orders import Order
from engine.domain.wire_time import read_time
from engine.sections import AlpacaConfig, RetryConfig
from tests.integration.peers import EVERYTHING, INSTRUMENTS, NOW, WAIT_S

KEYS = {"APCA_API_KEY_ID": "PK-TEST", "APCA_API_SECRET_KEY": "the-secret-of-it"}
OVER = ("filled", "canceled", "expired", "rejected", "replaced")
_MS = 10**6
_DECIMALS = 9


def stamp(ns: int) -> str:
    """Write a time as Alpaca does, to the nanosecond."""
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


def error(message: str, code: int = 42210000) -> bytes:
    return msgspec.json.encode({"code": code, "message": message})


class AlpacaPeer:
    """Does what a test says, and remembers.

    ``trades_at`` is a price in text that it fills market orders at of its own; None leaves all to
    the test. ``answers`` are what it says instead, by method and path, one after another: a status,
    a body, and headers.
    """

    offers = EVERYTHING - {"reduce-only", "links"}

    def __init__(self) -> None:
        self.port = 0
        self.received: list[str] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.activities: list[dict[str, str]] = []
        self.answers: dict[tuple[str, str], list[tuple[int, bytes, dict[str, str]]]] = {}
        self.holds_posts = True
        self.trades_at: str | None = None
        self.hides_activities = False
        self.replaces_at_once = True
        self.trickles = False
        self._never = threading.Event()
        self._tell: Callable[[], None] = lambda: None
        self._rejected: dict[str, str] = {}
        self._decided: set[str] = set()
        self._ns = NOW + 10**9
        self._stops = False
        self._changed = threading.Condition(threading.RLock())
        self._serving: Serving | None = None

    def start(self) -> None:
        self._stops = False
        order, orders = "/v2/orders/{id}", "/v2/orders"
        by_our_id = "/v2/orders:by_client_order_id"
        routes = [
            Route("/v2/account", self._account),
            Route("/v2/clock", self._clock),
            Route(orders, self._post, methods=["POST"]),
            Route(orders, self._open_orders),
            Route(by_our_id, self._by_our_id),
            Route(order, self._get),
            Route(order, self._delete, methods=["DELETE"]),
            Route(order, self._patch, methods=["PATCH"]),
            Route("/v2/account/activities/FILL", self._fills),
        ]
        self._serving = Serving(Starlette(routes=routes), grace_s=0)
        self.port = self._serving.start("127.0.0.1", self.port)

    def stop(self) -> None:
        with self._changed:
            self._stops = True
            self._changed.notify_all()
        if self._serving is not None:
            self._serving.stop(timeout_s=WAIT_S)
            self._serving = None

    def link(
        self,
        on_bad_answer: Callable[[BadAnswer], None],
        *,
        port: int | None = None,
        timeout: float = 5.0,
        client: str = "",
        **settings: Any,
    ) -> AlpacaVenueLink:
        config = AlpacaConfig(
            timeout=timeout,
            **{
                "url": f"http://127.0.0.1:{port or self.port}",
                "poll_ms": 30,
                "requests_per_minute": 1_000_000,
                "retry": RetryConfig(backoff_ms=20),
                **settings,
            },
        )
        return AlpacaVenueLink(
            config,
            environment=KEYS,
            instruments=INSTRUMENTS,
            keep_closed=100,
            on_bad_answer=on_bad_answer,
            now=lambda: NOW,
            client=client,
        )

    # What a test says.

    def wait_received(self, count: int) -> None:
        self.wait_until(lambda: len(self.received) >= count)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, WAIT_S), self.requests[-20:]

    def count(self, method: str, path: str) -> int:
        """Count the requests to a path."""
        return sum(each[:2] == (method, path) for each in self.requests)

    def say(self, method: str, path: str, status: int, body: bytes, **headers: str) -> None:
        """Answer the next such request so."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._changed:
            self.answers.setdefault((method, path), []).append((status, body, named))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let everything that is said meanwhile come to be at one time."""
        with self._changed:
            yield

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Tell of every request meanwhile."""
        self._tell = tell
        yield
        self._tell = lambda: None

    def accept(self, order: Order) -> None:
        with self._changed:
            said = self._last(order)
            if said["status"] == "pending_new":
                said["status"] = "new"
                self._count(said)
            self._decide(order)

    def reject(self, order: Order, reason: str) -> None:
        with self._changed:
            self._rejected[order.client_order_id] = reason
            self._decide(order)

    def fill(self, order: Order, quantity: int, px: int) -> None:
        instrument = INSTRUMENTS[order.symbol]
        self.execute(
            order,
            format_units(quantity, instrument.quantity_decimals),
            format_units(px, instrument.price_decimals),
        )

    def execute(self, order: Order, qty: str, price: str) -> None:
        """Execute a part of an order, and count it."""
        with self._changed:
            self._execute(self._last(order), qty, price)
            self._decide(order)

    def _execute(self, said: dict[str, Any], qty: str, price: str) -> None:
        with self._changed:
            filled = to_units(said["filled_qty"], _DECIMALS) + to_units(qty, _DECIMALS)
            said["filled_qty"] = format_units(filled, _DECIMALS)
            said["filled_avg_price"] = price
            if said["status"] in ("new", "partially_filled"):
                self._count(said)
            ns = self._tick()
            self.activities.append(
                {
                    "id": f"{ns}::{len(self.activities)}",
                    "activity_type": "FILL",
                    "order_id": said["id"],
                    "symbol": said["symbol"],
                    "side": said["side"],
                    "price": price,
                    "qty": qty,
                    "cum_qty": said["filled_qty"],
                    "leaves_qty": "0",
                    "transaction_time": stamp(ns),
                    "type": "fill",
                }
            )

    def cancel(self, order: Order) -> None:
        self.end(order, "canceled")

    def end(self, order: Order, status: str) -> None:
        with self._changed:
            said = self._last(order)
            said["status"] = status
            said[f"{status}_at"] = stamp(self._tick())
            self._decide(order)

    def repeat(self, order: Order) -> None:
        """List the latest execution of an order twice."""
        with self._changed:
            ids = {each["id"] for each in self._forms(order)}
            of_it = [each for each in self.activities if each["order_id"] in ids]
            self.activities += of_it[-1:]

    def put(self, order: Order, **changes: Any) -> dict[str, Any]:
        """Have an order, as if it had come."""
        fields = {
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "side": order.side.lower(),
            "type": order.order_type.lower(),
            "qty": format_units(order.order_qty, INSTRUMENTS[order.symbol].quantity_decimals),
        }
        if order.limit_px is not None:
            fields["limit_price"] = format_units(order.limit_px, 2)
        with self._changed:
            return self._new({**fields, **changes})

    def _new(self, fields: dict[str, Any]) -> dict[str, Any]:
        order_id = f"V-{fields['client_order_id']}"
        said = {
            "id": order_id,
            "created_at": stamp(NOW + 1),
            "submitted_at": stamp(NOW + 1),
            "status": "pending_new",
            "filled_qty": "0",
            "filled_avg_price": None,
            "replaced_by": None,
            "replaces": None,
            **fields,
        }
        self.orders[said["id"]] = said
        return said

    def _forms(self, order: Order) -> list[dict[str, Any]]:
        name = order.client_order_id
        return [
            each
            for each in self.orders.values()
            if each["client_order_id"].partition("~")[0].endswith(name)
        ]

    def _last(self, order: Order) -> dict[str, Any]:
        forms = self._forms(order)
        return forms[-1] if forms else self.put(order)

    def _count(self, said: dict[str, Any]) -> None:
        filled = to_units(said["filled_qty"], _DECIMALS)
        if filled >= to_units(said["qty"], _DECIMALS):
            said["status"] = "filled"
        elif filled:
            said["status"] = "partially_filled"

    def _decide(self, order: Order) -> None:
        self._decided.add(order.client_order_id)
        self._changed.notify_all()

    def _tick(self) -> int:
        self._ns += _MS
        return self._ns

    # What it says.

    def _take(self, request: Request, body: bytes = b"") -> Response | None:
        """Note a request; give the answer that a test has prepared."""
        path = request.url.path
        with self._changed:
            self.requests.append((request.method, path, dict(request.query_params), body))
            self._tell()
            self._changed.notify_all()
            prepared = self.answers.get((request.method, path))
            if prepared:
                status, content, headers = prepared.pop(0)
                return Response(content, status, headers=headers)
        keys = (request.headers.get("apca-api-key-id"), request.headers.get("apca-api-secret-key"))
        if keys != tuple(KEYS.values()):
            return Response(error("unauthorized.", 40110000), 401)
        return None

    def _account(self, request: Request) -> Response:
        return self._take(request) or _json({"id": "A-1", "status": "ACTIVE"})

    def _clock(self, request: Request) -> Response:
        prepared = self._take(request)
        if self.trickles:
            return StreamingResponse(self._trickle())
        with self._changed:
            return prepared or _json({"timestamp": stamp(self._ns), "is_open": True})

    async def _trickle(self) -> AsyncIterator[bytes]:
        while self.trickles and not self._stops:
            yield b" "
            await asyncio.to_thread(self._never.wait, 0.1)

    async def _post(self, request: Request) -> Response:
        return await run_in_threadpool(self._posted, request, await request.body())

    def _posted(self, request: Request, body: bytes) -> Response:
        fields = msgspec.json.decode(body, type=dict[str, str])
        wire_id = fields["client_order_id"]
        with self._changed:
            self.received.append(wire_id)
            prepared = self._take(request, body)
            if prepared is not None:
                return prepared
            if any(each["client_order_id"] == wire_id for each in self.orders.values()):
                return Response(error("client_order_id must be unique", 40010001), 422)
            said = self._new(fields)
            if self.trades_at is not None:
                self._trade(said, self.trades_at)
            elif self.holds_posts:
                self._changed.wait_for(
                    lambda: self._stops or any(wire_id.endswith(each) for each in self._decided),
                    WAIT_S,
                )
            reason = next((v for k, v in self._rejected.items() if wire_id.endswith(k)), None)
            if reason is not None:
                del self.orders[said["id"]]
                return Response(error(reason), 422)
            return _json(said)

    def _trade(self, said: dict[str, Any], price: str) -> None:
        """Fill a market order, in two parts; let any other rest."""
        said["status"] = "new"
        if said["type"] == "market":
            rest = to_units(said["qty"], _DECIMALS) - 10**_DECIMALS
            self._execute(said, "1", price)
            if rest:
                self._execute(said, format_units(rest, _DECIMALS), price)

    def _by_our_id(self, request: Request) -> Response:
        prepared = self._take(request)
        wire_id = request.query_params["client_order_id"]
        with self._changed:
            found = [each for each in self.orders.values() if each["client_order_id"] == wire_id]
            return prepared or (_json(found[0]) if found else _not_found())

    def _get(self, request: Request) -> Response:
        prepared = self._take(request)
        with self._changed:
            found = self.orders.get(request.path_params["id"])
            return prepared or (_not_found() if found is None else _json(found))

    def _open_orders(self, request: Request) -> Response:
        prepared = self._take(request)
        with self._changed:
            return prepared or _json([o for o in self.orders.values() if o["status"] not in OVER])

    def _delete(self, request: Request) -> Response:
        prepared = self._take(request)
        if prepared is not None:
            return prepared
        with self._changed:
            found = self.orders.get(request.path_params["id"])
            if found is None:
                return _not_found()
            if found["status"] in OVER:
                return Response(error(f"order is already {found['status']}"), 422)
            if self.trades_at is not None:
                found["status"], found["canceled_at"] = "canceled", stamp(self._tick())
            return Response(b"", 204)

    async def _patch(self, request: Request) -> Response:
        body = await request.body()
        prepared = self._take(request, body)
        if prepared is not None:
            return prepared
        with self._changed:
            old = self.orders.get(request.path_params["id"])
            if old is None:
                return _not_found()
            if old["status"] not in ("new", "partially_filled"):
                return Response(error(f"order is {old['status']}"), 422)
            changes = msgspec.json.decode(body, type=dict[str, str])
            kept = {k: old[k] for k in ("symbol", "side", "type", "qty") if k in old}
            kept |= {k: old[k] for k in ("limit_price", "stop_price") if k in old}
            times = dict.fromkeys(("created_at", "submitted_at"), stamp(self._tick()))
            said = self._new({**kept, **times, "replaces": old["id"], "status": "new", **changes})
            old["replaced_by"] = said["id"]
            old["status"] = "replaced" if self.replaces_at_once else "pending_replace"
            return _json(said)

    def _fills(self, request: Request) -> Response:
        prepared = self._take(request)
        if prepared is not None:
            return prepared
        params = request.query_params
        with self._changed:
            said = [] if self.hides_activities else list(self.activities)
        if "after" in params:
            since = read_time(params["after"])
            said = [each for each in said if read_time(each["transaction_time"]) > since]
        if "page_token" in params:
            ids = [each["id"] for each in said]
            token = params["page_token"]
            said = said[ids.index(token) + 1 if token in ids else 0 :]
        return _json(said[: int(params.get("page_size", "100"))])


def _json(what: Any) -> Response:
    return Response(msgspec.json.encode(what), media_type="application/json")


def _not_found() -> Response:
    return Response(error("order not found for it", 40410000), 404)
