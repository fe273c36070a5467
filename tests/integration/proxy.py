"""A TCP proxy that misbehaves on command: slow, silent, one-sided or rude."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

CHUNK = 65_536


class FaultProxy:
    """Forwards connections to a port of this machine, until it is told otherwise.

    Attributes:
        port: where it listens.
        delay_s: seconds that every chunk waits on its way, in both directions.
    """

    def __init__(self, target_port: int) -> None:
        self.delay_s = 0.0
        self._target = ("127.0.0.1", target_port)
        self._forwards = True
        self._lock = threading.Lock()
        self._losing: set[socket.socket] = set()
        self._never = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A thread in accept() is not woken by closing alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.reset()

    # Faults.

    def blackhole(self) -> None:
        """Forward nothing any more; connections stay up, also new ones."""
        self._forwards = False

    def lose_replies(self) -> None:
        """Forward the requests of the connections of now and swallow every reply to them."""
        with self._lock:
            self._losing = {server for _, server in self._pairs}

    def reset(self) -> None:
        """Break every connection with a TCP reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Closing alone would wait for the thread that reads.
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RD)
                each.close()

    def heal(self) -> None:
        """Forward again."""
        self._forwards = True
        self.delay_s = 0.0

    # Forwarding.

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs.append((client, server))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if self.delay_s:
                    self._never.wait(self.delay_s)
                if self._forwards and source not in self._losing:
                    sink.sendall(chunk)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
