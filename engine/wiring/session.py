"""A run that outlives its process: the core in one cell, what keeps it in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from actors.archivist import Archivist
from actors.ledger import Ledger
from actors.order_router import OrderRouter
from actors.outbox import REQUESTS, Outbox
from actors.recorder import RECORDED, Recorder
from actors.risk_gate import RiskGate
from adapters.memory.latch import BegunLatchStore
from adapters.memory.tape import Tape
from adapters.postgres.connection import connect
from adapters.postgres.conninfo import with_password
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrations import migrate
from adapters.postgres.privileges import grant
from adapters.postgres.store import PostgresStore
from engine.codec import TOLD
from engine.config import Config
from engine.domain.commands import KillSwitch, OrderMassStatusRequest
from engine.domain.deliveries import Fed
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.orders import TERMINAL, OrderStatus
from engine.errors import EngineHaltedError, InvariantError
from engine.ports import LatchStore, MarketHistory, RunStore
from engine.runtime.actor import Actor
from engine.runtime.cell import Routes
from engine.runtime.clock import Clock
from engine.runtime.inputs import Batch, Input
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import CellSpec, PykkaRuntime
from engine.runtime.supervision import Role
from engine.sections import StoreConfig
from engine.wiring.core import ROUTER, latch_store
from engine.wiring.feeds import CORE
from engine.wiring.venues import gateway_name, new_gateway, outbox_name, venue_routes

__all__ = [
    "ARCHIVE",
    "ARCHIVIST",
    "ask_for_the_last_time",
    "build_runtime",
    "migrate_store",
    "new_tape",
    "open_business",
    "open_store",
    "reach_database",
    "run_latch",
    "unsettled",
]

ARCHIVE = "archive"
ARCHIVIST = "archivist"
CORE_CAPACITY = 512
ARCHIVE_CAPACITY = 256
ROOM_S = 10.0
"""How long the core waits for room in the archive before the engine halts."""
DEAD_LETTERS_MAX = 1000
_UNSETTLED = frozenset(
    {
        OrderStatus.INITIALIZED,
        OrderStatus.PENDING_NEW,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PENDING_REPLACE,
        OrderStatus.UNKNOWN,
    }
)
_OPEN = frozenset(OrderStatus) - TERMINAL
_SECOND = 1_000_000_000


@contextmanager
def database(settings: StoreConfig) -> Iterator[str]:
    """Give the connection string of a profile's server, one of our own when it names none."""
    if settings.url is not None:
        yield with_password(settings.url, settings.password)
        return
    embedded = EmbeddedPostgres(Path(settings.folder), timeout_s=settings.start_timeout)
    try:
        yield embedded.start()
    finally:
        embedded.stop()


@contextmanager
def reach_database(settings: StoreConfig) -> Iterator[str]:
    """Give the connection string of a profile's server, that of an engine at work included.

    Raises:
        ConfigError: there can be no server here.
        StoreError: the server does not start.
    """
    at_work = None
    if settings.url is None:
        at_work = EmbeddedPostgres(Path(settings.folder), timeout_s=settings.start_timeout).find()
    if at_work is not None:
        yield at_work
        return
    with database(settings) as conninfo:
        yield conninfo


@contextmanager
def open_store(config: Config) -> Iterator[RunStore]:
    """Reach the store of a profile, starting a server of our own when it names none.

    Raises:
        ConfigError: there can be no server here.
        StoreError: the server does not start.
    """
    with database(config.store) as conninfo:
        store = PostgresStore(
            conninfo,
            timeout_s=config.store.timeout,
            snapshot_ns=round(config.execution.position_check_interval * _SECOND),
            publish=None if config.publish.kind == "none" else config.publish,
        )
        try:
            yield store
        finally:
            store.close()


def migrate_store(config: Config, role: str | None = None) -> list[str]:
    """Bring the schema of a profile's database up to date; name the files that were applied.

    Args:
        config: the resolved profile.
        role: who is then given what a running engine needs; nobody when None.

    Raises:
        ConfigError: the schema is of a newer engine, the user may not create it, or the role
            cannot be given that.
        StoreError: the database does not answer.
    """
    with (
        database(config.store) as conninfo,
        connect(conninfo, timeout_s=config.store.timeout) as connection,
    ):
        applied = [file.name for file in migrate(connection)]
        if role is not None:
            grant(connection, role)
        return applied


def new_tape(
    kind: type, events: Iterable[MarketEvent], instruments: Sequence[Instrument]
) -> MarketHistory:
    """Make a history of events that came from a broker.

    Raises:
        ValueError: there are none.
    """
    return Tape(kind, events, instruments)


