"""A look at a Redis server: whether it can be listened to."""

from __future__ import annotations

import time
from collections.abc import Iterator

from adapters.redis.client import active_symbols, reaching
from engine.domain.findings import Finding, ok, problem, warning
from engine.errors import FeedError
from engine.sections import RedisConfig

__all__ = ["examine"]

SUBJECT = "redis"
OLDEST = 7
CLOCK_S = 1.0
"""How far two clocks may be apart before it is worth a word, seconds."""


def examine(config: RedisConfig) -> Iterator[Finding]:
    """Look at a server; nothing is changed there."""
    try:
        with reaching(config) as client:
            version = str(client.info("server")["redis_version"])
            seconds, micros = client.time()
            apart = seconds + micros / 1e6 - time.time()
            active = active_symbols(client)
    except FeedError as error:
        text = str(error).partition("; is it running")[0]
        advice = "start it, or correct redis.url, REDIS_URL or REDIS_PASSWORD"
        yield problem(SUBJECT, text, advice, is_silent=True)
        return
    if int(version.partition(".")[0]) < OLDEST:
        yield problem(SUBJECT, f"Redis {version}", f"use Redis {OLDEST} or newer")
    else:
        yield ok(SUBJECT, f"Redis {version}, {len(active)} symbols with a running session")
    if abs(apart) > CLOCK_S:
        yield warning(
            SUBJECT, f"its clock is {apart:+.1f} s from this machine's", "keep both by NTP"
        )
