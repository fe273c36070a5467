"""Carries one symbol's bars through indicators and aggregations to the strategy's hook.

Each function here makes a closure for one symbol. The closures look alike on purpose: they are
the inner loop of every mode, and what a run does not use must not cost it a test per bar.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from engine.domain.aggregation import Aggregator, parse_every
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.errors import ConfigError
from engine.strategy.desk import Desk
from engine.strategy.indicators import Source

if TYPE_CHECKING:
    from engine.analytics.indicators import Plan

__all__ = ["ColumnsOf", "SymbolFeed", "make_bar_feed", "make_tick_feed"]

_AGGREGATED_OF = ("ts_open", "ts_event", "open", "high", "low", "close", "volume")
NEVER = 2**63 - 1
Hook = Callable[[Any], None]
ColumnsOf = Callable[[str, Collection[str]], Mapping[str, Any]]
"""Gives named columns of a symbol's whole series, when the data is known beforehand."""


class SymbolFeed:
    """Makes the handlers of one symbol for one strategy.

    Args:
        symbol: instrument.
        desk: the strategy's desk; told which event is being handled.
        flush: drains the outbox.
    """

    def __init__(self, symbol: str, desk: Desk, flush: Callable[[], None]) -> None:
        self._symbol = symbol
        self._desk = desk
        self._flush = flush

    @property
    def instrument(self) -> Instrument:
        """The symbol's instrument."""
        return self._desk.instruments[self._symbol]

    def hook(self, call: Hook) -> tuple[Hook, Callable[[], None]]:
        """Carry events straight to a hook; also give the function that stops it."""
        desk, outbox, flush = self._desk, self._desk.outbox, self._flush
        running = True

        def on_event(event: Any) -> None:
            if not running:
                return
            desk.event = event
            call(event)
            if outbox:
                flush()

        def stop() -> None:
            nonlocal running
            running = False

        return on_event, stop

    def batch_bars(
        self, call: Hook, source: Source, columns: list[Any], first_row: int
    ) -> tuple[Hook, Callable[[], None]]:
        """Carry bars whose indicators are known beforehand; ``bar.seq`` is the row."""
        desk, outbox, flush = self._desk, self._desk.outbox, self._flush
        frame = source.frame
        alone = len(desk.instruments) == 1 and self._symbol not in source.frames
        if alone:
            source.frames[self._symbol] = frame
        own = source.frame_of(self._symbol)
        own.columns = columns

        def on_bar(bar: Bar) -> None:
            row = bar.seq
            if row < first_row:
                own.index = row
                return
            frame.index = own.index = row
            frame.columns = columns
            desk.event = bar
            call(bar)
            if outbox:
                flush()

        def on_bar_alone(bar: Bar) -> None:
            # One symbol: the frame always points at it.
            row = bar.seq
            if row < first_row:
                return
            frame.index = row
            desk.event = bar
            call(bar)
            if outbox:
                flush()

        def stop() -> None:
            nonlocal first_row
            first_row = NEVER

        return (on_bar_alone if alone else on_bar), stop

    def streamed_bars(
        self, call: Hook, advances: list[Callable[[Bar], bool]], *, warm_up: bool
    ) -> tuple[Hook, Callable[[], None]]:
        """Carry bars whose indicators and aggregations are computed as they come."""
        desk, outbox, flush = self._desk, self._desk.outbox, self._flush
        running = True

        def on_bar(bar: Bar) -> None:
            if not running:
                return
            desk.event = bar
            ready = True
            for advance in advances:
                ready = advance(bar) and ready
            if ready or not warm_up:
                call(bar)
            if outbox:
                flush()

        def stop() -> None:
            nonlocal running
            running = False

        return on_bar, stop


def known_columns(source: Source, symbol: str, columns: list[Any]) -> Callable[[Bar], bool]:
    """Advance a source whose columns are known beforehand; ``bar.seq`` is the row."""
    frame = source.frame
    own = source.frame_of(symbol)
    own.columns = columns
    lookback = source.lookback

    def advance(bar: Bar) -> bool:
        frame.columns = columns
        frame.index = own.index = bar.seq
        return bar.seq >= lookback

    return advance


def streamed_columns(source: Source, symbol: str, plan: Plan) -> Callable[[Bar], bool]:
    """Advance a source by computing its indicators from each bar as it comes."""
    frame = source.frame
    own = source.frame_of(symbol)
    stream = plan.stream()
    columns = stream.columns
    own.columns = columns
    update = stream.update
    lookback = source.lookback
    count = 0

    def advance(bar: Bar) -> bool:
        nonlocal count
        update(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.ts_open)
        count += 1
        frame.columns = columns
        frame.index = own.index = len(columns[0]) - 1 if columns else -1
        return count > lookback

    return advance


