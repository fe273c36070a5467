"""One connection, from the first byte to its loss."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import grpc
from google.protobuf.message import DecodeError

from adapters.grpc.channel import Endpoint
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from adapters.grpc.services import EXTENDED, PLAIN, ServiceName
from engine.link.connection import PROBE_EVERY_S
from engine.link.session import Answered, Lost, Opened, Probed

__all__ = ["GrpcSession"]

_NO_METHOD = f"/{EXTENDED.name}/Probe"
_SILENT = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


class GrpcSession:
    """Finds out which service the peer offers, and carries the messages of one stream.

    A thread of its own reads. Everything that happens is posted, the loss last and once.

    A peer with ``order.OrderService`` alone is not pinged: it may be any server, and by default
    those hang up on the third ping, which would leave orders unknown.

    Args:
        endpoint: where the peer is.
        post: takes what happens; called from the session's threads.
        client: our name there: what an earlier session of it has sent and has not arrived, never
            will; empty for none.
    """

    def __init__(self, endpoint: Endpoint, post: Callable[[object], None], *, client: str) -> None:
        self._hello = oms_pb2.Request(hello=oms_pb2.Hello(client=client)).SerializeToString()
        self._post = post
        self._endpoint = endpoint
        self._pings = endpoint.may_ping
        self._lock = threading.Lock()  # held while the channel is changed or closed
        self._is_closed = False
        self._channel = endpoint.connect(pings=self._pings)
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="oms-session", daemon=True)
        self._thread.start()

    def send(self, message: bytes) -> None:
        """Send a message; never waits. It may be lost with the connection."""
        self._requests.put(message)

    def probe(self) -> None:
        """Ask for a method that no peer has: its saying so shows that it is there."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = self._channel.unary_unary(_NO_METHOD)
        call = method.future(b"", timeout=PROBE_EVERY_S)
        call.add_done_callback(lambda _: self._post(Probed(self, call.code() not in _SILENT)))

    def close(self) -> None:
        """Let go of the connection; what comes after this may still be posted."""
        with self._lock:
            self._is_closed = True
            self._channel.close()
        self._requests.put(None)

    def _run(self) -> None:
        lost = self._talk(EXTENDED, [self._hello])
        if lost is None:
            self._requests = SimpleQueue()
            lost = self._connect_without_pings() or self._talk(PLAIN, [])
        self._post(lost)

    def _connect_without_pings(self) -> Lost | None:
        """Begin anew where pings would be taken amiss, and see that it stands."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        with self._lock:
            if self._is_closed:
                return _closed(self)
            if not self._pings:
                return None
            self._pings = False
            self._channel.close()
            self._channel = self._endpoint.connect(pings=False)
            method = self._channel.unary_unary(_NO_METHOD)
        try:
            method(b"", timeout=self._endpoint.timeout_s)
        except grpc.RpcError as error:
            return _lost(self, self._endpoint, error) if error.code() in _SILENT else None
        except ValueError:
            return _closed(self)
        return None

    def _talk(self, service: ServiceName, first: list[bytes]) -> Lost | None:
        """Read one stream to its end; None when the peer does not offer the extended service."""
        requests = self._requests

        def outgoing() -> Iterator[bytes]:
            yield from first
            yield from iter(requests.get, None)

        is_open = False
        stream: grpc.StreamStreamMultiCallable[bytes, bytes]
        try:
            stream = self._channel.stream_stream(service.path)
            call = stream(outgoing())
            if service is EXTENDED and not _is_welcome(next(call)):
                call.cancel()
                return Lost(self, "NO_WELCOME: the peer did not answer Hello")
            is_open = True
            self._post(Opened(self, service.name, self._pings))
            for raw in call:
                self._post(Answered(self, raw, raw))
            return Lost(self, "STREAM_ENDED: the peer has ended the stream")
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED and not is_open:
                return None
            return _lost(self, self._endpoint, error)
        except StopIteration:
            return Lost(self, "NO_WELCOME: the peer did not answer Hello")
        except ValueError:  # the channel was closed meanwhile
            return _closed(self)
        finally:
            requests.put(None)  # lets go of the thread that sends


def _lost(session: GrpcSession, endpoint: Endpoint, error: grpc.RpcError) -> Lost:
    details = str(error.details()).replace("\n", " ")[:500]
    if "too many pings" in details.lower():
        endpoint.may_ping = False  # for the sessions to come
    return Lost(session, f"{error.code().name}: {details}")


def _closed(session: GrpcSession) -> Lost:
    return Lost(session, "CLOSED: the link has let go of the connection")


def _is_welcome(raw: bytes) -> bool:
    try:
        return oms_pb2.Report.FromString(raw).HasField("welcome")
    except DecodeError:
        return False
