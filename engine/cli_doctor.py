"""The command that looks at what the engine needs around it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engine.cli_risk import printable
from engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.domain.findings import Finding

__all__ = ["doctor"]


def doctor(
    *,
    profile: Annotated[
        str | None,
        Parameter(help="A shipped profile, or a TOML file over one; CONFIG_PATH, else paper."),
    ] = None,
    services: Annotated[
        bool, Parameter(negative=(), show_default=False, help="In short for --profile services.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", negative=(), help="KEY=VALUE of any setting; may be repeated."),
    ] = None,
    json: Annotated[
        bool,
        Parameter(
            name="--json", negative=(), show_default=False, help="Print the findings as JSON."
        ),
    ] = False,
) -> int:
    """Look at every server, file and privilege that a profile needs, and say what to do.

    Exit codes: 0 all is well, 2 something is wrong, 75 somebody does not answer.
    """
    from engine.config import load_config, parse_settings
    from engine.wiring.doctor import examine

    if services and profile is not None:
        raise ConfigError("--services is --profile services in short: give one of them")
    name = "services" if services else profile or os.environ.get("CONFIG_PATH") or "paper"
    config = load_config(name, environment=os.environ, settings=parse_settings(settings or []))
    found = []
    for each in examine(config):
        found.append(each)
        if not json:
            _print(each)
    if json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return _code(found)


def _print(each: Finding) -> None:
    print(f"{each.level:<8} {each.subject:<18} {printable(each.found)}")
    if each.advice:
        print(f"{'':<8} {'':<18} -> {printable(each.advice)}")


def _code(found: Sequence[Finding]) -> int:
    from engine.domain.findings import Level

    problems = [each for each in found if each.level is Level.PROBLEM]
    if not problems:
        return 0
    return 75 if all(each.is_silent for each in problems) else 2
