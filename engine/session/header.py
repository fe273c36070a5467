"""What a run was begun with; it goes on under nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from engine.config import Config
from engine.errors import ConfigError
from engine.ports import RunHeader
from engine.session.feeding import Feeding
from engine.strategy.base import Strategy
from engine.wiring import latch_store

__all__ = ["header_of", "require_routable", "require_same"]

# What may differ from one start of a run to the next: none of it changes what the run does.
_FREE = (
    "store", "feed", "report", "execution", "oms_grpc", "gateway", "alpaca", "redis", "kafka",
    "safety", "shutdown", "publish",
)  # fmt: skip
_FREE_OF_RUN = ("latch", "chunk_rows")


def header_of(config: Config, cls: type[Strategy], feeding: Feeding) -> RunHeader:
    """Say what a run that begins now is begun with."""
    settings = msgspec.to_builtins(config)
    for name in _FREE:
        del settings[name]
    if config.venue.kind != "simulated" or config.feed.kind != "files":
        # How long an answer is waited for is a time of the data, so the pace decides something.
        settings["feed"] = msgspec.to_builtins(config.feed)
    for name in _FREE_OF_RUN:
        del settings["run"][name]
    settings["data"].pop("paths")  # the data's hash says whether it is the same
    return RunHeader(
        name=config.run.name or cls.__name__,
        profile=config.profile,
        strategy_ids=(cls.__name__,),
        settings=settings,
        instruments=feeding.instruments,
        data_hash=feeding.data_hash,
        ts_start=feeding.ts_start,
        held=latch_store(config).load(),
        executions=config.run.executions,
    )


def require_same(given: RunHeader, kept: RunHeader) -> None:
    """Refuse to go on with a run under other settings or other data."""
    now, then = (dict(_flat(header.settings, "")) for header in (given, kept))
    hint = "give it what it was begun with, or begin another with --set run.name=NAME"
    for key in sorted(now.keys() | then.keys()):
        before, after = (side.get(key, _UNSET) for side in (then, now))
        if before != after:
            raise ConfigError(
                f"run {kept.name!r} was begun with {key} {_set_to(before)}, not {_set_to(after)}: "
                f"{hint}"
            )
    if given.strategy_ids != kept.strategy_ids:
        raise ConfigError(
            f"run {kept.name!r} was begun with strategy {kept.strategy_ids[0]}, not "
            f"{given.strategy_ids[0]}: {hint}"
        )
    if given.data_hash != kept.data_hash:
        raise ConfigError(f"run {kept.name!r} was begun with other market data: {hint}")


def require_routable(header: RunHeader, config: Config) -> None:
    """Refuse a rule that no order could fit: misspelt, it would send its orders elsewhere."""
    known = {
        "symbol": [each.symbol for each in header.instruments],
        "strategy": list(header.at_work),  # any may come by a message where none is at work
    }
    for number, rule in enumerate(config.venue.routes):
        for key, names in known.items():
            said = getattr(rule, key)
            if said is not None and names and said not in names:
                raise ConfigError(
                    f"setting venue.routes[{number}].{key} = {said!r}: this run has "
                    f"{', '.join(sorted(names)[:10])}"
                )


_UNSET = object()


def _set_to(value: Any) -> str:
    return "unset" if value is _UNSET else f"= {value!r}"


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
