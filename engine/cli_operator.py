"""The commands of a person to an engine at work."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from engine.cli_risk import printable

__all__ = ["flatten", "halt", "reduce", "resume", "stop"]

Run = Annotated[
    str | None, Parameter(help="Which run; the only one that is not complete by default.")
]
Strategy = Annotated[str | None, Parameter(help="One strategy only, not the account.")]
Reason = Annotated[str, Parameter(help="Why, for the record.")]
Wait = Annotated[
    float,
    Parameter(
        help="Seconds to wait for the engine to take it; then it is withdrawn.",
        validator=Number(gt=0, lte=600),
    ),
]
Profile = Annotated[
    str, Parameter(name="--profile", help="A shipped profile (paper), or a TOML file over one.")
]
Settings = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="KEY=VALUE of any setting; may be repeated."),
]


def halt(
    *,
    run: Run = None,
    strategy: Strategy = None,
    reason: Reason = "OPERATOR",
    wait: Wait = 10.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """Kill switch: no new order leaves, and every working order is canceled."""
    return _give("halt", run, strategy, reason, wait, profile, settings)


def flatten(
    *,
    run: Run = None,
    reason: Reason = "OPERATOR",
    wait: Wait = 10.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """Kill switch that closes every position as well, in slices."""
    return _give("flatten", run, None, reason, wait, profile, settings)


def reduce(
    *,
    run: Run = None,
    strategy: Strategy = None,
    reason: Reason = "OPERATOR",
    wait: Wait = 10.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """Let only orders leave that make positions smaller."""
    return _give("reduce", run, strategy, reason, wait, profile, settings)


def resume(
    *,
    run: Run = None,
    strategy: Strategy = None,
    reason: Reason = "OPERATOR",
    wait: Wait = 10.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """Let trading go on, whatever had halted it."""
    return _give("resume", run, strategy, reason, wait, profile, settings)


def stop(
    strategy: Annotated[str, Parameter(help="Its id in the run, as its order ids begin.")],
    /,
    *,
    positions: Annotated[
        Literal["keep", "flatten"] | None,
        Parameter(help="What becomes of its positions; as it was begun by default."),
    ] = None,
    run: Run = None,
    reason: Reason = "OPERATOR",
    wait: Wait = 10.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """End a strategy that began by a message: its orders are canceled, the others go on."""
    command = "stop" if positions is None else f"stop-{positions}"
    return _give(command, run, strategy, reason, wait, profile, settings)


def _give(
    command: str,
    run: str | None,
    strategy: str | None,
    reason: str,
    wait: float,
    profile: str,
    settings: list[str] | None,
) -> int:
    from engine.config import load_config, parse_settings
    from engine.domain.commands import OperatorCommand
    from engine.wiring.operator import give_command

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    given = OperatorCommand(command, strategy, reason)
    name, taken = give_command(config, given, run_name=run, wait_s=wait)
    whose = "" if strategy is None else f" of strategy {printable(strategy)}"
    print(f"{command}{whose}: run {printable(name)} took it at {taken:%Y-%m-%d %H:%M:%S}Z")
    return 0
