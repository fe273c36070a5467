"""What is told of a run to others: where it goes, and how far it is behind."""

from __future__ import annotations

from adapters.postgres.publications import Backlog, backlogs
from engine.config import Config
from engine.ports import EventPublisher
from engine.wiring.session import reach_database

__all__ = ["Backlog", "open_event_publisher", "read_backlogs"]


def open_event_publisher(config: Config, run_name: str) -> EventPublisher | None:
    """Make the publisher of a profile; None when it tells nobody. It need not be reachable.

    Raises:
        ConfigError: ``kafka.options`` are refused.
    """
    if config.publish.kind == "none":
        return None
    from adapters.kafka.events import KafkaEventPublisher  # here: other runs do not need it

    return KafkaEventPublisher(config.kafka, run_name=run_name)


def read_backlogs(config: Config) -> list[Backlog]:
    """Tell how far every destination is behind every run of a profile's database.

    Raises:
        ConfigError: there can be no server here.
        StoreError: the database does not answer.
    """
    with reach_database(config.store) as conninfo:
        return backlogs(conninfo, timeout_s=config.store.timeout)
