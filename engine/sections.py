"""The sections of a profile, as frozen structs: every setting, its type, range and default."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from engine.addresses import servers_fault, shown, url_fault
from engine.domain.costs import CostsConfig
from engine.domain.matching import FillConfig
from engine.domain.orders import TimeInForce
from engine.domain.risk import RiskLimits
from engine.venue_sections import (
    AlpacaConfig,
    GatewayConfig,
    OmsGrpcConfig,
    RetryConfig,
    TlsConfig,
    VenueConfig,
)

__all__ = [
    "AccountConfig",
    "AlpacaConfig",
    "Config",
    "DataConfig",
    "ExecutionConfig",
    "FeedConfig",
    "GatewayConfig",
    "IndicatorsConfig",
    "InstrumentConfig",
    "KafkaConfig",
    "OmsGrpcConfig",
    "OrdersConfig",
    "PublishConfig",
    "RedisConfig",
    "ReportConfig",
    "RetryConfig",
    "RunConfig",
    "SafetyConfig",
    "ShutdownConfig",
    "StoreConfig",
    "SupervisionConfig",
    "TlsConfig",
    "TopicsConfig",
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
        executions: when the strategy begins: ``one`` execution of it begins and ends with the
            run; ``kafka`` begins one for each message of the topic ``kafka.topics.approved``, with
            the message's parameters; ``redis`` one for each symbol that is subscribed on the
            control channel.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    seed: int | None = None
    chunk_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 2048
    latch: str | None = None
    executions: Literal["one", "kafka", "redis"] = "one"


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where market data comes from in real time.

    Attributes:
        kind: ``files`` plays ``data.paths``; ``redis`` and ``kafka`` listen to a broker.
        speed: of files: seconds of the data in a real second, or ``"max"``: as fast as it goes.
        time: of a broker: ``wall`` is the time of day; ``data`` moves with the messages, for a
            broker to which the past is played.
        events: of a broker: what it publishes that the run is to have.
        silent_after: seconds without a message after which the price of a symbol is stale; None
            for ever. Needs ``time = "wall"``.
        ahead_max: seconds that a message may be ahead of the clock. Needs ``time = "wall"``.
        message_max: longest message in bytes; a longer one is a dead letter.
        unknown_fields: whether a message with a field that nobody knows is a dead letter.
    """

    kind: Literal["files", "redis", "kafka"] = "files"
    speed: Literal["max"] | Annotated[float, Meta(gt=0)] = "max"
    time: Literal["wall", "data"] = "data"
    events: Literal["bar", "trade", "quote"] = "bar"
    silent_after: Annotated[float, Meta(ge=0.1)] | None = None
    ahead_max: Annotated[float, Meta(ge=0)] = 60.0
    message_max: Annotated[int, Meta(ge=64, le=1_000_000)] = 65_536
    unknown_fields: Literal["refuse", "ignore"] = "refuse"


class InstrumentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instrument that market data files say nothing about; None takes that of ``data``.

    Attributes:
        price_decimals: digits of its prices; 2 when ``data.price_decimals`` is None too.
        quantity_decimals: digits of its quantities; 0 when ``data.quantity_decimals`` is None too.
        tick_size: its price step; one unit of the last digit when nobody says.
        multiplier: currency value of one price point of one unit.
        sector: for concentration limits and reports.
        calendar: its trading calendar.
    """

    price_decimals: Annotated[int, Meta(ge=0, le=9)] | None = None
    quantity_decimals: Annotated[int, Meta(ge=0, le=8)] | None = None
    tick_size: Annotated[float, Meta(gt=0)] | None = None
    multiplier: Annotated[int, Meta(ge=1)] = 1
    sector: str | None = None
    calendar: str | None = None


_DATABASE = re.compile(r"/?|/[0-9]{1,9}")


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Redis server that market data and sessions come from.

    Attributes:
        url: also ``REDIS_URL``; ``rediss://`` encrypts.
        password: also ``REDIS_PASSWORD``; for a ``url`` that has none.
        timeout: seconds that it may take to connect or to answer; one that says nothing for as
            long is taken for gone.
        retry: how a lost connection is tried again.
    """

    url: Annotated[str, Meta(pattern="^(redis|rediss|unix)://")] = "redis://localhost:6379"
    password: str | None = None
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 3.0
    retry: RetryConfig = RetryConfig()

    def __post_init__(self) -> None:
        """Refuse a URL that leads nowhere.

        Raises:
            ValueError: its host, port or database cannot be read.
        """
        fault = url_fault(self.url)
        is_unix = self.url.startswith("unix:")
        if fault is None and not is_unix and not _DATABASE.fullmatch(urlsplit(self.url).path):
            fault = "its path is no number of a database"
        if fault is not None:
            raise ValueError(
                f"url = {shown(self.url)}: {fault}; write it (REDIS_URL) as "
                "redis://:PASSWORD@HOST:PORT/DATABASE, special characters of a password as %XX"
            )


TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
"""What Kafka takes for the name of a topic."""


class TopicsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of topics.

    Attributes:
        market_data: bars.
        market_trades: trades.
        market_quotes: quotes.
        approved: strategies that are to begin.
        execution: what is told of executions and their orders.
        positions: what is told of positions.
        errors: what is told of limits and failures.
    """

    market_data: str = "market_data"
    market_trades: str = "market_trades"
    market_quotes: str = "market_quotes"
    approved: TopicName = "strategy.approved"
    execution: TopicName = "strategy.execution"
    positions: TopicName = "strategy.positions"
    errors: TopicName = "strategy.errors"


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Kafka cluster that market data comes from, and that messages about a run go to.

    Attributes:
        bootstrap_servers: where to find it, ``host:port`` with commas between.
        consumer_group: names the reader to the brokers; progress is kept with the run, not there.
        topics: names of topics.
        start: where a run that has read nothing yet begins: with what is there, or what comes.
        on_lost: messages that the brokers no longer have when the run gets to them end it
            (``halt``), or make every price stale until a new one comes (``skip``).
        timeout: seconds that a broker may take to answer when the run starts, and after which one
            that acknowledges no message about the run is told of as down.
        options: further settings of librdkafka, such as those of security.
    """

    bootstrap_servers: Annotated[str, Meta(min_length=1)] = "localhost:9092"
    consumer_group: Annotated[str, Meta(min_length=1)] = "strategy-worker"
    topics: TopicsConfig = TopicsConfig()
    start: Literal["latest", "earliest"] = "latest"
    on_lost: Literal["halt", "skip"] = "halt"
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    options: dict[str, str | int | float | bool] = {}

    def __post_init__(self) -> None:
        """Refuse servers that lead nowhere.

        Raises:
            ValueError: a host or a port cannot be read.
        """
        fault = servers_fault(self.bootstrap_servers)
        if fault is not None:
            raise ValueError(
                f"bootstrap_servers = {shown(self.bootstrap_servers)}: {fault}; write it as "
                "HOST:PORT, with commas between more of them"
            )


class PublishConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told of a paper run to others.

    Attributes:
        kind: ``kafka`` sends messages about executions, orders, positions and risk to the cluster
            of section ``kafka``; ``none`` tells nobody.
        user_id: whose the strategies are, as it stands in the messages.
        wait: seconds that a run at its end waits for what has not been acknowledged; the rest is
            sent when the run is started again.
    """

    kind: Literal["none", "kafka"] = "none"
    user_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    wait: Annotated[float, Meta(ge=0, le=600)] = 10.0


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run that outlives its process is kept.

    Attributes:
        url: a PostgreSQL server (also ``DATABASE_URL``); None starts one of our own in ``folder``.
        password: also ``DB_PASSWORD``; for a ``url`` that has none.
        folder: where that one keeps its data.
        timeout: longest that the server may take to connect or to answer, in seconds.
        start_timeout: longest that our own server may take to start or to stop, in seconds.
        on_loss: what a run does when the server is gone: ``end`` with exit code 75, or ``wait``
            for it, halted, and go on with the account reducing until a person resumes it.
        on_restart: how a run goes on in another process, whatever ended the one before: as it was
            (``same``), or with the account ``reducing`` until a person resumes it.
    """

    url: str | None = None
    password: str | None = None
    folder: str = "tetrad-data"
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 2.0
    start_timeout: Annotated[float, Meta(ge=1, le=600)] = 30.0
    on_loss: Literal["end", "wait"] = "end"
    on_restart: Literal["same", "reducing"] = "same"


class SafetyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a profile must have, or it is refused before anything is connected.

    Attributes:
        connections: ``encrypted`` refuses a broker, database or venue over a network that could
            be read or pretended to be, this machine's included; ``any`` takes all.
        market: ``live`` refuses files, the time of data, a simulated venue, prices that never
            grow old, and symbols without a section ``instruments``; ``any`` takes all.
        environment: also ``ENVIRONMENT``: where the engine is, such as ``development``; with
            ``market = "live"`` any but ``production`` is refused. None when nobody says.
    """

    connections: Literal["encrypted", "any"] = "any"
    market: Literal["live", "any"] = "any"
    environment: Annotated[str, Meta(max_length=64)] | None = None


class ShutdownConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signal to stop (SIGTERM, Ctrl-C) does to a paper run.

    Attributes:
        positions: ``keep`` leaves off at once, with positions and orders as they are; ``flatten``
            cancels every order and closes every position first. A second signal leaves off at
            once.
        timeout: seconds that closing may take; then the run leaves off with what is open.
    """

    positions: Literal["keep", "flatten"] = "keep"
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 30.0


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


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a run; sections are described by their own structs.

    Attributes:
        profile: name of the shipped profile this one started from.
        strategy: parameter values of the strategy, by name.
        instruments: what is known of instruments that no file describes, by symbol.
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
    instruments: dict[str, InstrumentConfig] = {}
    redis: RedisConfig = RedisConfig()
    kafka: KafkaConfig = KafkaConfig()
    publish: PublishConfig = PublishConfig()
    store: StoreConfig = StoreConfig()
    venue: VenueConfig = VenueConfig()
    execution: ExecutionConfig = ExecutionConfig()
    safety: SafetyConfig = SafetyConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    report: ReportConfig = ReportConfig()
    oms_grpc: OmsGrpcConfig = OmsGrpcConfig()
    gateway: GatewayConfig = GatewayConfig()
    alpaca: AlpacaConfig = AlpacaConfig()
