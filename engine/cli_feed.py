"""The commands about brokers: publish market data, look at what could not be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from engine.cli_risk import printable
from engine.config import load_config, parse_settings

__all__ = ["dead_letters", "publish"]

dead_letters = App(
    name="dead-letters", help="Look at messages that could not be used.", help_format="plaintext"
)

Profile = Annotated[
    str, Parameter(name="--profile", help="A shipped profile (paper), or a TOML file over one.")
]
Settings = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="KEY=VALUE of any setting; may be repeated."),
]
ONE_LINE = 60


def publish(
    *,
    to: Annotated[str, Parameter(help="The broker: redis or kafka.")],
    data: Annotated[
        list[Path],
        Parameter(
            name="--data",
            consume_multiple=True,
            negative=(),
            help="Parquet, CSV or Arrow files, or folders of them.",
        ),
    ],
    symbols: Annotated[
        str | None, Parameter(help="Symbols, separated by commas, in this order; all by default.")
    ] = None,
    wait: Annotated[
        float,
        Parameter(
            help="Seconds to wait for somebody who listens, where nothing is kept; 0 does not.",
            validator=Number(gte=0, lte=86_400),
        ),
    ] = 30.0,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """Play market data files to a broker, for engines that listen to it."""
    from engine.publish import publish as play

    changes = {**parse_settings(settings or []), "feed.kind": to}
    changes["data.paths"] = [str(path) for path in data]
    if symbols is not None:
        changes["data.symbols"] = [name.strip() for name in symbols.split(",") if name.strip()]
    config = load_config(profile, environment=os.environ, settings=changes)
    count = play(config, wait_s=wait)
    print(f"  published         {count:,} {config.feed.events}s to {to}")
    return 0


@dead_letters.command(name="list")
def show_list(
    *,
    run: Annotated[str | None, Parameter(help="Of one run only.")] = None,
    limit: Annotated[
        int, Parameter(help="How many at most, the latest first.", validator=Number(gte=1))
    ] = 20,
    profile: Profile = "paper",
    settings: Settings = None,
) -> int:
    """List dead letters, the latest first."""
    from engine.wiring.dead_letters import read_dead_letters

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    found = read_dead_letters(config, run=run, number=None, limit=limit)
    for letter in found:
        place = "" if letter.offset is None else f"[{letter.partition}]@{letter.offset}"
        again = "" if letter.retried_at is None else "  sent again"
        print(
            f"{letter.dead_letter_id:>6}  {printable(letter.run_name)}  "
            f"{printable(letter.topic)}{place}  {letter.code}  "
            f"{printable(letter.detail[:ONE_LINE])}{again}"
        )
    if not found:
        print("no dead letters")
    return 0


@dead_letters.command
def show(number: int, /, *, profile: Profile = "paper", settings: Settings = None) -> int:
    """Show one dead letter whole."""
    from engine.errors import ConfigError
    from engine.wiring.dead_letters import read_dead_letters

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    found = read_dead_letters(config, run=None, number=number, limit=1)
    if not found:
        raise ConfigError(f"there is no dead letter {number}; engine dead-letters list")
    letter = found[0]
    partition = "" if letter.partition is None else f" partition {letter.partition}"
    offset = "" if letter.offset is None else f" offset {letter.offset}"
    print(f"run      {printable(letter.run_name)}")
    print(f"source   {printable(letter.topic)}{partition}{offset}")
    print(f"code     {letter.code}")
    print(f"detail   {printable(letter.detail)}")
    print(f"kept     {letter.created_at:%Y-%m-%d %H:%M:%S}Z")
    print(f"size     {letter.size:,} bytes, {len(letter.content):,} kept")
    print(f"content  {printable(letter.content.decode(errors='backslashreplace'))}")
    return 0


@dead_letters.command
def retry(number: int, /, *, profile: Profile = "paper", settings: Settings = None) -> int:
    """Publish a dead letter again where it came from (feed.kind names the broker)."""
    from engine.wiring.dead_letters import retry_dead_letter

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    letter = retry_dead_letter(config, number)
    print(f"sent dead letter {number} to {printable(letter.topic)} again")
    return 0
