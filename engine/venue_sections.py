"""The sections of a profile that say where orders go and how venues outside are reached."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.addresses import host_fault, shown, url_fault

__all__ = [
    "AlpacaConfig",
    "GatewayConfig",
    "OmsGrpcConfig",
    "RetryConfig",
    "TlsConfig",
    "VenueConfig",
    "VenueRouteConfig",
]


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a lost connection is tried again. Orders are never sent again.

    Attributes:
        max_attempts: attempts in a row after which every further failure is reported; it goes on
            all the same.
        backoff_ms: milliseconds from one attempt to the next, doubled each time up to 10,000.
    """

    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 3
    backoff_ms: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class VenueRouteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that go to another venue than ``venue.kind``.

    Attributes:
        kind: which venue, as in ``venue.kind``.
        symbol: only orders in this symbol; in all of them when None.
        strategy: only those of the strategy with this id; of all of them when None.
    """

    kind: Literal["grpc", "http", "alpaca"]
    symbol: Annotated[str, Meta(min_length=1)] | None = None
    strategy: Annotated[str, Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse a rule for every order.

        Raises:
            ValueError: there is neither a symbol nor a strategy.
        """
        if self.symbol is None and self.strategy is None:
            raise ValueError("symbol and strategy are both unset: that is what venue.kind is for")


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the orders of a paper run go.

    Attributes:
        kind: ``simulated``, the venue of the backtest; ``grpc``, the order management system of
            section ``oms_grpc``; ``http``, the gateway of section ``gateway``; ``alpaca``, the
            broker of section ``alpaca``.
        routes: orders that go to another one; the first rule that fits an order holds.
    """

    kind: Literal["simulated", "grpc", "http", "alpaca"] = "simulated"
    routes: list[VenueRouteConfig] = []

    def __post_init__(self) -> None:
        """Refuse a venue outside beside one that is not.

        Raises:
            ValueError: there are rules and the venue is simulated.
        """
        if self.routes and self.kind == "simulated":
            raise ValueError("routes are between venues outside: set venue.kind to one of them")


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption of a connection; certificates and keys are PEM files.

    Attributes:
        enabled: encrypt, and refuse a peer whose certificate does not hold.
        root_certificate: who may have signed the peer's certificate; the system's list when None.
        client_certificate: what we show the peer; goes with ``client_key``.
        client_key: private key of that certificate.
        server_name: name the peer's certificate must have; the host when None.
    """

    enabled: bool = False
    root_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    server_name: str | None = None


class OmsGrpcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Order Management System that orders go to over gRPC; a backtest has none.

    Attributes:
        host: name or address.
        port: TCP port.
        timeout: seconds to the first answer to one request, and to a connection; an order
            without one is unknown, never rejected, and is not sent again.
        reduce_only: what becomes of a reduce-only order where the system offers
            ``order.OrderService`` alone: ``refuse`` it as VENUE_LACKS_REDUCE_ONLY, or send it
            ``plain``, trusting the gate, which approves none that could open a position.
    """

    host: Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]+$")] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 50_051
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    reduce_only: Literal["refuse", "plain"] = "refuse"
    retry: RetryConfig = RetryConfig()
    tls: TlsConfig = TlsConfig()

    def __post_init__(self) -> None:
        """Refuse a host that is none.

        Raises:
            ValueError: it is no name and no address.
        """
        fault = host_fault(self.host)
        if fault is not None:
            raise ValueError(
                f"host = {shown(self.host)}: {fault}; write a name or an address alone, the port "
                "as oms_grpc.port"
            )


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway that orders go to over HTTP.

    Attributes:
        url: also ``GATEWAY_URL``; ``https://`` encrypts, and refuses a server whose certificate
            does not hold.
        token: also ``GATEWAY_TOKEN``: what shows the gateway who we are; none is sent when None.
        root_certificate: PEM file of who may have signed the gateway's certificate; the system's
            list when None.
        timeout: seconds to the first answer to one request, and to a connection; an order without
            one is unknown, never rejected.
        sessions: the gateway's session of a strategy, by strategy; one of the strategy's own name
            when it is not here.
        reduce_only: what becomes of a reduce-only order where the gateway takes plain orders
            alone; see ``oms_grpc.reduce_only``.
        retry: how a lost connection is tried again, and a plain order whose outcome the gateway
            left open, under the same ``Idempotency-Key``.
    """

    url: Annotated[str, Meta(pattern="^https?://[^/?#]+(/[^?#]*)?$")] = "http://localhost:3000"
    token: str | None = None
    root_certificate: str | None = None
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    sessions: dict[str, str] = {}
    reduce_only: Literal["refuse", "plain"] = "refuse"
    retry: RetryConfig = RetryConfig()

    def __post_init__(self) -> None:
        """Refuse a URL that leads nowhere.

        Raises:
            ValueError: its host or port cannot be read.
        """
        _check_url(self.url, "(GATEWAY_URL) as http://HOST:PORT or https://HOST:PORT")


class AlpacaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A broker over HTTP in Alpaca's REST shape; its keys are in the environment.

    Attributes:
        url: where it is; the keys go there, so it is ``https://`` but on this machine.
        live: send orders to another place than ``https://paper-api.alpaca.markets`` or this
            machine, such as ``https://api.alpaca.markets``: they may be for real money.
        timeout: seconds to the answer to one request, and to a connection; an order without one is
            unknown, never rejected, and is not sent again.
        poll_ms: milliseconds from one look at the open orders to the next.
        requests_per_minute: how many requests the account may make; with three quarters of them
            made, the rest is for orders.
        reduce_only: what becomes of a reduce-only order: ``refuse`` it as VENUE_LACKS_REDUCE_ONLY,
            or send it ``plain``, trusting the gate, which approves none that could open a position.
        retry: how a lost connection is tried again.
    """

    url: Annotated[str, Meta(pattern="^https?://[^/?#@]+/?$")] = "https://paper-api.alpaca.markets"
    live: bool = False
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    poll_ms: Annotated[int, Meta(ge=20, le=60_000)] = 1_000
    requests_per_minute: Annotated[int, Meta(ge=20, le=1_000_000)] = 200
    reduce_only: Literal["refuse", "plain"] = "refuse"
    retry: RetryConfig = RetryConfig()

    def __post_init__(self) -> None:
        """Refuse a URL that leads nowhere.

        Raises:
            ValueError: its host or port cannot be read.
        """
        _check_url(self.url, "as https://HOST:PORT")


def _check_url(url: str, form: str) -> None:
    fault = url_fault(url)
    if fault is not None:
        raise ValueError(f"url = {shown(url)}: {fault}; write it {form}")
