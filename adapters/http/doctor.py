"""Whether a gateway over HTTP answers and knows us."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx2

from adapters.http.endpoint import Endpoint
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.errors import ConfigError
from engine.sections import GatewayConfig

__all__ = ["examine"]

NAME = "Gateway"
_CLOCK_S = 1.0
_PATH = "/v1/sessions/"
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def examine(config: GatewayConfig) -> Iterator[Finding]:
    """Look at a gateway; nothing is ordered, and each request has ``gateway.timeout``."""
    try:
        endpoint = Endpoint(config)
    except ConfigError as error:
        found, _, advice = str(error).rpartition("; ")
        yield problem(NAME, found, advice)
        return
    where = endpoint.target
    try:
        with endpoint.client() as client:
            names = sorted(set(config.sessions.values())) or ["engine-doctor"]
            answers: dict[str, httpx2.Response] = {}
            clock: list[Finding] = []
            for name in names:
                asked_at = time.time()
                answers[name] = client.get(_PATH + quote(name, safe=""))
                clock = list(_clock(answers[name], asked_at, time.time()))
    except httpx2.HTTPError as error:
        yield silence(
            NAME,
            f"does not answer at {where} within {config.timeout:g} s: "
            f"{str(error) or type(error).__name__}",
            "start it, or correct GATEWAY_URL (gateway.url)",
        )
        return
    yield fine(NAME, f"answers at {where}")
    yield _encryption(config)
    yield from clock
    yield _token(config, next(iter(answers.values())))
    for name in sorted(set(config.sessions.values())):
        yield _session(name, answers[name])


def _encryption(config: GatewayConfig) -> Finding:
    url = httpx2.URL(config.url)
    if url.scheme == "https":
        return fine(f"{NAME} encryption", "TLS")
    if url.host in _HERE:
        return fine(f"{NAME} encryption", "none, and the gateway is on this machine")
    return warning(f"{NAME} encryption", "none", "write https:// in gateway.url")


def _clock(answer: httpx2.Response, before: float, after: float) -> Iterator[Finding]:
    """Compare clocks by the time of an answer, which is in whole seconds, cut off."""
    try:
        said = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return
    what = f"{NAME} clock"
    # Servers may make it anew only once a second, so it may be two seconds old.
    ahead = said + 1.0 - (before + after) / 2
    found = f"{ahead:+.0f} s from this machine, give or take one"
    if abs(ahead) <= _CLOCK_S + 1.0 + (after - before) / 2:
        yield fine(what, found)
    else:
        yield warning(what, found, "set both clocks by NTP")


def _token(config: GatewayConfig, answer: httpx2.Response) -> Finding:
    what = f"{NAME} token"
    if answer.status_code in {401, 403}:
        advice = "correct GATEWAY_TOKEN (gateway.token)"
        sent = "none was sent" if config.token is None else "it is refused"
        return problem(what, f"{sent}: answered with {answer.status_code}", advice)
    if answer.status_code >= 500:
        return silence(
            what, f"unknown: answered with {answer.status_code}", "look at the gateway's log"
        )
    if answer.status_code == 200 or b"UNKNOWN_SESSION" in answer.content:
        return fine(what, "none is asked for" if config.token is None else "is accepted")
    return fine(what, "not known: this gateway takes plain orders alone and has nothing to ask")


def _session(name: str, answer: httpx2.Response) -> Finding:
    if b"UNKNOWN_SESSION" in answer.content:
        return problem(
            f"{NAME} session {name}", "is not there", "open it there, or correct gateway.sessions"
        )
    return fine(f"{NAME} session {name}", f"answered with {answer.status_code}")
