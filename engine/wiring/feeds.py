"""Market data from a broker: the feed, the ingest and the cell it works in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.ingest import Channel, Ingest
from engine.config import Config
from engine.domain.control_wire import ControlEvent
from engine.domain.deliveries import (
    Delivery,
    FeedDown,
    FeedFailed,
    FeedUp,
    SymbolEnded,
)
from engine.domain.instruments import Instrument
from engine.domain.intake import FeedState
from engine.domain.market_wire import MarketReader
from engine.domain.money import to_units
from engine.domain.wire_time import timeframe_ns
from engine.errors import ConfigError
from engine.ports import MarketFeed, MarketPublisher
from engine.runtime.clock import Clock
from engine.runtime.hosting import CellSpec
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import whole_cell
from engine.runtime.supervision import Role
from engine.wiring.core import GATE, KIND_TYPES

__all__ = [
    "CORE",
    "INGEST",
    "build_ingest",
    "feed_instruments",
    "feed_state",
    "open_feed",
    "open_publisher",
]

CORE = "core"
INGEST = "ingest"
CAPACITY = 64
"""Deliveries that may wait; then the reader waits, and with it the broker."""
ROOM_S = 10.0
_SECOND = 1_000_000_000


def feed_instruments(config: Config) -> tuple[Instrument, ...]:
    """Give what a run on a broker's data trades, in the order of ``data.symbols``.

    Raises:
        ConfigError: there are none, or a tick size has more digits than the prices.
        FeedError: Redis does not answer.
    """
    symbols = list(config.data.symbols or config.instruments)
    if not symbols and config.feed.kind == "redis":
        from adapters.redis.client import active_symbols, reaching

        with reaching(config.redis) as client:
            symbols = active_symbols(client)
    if not symbols:
        raise ConfigError(
            "no symbols: give --symbols, or set data.symbols or [instruments.SYMBOL] in the profile"
        )
    return tuple(_instrument(config, symbol) for symbol in dict.fromkeys(symbols))


def _instrument(config: Config, symbol: str) -> Instrument:
    own = config.instruments.get(symbol)
    data = config.data

    def first(name: str, default: Any) -> Any:
        given = [getattr(source, name, None) for source in (own, data)]
        return next((value for value in given if value is not None), default)

    decimals = first("price_decimals", 2)
    tick = first("tick_size", None)
    try:
        tick_size = 1 if tick is None else to_units(tick, decimals)
    except ValueError as error:
        raise ConfigError(f"tick_size of {symbol}: {error}") from None
    return Instrument(
        symbol=symbol,
        price_decimals=decimals,
        quantity_decimals=first("quantity_decimals", 0),
        tick_size=tick_size,
        multiplier=1 if own is None else own.multiplier,
        currency=config.account.currency,
        sector=None if own is None else own.sector,
        calendar=first("calendar", "24/7"),
    )


def feed_state(config: Config, instruments: Sequence[Instrument]) -> FeedState:
    """Give the state of a feed of which nothing has come."""
    return FeedState([KIND_TYPES[config.feed.events]], [each.symbol for each in instruments])


def open_feed(config: Config, instruments: Sequence[Instrument]) -> MarketFeed:
    """Make the feed of a profile; it does not listen yet."""
    # Here: a run on files needs neither.
    if config.feed.kind == "redis":
        from adapters.redis.feed import RedisFeed

        symbols = [each.symbol for each in instruments]
        channels = list(_topics(config, symbols))
        # Sessions that come and go do not end the market data of their symbols.
        ends = config.run.executions == "one" or config.feed.time == "data"
        return RedisFeed(config.redis, channels=channels, symbols=symbols if ends else ())
    from adapters.kafka.feed import KafkaFeed

    return KafkaFeed(config.kafka, topics=list(_topics(config, [])))


def open_publisher(config: Config) -> MarketPublisher:
    """Make a publisher to the broker that a profile listens to.

    Raises:
        ConfigError: it listens to none.
    """
    if config.feed.kind == "files":
        raise ConfigError("no broker: set feed.kind to redis or kafka")
    if config.feed.kind == "redis":
        from adapters.redis.publisher import RedisPublisher

        return RedisPublisher(config.redis, kind=config.feed.events)
    from adapters.kafka.publisher import KafkaPublisher

    return KafkaPublisher(config.kafka, topic=next(iter(_topics(config, []))))


def _topics(config: Config, symbols: Sequence[str]) -> Mapping[str, str | None]:
    """Give the topics of a feed, each with the symbol it is about if it is about one."""
    if config.feed.kind == "redis":
        from adapters.redis.channels import channel_of

        return {channel_of(config.feed.events, symbol): symbol for symbol in symbols}
    topics = config.kafka.topics
    by_kind = {
        "bar": topics.market_data,
        "trade": topics.market_trades,
        "quote": topics.market_quotes,
    }
    return {by_kind[config.feed.events]: None}


def build_ingest(
    config: Config,
    instruments: Sequence[Instrument],
    state: FeedState,
    *,
    is_end: Callable[[ControlEvent], bool],
    clock: Clock,
    ended: Callable[[], None],
) -> CellSpec:
    """Build the cell that takes in what a broker delivers.

    Args:
        config: the resolved profile.
        instruments: what is traded.
        state: how far the feed has come; what the history of the run adds must be in it when the
            cell starts.
        is_end: tells whether the end of a session is that of its symbol.
        clock: moved with the data, if it moves so.
        ended: called when nothing more will come; from the cell's thread.
    """
    feed = config.feed
    intake = state.intakes[KIND_TYPES[feed.events]]
    reader = MarketReader(
        feed.events,
        {each.symbol: each for each in instruments},
        intake.numbers,
        label=config.data.bar_label,
        interval_ns=_interval(config),
        refuse_unknown=feed.unknown_fields == "refuse",
        size_max=feed.message_max,
    )
    is_wall = feed.time == "wall"
    silent = feed.silent_after if is_wall else None
    ingest = Ingest(
        INGEST,
        channels={
            topic: Channel(reader, intake, symbol)
            for topic, symbol in _topics(config, state.symbols).items()
        },
        state=state,
        is_end=is_end,
        core=whole_cell(CORE),
        gate=GATE,
        advance=clock.advance,
        ended=ended,
        silent_ns=None if silent is None else round(silent * _SECOND),
        ahead_ns=round(feed.ahead_max * _SECOND) if is_wall else None,
        keep_bytes=feed.message_max,
        lossy=feed.kind == "redis",
    )
    heard: tuple[type, ...] = (Delivery, SymbolEnded, FeedUp, FeedDown, FeedFailed)
    overflow = dict.fromkeys(heard, Overflow.WAIT)
    return CellSpec(
        name=INGEST,
        role=Role.CORE,
        actors=lambda: [ingest],
        mailbox=MailboxRules(
            capacity=CAPACITY, deadline_s=ROOM_S, overflow=overflow, urgent=frozenset()
        ),
        restart=None,
    )


def _interval(config: Config) -> int | None:
    text = config.data.interval
    if text is None:
        return None
    try:
        return timeframe_ns(text)
    except ValueError as error:
        raise ConfigError(f"data.interval: {error}") from None
