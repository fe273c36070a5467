"""A TCP proxy that misbehaves on command: slow, silent, one-sided, rude or wrong."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

CHUNK = 65_536
CONNECT_S = 5.0

Target = int | str
"""A port of this machine, or the path of a Unix socket."""


class FaultProxy:
    """Forwards connections to a port or a socket of this machine, until it is told otherwise.

    Attributes:
        port: where it listens.
        target: where connections go; those of now stay where they are when it is changed.
        delay_s: seconds that every chunk waits on its way, in both directions.
        refuses: hang up on whoever connects.
        corrupted: how many chunks were spoiled.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.delay_s = 0.0
        self.refuses = False
        self.corrupted = 0
        self._forwards = True
        self._corrupts = False
        self._lock = threading.Lock()
        self._losing: set[socket.socket] = set()
        self._never = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
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
        self.close()

    def close(self) -> None:
        """Stop listening and break every connection."""
        # A thread in accept() is not woken by closing alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.reset()
        self._flowing.set()

    # Faults.

    def blackhole(self) -> None:
        """Forward nothing any more; connections stay up, also new ones."""
        self._forwards = False

    def pause(self) -> None:
        """Hold everything back; nothing is lost, and it arrives after :meth:`heal`."""
        self._flowing.clear()

    def lose_replies(self) -> None:
        """Forward the requests of the connections of now and swallow every reply to them."""
        with self._lock:
            self._losing = {server for _, server in self._pairs}

    def corrupt(self) -> None:
        """Spoil the second half of every reply, so that no text in it is text any more."""
        self._corrupts = True

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
        """Forward again; a connection that has lost something is broken first."""
        with self._lock:
            has_lost = not self._forwards or bool(self._losing) or self._corrupts
            self._losing = set()
        if has_lost:
            self.reset()
        self._forwards = True
        self._corrupts = False
        self.refuses = False
        self.delay_s = 0.0
        self._flowing.set()

    # Forwarding.

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            pumps = [
                threading.Thread(target=self._pump, args=ends, daemon=True)
                for ends in ((client, server), (server, client))
            ]
            for pump in pumps:
                pump.start()
            threading.Thread(target=self._clear, args=(client, server, pumps), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self.target, int):
            server = socket.create_connection(("127.0.0.1", self.target), timeout=CONNECT_S)
        else:
            server = socket.socket(socket.AF_UNIX)
            server.settimeout(CONNECT_S)
            try:
                server.connect(self.target)
            except OSError:
                server.close()
                raise
        server.settimeout(None)
        return server

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if self.delay_s:
                    self._never.wait(self.delay_s)
                self._flowing.wait()
                if self._forwards and source not in self._losing:
                    sink.sendall(self._spoiled(source, chunk))
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _clear(
        self, client: socket.socket, server: socket.socket, pumps: list[threading.Thread]
    ) -> None:
        """Close a connection when both of its ways are over."""
        for pump in pumps:
            pump.join()
        with self._lock:
            self._pairs = [pair for pair in self._pairs if pair[0] is not client]
            self._losing.discard(server)
        client.close()
        server.close()

    def _spoiled(self, source: socket.socket, chunk: bytes) -> bytes:
        if not self._corrupts or not any(source is server for _, server in self._pairs):
            return chunk
        self.corrupted += 1
        middle = len(chunk) // 2
        return chunk[:middle] + bytes(byte ^ 0x80 for byte in chunk[middle:])
