"""The whole trading core, wired as a backtest wires it, driven by bars made in a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.ledger import Ledger
from actors.order_router import OrderRouter
from actors.recorder import RECORDED
from actors.risk_gate import RiskGate
from actors.sim_venue import SimVenue
from actors.strategy_host import StrategyHost
from adapters.memory.journal import FrameJournal
from engine.config import Config, load_config
from engine.domain.events import OrderFilled
from engine.domain.executions import BeginExecution
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import cash_units
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from engine.runtime.sim_runtime import Columns, SimRuntime, bar_events
from engine.strategy.base import Strategy
from engine.wiring import build_core, host_name, routes
from tests.limits import UNLIMITED

MINUTE = 60 * 10**9
START = 1_600_000_020 * 10**9  # a full minute
NO_LIMITS: dict[str, Any] = {
    **{f"risk.{name}": value for name, value in UNLIMITED.items()},
    "risk.self_trade_prevention": False,
}

Prices = tuple[int, int, int, int]


class Witness(Actor):
    """Sees every recorded event last, with the time of the cell when it happened."""

    def __init__(self) -> None:
        super().__init__("witness")
        self.seen: list[tuple[int, Any]] = []
        self.check: Callable[[Any], None] = lambda event: None

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys((*RECORDED, OrderFilled), self.on_event)

    def on_event(self, event: Any) -> None:
        self.seen.append((self.ctx.now, event))
        self.check(event)


@dataclass
class Core:
    """A trading core over bars; prices and quantities in units, two decimals and none.

    Args:
        strategies: by strategy id.
        settings: over the shipped backtest profile.
        instruments: what is traded.
        begin: makes a strategy that begins while the core is at work; None when none may.
        kinds: of what the market data is.
    """

    strategies: Mapping[str, Strategy]
    settings: Mapping[str, Any] = field(default_factory=dict)
    instruments: Sequence[Instrument] = (Instrument(symbol="A"), Instrument(symbol="B"))
    begin: Callable[[BeginExecution], Strategy] | None = None
    kinds: tuple[type, ...] = (Bar,)

    def __post_init__(self) -> None:
        self.config: Config = load_config("backtest", settings=self.settings)
        self.journal = FrameJournal()
        self.witness = Witness()
        self.stopped = False
        actors = build_core(
            self.config,
            strategies=self.strategies,
            instruments=self.instruments,
            kinds=self.kinds,
            columns_of=None,
            journal=self.journal,
            stop_run=self._stop,
            begin=self.begin,
        )
        hosts = [host_name(name) for name in self.strategies]
        table = {
            kind: list(names)
            for kind, names in routes(hosts, executes=self.begin is not None).items()
        }
        for kind in (*RECORDED, OrderFilled):
            table.setdefault(kind, []).append(self.witness.name)
        self.cell = Cell("core", [*actors, self.witness], table)
        self.runtime: SimRuntime | None = None
        self.ledger = self._actor("ledger", Ledger)
        self.gate = self._actor("risk_gate", RiskGate)
        self.router = self._actor("order_router", OrderRouter)
        self.venue = self._actor("venue", SimVenue)
        self.initial_cash = cash_units(self.config.account.cash)

    def _actor(self, name: str, kind: type[Any]) -> Any:
        actor = self.cell.actors[name]
        assert isinstance(actor, kind)
        return actor

    def host(self, name: str) -> StrategyHost:
        host = self.cell.actors[host_name(name)]
        assert isinstance(host, StrategyHost)
        return host

    def _stop(self) -> None:
        self.stopped = True
        if self.runtime is not None:
            self.runtime.stop()

    # A whole run.

    def run(self, chunk: Columns, *, chunk_rows: int = 8192) -> Core:
        """Run over bars as :func:`columns` makes them, from start to stop."""
        start = chunk["ts_event"][0]
        self.runtime = SimRuntime(self.cell, self.instruments, bar_events, start_ts=start)
        rows = len(chunk["ts_event"])
        self.runtime.run(
            {name: values[at : at + chunk_rows] for name, values in chunk.items()}
            for at in range(0, rows, chunk_rows)
        )
        return self

    # Step by step.

    def start(self, ts: int = START) -> Core:
        self.cell.now = ts
        self.cell.start()
        self.cell.bind_symbols(i.symbol for i in self.instruments)
        self._next = {i.symbol: ts for i in self.instruments}
        self._seq = {i.symbol: 0 for i in self.instruments}
        return self

    def bar(self, symbol: str, prices: Prices | int, *, volume: int = 1_000) -> Bar:
        """Deliver the next one-minute bar of a symbol; a number is a bar that does not move."""
        o, h, low, c = (prices,) * 4 if isinstance(prices, int) else prices
        ts_open = self._next[symbol]
        end = self._next[symbol] = ts_open + MINUTE
        bar = Bar(symbol, self._seq[symbol], ts_open, end, o, h, low, c, volume, 100, 1)
        self._seq[symbol] += 1
        self.cell.fire_timers(end)
        self.cell.now = end
        self.cell.deliver_market(bar)
        self.cell.end_batch()
        return bar

    def tick(self, kind: type[Trade | Quote], symbol: str, px: int, ts: int) -> None:
        """Deliver a trade, or a quote one unit around a price."""
        seq = self._seq[symbol]
        self._seq[symbol] += 1
        event = (
            Trade(symbol, seq, ts, px, 10, 100, 1)
            if kind is Trade
            else Quote(symbol, seq, ts, px - 1, px + 1, 10, 10, 100, 1)
        )
        self.cell.fire_timers(ts)
        self.cell.now = ts
        self.cell.deliver_market(event)
        self.cell.end_batch()

    def idle(self, until: int) -> None:
        """Let time pass without data, timers at ``until`` included."""
        self.cell.fire_timers(until + 1)
        self.cell.now = until
        self.cell.end_batch()

    def deliver(self, actor: str, message: Any) -> None:
        self.cell.deliver(actor, message)
        self.cell.end_batch()

    def events(self, *kinds: type) -> list[Any]:
        """Give what was recorded, of some types or all."""
        return [event for _, event in self.witness.seen if not kinds or type(event) in kinds]

    # Exact views.

    def symbols(self) -> list[str]:
        return [i.symbol for i in self.instruments]

    def equity(self) -> int:
        """Cash plus positions at the latest prices, in cash units, from the ledger."""
        total = int(self.ledger.cash)
        for name in self.strategies:
            for instrument in self.instruments:
                quantity, _ = self.ledger.position(name, instrument.symbol)
                if quantity:
                    px = self.cell.last(instrument.symbol).last_px
                    total += instrument.notional(px, quantity)
        return total


def columns(series: Sequence[Sequence[Prices]], *, volume: int = 1_000) -> Columns:
    """Lay the bars of several symbols out as one chunk, in the order of time and symbols."""
    names = ("series", "seq", "ts_open", "ts_event", "open", "high", "low", "close", "volume")
    rows = [
        (s, i, START + i * MINUTE, START + (i + 1) * MINUTE, *prices, volume)
        for s, bars in enumerate(series)
        for i, prices in enumerate(bars)
    ]
    rows.sort(key=lambda row: (row[3], row[0]))
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def cut(chunk: Columns, rows: int) -> Columns:
    """Keep the first rows of a chunk."""
    return {name: values[:rows] for name, values in chunk.items()}
