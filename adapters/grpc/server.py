"""The reference Order Management System's edge: streams of clients on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from queue import SimpleQueue
from typing import Any

import grpc

from adapters.grpc.services import EXTENDED, PLAIN, ServiceName
from adapters.grpc.writers import ExtendedWriter, MalformedError, PlainWriter, Writer
from engine.domain.clients import ClientGone, FromClient
from engine.domain.instruments import Instrument
from engine.domain.orders import Order
from engine.errors import ConfigError, EngineHaltedError

__all__ = ["OmsServer"]

STREAMS_MAX = 64
WAITING_MAX = 100_000
# Clients may ask whether we are there as often as they like, and we ask them.
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),  # a port that is taken is an error
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class _End:
    """The last thing in a stream's queue: why it ends; None when the client has gone."""

    def __init__(self, code: grpc.StatusCode | None = None, why: str = "") -> None:
        self.code = code
        self.why = why


class _Stream:
    """One client's stream: what is to be said to it."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.waiting: SimpleQueue[bytes | _End] = SimpleQueue()
        self.overrun = False
        self.is_over = False

    def say(self, message: bytes) -> None:
        """Put a message in; never waits. A client that does not listen is cut off."""
        if self.waiting.qsize() >= WAITING_MAX:
            self.overrun = True
        if not self.overrun:
            self.waiting.put(message)


class OmsServer:
    """Serves ``order.OrderService`` and ``tetrad.oms.v1.OrderLink``.

    Args:
        instruments: what is traded, by symbol.
        ask: carries a request to the desk; raises ``EngineHaltedError`` when there is none.
        extended: offer ``tetrad.oms.v1.OrderLink`` too.
    """

    def __init__(
        self,
        *,
        instruments: Mapping[str, Instrument],
        ask: Callable[[FromClient | ClientGone], None],
        extended: bool,
    ) -> None:
        self._ask = ask
        self._numbers = count(1)
        self._streams: dict[int, _Stream] = {}
        self._door = threading.Lock()  # between a request and the desk
        self._symbols: dict[str, str] = {}
        symbols = self._symbols
        self._server = grpc.server(
            ThreadPoolExecutor(STREAMS_MAX, thread_name_prefix="oms-stream"),
            options=_OPTIONS,
            maximum_concurrent_rpcs=STREAMS_MAX,
        )
        self._offer(PLAIN, lambda: PlainWriter(instruments, symbols))
        if extended:
            self._offer(EXTENDED, lambda: ExtendedWriter(instruments, symbols))

    def _offer(self, service: ServiceName, make_writer: Callable[[], Writer]) -> None:
        def serve(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._serve(_Stream(make_writer()), requests, context)

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(serve)
        handler = grpc.method_handlers_generic_handler(service.name, {service.method: method})
        self._server.add_generic_rpc_handlers((handler,))

    def start(self, host: str, port: int) -> int:
        """Listen; give the port.

        Args:
            host: name or address.
            port: TCP port; 0 takes a free one.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError:
            raise ConfigError(
                f"cannot listen on {address}: the port is taken or the host is not this machine; "
                "choose another with --port or --host, or --port 0 for a free port"
            ) from None
        self._server.start()
        return bound

    def stop(self, *, timeout_s: float) -> None:
        """End every stream and stop listening; wait at most so many seconds."""
        self._server.stop(None).wait(timeout_s)

    def recall(self, order: Order) -> None:
        """Take in an order of an earlier life: what is said of it is written by its symbol."""
        self._symbols.setdefault(order.client_order_id, order.symbol)

    def deliver(self, session: int, event: Any) -> None:
        """Say something to a client, for any thread; never waits.

        One who does not listen is cut off: its orders work on, and it may ask what became of them.
        """
        stream = self._streams.get(session)
        said = None if stream is None else stream.writer.write(event)
        if stream is not None and said is not None:
            stream.say(said)

    def _serve(
        self, stream: _Stream, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        number = next(self._numbers)
        self._streams[number] = stream
        try:
            if not context.add_callback(lambda: stream.waiting.put(_End())):
                return
            reader = threading.Thread(
                target=self._read, args=(number, stream, requests), daemon=True
            )
            reader.start()
            while True:
                said = stream.waiting.get()
                if isinstance(said, _End):
                    if said.code is not None:
                        context.abort(said.code, said.why)
                    return
                yield said
                if stream.overrun:
                    context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, "the client does not read its reports"
                    )
        finally:
            del self._streams[number]
            self._tell(ClientGone(number))

    def _tell(self, message: FromClient | ClientGone) -> bool:
        try:
            self._ask(message)
        except EngineHaltedError:
            return False
        return True

    def _take_over(self, stream: _Stream) -> None:
        """End the earlier streams of a client: what is still on its way there never arrives."""
        name = stream.writer.client
        for other in tuple(self._streams.values()):
            if name and other is not stream and other.writer.client == name and not other.is_over:
                other.is_over = True
                other.waiting.put(_End(grpc.StatusCode.ABORTED, "the client has connected anew"))

    def _read(self, number: int, stream: _Stream, requests: Iterator[bytes]) -> None:
        try:
            for raw in requests:
                asked = stream.writer.read(raw)
                with self._door:
                    if stream.is_over:
                        return
                    if isinstance(asked, bytes):
                        self._take_over(stream)
                        stream.say(asked)
                    elif asked is not None and not self._tell(FromClient(number, asked)):
                        stream.waiting.put(_End(grpc.StatusCode.UNAVAILABLE, "the desk is closed"))
                        return
        except MalformedError as error:
            stream.waiting.put(_End(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except grpc.RpcError:
            pass  # the stream is over
