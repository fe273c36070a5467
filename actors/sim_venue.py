"""The simulated venue: where orders go in backtest, screen, replay and paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.domain.calendars import get_calendar
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.costs import Costs, CostsConfig
from engine.domain.events import CancelRejected, OrderRejected, ReplaceRejected
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.matching import (
    BAR_POLICIES,
    Book,
    Event,
    FillConfig,
    Reason,
    Registry,
    Working,
    on_quote,
    on_trade,
)
from engine.domain.orders import Order
from engine.runtime.actor import Actor, Handler

__all__ = ["SimVenue"]

_MS = 1_000_000


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """Timer: a request has travelled its latency and reaches the venue now."""

    request: Order | CancelOrder | ReplaceOrder


class ExpiryDue(msgspec.Struct, frozen=True, gc=False):
    """Timer: an order may have to end."""

    client_order_id: str


class SimVenue(Actor):
    """A venue made of market data: accepts orders and fills them by the rules of docs/fills.md.

    Nothing in it depends on a clock or on chance: acknowledgements, fills and ids are functions
    of the messages it has seen. It watches a symbol only while it has orders there.

    Args:
        name: actor name; the first part of its venue order ids and execution ids.
        fill: timing, latency and volume limit.
        costs: commission and slippage.
        instruments: what is traded, by symbol.
        report_to: actor that receives every report.
    """

    def __init__(
        self,
        name: str,
        *,
        fill: FillConfig,
        costs: CostsConfig,
        instruments: Mapping[str, Instrument],
        report_to: str = "order_router",
    ) -> None:
        super().__init__(name)
        self._fill = fill
        self._costs = costs
        self._instruments = instruments
        self._report_to = report_to
        self._latency_ns = fill.latency_ms * _MS
        self._on_bar = BAR_POLICIES[fill.timing]
        self._registry = Registry(name)
        self._working = self._registry.orders
        self._books: dict[str, Book] = {}
        self._market_handlers: dict[str, Handler] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """Handle orders, cancels and replacements, market events, and own timers."""
        return {
            Order: self.on_request if self._latency_ns else self.on_order,
            CancelOrder: self.on_request if self._latency_ns else self.on_cancel_order,
            ReplaceOrder: self.on_request if self._latency_ns else self.on_replace_order,
            Bar: self.on_market,
            Trade: self.on_market,
            Quote: self.on_market,
            Arrival: self.on_arrival,
            ExpiryDue: self.on_expiry_due,
        }

    # --- requests ---

    def on_request(self, request: Order | CancelOrder | ReplaceOrder) -> None:
        """Let a request travel its latency first."""
        self.ctx.set_timer(request.ts_init + self._latency_ns, Arrival(request))

    def on_arrival(self, arrival: Arrival) -> None:
        """Handle a request that has travelled."""
        request = arrival.request
        if type(request) is Order:
            self.on_order(request)
        elif type(request) is CancelOrder:
            self.on_cancel_order(request)
        elif type(request) is ReplaceOrder:
            self.on_replace_order(request)

    def on_order(self, order: Order) -> None:
        """Accept or reject an order. One that is working already is a resend and ignored."""
        symbol = order.symbol
        arrival = order.ts_init + self._latency_ns
        book = self._books.get(symbol) or self._open_book(symbol)
        ctx = self.ctx
        if book is None:
            reason = Reason.UNKNOWN_SYMBOL.value
            ctx.send(self._report_to, OrderRejected(order.client_order_id, reason, arrival))
            return
        if order.client_order_id in self._working:
            return
        if not book.orders:
            ctx.watch(symbol)
        ctx.send(self._report_to, book.arrive(order, arrival, ctx.last))
        if not book.orders:
            ctx.unwatch(symbol)
        elif book.alarms:
            self._set_alarms(book)

    def on_cancel_order(self, cancel: CancelOrder) -> None:
        """Cancel a working order of its owner."""
        w = self._working.get(cancel.client_order_id)
        ts = cancel.ts_init + self._latency_ns
        reason = _refusal(w, cancel.strategy_id)
        if w is None or reason is not None:
            rejected = CancelRejected(cancel.client_order_id, reason or "", ts)
            self.ctx.send(self._report_to, rejected)
            return
        book = self._books[w.order.symbol]
        self._settle(book, book.cancel(w, ts))

    def on_replace_order(self, replace: ReplaceOrder) -> None:
        """Change a working order of its owner."""
        w = self._working.get(replace.client_order_id)
        ts = replace.ts_init + self._latency_ns
        reason = _refusal(w, replace.strategy_id)
        if w is None or reason is not None:
            rejected = ReplaceRejected(replace.client_order_id, reason or "", ts)
            self.ctx.send(self._report_to, rejected)
            return
        book = self._books[w.order.symbol]
        self._settle(book, book.replace(w, replace, ts))

    # --- market events ---

    def on_market(self, event: Bar | Trade | Quote) -> None:
        """Let a market event fill what it fills."""
        self.market_handler(event.symbol)(event)

    def market_handler(self, symbol: str) -> Handler:
        """Give the handler of one symbol's market events; always the same object."""
        handler = self._market_handlers.get(symbol)
        if handler is None:
            handler = self._market_handlers[symbol] = self._make_handler(symbol)
        return handler

    def _make_handler(self, symbol: str) -> Handler:
        book = self._books.get(symbol) or self._open_book(symbol)
        if book is None:
            return _ignore
        on_bar, settle = self._on_bar, self._settle

        def handle(event: Bar | Trade | Quote) -> None:
            if not book.orders:
                return
            if type(event) is Bar:
                settle(book, on_bar(book, event))
            elif type(event) is Trade:
                settle(book, on_trade(book, event))
            elif type(event) is Quote:
                settle(book, on_quote(book, event))

        return handle

    def on_expiry_due(self, due: ExpiryDue) -> None:
        """End an order whose time has come.

        While a bar may be in progress (its open was before the expiry, but it is delivered only
        at its end) the order waits for it, for that open may still fill it.
        """
        w = self._working.get(due.client_order_id)
        now = self.ctx.now
        if w is None or w.expire_ts > now:
            return
        last = self.ctx.last(w.order.symbol)
        if type(last) is Bar:
            end_ts = 2 * last.ts_event - last.ts_open
            if last.ts_event < now < end_ts:
                self.ctx.set_timer(end_ts, due)
                return
        book = self._books[w.order.symbol]
        self._settle(book, book.expire_alone(w))

    # --- inside ---

    def _open_book(self, symbol: str) -> Book | None:
        instrument = self._instruments.get(symbol)
        if instrument is None:
            return None
        calendar = get_calendar(instrument.calendar)
        costs = Costs(self._costs, instrument)
        book = self._books[symbol] = Book(instrument, self._fill, costs, calendar, self._registry)
        return book

    def _settle(self, book: Book, events: list[Event]) -> None:
        # Report what happened; an idle symbol costs nothing from here on.
        send, report_to = self.ctx.send, self._report_to
        for event in events:
            send(report_to, event)
        if not book.orders:
            self.ctx.unwatch(book.symbol)
        elif book.alarms:
            self._set_alarms(book)

    def _set_alarms(self, book: Book) -> None:
        for ts, client_order_id in book.alarms:
            self.ctx.set_timer(ts, ExpiryDue(client_order_id))
        book.alarms.clear()


def _refusal(w: Working | None, strategy_id: str) -> str | None:
    if w is None:
        return Reason.UNKNOWN_ORDER.value
    if w.order.strategy_id != strategy_id:
        return Reason.NOT_OWNER.value
    return None


def _ignore(event: Any) -> None:
    """Do nothing with an event of a symbol that nobody can trade here."""
