"""Channels: how a connection is opened, encrypted and watched."""

from __future__ import annotations

from pathlib import Path

import grpc

from engine.errors import ConfigError
from engine.link.connection import PROBE_EVERY_S
from engine.sections import OmsGrpcConfig, TlsConfig

__all__ = ["Endpoint"]

_PING_ANSWER_MS = 1_000

Options = list[tuple[str, int | str]]

_NO_RETRIES: Options = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # every attempt is a connection of its own
]
# A peer that is gone without a word is found after 2 + 1 seconds. The timeout of keepalive alone
# would not do: the transport waits for its own ping, a minute by default.
_PINGS: Options = [
    ("grpc.keepalive_time_ms", int(PROBE_EVERY_S * 1_000)),
    ("grpc.keepalive_timeout_ms", _PING_ANSWER_MS),
    ("grpc.http2.ping_timeout_ms", _PING_ANSWER_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]


class Endpoint:
    """Where the Order Management System is, and how to get there.

    Args:
        config: section ``oms_grpc``.

    Attributes:
        target: host and port.
        timeout_s: seconds to a connection.
        may_ping: no peer there has hung up yet because it was pinged.

    Raises:
        ConfigError: a file of ``oms_grpc.tls`` is missing or not PEM, one of certificate and key
            is given without the other, or files are given while TLS is off.
    """

    def __init__(self, config: OmsGrpcConfig) -> None:
        host = config.host
        # An IPv6 address needs brackets in front of the port.
        self.target = f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"
        self.timeout_s = config.timeout
        self.may_ping = True
        self._credentials = _credentials(config.tls)
        self._name: Options = []
        if config.tls.server_name is not None:
            self._name = [("grpc.ssl_target_name_override", config.tls.server_name)]

    def connect(self, *, pings: bool) -> grpc.Channel:
        """Make a channel; the connection itself begins with the first call.

        Args:
            pings: watch the peer by pings of HTTP/2. Some servers hang up on those.
        """
        options = _NO_RETRIES + self._name + (_PINGS if pings else [])
        if self._credentials is None:
            return grpc.insecure_channel(self.target, options=options)
        return grpc.secure_channel(self.target, self._credentials, options=options)


def _credentials(tls: TlsConfig) -> grpc.ChannelCredentials | None:
    files = {
        "root_certificate": tls.root_certificate,
        "client_certificate": tls.client_certificate,
        "client_key": tls.client_key,
    }
    if not tls.enabled:
        given = [name for name, path in files.items() if path is not None]
        if given:
            raise ConfigError(
                f"oms_grpc.tls.{given[0]} is set and oms_grpc.tls.enabled is false: set it to true "
                "to use the file, or leave the file out"
            )
        return None
    if (tls.client_certificate is None) != (tls.client_key is None):
        missing = "client_key" if tls.client_key is None else "client_certificate"
        raise ConfigError(
            f"oms_grpc.tls.{missing} is missing: a client certificate and its key go together"
        )
    root, certificate, key = (_pem(name, path) for name, path in files.items())
    return grpc.ssl_channel_credentials(root, key, certificate)


def _pem(name: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"oms_grpc.tls.{name}: cannot read {path}: {error.strerror}; name a PEM file"
        ) from error
    if b"-----BEGIN " not in content:
        raise ConfigError(f"oms_grpc.tls.{name}: {path} is not a PEM file; convert it to PEM")
    return content
