"""Whether a Redis server can deliver market data and sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import redis

from adapters.redis.client import active_symbols, connect
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.sections import RedisConfig

__all__ = ["examine"]

NAME = "Redis"
_OLDEST = 7
_CLOCK_S = 1.0


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
        yield _sessions(client)
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        yield _refusal(where, error)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        yield silence(
            NAME,
            f"does not answer at {where}: {error}",
            "start it, or correct REDIS_URL (redis.url)",
        )
    except redis.ResponseError as error:
        yield _refusal(where, error)
    finally:
        client.close()


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


def _sessions(client: redis.Redis) -> Finding:
    symbols = active_symbols(client)
    if not symbols:
        return fine(f"{NAME} sessions", "no symbol has a running session")
    names = ", ".join(symbols[:10]) + (", ..." if symbols[10:] else "")
    return fine(f"{NAME} sessions", f"{len(symbols)} symbols have a running session: {names}")
