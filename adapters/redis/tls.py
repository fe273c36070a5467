"""What is wrong with the encryption between us and a Redis server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import redis

from engine.sections import RedisConfig

__all__ = ["tls_fault"]

_PROBE_S = 1.0
_PORT = 6379
_HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def tls_fault(config: RedisConfig, error: BaseException) -> tuple[str, str] | None:
    """Tell why encryption fails, and what to do; None when something else does.

    A server without TLS makes nothing of our greeting and says nothing, like one that is down, so
    it is asked once more in the open, and the other way round.

    Args:
        config: the server.
        error: what a command ended with.
    """
    if urlsplit(config.url).scheme == "redis":
        return _in_the_open(config, error)
    if urlsplit(config.url).scheme != "rediss":
        return None
    causes = list(_causes(error))
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return (
                f"its certificate is refused: {each.verify_message or each.reason}",
                (
                    "give the server one that holds for the host in redis.url, or name the file of "
                    "who signed it: rediss://...?ssl_ca_certs=FILE"
                ),
            )
        if isinstance(each, FileNotFoundError):
            return (
                "a file named in redis.url is not there",
                "correct ssl_ca_certs, ssl_certfile and ssl_keyfile behind the ? of redis.url",
            )
    if _answers_plainly(config):
        return (
            "it speaks no TLS",
            "write redis:// in redis.url, or set the server's tls-port and name that",
        )
    for each in (*causes, *_alerts(config, causes)):
        if isinstance(each, ssl.SSLError) and not isinstance(each, _HUNG_UP):
            return (
                f"TLS fails: {each.reason or each}",
                (
                    "see what the server asks for: tls-auth-clients, tls-protocols; a certificate "
                    "of ours is ssl_certfile and ssl_keyfile behind the ? of redis.url"
                ),
            )
    return None


def _in_the_open(config: RedisConfig, error: BaseException) -> tuple[str, str] | None:
    is_refused = isinstance(error, redis.TimeoutError) or any(
        isinstance(each, ConnectionRefusedError | socket.gaierror) for each in _causes(error)
    )
    if is_refused or not isinstance(error, redis.ConnectionError | redis.InvalidResponse):
        return None
    if not _speaks_tls(config):
        return None
    return "it speaks TLS alone", "write rediss:// in redis.url"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _dial(config: RedisConfig) -> socket.socket:
    parts = urlsplit(config.url)
    limit_s = min(config.timeout, _PROBE_S)
    return socket.create_connection((parts.hostname or "", parts.port or _PORT), limit_s)


def _answers_plainly(config: RedisConfig) -> bool:
    try:
        with _dial(config) as connection:
            connection.sendall(b"PING\r\n")
            # With a password it refuses, and in a dangerous open mode too: an answer all the same.
            return connection.recv(16).startswith((b"+PONG", b"-"))
    except OSError:
        return False


def _alerts(config: RedisConfig, causes: Iterable[BaseException]) -> Iterator[BaseException]:
    """Ask why a server hung up: its word for it is lost when we write before we read."""
    if not any(isinstance(each, (*_HUNG_UP, ConnectionError)) for each in causes):
        return
    try:
        with _dial(config) as connection, _trusting().wrap_socket(connection) as greeted:
            greeted.recv(1)
    except OSError as error:
        yield error


def _speaks_tls(config: RedisConfig) -> bool:
    try:
        with _dial(config) as connection, _trusting().wrap_socket(connection):
            return True
    except OSError:
        return False


def _trusting() -> ssl.SSLContext:
    """Take any certificate: nothing is sent there."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
