"""Whether a Redis server can deliver market data and sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import redis

from adapters.redis.client import active_symbols, connect
from adapters.redis.tls import tls_fault
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.sections import RedisConfig

__all__ = ["examine"]

NAME = "Redis"
_OLDEST = 7
_CLOCK_S = 1.0
_MIB = 1 << 20
# What Redis has of itself.
_HARD = 32 * _MIB
_SOFT = 8 * _MIB
_SOFT_S = 60


def examine(config: RedisConfig) -> Iterator[Finding]:
    """Look at a server; nothing is changed there, and each command has ``redis.timeout``."""
    where = urlsplit(config.url).netloc.rpartition("@")[2] or urlsplit(config.url).path
    client = connect(config)
    try:
        client.ping()
        yield fine(NAME, f"answers at {where}")
        yield _encryption(config)
        yield _version(client)
        yield _clock(client)
        yield _pubsub(client)
        yield _sessions(client)
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        yield _refusal(where, error)
    except redis.ResponseError as error:
        yield _refusal(where, error)
    except redis.RedisError as error:
        yield _unreached(where, config, error)
    finally:
        client.close()


def _unreached(where: str, config: RedisConfig, error: redis.RedisError) -> Finding:
    fault = tls_fault(config, error)
    if fault is not None:
        return problem(NAME, f"at {where}: {fault[0]}", fault[1])
    if isinstance(error, redis.InvalidResponse):
        return problem(NAME, f"what is at {where} is no Redis server", "correct redis.url")
    return silence(
        NAME,
        f"does not answer at {where}: {error}",
        "start it, or correct REDIS_URL (redis.url)",
    )


def _refusal(where: str, error: Exception) -> Finding:
    return problem(
        NAME,
        f"refuses us at {where}: {error}",
        "correct the password: REDIS_PASSWORD, redis.password or the one in redis.url; the user "
        "needs PING, INFO, TIME, SMEMBERS and SUBSCRIBE",
    )


def _encryption(config: RedisConfig) -> Finding:
    what = f"{NAME} encryption"
    parts = urlsplit(config.url)
    if parts.scheme == "rediss":
        return fine(what, "TLS")
    if parts.scheme == "unix" or parts.hostname in {"localhost", "127.0.0.1", "::1"}:
        return fine(what, "none, and the server is on this machine")
    return warning(what, "none", "write rediss:// in redis.url")


def _version(client: redis.Redis) -> Finding:
    said = client.info("server")
    text = str(said.get("redis_version", "unknown"))
    major = text.partition(".")[0]
    if major.isdigit() and int(major) >= _OLDEST:
        return fine(f"{NAME} version", text)
    return problem(f"{NAME} version", text, f"use Redis {_OLDEST} or later")


def _clock(client: redis.Redis) -> Finding:
    before = time.time()
    seconds, micros = client.time()
    after = time.time()
    ahead = seconds + micros / 1e6 - (before + after) / 2
    found = f"{ahead:+.3f} s from this machine"
    if abs(ahead) <= _CLOCK_S + (after - before) / 2:
        return fine(f"{NAME} clock", found)
    return warning(f"{NAME} clock", found, "set both clocks by NTP")


def _pubsub(client: redis.Redis) -> Finding:
    """See how far a reader may fall behind before the server hangs up and its messages are lost."""
    what = f"{NAME} output buffer"
    try:
        said = client.config_get("client-output-buffer-limit")
        lost = int(client.info("stats").get("client_output_buffer_limit_disconnections", 0))
    except redis.ResponseError:  # a provider may forbid both, and nothing else depends on them
        return fine(what, "not known: this user may not ask for client-output-buffer-limit")
    words = str(said.get("client-output-buffer-limit", "")).split()
    limits = words[words.index("pubsub") + 1 :][:3] if "pubsub" in words else []
    if len(limits) < 3 or not all(each.isdigit() for each in limits):
        return fine(what, "not known: this server says nothing of client-output-buffer-limit")
    hard, soft, seconds = map(int, limits)
    at_once = f"{hard / _MIB:,.3g} MiB"
    over_time = f"{soft / _MIB:,.3g} MiB for {seconds} s"
    if not hard and not soft:
        found = "no limit to how far a reader may be behind"
    elif hard and soft:
        found = f"a reader that is behind by {at_once}, or by {over_time}, is disconnected"
    else:
        found = f"a reader that is behind by {at_once if hard else over_time} is disconnected"
    if 0 < hard < _HARD or 0 < soft < _SOFT or (soft and seconds < _SOFT_S):
        return warning(
            what,
            f"{found}, and what it has not read is lost",
            f"set client-output-buffer-limit at the server: pubsub {_HARD} {_SOFT} {_SOFT_S}",
        )
    if lost:
        return warning(
            what,
            f"{found}; this has been done to {lost} since the server started",
            "see which readers are slow (CLIENT LIST, omem), or raise client-output-buffer-limit; "
            "CONFIG RESETSTAT forgets the count",
        )
    return fine(what, found)


def _sessions(client: redis.Redis) -> Finding:
    symbols = active_symbols(client)
    if not symbols:
        return fine(f"{NAME} sessions", "no symbol has a running session")
    names = ", ".join(symbols[:10]) + (", ..." if symbols[10:] else "")
    return fine(f"{NAME} sessions", f"{len(symbols)} symbols have a running session: {names}")
