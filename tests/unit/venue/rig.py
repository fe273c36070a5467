"""A cell with the simulated venue and a recorder in the router's place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.sim_venue import SimVenue
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.costs import CostsConfig
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.matching import FillConfig
from engine.domain.orders import Order, OrderType, Side, TimeInForce
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell

MINUTE = 60 * 10**9
DAY = 1440 * MINUTE
REPORTS = (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    CancelRejected,
    ReplaceRejected,
)


class Recorder(Actor):
    """Keeps every report, in order."""

    def __init__(self) -> None:
        super().__init__("order_router")
        self.reports: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(REPORTS, self.reports.append)


@dataclass
class Rig:
    """Drives a venue by hand in virtual time; prices and quantities are in units."""

    fill: FillConfig = field(default_factory=FillConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    instruments: Sequence[Instrument] = (Instrument(symbol="X"),)

    def __post_init__(self) -> None:
        self.recorder = Recorder()
        self.venue = SimVenue(
            "sim",
            fill=self.fill,
            costs=self.costs,
            instruments={i.symbol: i for i in self.instruments},
        )
        self.cell = Cell("core", [self.venue, self.recorder], {})
        self.seq = 0

    @property
    def reports(self) -> list[Any]:
        return self.recorder.reports

    def take(self) -> list[Any]:
        """Give the reports since the last call."""
        reports = list(self.recorder.reports)
        self.recorder.reports.clear()
        return reports

    def fills(self) -> list[OrderFilled]:
        return [report for report in self.recorder.reports if type(report) is OrderFilled]

    def send(self, *requests: Order | CancelOrder | ReplaceOrder) -> None:
        for request in requests:
            self.advance(request.ts_init)
            self.cell.deliver("sim", request)

    def advance(self, ts: int) -> None:
        """Let time pass up to ``ts``: what is due before it fires."""
        self.cell.fire_timers(ts)
        self.cell.now = max(self.cell.now, ts)

    def market(self, events: Iterable[MarketEvent]) -> None:
        for event in events:
            self.advance(event.ts_event)
            self.cell.deliver_market(event)

    def idle(self, until: int) -> None:
        """Let time pass without data, timers at ``until`` included."""
        self.cell.fire_timers(until + 1)
        self.cell.now = max(self.cell.now, until)

    def bar(
        self,
        prices: tuple[int, int, int, int],
        *,
        start: int | None = None,
        length: int = MINUTE,
        volume: int = 1_000,
        symbol: str = "X",
    ) -> Bar:
        """Deliver a bar that starts now (or at ``start``)."""
        ts_open = self.cell.now if start is None else start
        self.seq += 1
        bar = Bar(symbol, self.seq, ts_open, ts_open + length, *prices, volume, 100, 1)
        self.market([bar])
        return bar

    def trade(self, px: int, *, ts: int | None = None, qty: int = 100) -> Trade:
        self.seq += 1
        trade = Trade("X", self.seq, self.cell.now if ts is None else ts, px, qty, 100, 1)
        self.market([trade])
        return trade

    def quote(self, bid: int, ask: int, *, ts: int | None = None, qty: int = 100) -> Quote:
        self.seq += 1
        ts = self.cell.now if ts is None else ts
        quote = Quote("X", self.seq, ts, bid, ask, qty, qty, 100, 1)
        self.market([quote])
        return quote

    def order(self, side: str, qty: int, kind: str = "MARKET", **extra: Any) -> str:
        """Send an order now; names it O1, O2, ... unless told."""
        self._count = getattr(self, "_count", 0) + 1
        order_id = extra.pop("id", f"O{self._count}")
        tif = TimeInForce(extra.pop("tif", "GTC"))
        self.send(
            Order(
                order_id,
                extra.pop("strategy", "S"),
                extra.pop("symbol", "X"),
                Side(side),
                OrderType(kind),
                qty,
                extra.pop("ts", self.cell.now),
                tif,
                extra.pop("limit", None),
                extra.pop("stop", None),
                **extra,
            )
        )
        return str(order_id)

    def cancel(self, order_id: str, *, strategy: str = "S") -> None:
        self.send(CancelOrder(order_id, strategy, self.cell.now))

    def replace(self, order_id: str, *, strategy: str = "S", **extra: Any) -> None:
        self.send(ReplaceOrder(order_id, strategy, self.cell.now, **extra))


def brief(reports: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Shorten reports to what tables compare: name, order, and the words that matter."""
    lines: list[tuple[Any, ...]] = []
    for report in reports:
        name, order_id = type(report).__name__, report.client_order_id
        if type(report) is OrderFilled:
            lines.append((order_id, report.signed_qty, report.last_px, report.priced_by.value))
        elif type(report) is OrderAccepted:
            continue
        elif type(report) is OrderReplaced:
            lines.append((order_id, name, report.order_qty, report.limit_px, report.stop_px))
        else:
            lines.append((order_id, name, report.reason))
    return lines
