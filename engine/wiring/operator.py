"""What people tell an engine at work, given by a command line."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.postgres.commands import give
from engine.config import Config
from engine.domain.commands import OperatorCommand
from engine.wiring.session import reach_database

__all__ = ["give_command"]


def give_command(
    config: Config, given: OperatorCommand, *, run_name: str | None, wait_s: float
) -> tuple[str, datetime]:
    """Give a command to the engine of a run; tell which run it was, and when it was taken (UTC).

    Raises:
        ConfigError: there is no such run, or there are several and none is named.
        StoreError: the database does not answer, or no engine takes the command.
    """
    with reach_database(config.store) as conninfo:
        name, taken = give(
            conninfo, given, timeout_s=config.store.timeout, run_name=run_name, wait_s=wait_s
        )
    return name, taken.astimezone(UTC)
