"""The sections of a profile, as frozen structs: every setting, its type, range and default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.domain.costs import CostsConfig
from engine.domain.matching import FillConfig
from engine.domain.orders import TimeInForce
from engine.domain.risk import RiskLimits

__all__ = [
    "AccountConfig",
    "Config",
    "DataConfig",
    "ExecutionConfig",
    "FeedConfig",
    "IndicatorsConfig",
    "OmsGrpcConfig",
    "OrdersConfig",
    "ReportConfig",
    "RetryConfig",
    "RunConfig",
    "StoreConfig",
    "SupervisionConfig",
    "TlsConfig",
    "VenueConfig",
]


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which market data, and how to read it.

    Attributes:
        paths: files or folders.
        symbols: symbols to use, in this order; all when empty.
        start: first moment, ISO date or time, inclusive.
        end: last moment, ISO date or time; a date counts to its end.
        on_bad_data: ``fail`` on the first bad row, or ``drop`` and list them.
        adjust: scale prices by the adjusted-close column.
        bar_label: whether a bar's timestamp is its ``open`` or its ``close``.
        interval: length of a bar such as ``1d``; inferred when None.
        calendar: trading calendar of the instruments.
        price_decimals: digits of prices; inferred when None.
        quantity_decimals: digits of quantities; inferred when None.
        tick_size: price step; one unit of the last digit when None.
        columns: names of columns that are not recognised, such as ``open = "first"``.
    """

    paths: list[str] = []
    symbols: list[str] = []
    start: str | None = None
    end: str | None = None
    on_bad_data: Literal["fail", "drop"] = "fail"
    adjust: bool = False
    bar_label: Literal["open", "close"] = "open"
    interval: str | None = None
    calendar: str = "24/7"
    price_decimals: Annotated[int, Meta(ge=0, le=9)] | None = None
    quantity_decimals: Annotated[int, Meta(ge=0, le=8)] | None = None
    tick_size: Annotated[float, Meta(gt=0)] | None = None
    columns: dict[str, str] = {}


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The account a run trades.

    Attributes:
        cash: opening cash, in currency.
        currency: ISO code.
    """

    cash: Annotated[float, Meta(ge=0.01, le=10_000_000_000)] = 100_000.0
    currency: Annotated[str, Meta(pattern="^[A-Z]{3,5}$")] = "USD"


class OrdersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that leave something unsaid.

    Attributes:
        time_in_force: of orders that name none.
        keep_closed: closed orders the router remembers, for late and repeated reports.
    """

    time_in_force: TimeInForce = TimeInForce.GTC
    keep_closed: Annotated[int, Meta(ge=0)] = 10_000


class IndicatorsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How indicators are computed; the values are the same to the bit.

    Attributes:
        mode: ``batch`` holds one float per bar and output in memory and is fastest;
            ``streaming`` is what live does and needs no such memory.
    """

    mode: Literal["batch", "streaming"] = "batch"


class SupervisionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when something fails.

    Attributes:
        strategy: ``stop`` ends the run; ``quarantine`` silences that one strategy, cancels its
            orders and goes on.
    """

    strategy: Literal["stop", "quarantine"] = "stop"


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run itself.

    Attributes:
        name: what a run that outlives its process is kept under; that of the strategy when None.
        seed: permutes market events of equal time; None keeps the order of the symbols.
        chunk_rows: market events read at a time; a few thousand stay in the processor's cache.
        latch: file that keeps the trading state, so that what was halted stays halted when the
            engine starts again; None starts ACTIVE.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    seed: int | None = None
    chunk_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 2048
    latch: str | None = None


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How market data files are played to a run in real time.

    Attributes:
        speed: seconds of the data in a real second, or ``"max"``: as fast as it goes.
    """

    speed: Literal["max"] | Annotated[float, Meta(gt=0)] = "max"


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run that outlives its process is kept.

    Attributes:
        url: a PostgreSQL server (also ``DATABASE_URL``); None starts one of our own in ``folder``.
        folder: where that one keeps its data.
        timeout: longest that the server may take to connect or to answer, in seconds.
        start_timeout: longest that our own server may take to start or to stop, in seconds.
    """

    url: str | None = None
    folder: str = "tetrad-data"
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 2.0
    start_timeout: Annotated[float, Meta(ge=1, le=600)] = 30.0


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the orders of a paper run go.

    Attributes:
        kind: ``simulated``, the venue of the backtest, or ``grpc``, the order management system of
            section ``oms_grpc``.
    """

    kind: Literal["simulated", "grpc"] = "simulated"


class ExecutionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about an execution from time to time.

    Attributes:
        position_check_interval: time between snapshots of positions, in seconds of market time.
    """

    position_check_interval: Annotated[float, Meta(ge=1)] = 60.0


class ReportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The output folder.

    Attributes:
        html: write ``report.html``.
    """

    html: bool = True


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a lost connection is tried again. Orders are never sent again.

    Attributes:
        max_attempts: attempts in a row after which every further failure is reported; it goes on
            all the same.
        backoff_ms: milliseconds from one attempt to the next, doubled each time up to 10,000.
    """

    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 3
    backoff_ms: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


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


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a run; sections are described by their own structs.

    Attributes:
        profile: name of the shipped profile this one started from.
        strategy: parameter values of the strategy, by name.
    """

    profile: str
    risk: RiskLimits
    strategy: dict[str, Any] = {}
    data: DataConfig = DataConfig()
    account: AccountConfig = AccountConfig()
    orders: OrdersConfig = OrdersConfig()
    fill: FillConfig = FillConfig()
    costs: CostsConfig = CostsConfig()
    indicators: IndicatorsConfig = IndicatorsConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    run: RunConfig = RunConfig()
    feed: FeedConfig = FeedConfig()
    store: StoreConfig = StoreConfig()
    venue: VenueConfig = VenueConfig()
    execution: ExecutionConfig = ExecutionConfig()
    report: ReportConfig = ReportConfig()
    oms_grpc: OmsGrpcConfig = OmsGrpcConfig()
