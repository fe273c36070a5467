"""The command that looks at everything a profile needs, before a run does."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from engine.cli_risk import printable
from engine.errors import ConfigError

__all__ = ["doctor"]

Profile = Annotated[
    str | None,
    Parameter(
        help="A shipped profile (backtest, paper, services, live), or a TOML file over one; that "
        "of CONFIG_PATH, or paper, by default."
    ),
]
Services = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Short for --profile services.")
]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative=(),
        help="KEY=VALUE of any setting, such as store.url=postgresql://...; may be repeated.",
    ),
]
Json = Annotated[
    bool,
    Parameter(
        name="--json", negative=(), show_default=False, help="Print a list of findings as JSON."
    ),
]


def doctor(
    *,
    profile: Profile = None,
    services: Services = False,
    settings: Settings = None,
    json: Json = False,
) -> int:
    """Look at every server, venue and file that a profile names, and say what is wrong.

    Nothing is changed there. The exit code is 0 without a problem, 75 when something does not
    answer, 2 when something is wrong that waiting does not mend.
    """
    import msgspec

    from engine.config import load_config, parse_settings
    from engine.domain.findings import exit_code
    from engine.wiring.doctor import examine

    if services and profile not in (None, "paper", "services"):
        raise ConfigError("--services is --profile services in short: give one of the two")
    name = "services" if services else profile or os.environ.get("CONFIG_PATH") or "paper"
    config = load_config(name, environment=os.environ, settings=parse_settings(settings or []))
    findings = examine(config, os.environ)
    if json:
        print(msgspec.json.encode(findings).decode())
        return exit_code(findings)
    width = max((len(each.what) for each in findings), default=0)
    for each in findings:
        print(f"  {each.level:<7}  {printable(each.what):<{width}}  {printable(each.found)}")
        if each.advice:
            print(f"{'':<{width + 13}}{printable(each.advice)}")
    return exit_code(findings)
