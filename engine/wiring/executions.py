"""Strategies that begin and end by messages: who listens, in which cell, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from actors.listener import Listener, Reader
from engine.config import Config
from engine.domain.deliveries import (
    Delivery,
    FeedDown,
    FeedFailed,
    FeedUp,
    SymbolBegan,
    SymbolEnded,
)
from engine.domain.executions import BeginExecution, EndExecution
from engine.domain.listening import ApprovalReader, Heard, Identify, SessionReader
from engine.errors import ConfigError
from engine.naming import execution_id
from engine.ports import MarketFeed, RunHeader
from engine.registry import new_strategy
from engine.runtime.hosting import CellSpec
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import whole_cell
from engine.runtime.supervision import Role
from engine.strategy.base import Strategy
from engine.wiring.core import EXECUTOR
from engine.wiring.feeds import CAPACITY, CORE, ROOM_S

__all__ = ["LISTENER", "beginner", "build_listener", "new_heard", "open_listening"]

LISTENER = "listener"


def beginner(
    cls: type[Strategy], config: Config, header: RunHeader
) -> Callable[[BeginExecution], Strategy] | None:
    """Give what makes a strategy that begins by a message; None where none does.

    Args:
        cls: the strategy's class.
        config: the resolved profile; what the message says goes before its ``strategy`` section.
        header: the run.
    """
    if config.run.executions == "one":
        return None

    def begin(given: BeginExecution) -> Strategy:
        traded = {each.symbol for each in header.instruments}
        unknown = [symbol for symbol in given.symbols if symbol not in traded]
        if unknown:
            raise ConfigError(
                f"{unknown[0]} is not traded here; add it to data.symbols or [instruments]"
            )
        return new_strategy(cls, {**config.strategy, **given.parameters})

    return begin


def new_heard(config: Config) -> Heard:
    """Give the state of a listener that has heard nothing."""
    return Heard((config.kafka.topics.approved,))


def build_listener(config: Config, header: RunHeader, heard: Heard) -> CellSpec:
    """Build the cell that takes in what is said of strategies.

    Args:
        config: the resolved profile.
        header: the run.
        heard: what was heard before; what the history of the run adds must be in it when the
            cell starts.
    """
    listener = Listener(
        LISTENER,
        reader=_READERS[config.run.executions](
            config, header, heard, partial(execution_id, header.name)
        ),
        heard=heard,
        core=whole_cell(CORE),
        executor=EXECUTOR,
        size_max=config.feed.message_max,
    )
    taken: tuple[type, ...] = (
        Delivery, SymbolBegan, SymbolEnded, EndExecution, FeedUp, FeedDown, FeedFailed,
    )  # fmt: skip
    return CellSpec(
        name=LISTENER,
        role=Role.CORE,
        actors=lambda: [listener],
        mailbox=MailboxRules(
            capacity=CAPACITY,
            deadline_s=ROOM_S,
            overflow=dict.fromkeys(taken, Overflow.WAIT),
            urgent=frozenset(),
        ),
        restart=None,
    )


def _approvals(config: Config, header: RunHeader, heard: Heard, identify: Identify) -> Reader:
    refuse = config.feed.unknown_fields == "refuse"
    return ApprovalReader(heard, identify, refuse_unknown=refuse)


def _sessions(config: Config, header: RunHeader, heard: Heard, identify: Identify) -> Reader:
    return SessionReader(
        heard,
        identify,
        symbols=frozenset(each.symbol for each in header.instruments),
        strategy=header.strategy_ids[0],
    )


_READERS: Mapping[str, Callable[..., Reader]] = {"kafka": _approvals, "redis": _sessions}


def open_listening(config: Config, header: RunHeader, heard: Heard) -> MarketFeed:
    """Make the feed of messages about strategies; it does not listen yet."""
    return _FEEDS[config.run.executions](config, header, heard)


# What a feed needs is imported with it.


def _kafka(config: Config, header: RunHeader, heard: Heard) -> MarketFeed:
    from adapters.kafka.feed import KafkaFeed

    return KafkaFeed(config.kafka, topics=[config.kafka.topics.approved])


def _redis(config: Config, header: RunHeader, heard: Heard) -> MarketFeed:
    from adapters.redis.feed import RedisFeed

    active = {symbol for symbols in heard.running.values() for symbol in symbols}
    return RedisFeed(
        config.redis,
        channels=(),
        symbols=[each.symbol for each in header.instruments],
        active=active,
    )


_FEEDS: Mapping[str, Callable[..., MarketFeed]] = {"kafka": _kafka, "redis": _redis}
