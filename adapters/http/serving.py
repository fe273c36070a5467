"""An HTTP server in a thread of its own."""

from __future__ import annotations

import socket
import threading
from typing import Any

import uvicorn

from engine.errors import ConfigError, EngineHaltedError

__all__ = ["Serving"]

_START_S = 10.0
_KEEP_ALIVE_S = 75
"""Longer than most clients keep an idle connection, so that they close it first."""


class _Server(uvicorn.Server):
    """Says when it listens, and takes no signals: the process is not its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


class Serving:
    """Serves an ASGI application.

    Args:
        app: the application.
        grace_s: how long requests may go on once it is told to stop, whole seconds.
        certificate: PEM file of its certificate; it encrypts when there is one.
        key: PEM file of that certificate's key.
    """

    def __init__(
        self, app: Any, *, grace_s: int, certificate: str | None = None, key: str | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=grace_s,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = _Server(config)
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> int:
        """Listen; give the port.

        Args:
            host: name or address.
            port: TCP port; 0 takes a free one.

        Raises:
            ConfigError: the address cannot be listened on.
            EngineHaltedError: the server did not start.
        """
        bound = _bind(host, port)
        self._thread = threading.Thread(
            target=self._server.run, args=([bound],), name="http-server", daemon=True
        )
        self._thread.start()
        if not self._server.listens.wait(_START_S):
            raise EngineHaltedError(f"the HTTP server did not start within {_START_S:g} s")
        return int(bound.getsockname()[1])

    def stop(self, *, timeout_s: float) -> None:
        """Stop listening and end every connection; wait at most so many seconds."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout_s)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or "
            "--host, or --port 0 for a free port"
        ) from None
    return bound
