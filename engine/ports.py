"""Every edge to the world as a Protocol.

The engine names what it needs here; adapters provide it, and ``engine.wiring`` brings the two
together. A port is a role, an adapter is a technology in that role.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from engine.domain.commands import CancelOrder, OperatorCommand, ReplaceOrder
from engine.domain.events import OrderFilled, StrategyFailed
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold
from engine.domain.market import MarketEvent
from engine.domain.orders import Order
from engine.domain.publications import Publication
from engine.runtime.inputs import Batch, Input

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

__all__ = [
    "EventPublisher",
    "Journal",
    "LatchStore",
    "MarketFeed",
    "MarketHistory",
    "MarketPublisher",
    "Outbox",
    "Outcome",
    "RunHeader",
    "RunRecord",
    "RunState",
    "RunStore",
    "VenueLink",
]


class MarketHistory(Protocol):
    """Past bars, trades or quotes, validated, to be replayed in the order of time.

    Everything in it was checked when it was opened: reading it raises nothing but what the disk
    raises. Provided by ``adapters.files.open_dataset``.

    A bar covers ``[ts_open, ts_event)`` and is delivered at ``ts_event``. Rows are ordered by
    ``(ts_event, series, seq)``, where ``series`` is the index of the instrument in
    ``instruments`` and ``seq`` the 0-based number of the row in its series.
    """

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What there is data of; the order breaks ties in time."""

    @property
    def kind(self) -> Literal["bar", "trade", "quote"]:
        """What the rows are; one kind per dataset."""

    @property
    def interval_ns(self) -> Mapping[str, int]:
        """Symbol to bar length, ns; empty for trades and quotes."""

    @property
    def rows(self) -> int:
        """Total number of rows, at least 1."""

    @property
    def ts_first(self) -> int:
        """``ts_event`` of the first row, UTC ns."""

    @property
    def ts_last(self) -> int:
        """``ts_event`` of the last row, UTC ns."""

    @property
    def files(self) -> Sequence[tuple[str, str]]:
        """Path and sha256 of every file read."""

    @property
    def data_hash(self) -> str:
        """Hash of the content (hex sha256), the same however it is laid out in files."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know about how the data was read."""

    @property
    def dropped(self) -> pl.DataFrame:
        """Rows left out for breaking a rule: file, row (1-based), rule, detail; a capped list."""

    @property
    def dropped_counts(self) -> Mapping[str, int]:
        """Rule to the number of rows left out for it, complete."""

    def chunks(self, rows: int = 8192) -> Iterator[pl.DataFrame]:
        """Give all rows in order, ``rows`` at a time, from the first again on every call.

        All columns are Int64 but ``series``, which is UInt16; prices and quantities are in the
        instrument's units.

        * bars: series, seq, ts_open, ts_event, open, high, low, close, volume
        * trades: series, seq, ts_event, price, size
        * quotes: series, seq, ts_event, bid, ask, bid_size, ask_size
        """

    def columns(
        self, symbol: str, names: Collection[str] | None = None
    ) -> Mapping[str, npt.NDArray[np.generic]]:
        """Give one symbol's whole series as read-only arrays; row i is the one with seq i.

        ``names`` chooses columns (each takes eight bytes a row); None gives all.

        Times (``ts_open`` for bars, ``ts_event``) are Int64 UTC ns; all else is Float64, the
        double nearest to units over ``10 ** decimals``.

        Raises:
            KeyError: there is no such symbol.
        """


class MarketFeed(Protocol):
    """Market data as it is published, from a broker; it keeps its connection up itself."""

    def open(self, positions: Mapping[tuple[str, int], int], report: Callable[[Any], None]) -> None:
        """Read from now on, until :meth:`close`.

        Args:
            positions: the next offset of each partition, by topic and partition, of a run that
                goes on; empty where there are none.
            report: called from the feed's own thread with ``Delivery``, ``SymbolEnded``,
                ``FeedUp``, ``FeedDown``, ``FeedFailed``. It may wait; that holds up the broker.

        Raises:
            ConfigError: what is to be read is not there.
            FeedError: the broker does not answer.
        """

    def close(self, *, timeout_s: float) -> None:
        """Stop reading; nothing is reported after it.

        Raises:
            TimeoutError: the feed's thread did not end within ``timeout_s`` seconds.
        """


