"""Where a gateway is, and how to talk to it."""

from __future__ import annotations

import ssl

import httpx2

from engine.errors import ConfigError
from engine.sections import GatewayConfig

__all__ = ["Endpoint"]


class Endpoint:
    """A gateway's address, what it takes to be let in, and how long it may take.

    Args:
        config: section ``gateway``.

    Attributes:
        target: host and port, for people.
        timeout_s: seconds to a connection and to an answer.
        retry: how a plain order whose outcome is open is sent again.

    Raises:
        ConfigError: the URL or the root certificate cannot be used.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self.target = config.url.split("://", 1)[1].rstrip("/").rpartition("@")[2]
        self.timeout_s = config.timeout
        self.retry = config.retry
        self._base = config.url.rstrip("/")
        self._headers = {} if config.token is None else {"Authorization": f"Bearer {config.token}"}
        self._verify = _verify(config.root_certificate)
        try:
            httpx2.URL(self._base)
        except httpx2.InvalidURL as error:
            raise ConfigError(
                f"gateway.url (GATEWAY_URL): {error}; write it as https://HOST:PORT"
            ) from None

    def client(self) -> httpx2.Client:
        """Make a client of one connection; it follows no redirect and reads no proxy settings."""
        return httpx2.Client(
            base_url=self._base,
            headers=self._headers,
            timeout=self.timeout_s,
            verify=self._verify,
            limits=httpx2.Limits(max_connections=1),
            trust_env=False,
        )


def _verify(root_certificate: str | None) -> ssl.SSLContext | bool:
    if root_certificate is None:
        return True
    try:
        return ssl.create_default_context(cafile=root_certificate)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"gateway.root_certificate: cannot use {root_certificate}: {error}; name a PEM file"
        ) from error
