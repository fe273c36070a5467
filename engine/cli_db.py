"""The commands about the database of runs."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

from engine.cli_risk import printable

__all__ = ["db"]

db = App(name="db", help="Look after the database of runs.", help_format="plaintext")


Profile = Annotated[str, Parameter(help="A shipped profile (paper), or a TOML file over one.")]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative=(),
        help="KEY=VALUE of any setting, such as store.url=postgresql://...; may be repeated.",
    ),
]


@db.command
def migrate(
    *,
    profile: Profile = "paper",
    settings: Settings = None,
    role: Annotated[
        str | None,
        Parameter(help="Then give this role what a running engine needs, and no more."),
    ] = None,
) -> int:
    """Bring the schema up to date; nothing happens to one that is.

    The server is that of DATABASE_URL or store.url, else the engine's own in store.folder.
    """
    from engine.config import load_config, parse_settings
    from engine.wiring.session import migrate_store

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    applied = migrate_store(config, role)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the schema is up to date")
    if role is not None:
        print(f"{printable(role)} may read and add, and change no record")
    return 0


@db.command
def backlog(*, profile: Profile = "paper", settings: Settings = None) -> int:
    """Tell which messages about runs nobody has acknowledged yet, and why.

    The server is that of DATABASE_URL or store.url, else the engine's own in store.folder.
    """
    from engine.config import load_config, parse_settings
    from engine.wiring.publishing import read_backlogs

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    found = read_backlogs(config)
    for each in found:
        name = f"{printable(each.run_name)} to {each.destination}"
        print(f"{name}: {each.acknowledged:,} acknowledged, {each.waiting:,} waiting")
        if each.waiting_since is not None:
            print(f"  waiting since {each.waiting_since:%Y-%m-%d %H:%M:%S}Z")
        if each.refused:
            print(f"  {each.refused:,} refused: see publications_refused")
        if each.failing_since is not None:
            said = printable(each.last_error or "")
            print(f"  failing since {each.failing_since:%Y-%m-%d %H:%M:%S}Z: {said}")
    if not found:
        print("no run publishes anything")
    return 0
