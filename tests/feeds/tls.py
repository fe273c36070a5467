"""TLS in front of a server that has none: a real handshake, then what is said passes unchanged."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType

from tests.integration.test_grpc_link import CERTIFICATES

LOOK_S = 0.05


class TlsFront:
    """Listens with the certificate of ``oms.test``.

    Args:
        target: port of this machine that everything goes on to.
        asks: ask who connects for a certificate too.
    """

    def __init__(self, target: int, *, asks: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        if asks:
            self._context.load_verify_locations(CERTIFICATES / "ca.pem")
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._target = target
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> TlsFront:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(raw,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(5)
        # Whoever does not like the certificate hangs up, and that is all there is to it.
        with (
            suppress(OSError),
            self._context.wrap_socket(raw, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._target), 5) as far,
        ):
            while not self._closing.is_set():
                # What TLS has read already is seen by nobody who looks at the socket.
                ready = [near] if near.pending() else select.select([near, far], [], [], LOOK_S)[0]
                for each in ready:
                    said = each.recv(65_536)
                    if not said:
                        return
                    (far if each is near else near).sendall(said)
