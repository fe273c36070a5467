"""A run that outlives its process: the core in one cell, what keeps it in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from actors.archivist import Archivist
from actors.recorder import RECORDED, Recorder
from adapters.memory.latch import BegunLatchStore
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrations import migrate
from adapters.postgres.store import PostgresStore, connect
from engine.config import Config
from engine.domain.commands import KillSwitch
from engine.domain.latch import Hold
from engine.domain.market import Bar, Quote, Trade
from engine.errors import InvariantError
from engine.ports import LatchStore, RunStore
from engine.runtime.actor import Actor
from engine.runtime.cell import Routes
from engine.runtime.clock import Clock
from engine.runtime.inputs import Batch, Input
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import CellSpec, PykkaRuntime
from engine.runtime.supervision import Role
from engine.sections import StoreConfig
from engine.wiring.core import latch_store

__all__ = ["ARCHIVE", "ARCHIVIST", "build_runtime", "migrate_store", "open_store", "run_latch"]

ARCHIVE = "archive"
ARCHIVIST = "archivist"
CORE_CAPACITY = 512
ARCHIVE_CAPACITY = 256
ROOM_S = 10.0
"""How long the core waits for room in the archive before the engine halts."""
DEAD_LETTERS_MAX = 1000
_SECOND = 1_000_000_000


@contextmanager
def _database(settings: StoreConfig) -> Iterator[str]:
    """Give the connection string of a profile's server, one of our own when it names none."""
    if settings.url is not None:
        yield settings.url
        return
    embedded = EmbeddedPostgres(Path(settings.folder), timeout_s=settings.start_timeout)
    try:
        yield embedded.start()
    finally:
        embedded.stop()


@contextmanager
def open_store(config: Config) -> Iterator[RunStore]:
    """Reach the store of a profile, starting a server of our own when it names none.

    Raises:
        ConfigError: there can be no server here.
        StoreError: the server does not start.
    """
    with _database(config.store) as conninfo:
        store = PostgresStore(
            conninfo,
            timeout_s=config.store.timeout,
            snapshot_ns=round(config.execution.position_check_interval * _SECOND),
        )
        try:
            yield store
        finally:
            store.close()


def migrate_store(config: Config) -> list[str]:
    """Bring the schema of a profile's database up to date; name the files that were applied.

    Raises:
        ConfigError: the schema is of a newer engine, or the user may not create it.
        StoreError: the database does not answer.
    """
    with (
        _database(config.store) as conninfo,
        connect(conninfo, timeout_s=config.store.timeout) as connection,
    ):
        return [file.name for file in migrate(connection)]


def run_latch(config: Config, held: Mapping[str, Hold]) -> LatchStore:
    """Give the store of the trading state for a run that began with ``held``."""
    return BegunLatchStore(held, latch_store(config))


def build_runtime(
    core: Sequence[Actor],
    table: Routes,
    store: RunStore,
    *,
    clock: Clock,
    history: Callable[[], Iterable[Input]],
) -> PykkaRuntime:
    """Build the runtime of a run that is kept.

    Args:
        core: the actors of the trading core; its recorder sends batches to ``ARCHIVIST``.
        table: who hears what.
        store: where the run is kept.
        clock: the time outside.
        history: gives what entered the core before.
    """
    recorder = next((actor for actor in core if isinstance(actor, Recorder)), None)
    if recorder is None:
        raise InvariantError("a run that is kept needs a recorder")
    overflow = dict.fromkeys((*table, *RECORDED), Overflow.HALT)
    overflow |= dict.fromkeys((Bar, Trade, Quote), Overflow.WAIT)
    return PykkaRuntime(
        [
            _cell(ARCHIVE, [Archivist(ARCHIVIST, store=store)], ARCHIVE_CAPACITY,
                  {Batch: Overflow.HALT}),
            _cell("core", core, CORE_CAPACITY, overflow, recorder.inputs.append, history),
        ],
        table,
        clock=clock,
        dead_letters_max=DEAD_LETTERS_MAX,
    )  # fmt: skip


def _cell(
    name: str,
    actors: Sequence[Actor],
    capacity: int,
    overflow: Mapping[type, Overflow],
    tap: Callable[[Input], None] | None = None,
    history: Callable[[], Iterable[Input]] | None = None,
) -> CellSpec:
    return CellSpec(
        name=name,
        role=Role.CORE,
        actors=lambda: actors,
        mailbox=MailboxRules(
            capacity=capacity,
            deadline_s=ROOM_S,
            overflow=overflow,
            urgent=frozenset({KillSwitch}) & frozenset(overflow),
        ),
        restart=None,
        tap=tap,
        history=history,
    )
