"""Every peer that a profile names, looked at side by side, each with a limit to its time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from adapters.files.doctor import examine_data, examine_latch
from adapters.files.installation import examine_installation
from adapters.postgres.conninfo import secrets_of, with_password
from engine.addresses import SECRET
from engine.config import Config
from engine.domain.findings import Finding, problem, silence
from engine.errors import ConfigError, TetradError
from engine.wiring.safety import lacking
from engine.wiring.venues import venue_routes

__all__ = ["examine"]

_SPARE_S = 2.0
_KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
Examination = Callable[[], Iterable[Finding]]


class _Case(NamedTuple):
    """A peer, how it is looked at, and how many seconds that may take."""

    name: str
    examination: Examination
    limit_s: float


def examine(config: Config, environment: Mapping[str, str]) -> list[Finding]:
    """Look at everything a profile names; every password and key is left out of what is found.

    Args:
        config: the resolved profile.
        environment: where the keys of Alpaca are.
    """
    rules = [_rule(each) for each in _lacking(config)]
    cases = list(_cases(config, environment))
    found: list[list[Finding]] = [[] for _ in cases]
    threads = [
        threading.Thread(target=_look, args=(case, into), name=f"doctor-{case.name}", daemon=True)
        for case, into in zip(cases, found, strict=True)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    findings = list(rules)
    for case, thread, into in zip(cases, threads, found, strict=True):
        thread.join(max(0.0, started + case.limit_s - time.monotonic()))
        is_over = not thread.is_alive()
        findings += into
        if not is_over:
            findings.append(_late(case))
    hide = _hiding(_secrets(config, environment))
    return [
        msgspec.structs.replace(each, found=hide(each.found), advice=hide(each.advice))
        for each in findings
    ]


def _look(case: _Case, into: list[Finding]) -> None:
    try:
        for each in case.examination():
            into.append(each)  # noqa: PERF402 - what was found before a peer fell silent is kept
    except TetradError as error:
        into.append(problem(case.name, str(error), "correct the setting"))


def _late(case: _Case) -> Finding:
    return silence(
        case.name,
        f"does not answer within {case.limit_s:g} s",
        "see that it runs and that nothing on the way swallows what is sent",
    )


def _lacking(config: Config) -> list[str]:
    try:
        return lacking(config)
    except ConfigError as error:  # no connection string
        return [str(error)]


def _rule(said: str) -> Finding:
    found, _, advice = said.partition(": ")
    return problem("Safety", found, advice)


def _cases(config: Config, environment: Mapping[str, str]) -> Iterator[_Case]:
    """Name what is to be looked at; a driver is imported by the examination that needs it."""
    yield _Case("Packages", examine_installation, 10.0)
    if config.feed.kind == "files":
        yield _Case("Market data", lambda: examine_data(config.data.paths), 30.0)
    if config.run.latch is not None:
        latch = Path(config.run.latch)
        yield _Case("Trading state", lambda: examine_latch(latch), 10.0)
    if config.profile == "backtest":
        return
    yield _store(config)
    if config.feed.kind == "redis" or config.run.executions == "redis":
        yield _redis(config)
    topics = _topics(config)
    if topics:
        yield _kafka(config, topics)
    for kind in venue_routes(config).venues:
        venue = _VENUES.get(kind)
        if venue is not None:
            yield venue(config, environment)


def _store(config: Config) -> _Case:
    store = config.store

    def server() -> Iterator[Finding]:
        from adapters.postgres.doctor import examine_embedded, examine_server

        if store.url is not None:
            conninfo = with_password(store.url, store.password)
            yield from examine_server(conninfo, timeout_s=store.timeout)
            return
        yield from examine_embedded(
            Path(store.folder), start_timeout_s=store.start_timeout, timeout_s=store.timeout
        )

    # Libpq gives a connection two seconds at least.
    limit = max(2.0, store.timeout) + store.timeout + _SPARE_S
    return _Case("PostgreSQL", server, limit + (0 if store.url else 2 * store.start_timeout))


def _redis(config: Config) -> _Case:
    def server() -> Iterator[Finding]:
        from adapters.redis.doctor import examine

        yield from examine(config.redis)

    return _Case("Redis", server, 2 * config.redis.timeout + _SPARE_S)


def _kafka(config: Config, topics: list[str]) -> _Case:
    def cluster() -> Iterator[Finding]:
        from adapters.kafka.doctor import examine

        yield from examine(config.kafka, topics)

    return _Case("Kafka", cluster, 2 * config.kafka.timeout + _SPARE_S)


def _topics(config: Config) -> list[str]:
    names = config.kafka.topics
    by_kind = {
        "bar": names.market_data, "trade": names.market_trades, "quote": names.market_quotes,
    }  # fmt: skip
    wanted = [by_kind[config.feed.events]] if config.feed.kind == "kafka" else []
    if config.run.executions == "kafka":
        wanted.append(names.approved)
    if config.publish.kind == "kafka":
        wanted += [names.execution, names.positions, names.errors]
    return list(dict.fromkeys(wanted))


def _grpc(config: Config, environment: Mapping[str, str]) -> _Case:
    def system() -> Iterator[Finding]:
        from adapters.grpc.doctor import examine

        yield from examine(config.oms_grpc)

    return _Case("OMS over gRPC", system, 2 * config.oms_grpc.timeout + _SPARE_S)


def _http(config: Config, environment: Mapping[str, str]) -> _Case:
    def gateway() -> Iterator[Finding]:
        from adapters.http.doctor import examine

        yield from examine(config.gateway)

    return _Case("Gateway", gateway, 2 * config.gateway.timeout + _SPARE_S)


def _alpaca(config: Config, environment: Mapping[str, str]) -> _Case:
    def broker() -> Iterator[Finding]:
        from adapters.alpaca.doctor import examine

        yield from examine(config.alpaca, environment)

    return _Case("Alpaca", broker, 2 * config.alpaca.timeout + _SPARE_S)


_VENUES: Mapping[str, Callable[[Config, Mapping[str, str]], _Case]] = {
    "grpc": _grpc,
    "http": _http,
    "alpaca": _alpaca,
}


def _secrets(config: Config, environment: Mapping[str, str]) -> Iterator[str]:
    """Give what must not be shown: a driver's words may repeat it."""
    given: list[Any] = [config.store.password, config.redis.password, config.gateway.token]
    given += [environment.get(name) for name in _KEYS]
    given += [value for name, value in config.kafka.options.items() if SECRET.search(name)]
    for url in (config.redis.url, config.gateway.url):
        password = urlsplit(url).password
        given += [password, None if password is None else unquote(password)]
        asked = parse_qsl(urlsplit(url).query)
        given += [value for name, value in asked if SECRET.search(name)]
    public: frozenset[str] = frozenset()
    if config.store.url is not None:
        try:
            secret, public = secrets_of(config.store.url)
            given += secret
        except ConfigError:
            given.append(config.store.url)
    # A password that is also the user's name would blot out that name and say what it is.
    yield from {str(each) for each in given if each} - public


def _hiding(secrets: Iterable[str]) -> Callable[[str], str]:
    longest_first = sorted(secrets, key=len, reverse=True)
    patterns = [re.compile(rf"(?<!\w){re.escape(each)}(?!\w)") for each in longest_first]

    def hide(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("***", text)
        return text

    return hide
