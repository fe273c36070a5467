"""A look at everything that a profile needs around it, one peer after another."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.postgres.conninfo import with_password
from adapters.postgres.doctor import examine as examine_postgres
from adapters.postgres.embedded import EmbeddedPostgres
from engine.config import Config
from engine.domain.events import VenueDown, VenueUp
from engine.domain.findings import Finding, ok, problem
from engine.errors import TetradError
from engine.ports import VenueLink
from engine.runtime.clock import WallClock
from engine.wiring.core import open_history
from engine.wiring.safety import require_safe
from engine.wiring.session import LINK_CLOSE_S

__all__ = ["examine"]

VENUE_WAITS = 3.0
"""How long a venue is waited for, in times of its own deadline."""


def examine(config: Config) -> Iterator[Finding]:
    """Look at every peer and file of a profile; nothing is changed there.

    Each look ends within the deadlines of the profile.
    """
    yield from _safety(config)
    yield from _store(config)
    yield from _data(config)
    if "redis" in (config.feed.kind, config.run.executions):
        from adapters.redis.doctor import examine as examine_redis

        yield from examine_redis(config.redis)
    topics = _topics(config)
    if topics:
        from adapters.kafka.doctor import examine as examine_kafka

        yield from examine_kafka(config.kafka, topics)
    yield from _venue(config)


def _safety(config: Config) -> Iterator[Finding]:
    try:
        require_safe(config)
    except TetradError as error:
        yield problem("profile", str(error), "write what it says")
    else:
        yield ok("profile", f"{config.profile}, safety {config.safety.connections}")


def _store(config: Config) -> Iterator[Finding]:
    settings = config.store
    if settings.url is not None:
        conninfo = with_password(settings.url, settings.password)
        yield from examine_postgres(conninfo, timeout_s=settings.timeout)
        return
    own = EmbeddedPostgres(Path(settings.folder), timeout_s=settings.start_timeout)
    at_work = own.find()
    try:
        conninfo = at_work or own.start()
        yield from examine_postgres(conninfo, timeout_s=settings.timeout)
    except TetradError as error:
        yield problem("postgresql", str(error), "or name a server of yours in store.url")
    finally:
        if at_work is None:
            own.stop()


def _data(config: Config) -> Iterator[Finding]:
    if config.feed.kind != "files" or not config.data.paths:
        return
    try:
        history = open_history(config)
    except TetradError as error:
        yield problem("data", str(error), "see docs/data.md")
    else:
        symbols = len(history.instruments)
        yield ok("data", f"{history.rows:,} {history.kind}s of {symbols} symbols")


def _topics(config: Config) -> list[str]:
    names, topics = config.kafka.topics, []
    if config.feed.kind == "kafka":
        by_kind = {
            "bar": names.market_data,
            "trade": names.market_trades,
            "quote": names.market_quotes,
        }
        topics.append(by_kind[config.feed.events])
    if config.run.executions == "kafka":
        topics.append(names.approved)
    if config.publish.kind == "kafka":
        topics += [names.execution, names.positions, names.errors]
    return topics


def _venue(config: Config) -> Iterator[Finding]:
    made = _VENUES.get(config.venue.kind)
    if made is None:
        yield ok("venue", "simulated, in this process")
        return
    where, timeout_s, make = made(config)
    subject = f"venue {config.venue.kind}"
    advice = f"start it, or correct the section of it in the profile; it was to be at {where}"
    try:
        reason = _reach(make, timeout_s * VENUE_WAITS)
    except TetradError as error:
        yield problem(subject, str(error), advice)
        return
    if reason is None:
        yield ok(subject, f"connected to {where}")
    else:
        yield problem(subject, reason, advice, is_silent=True)


def _reach(make: Callable[..., VenueLink], timeout_s: float) -> str | None:
    """Open a link of our own and see what it says first; None when it is up."""
    heard: list[Any] = []
    told = threading.Event()

    def report(event: Any) -> None:
        if isinstance(event, VenueUp | VenueDown):
            heard.append(event)
            told.set()

    # A name of its own: the link of an engine at work must not be ended by this one.
    link = make(
        instruments={},
        keep_closed=0,
        on_bad_answer=report,
        now=WallClock().now,
        client=f"doctor-{os.getpid()}",
    )
    link.open(report)
    try:
        if not told.wait(timeout_s):
            return f"it says nothing within {timeout_s:g} s"
        first = heard[0]
        return first.reason if isinstance(first, VenueDown) else None
    finally:
        link.close(timeout_s=LINK_CLOSE_S)


_Made = tuple[str, float, Callable[..., VenueLink]]


# What a link needs is imported with it.


def _grpc(config: Config) -> _Made:
    from adapters.grpc.link import GrpcVenueLink

    given = config.oms_grpc
    return (
        f"{given.host}:{given.port}",
        given.timeout,
        lambda **common: GrpcVenueLink(given, **common),
    )


def _http(config: Config) -> _Made:
    from adapters.http.link import HttpVenueLink

    given = config.gateway
    return (
        given.url,
        given.timeout,
        lambda **common: HttpVenueLink(given, price_of=lambda symbol: None, **common),
    )


def _alpaca(config: Config) -> _Made:
    from adapters.alpaca.link import AlpacaVenueLink

    given = config.alpaca
    return (
        given.url,
        given.timeout,
        lambda **common: AlpacaVenueLink(given, environment=os.environ, **common),
    )


_VENUES: Mapping[str, Callable[[Config], _Made]] = {
    "grpc": _grpc,
    "http": _http,
    "alpaca": _alpaca,
}