class MarketPublisher(Protocol):
    """A broker to publish market data to."""

    def begin(self, symbols: Sequence[str]) -> None:
        """Say that symbols have a running session, where anybody can be told.

        Raises:
            FeedError: the broker does not answer.
        """

    def send(self, topic: str, content: bytes) -> None:
        """Publish one message as it stands.

        Raises:
            FeedError: the broker does not answer.
        """

    def listeners(self, symbol: str) -> int | None:
        """Count who would hear of a symbol now; None where what is published is kept."""

    def publish(self, events: Sequence[MarketEvent]) -> None:
        """Publish events, in order; what is not kept is published when the call returns.

        Raises:
            FeedError: the broker does not answer.
        """

    def end(self, symbols: Sequence[str]) -> None:
        """Say that nothing more will come of symbols; all that was published is kept then.

        Raises:
            FeedError: the broker does not answer.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Outcome(NamedTuple):
    """What became of one message that was handed to a publisher.

    Attributes:
        sequence: its number.
        error: None when it is kept there; why not otherwise.
        never: it will never be taken as it is, or as one of those it was sent with.
    """

    sequence: int
    error: str | None = None
    never: bool = False


class EventPublisher(Protocol):
    """Where messages about a run are sent; for one thread.

    It keeps its connection up itself, and keeps the order of what is sent under one key. A
    message of which nothing is known is not given up: it has no outcome yet.
    """

    @property
    def trouble(self) -> str:
        """What was last wrong with the connection; empty when nothing was."""

    def send(self, messages: Sequence[Publication]) -> None:
        """Hand messages over, in order; each has one outcome in the end."""

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Give the outcomes there are; wait for one when there is none, not without end."""

    def close(self) -> None:
        """Let go of the connection and of what has no outcome. May be called again."""


class Outbox(Protocol):
    """The messages of one run that a destination does not have yet; for one thread.

    All methods raise ``StoreError`` when the store does not answer; :meth:`open` begins anew.
    """

    def open(self) -> int:
        """Reach the store; give the number of the first message that is to be sent."""

    def waiting(self, first: int, limit: int) -> list[Publication]:
        """Give committed messages in order, from one number on."""

    def advance(self, following: int) -> None:
        """Note that everything before a number need not be sent again."""

    def refuse(self, sequence: int, reason: str) -> None:
        """Note that the destination will never take a message."""

    def failing(self, reason: str) -> None:
        """Note that nothing is acknowledged although something waits."""

    def close(self) -> None:
        """Let the store go. May be called again."""


class LatchStore(Protocol):
    """Keeps the trading state over a restart: what was halted stays halted."""

    def load(self) -> dict[str, Hold]:
        """Give what was held when it was last saved, by strategy; ``""`` is the account.

        Raises:
            ConfigError: what is kept cannot be read; nothing may trade on a guess.
        """

    def save(self, holds: Mapping[str, Hold]) -> None:
        """Keep this state; it is durable when the call returns."""


class VenueLink(Protocol):
    """A venue outside this process, over one connection that it keeps up itself.

    Every method returns at once; what becomes of a request comes as reports, in the link's own
    thread. After :meth:`close`, or when ``report`` has raised, the requests raise
    ``EngineHaltedError``.

    * Nothing is ever sent twice by the link itself: whoever uses it decides about a resend. Only
      where a venue takes a request once by its key, and has left its outcome open, is the same
      request made again until its time is over.
    * A request whose outcome nobody knows (no answer in time, the connection lost after it was
      sent, an answer that cannot be read) is reported as ``OrderUnknown``, and so is a query
      without an answer. Only the venue's own refusal is an ``OrderRejected``, and ours of what
      the venue cannot do (``VENUE_LACKS_...``), which is never sent.
    * While the connection is down nothing is kept for later: an order is answered with
      ``OrderNotFound`` (or ``OrderUnknown`` when this link has sent its id before), a cancel or
      replacement with its rejection ``VENUE_DOWN``.
    * A connection that was lost may have lost reports: query every open order after ``VenueUp``.
    """

    def open(self, report: Callable[[Any], None]) -> None:
        """Connect, and stay connected until :meth:`close`.

        Args:
            report: called from the link's own thread with ``OrderAccepted``, ``OrderFilled``,
                ``OrderCanceled``, ``OrderExpired``, ``OrderRejected``, ``OrderReplaced``,
                ``OrderUnknown``, ``CancelRejected``, ``ReplaceRejected``, and with ``VenueUp``,
                ``VenueDown``, ``OrderNotFound``, ``OrderStatusGiven``, ``OrdersWorking``. It must
                not raise.
        """

    def submit(self, order: Order) -> None:
        """Send an order, once. Calling it again with the same id sends it again."""

    def cancel(self, cancel: CancelOrder) -> None:
        """Ask for an order to be taken off the venue."""

    def replace(self, replace: ReplaceOrder) -> None:
        """Ask for an order to be changed."""

    def query(self, order: Order, fills: Sequence[OrderFilled] = ()) -> None:
        """Ask what became of an order.

        Answered with all its reports again (executions have the same ids as before) and then
        ``OrderStatusGiven``, or with ``OrderNotFound``; with ``OrderUnknown`` where the venue
        cannot be asked.

        Args:
            order: as it was sent, also by an earlier process.
            fills: what is booked of it. Where executions are worked out from totals, an order
                that this link has not sent itself continues from there.
        """

    def list_working(self) -> None:
        """Ask which orders are working; answered with ``OrdersWorking``."""

    def close(self, *, timeout_s: float) -> None:
        """Let go of the connection; what is unanswered is reported ``OrderUnknown``.

        Raises:
            TimeoutError: the link's thread did not end within ``timeout_s`` seconds.
        """