def run_latch(config: Config, held: Mapping[str, Hold]) -> LatchStore:
    """Give the store of the trading state for a run that began with ``held``."""
    return BegunLatchStore(held, latch_store(config))


def build_runtime(
    config: Config,
    core: Sequence[Actor],
    table: Routes,
    store: RunStore,
    *,
    instruments: Sequence[Instrument],
    clock: Clock,
    history: Callable[[], Iterable[Input]],
    recovered: Callable[[], None],
    feed: Sequence[CellSpec],
    run_name: str,
    over: bool = False,
) -> PykkaRuntime:
    """Build the runtime of a run that is kept.

    Args:
        config: the resolved profile.
        core: the actors of the trading core; its recorder sends batches to ``ARCHIVIST``.
        table: who hears what.
        store: where the run is kept.
        instruments: what can be traded.
        clock: the time outside.
        history: gives what entered the core before.
        recovered: called when the core has handled that; it may raise.
        feed: cells that market data comes through; they start last and stop first.
        run_name: the run, which is who we are at a venue outside.
        over: the run is complete and only looked at: no venue may tell it anything more.
    """
    recorder = next((actor for actor in core if isinstance(actor, Recorder)), None)
    if recorder is None:
        raise InvariantError("a run that is kept needs a recorder")
    is_outside = not over and config.venue.kind != "simulated"
    venues = venue_routes(config).venues if is_outside else ()
    outboxes = [Outbox(outbox_name(each), gateway=gateway_name(each)) for each in venues]
    archivist = Archivist(ARCHIVIST, store=store, outboxes=[each.name for each in outboxes])
    kept: dict[type, Overflow] = dict.fromkeys((Batch, *REQUESTS), Overflow.HALT)
    overflow = dict.fromkeys((*table, *RECORDED, *TOLD), Overflow.HALT)
    overflow |= dict.fromkeys((Bar, Trade, Quote, Fed), Overflow.WAIT)
    started: list[PykkaRuntime] = []

    def report(event: Any) -> None:
        with suppress(EngineHaltedError):  # nobody is left to hear it; it is asked for again
            started[0].tell(ROUTER, event)

    gate = next(actor for actor in core if isinstance(actor, RiskGate))
    by_symbol = {each.symbol: each for each in instruments}
    gateways = [
        new_gateway(
            config, venue, report, router=ROUTER, price_of=gate.price_of,
            instruments=by_symbol, now=clock.now, client=run_name,
        )
        for venue in venues
    ]  # fmt: skip
    cells = [
        # The gateways with it: a thread of their own would be one more to wake before an order
        # leaves, and what the archive lets go leaves before they let go of their links.
        _cell(ARCHIVE, [archivist, *outboxes, *gateways], ARCHIVE_CAPACITY, kept),
        _cell(
            CORE,
            core,
            CORE_CAPACITY,
            overflow,
            tap=recorder.inputs.append,
            history=history,
            recovered=recovered,
        ),
        *feed,
    ]
    runtime = PykkaRuntime(cells, table, clock=clock, dead_letters_max=DEAD_LETTERS_MAX)
    started.append(runtime)
    return runtime


def unsettled(core: Sequence[Actor]) -> list[str]:
    """Name the orders of which the venue has still something to say; for any thread."""
    router = next(actor for actor in core if isinstance(actor, OrderRouter))
    waiting = _UNSETTLED if router.agrees else _OPEN
    return [
        order_id for order_id, record in list(router.orders.items()) if record.status in waiting
    ]


def open_business(core: Sequence[Actor]) -> list[str]:
    """Name the positions and orders that are open; for any thread."""
    ledger = next(actor for actor in core if isinstance(actor, Ledger))
    router = next(actor for actor in core if isinstance(actor, OrderRouter))
    held = [f"the position of {strategy} in {symbol}" for strategy, symbol in ledger.held]
    working = [
        f"order {order_id}"
        for order_id, record in list(router.orders.items())
        if record.status in _OPEN
    ]
    return held + working


def ask_for_the_last_time(runtime: PykkaRuntime, timeout_s: float) -> None:
    """Ask the venue what is working: by its answer, all that it had said before is here.

    Without it a connection that is gone and not yet known to be would look like one with nothing
    to say.

    Raises:
        EngineHaltedError: the core does not take the question.
    """
    try:
        runtime.ask(ROUTER, OrderMassStatusRequest(), timeout_s=timeout_s)
    except TimeoutError as error:
        raise EngineHaltedError(str(error)) from error


def _cell(
    name: str,
    actors: Sequence[Actor],
    capacity: int,
    overflow: Mapping[type, Overflow],
    **kept: Any,
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
        **kept,
    )
