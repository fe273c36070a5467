"""The commands about the database of runs."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

__all__ = ["db"]

db = App(name="db", help="Look after the database of runs.", help_format="plaintext")


@db.command
def migrate(
    *,
    profile: Annotated[
        str, Parameter(help="A shipped profile (paper), or a TOML file over one.")
    ] = "paper",
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative=(),
            help="KEY=VALUE of any setting, such as store.url=postgresql://...; may be repeated.",
        ),
    ] = None,
) -> int:
    """Bring the schema up to date; nothing happens to one that is.

    The server is that of DATABASE_URL or store.url, else the engine's own in store.folder.
    """
    from engine.config import load_config, parse_settings
    from engine.wiring.session import migrate_store

    config = load_config(profile, environment=os.environ, settings=parse_settings(settings or []))
    applied = migrate_store(config)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the schema is up to date")
    return 0