def _no_indicators(bar: Bar) -> bool:
    return True


def aggregated(
    source: Source, symbol: str, plan: Plan | None, calendar: str
) -> Callable[[Any], bool]:
    """Advance an aggregation and the indicators on it; calls ``then`` with completed bars."""
    every = source.every or ""
    aggregator = Aggregator(every, calendar)
    step_ns = parse_every(every).step_ns
    advance = _no_indicators if plan is None else streamed_columns(source, symbol, plan)
    frame = source.frame
    own = source.frame_of(symbol)
    then = source.then
    columns: Any = ()
    index = -1
    ready = plan is None

    def on_event(event: Any) -> bool:
        nonlocal columns, index, ready
        for bar in aggregator.update(event):
            # Bars are never divided: what came out would not be the bars that were asked for.
            if step_ns and type(event) is Bar and event.ts_event - event.ts_open > step_ns:
                raise ConfigError(
                    f"self.aggregate({every!r}) cannot make shorter bars than the data's: "
                    f"those of {symbol} take {(event.ts_event - event.ts_open) / 1e9:g} s"
                )
            ready = advance(bar)
            columns, index = frame.columns, frame.index
            if then is not None:
                then(bar)
        frame.columns = columns
        frame.index = own.index = index
        return ready

    return on_event


def _fits(source: Source, columns: Mapping[str, Any]) -> bool:
    """Tell whether the data's bars are short enough; :func:`aggregated` says what if not."""
    step_ns = parse_every(source.every or "").step_ns
    lengths = columns["ts_event"] - columns["ts_open"]
    return not step_ns or not len(lengths) or bool(lengths.max() <= step_ns)


def known_aggregated(
    source: Source, instrument: Instrument, plan: Plan, columns: Mapping[str, Any], calendar: str
) -> Callable[[Bar], bool]:
    """Advance an aggregation that is known beforehand, as :func:`aggregated` would bar by bar."""
    # Imported here: a strategy without aggregations does not pay for it.
    from engine.analytics.aggregation import aggregate

    units = {"px_unit": instrument.price_unit, "qty_unit": instrument.quantity_unit}
    made = aggregate(columns, source.every or "", calendar, **units)
    batch = plan.batch(made.columns)
    last = made.last.data
    frame = source.frame
    own = source.frame_of(instrument.symbol)
    lookback = source.lookback

    def advance(bar: Bar) -> bool:
        row = last[bar.seq]
        # Before the first complete bar there is nothing to read, certainly not the end.
        frame.columns = own.columns = batch if row >= 0 else ()
        frame.index = own.index = row
        return bool(row >= lookback)

    return advance


def make_bar_feed(
    feed: SymbolFeed,
    symbol: str,
    call: Hook,
    base: Source,
    aggregates: list[Source],
    *,
    calendar: str,
    columns_of: ColumnsOf | None,
    warm_up: bool,
) -> tuple[Hook, Callable[[], None]]:
    """Choose how a symbol's bars reach ``on_bar`` and make the handler and its stop."""
    batch: list[Any] = []
    if columns_of is not None and base.plan is not None:
        batch = base.plan.batch(columns_of(symbol, base.plan.columns))
    if columns_of is not None and not aggregates:
        return feed.batch_bars(call, base, batch, base.lookback if warm_up else 0)
    advances: list[Callable[[Any], bool]] = []
    if columns_of is not None:
        advances.append(known_columns(base, symbol, batch))
    elif base.plan is not None:
        advances.append(streamed_columns(base, symbol, base.plan))
    for source in aggregates:
        plan = source.plan
        # Completed bars are handed to ``then`` one by one; without it nobody needs them.
        if columns_of is not None and plan is not None and source.then is None:
            columns = columns_of(symbol, _AGGREGATED_OF)
            if _fits(source, columns):
                known = known_aggregated(source, feed.instrument, plan, columns, calendar)
                advances.append(known)
                continue
        advances.append(aggregated(source, symbol, plan, calendar))
    return feed.streamed_bars(call, advances, warm_up=warm_up)


def make_tick_feed(
    feed: SymbolFeed,
    symbol: str,
    call: Hook,
    aggregates: list[Source],
    calendar: str,
) -> tuple[Hook, Callable[[], None]]:
    """Make the handler of a symbol's trades or quotes and its stop.

    Indicators on ticks are declared on an aggregation; the hook is called for every tick.
    """
    advances = [aggregated(source, symbol, source.plan, calendar) for source in aggregates]
    if not advances:
        return feed.hook(call)

    def on_tick(event: Any) -> None:
        for advance in advances:
            advance(event)
        call(event)

    return feed.hook(on_tick)