class Journal(Protocol):
    """Where the events of a run are kept, in order."""

    def write(self, events: Sequence[Any]) -> None:
        """Append events; they are kept in this order."""


class RunRecord(Journal, Protocol):
    """A journal that gives a finished run back as frames: one row per event, integers in units.

    Attributes:
        failures: strategies that failed, in order.
        refusals: how many replacements of orders were refused, by reason.
        events: number of events written.
        hash: SHA-256 over the events, in hex; equal exactly when the events are.
    """

    failures: list[StrategyFailed]
    refusals: Counter[str]
    events: int

    @property
    def hash(self) -> str:
        """SHA-256 of everything written, in hex."""

    def orders(self) -> pl.DataFrame:
        """Give every order as it was judged, and how many ``fills_before`` were booked."""

    def verdicts(self) -> pl.DataFrame:
        """Give every verdict with its inputs in cash units."""

    def fills(self) -> pl.DataFrame:
        """Give every booked execution."""

    def replaced(self) -> pl.DataFrame:
        """Give every replacement."""

    def signals(self) -> pl.DataFrame:
        """Give every signal."""

    def risk_events(self) -> pl.DataFrame:
        """Give every risk event."""

    def ends(self) -> pl.DataFrame:
        """Give every end of an order other than its last fill, with its status and reason."""


class RunHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a run that outlives its process was begun with; it goes on under nothing else.

    Attributes:
        name: the run.
        profile: name of the shipped profile.
        strategy_ids: its strategies.
        settings: every setting that decides what the run does, as plain data.
        instruments: what can be traded, with scales.
        data_hash: hash of the market data it replays; empty for a live feed.
        ts_start: time at which its actors first started, UTC nanoseconds.
        held: the trading state it began with.
        executions: when its strategy begins; see ``run.executions``.
    """

    name: str
    profile: str
    strategy_ids: tuple[str, ...]
    settings: dict[str, Any]
    instruments: tuple[Instrument, ...]
    data_hash: str
    ts_start: int
    held: dict[str, Hold]
    executions: str = "one"

    @property
    def at_work(self) -> tuple[str, ...]:
        """The strategies that begin and end with the run."""
        return self.strategy_ids if self.executions == "one" else ()


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come.

    Attributes:
        header: what it was begun with.
        inputs: how many inputs are kept.
        events_hash: SHA-256 over the events that came of them, in hex; empty without any.
        completed: whether it has ended for good.
    """

    header: RunHeader
    inputs: int
    events_hash: str
    completed: bool


class RunStore(Protocol):
    """Keeps what entered a run and what came of it, durably; one thread at a time may use it."""

    def open(self, header: RunHeader) -> RunState:
        """Take a run for this process, beginning it if it is not there yet.

        Raises:
            StoreError: the store does not answer, or would not keep what it confirms.
            ConfigError: another engine has the run.
        """

    def history(self) -> Iterator[Input]:
        """Give what entered the run, in order.

        Raises:
            StoreError: what is kept is not what was written.
        """

    def recall(self, events: Sequence[Any]) -> None:
        """Take in the events that the history has brought about again."""

    def commit(self, batches: Sequence[Batch]) -> None:
        """Keep batches, durably; all of them or nothing.

        Raises:
            StoreError: they are not known to be kept; the run must be opened anew.
        """

    def commands(self, report: Callable[[OperatorCommand], None]) -> AbstractContextManager[object]:
        """Hear what people tell this run, while the block lasts.

        Args:
            report: takes each command once, from a thread of its own; it must not raise.
        """

    def outbox(self, destination: str, kept: Callable[[], None]) -> Outbox:
        """Give the way out of the messages of this run to a destination.

        Args:
            destination: such as ``kafka``; how far it has come is kept under this name.
            kept: called when there may be more of them, from any thread; it must not raise.
        """

    def complete(self) -> None:
        """Note that the run has ended for good.

        Raises:
            StoreError: it is not known to be noted.
        """

    def close(self) -> None:
        """Let the run go. May be called again."""
