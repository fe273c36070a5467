"""Whether Alpaca, or a broker of its shape, lets us trade."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime

import httpx2
import msgspec

from adapters.alpaca.endpoint import KEY_ID, SECRET_KEY, Endpoint
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.errors import ConfigError
from engine.sections import AlpacaConfig

__all__ = ["examine"]

NAME = "Alpaca"
_CLOCK_S = 1.0


class _Account(msgspec.Struct):
    status: str
    trading_blocked: bool = False
    account_blocked: bool = False


class _Clock(msgspec.Struct):
    timestamp: datetime
    is_open: bool = False


def examine(config: AlpacaConfig, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at an account; nothing is ordered, and each request has ``alpaca.timeout``."""
    try:
        endpoint = Endpoint(config, environment)
    except ConfigError as error:
        found, _, advice = str(error).partition(": ")
        yield problem(NAME, found, advice)
        return
    try:
        with endpoint.client() as client:
            account = client.get("/v2/account")
            yield _account(account, endpoint.target)
            if account.status_code == 200:
                before = time.time()
                clock = client.get("/v2/clock")
                yield _clock(clock, before, time.time())
    except httpx2.HTTPError as error:
        yield silence(
            NAME,
            f"does not answer at {endpoint.target} within {config.timeout:g} s: "
            f"{str(error) or type(error).__name__}",
            "look at the network and at alpaca.url",
        )


def _account(answer: httpx2.Response, target: str) -> Finding:
    if answer.status_code in {401, 403}:
        return problem(
            NAME,
            f"refuses our keys at {target}: answered with {answer.status_code}",
            f"correct {KEY_ID} and {SECRET_KEY}; paper and live accounts have keys of their own",
        )
    if answer.status_code == 429 or answer.status_code >= 500:
        return silence(
            NAME, f"is not to be had at {target}: {answer.status_code}", "try again later"
        )
    try:
        account = msgspec.json.decode(answer.content, type=_Account)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return problem(NAME, f"{target} is no broker of Alpaca's shape", "correct alpaca.url")
    if account.status != "ACTIVE" or account.trading_blocked or account.account_blocked:
        return problem(
            NAME, f"the account at {target} may not trade: {account.status}", "ask the broker why"
        )
    return fine(NAME, f"the account at {target} is ACTIVE")


def _clock(answer: httpx2.Response, before: float, after: float) -> Finding:
    what = f"{NAME} clock"
    try:
        clock = msgspec.json.decode(answer.content, type=_Clock)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return problem(what, "GET /v2/clock was answered with something else", "correct alpaca.url")
    ahead = clock.timestamp.timestamp() - (before + after) / 2
    found = f"{ahead:+.3f} s from this machine; the market is {'open' if clock.is_open else 'shut'}"
    if abs(ahead) <= _CLOCK_S + (after - before) / 2:
        return fine(what, found)
    return warning(what, found, "set this machine's clock by NTP")
