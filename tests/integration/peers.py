"""Scripted venues on real sockets: what a test tells them is what they answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

import grpc

from adapters.grpc.link import GrpcVenueLink
from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from adapters.grpc.plain import request_id
from engine.domain.events import BadAnswer
from engine.domain.instruments import Instrument
from engine.domain.money import format_units
from engine.domain.orders import Order
from engine.ports import VenueLink
from engine.sections import OmsGrpcConfig, RetryConfig

SHARE = Instrument(symbol="A")
COIN = Instrument(symbol="C", quantity_decimals=4)
INSTRUMENTS = {each.symbol: each for each in (SHARE, COIN)}
NOW = 1_700_000_000 * 10**9
WAIT_S = 20.0
EVERYTHING = frozenset(
    {
        "cancel", "replace", "query", "list", "stops", "times", "reduce-only", "links", "fractions",
    }
)  # fmt: skip
"""What a venue can do beyond market and limit orders that stay until they are canceled."""


class Peer(Protocol):
    """A venue that a link is tested against: it does what a test says, and remembers.

    Attributes:
        port: where it listens; the same after a restart.
        offers: what it can do beyond plain orders, of ``EVERYTHING``.
        received: ids of the orders it got, in order, resends included.
    """

    port: int
    offers: frozenset[str]
    received: list[str]

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def link(
        self,
        on_bad_answer: Callable[[BadAnswer], None],
        *,
        port: int | None = None,
        timeout: float = 5.0,
    ) -> VenueLink: ...
    def wait_received(self, count: int) -> None:
        """Wait until so many orders have come."""

    def accept(self, order: Order) -> None: ...
    def reject(self, order: Order, reason: str) -> None: ...
    def fill(self, order: Order, quantity: int, px: int) -> None:
        """Execute some quantity units at so many price units."""

    def cancel(self, order: Order) -> None: ...
    def repeat(self, order: Order) -> None:
        """Send the latest report on an order again."""


class GrpcPeer:
    """A gRPC server of bytes; with the options of any such server, so it dislikes pings."""

    offers: frozenset[str] = frozenset()
    path = ""

    def __init__(self, options: Iterable[tuple[str, int]] = ()) -> None:
        self.port = 0
        self.received: list[str] = []
        self.requests: list[Any] = []
        self.history: dict[str, list[bytes]] = {}
        self.greets = True
        self._options = [("grpc.so_reuseport", 0), *options]
        self._changed = threading.Condition()
        self._out: SimpleQueue[bytes | None] | None = None
        self._server: grpc.Server | None = None
        self.credentials: grpc.ServerCredentials | None = None

    def start(self) -> None:
        server = grpc.server(ThreadPoolExecutor(4), options=self._options)
        name, method = self.path.strip("/").split("/")
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {method: handler}),)
        )
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, self.credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait(WAIT_S)
            self._server = None

    def link(
        self,
        on_bad_answer: Callable[[BadAnswer], None],
        *,
        port: int | None = None,
        timeout: float = 5.0,
        **settings: Any,
    ) -> GrpcVenueLink:
        config = OmsGrpcConfig(
            host="127.0.0.1",
            port=port or self.port,
            timeout=timeout,
            retry=RetryConfig(backoff_ms=20),
            **settings,
        )
        return GrpcVenueLink(
            config,
            instruments=INSTRUMENTS,
            keep_closed=100,
            on_bad_answer=on_bad_answer,
            now=lambda: NOW,
        )

    def _serve(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        out: SimpleQueue[bytes | None] = SimpleQueue()
        if not context.add_callback(lambda: out.put(None)):
            return  # it is over before it has begun

        def read() -> None:
            with suppress(grpc.RpcError, Exception):  # the stream is over
                for raw in requests:
                    self._take(raw, out)

        self._begin(out)
        threading.Thread(target=read, daemon=True).start()
        yield from iter(out.get, None)

    def _begin(self, out: SimpleQueue[bytes | None]) -> None:
        self._out = out

    def _take(self, raw: bytes, out: SimpleQueue[bytes | None]) -> None:
        raise NotImplementedError

    def _note(self, request: Any, order_id: str | None) -> None:
        with self._changed:
            self.requests.append(request)
            if order_id is not None:
                self.received.append(order_id)
            self._changed.notify_all()

    def wait_received(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, WAIT_S)

    def wait_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, WAIT_S)

    def send_raw(self, raw: bytes) -> None:
        if self._out is not None:
            self._out.put(raw)

    def end_stream(self) -> None:
        """End the stream in order, as if there were nothing more to say."""
        if self._out is not None:
            self._out.put(None)

    def say(self, order: Order, message: Any) -> None:
        """Say something about an order, and remember it for a query."""
        raw = message.SerializeToString()
        self.history.setdefault(order.client_order_id, []).append(raw)
        self.send_raw(raw)

    def repeat(self, order: Order) -> None:
        self.send_raw(self.history[order.client_order_id][-1])


class PlainPeer(GrpcPeer):
    """``order.OrderService`` alone."""

    path = "/order.OrderService/StreamOrders"

    def __init__(self, options: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__(options)
        self._ids: dict[str, str] = {}
        self._totals: dict[str, tuple[int, int]] = {}

    def _take(self, raw: bytes, out: SimpleQueue[bytes | None]) -> None:
        request = order_pb2.OrderRequest.FromString(raw)
        self._note(request, request.id)

    def answer(self, order: Order, status: int, message: str = "") -> order_pb2.OrderResponse:
        """Make a response with the totals so far."""
        quantity, value = self._totals.get(order.client_order_id, (0, 0))
        instrument = INSTRUMENTS[order.symbol]
        response = order_pb2.OrderResponse(
            order_id=f"V-{order.client_order_id}",
            request_id=request_id(order.client_order_id),
            filled_quantity=quantity // instrument.quantity_unit,
            message=message,
            timestamp=NOW + 1,
        )
        response.status = status  # type: ignore[assignment]
        if quantity:
            response.filled_price = value / quantity / instrument.price_unit
        return response

    def accept(self, order: Order) -> None:
        self.say(order, self.answer(order, order_pb2.ACCEPTED))

    def reject(self, order: Order, reason: str) -> None:
        self.say(order, self.answer(order, order_pb2.REJECTED, reason))

    def fill(self, order: Order, quantity: int, px: int) -> None:
        before, value = self._totals.get(order.client_order_id, (0, 0))
        self._totals[order.client_order_id] = (before + quantity, value + quantity * px)
        is_full = before + quantity >= order.order_qty
        status = order_pb2.FILLED if is_full else order_pb2.PARTIALLY_FILLED
        self.say(order, self.answer(order, status))

    def cancel(self, order: Order) -> None:
        self.say(order, self.answer(order, order_pb2.CANCELLED, "USER"))


class ExtendedPeer(GrpcPeer):
    """``tetrad.oms.v1.OrderLink`` alone; answers queries from what it was told to say."""

    path = "/tetrad.oms.v1.OrderLink/Trade"
    offers = EVERYTHING

    def __init__(self, options: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__(options)
        self.working: list[str] = []
        self.answers_lists = True
        self._executions = 0

    def _take(self, raw: bytes, out: SimpleQueue[bytes | None]) -> None:
        request = oms_pb2.Request.FromString(raw)
        kind = request.WhichOneof("request")
        if kind == "hello":
            if self.greets:
                out.put(oms_pb2.Report(welcome=oms_pb2.Welcome()).SerializeToString())
            return
        if kind == "query_order":
            self._answer_query(request.query_order.client_order_id, out)
        elif kind == "list_working" and self.answers_lists:
            working = oms_pb2.Working(client_order_ids=self.working, timestamp=NOW + 1)
            out.put(oms_pb2.Report(working=working).SerializeToString())
        order_id = request.new_order.client_order_id if kind == "new_order" else None
        self._note(request, order_id)

    def _answer_query(self, order_id: str, out: SimpleQueue[bytes | None]) -> None:
        said = self.history.get(order_id)
        if said is None:
            end = oms_pb2.Report(not_found=oms_pb2.NotFound(client_order_id=order_id))
        else:
            end = oms_pb2.Report(query_done=oms_pb2.QueryDone(client_order_id=order_id))
        for raw in said or []:
            out.put(raw)
        out.put(end.SerializeToString())

    def accept(self, order: Order) -> None:
        order_id = order.client_order_id
        accepted = oms_pb2.Accepted(
            client_order_id=order_id, venue_order_id=f"V-{order_id}", timestamp=NOW + 1
        )
        self.say(order, oms_pb2.Report(accepted=accepted))

    def reject(self, order: Order, reason: str) -> None:
        rejected = oms_pb2.Rejected(
            client_order_id=order.client_order_id, reason=reason, timestamp=NOW + 1
        )
        self.say(order, oms_pb2.Report(rejected=rejected))

    def executed(self, order: Order, quantity: int, px: int) -> oms_pb2.Executed:
        """Make the next execution of an order."""
        instrument = INSTRUMENTS[order.symbol]
        self._executions += 1
        return oms_pb2.Executed(
            client_order_id=order.client_order_id,
            exec_id=f"E{self._executions}",
            last_quantity=format_units(quantity, instrument.quantity_decimals),
            last_price=format_units(px, instrument.price_decimals),
            commission="0",
            liquidity=oms_pb2.LIQUIDITY_TAKER,
            timestamp=NOW + 1,
        )

    def fill(self, order: Order, quantity: int, px: int) -> None:
        self.say(order, oms_pb2.Report(executed=self.executed(order, quantity, px)))

    def cancel(self, order: Order) -> None:
        canceled = oms_pb2.Canceled(
            client_order_id=order.client_order_id, reason="USER", timestamp=NOW + 1
        )
        self.say(order, oms_pb2.Report(canceled=canceled))
