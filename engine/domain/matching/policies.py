"""What a market event does to a book: the three timings, the auctions and the expiries.

The rules are written out, bar by bar and with worked examples, in docs/fills.md. The law behind
them all: a price fills an order only if it became known at or after the order's arrival.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.domain.calendars import DAY_NS
from engine.domain.events import OrderExpired, PricedBy
from engine.domain.market import Bar, Quote, Trade
from engine.domain.matching.book import Book, Event
from engine.domain.matching.path import walk
from engine.domain.matching.working import NEVER, Closing, Reason, Trailing, Working
from engine.domain.orders import TimeInForce

__all__ = ["BAR_POLICIES", "BarPolicy", "on_quote", "on_trade"]

BarPolicy = Callable[[Book, Bar], list[Event]]
_BAR_OPEN, _BAR_RANGE, _BAR_CLOSE = PricedBy.BAR_OPEN, PricedBy.BAR_RANGE, PricedBy.BAR_CLOSE
_BY_DAY = (TimeInForce.DAY, TimeInForce.AT_THE_CLOSE)


def next_open(book: Book, bar: Bar) -> list[Event]:
    """Fill at the bar's open, then resting prices inside its range, then the closing orders."""
    book.begin(bar.seq, bar.volume_qty, bar.volume_qty)
    rest = _at_open(book, bar)
    if not book.orders:
        return book.out
    if rest or len(book.orders) > 1:
        _expire_within(book, bar)
        _in_range(book, bar, rest)
    return _after(book, bar)


def intrabar_path(book: Book, bar: Bar) -> list[Event]:
    """Fill along open, nearer extreme, other extreme, close."""
    book.begin(bar.seq, bar.volume_qty, bar.volume_qty)
    rest = _at_open(book, bar)
    if not book.orders:
        return book.out
    if rest or len(book.orders) > 1:
        _expire_within(book, bar)
        walk(book, bar, rest)
    return _after(book, bar)


def next_tick(book: Book, bar: Bar) -> list[Event]:
    """Fill at the bar's close, as if it were one print; auctions use the open and the close."""
    book.begin(bar.seq, bar.volume_qty, bar.volume_qty)
    for w in book.orders:
        if w.auction is TimeInForce.AT_THE_OPENING:
            _opening(book, w, bar)
    _expire_within(book, bar)
    _at_tick(book, bar.close_px, bar.close_px, bar.ts_event, _BAR_CLOSE)
    return _after(book, bar)


BAR_POLICIES: dict[str, BarPolicy] = {
    "next_open": next_open,
    "next_tick": next_tick,
    "intrabar_path": intrabar_path,
}


def on_trade(book: Book, trade: Trade) -> list[Event]:
    """Fill at a trade's price, whatever the timing says of bars."""
    book.begin(trade.seq, trade.qty, trade.qty)
    _tick_auctions(book, trade.px, trade.px, trade, (trade.qty, trade.qty))
    _at_tick(book, trade.px, trade.px, trade.ts_event, PricedBy.TRADE)
    return _after_tick(book, trade.ts_event)


def on_quote(book: Book, quote: Quote) -> list[Event]:
    """Fill buys at the ask and sells at the bid, whatever the timing says of bars."""
    book.begin(quote.seq, quote.ask_qty, quote.bid_qty)
    _tick_auctions(book, quote.ask_px, quote.bid_px, quote, (quote.ask_qty, quote.bid_qty))
    _at_tick(book, quote.ask_px, quote.bid_px, quote.ts_event, PricedBy.QUOTE)
    return _after_tick(book, quote.ts_event)


def _works(w: Working) -> bool:
    # A call, because a fill in between may have ended the order.
    return w.is_open


# --- bars ---


def _at_open(book: Book, bar: Bar) -> list[Working]:
    # The open, for all in order of priority. Children activated here come later in the list
    # and find the same open. Gives the orders that the rest of the bar may still fill.
    ts_open, open_px = bar.ts_open, bar.open_px
    rest: list[Working] = []
    for w in book.orders:
        if w.since > ts_open or w.auction is not None:
            if w.auction is TimeInForce.AT_THE_OPENING:
                _opening(book, w, bar)
            elif w.is_open and w.expire_ts <= ts_open:
                book.expire(w, w.expire_ts)
            continue
        if not w.is_open:
            continue
        if w.expire_ts <= ts_open:
            book.expire(w, w.expire_ts)
            continue
        px = w.at(open_px)
        if px is not None:
            book.fill(w, px, _BAR_OPEN, ts_open, ts_open)
            if w.immediate and _works(w):
                book.cancel_rest(w, ts_open)
        elif w.immediate:
            book.cancel_rest(w, ts_open)
        else:
            rest.append(w)
    return rest


def _in_range(book: Book, bar: Bar, rest: list[Working]) -> None:
    # Stops before all others, for a bar does not tell which came first. Nothing builds on a
    # fill whose moment is unknown: children and reduce-only orders wait for the next bar.
    low, high, close, ts = bar.low_px, bar.high_px, bar.close_px, bar.ts_event
    if len(rest) > 1:
        rest.sort(key=_stops_first)
    book.defer()
    for w in rest:
        if not w.is_open:
            continue
        if w.linked and not w.is_stop and book.stop_in_reach(w, low, high, bar.ts_open):
            continue
        px = w.touch(low, high, close)
        if px is not None:
            book.fill(w, px, _BAR_RANGE, ts, ts)
        elif isinstance(w, Trailing):
            w.follow(low if w.sign > 0 else high)
    book.undefer(ts)


def _stops_first(w: Working) -> bool:
    return not w.is_stop


def _expire_within(book: Book, bar: Bar) -> None:
    # An order that ends inside the bar had its open; whether its price came before its end is
    # not known, so the range does not fill it.
    for w in book.orders:
        if w.is_open and w.expire_ts < bar.ts_event:
            book.expire(w, w.expire_ts)


def _after(book: Book, bar: Bar) -> list[Event]:
    ts_open, ts = bar.ts_open, bar.ts_event
    for w in book.orders:
        if not w.is_open:
            continue
        if w.since <= ts_open:
            if w.auction is TimeInForce.AT_THE_CLOSE:
                _closing(book, w, bar)
            if w.expire_ts == NEVER and w.order.time_in_force in _BY_DAY and _works(w):
                book.expire_at(w, max(book.calendar.day_end(ts_open), ts))
        if w.expire_ts <= ts and _works(w):
            book.expire(w, w.expire_ts)
    return book.finish()


def _opening(book: Book, w: Working, bar: Bar) -> None:
    # The first bar of a trading day that the order could trade on; any bar of a day or longer.
    day = book.calendar.day(bar.ts_open)
    first = w.previous_day is None or day > w.previous_day
    w.previous_day = day
    if not w.is_open or w.since > bar.ts_open:
        return
    if first or bar.ts_event - bar.ts_open >= DAY_NS:
        px = w.at(bar.open_px)
        if px is not None:
            book.fill(w, px, _BAR_OPEN, bar.ts_open, bar.ts_open)
        if w.is_open:
            book.end(w, OrderExpired, Reason.AT_THE_OPENING, bar.ts_open)


def _closing(book: Book, w: Working, bar: Bar) -> None:
    # The bar that ends the trading day; any bar of a day or longer.
    length = bar.ts_event - bar.ts_open
    if length < DAY_NS and bar.ts_event != book.calendar.day_end(bar.ts_open):
        return
    px = w.at(bar.close_px)
    if px is not None:
        book.fill(w, px, _BAR_CLOSE, bar.ts_event, bar.ts_event)
    if w.is_open:
        book.end(w, OrderExpired, Reason.AT_THE_CLOSE, bar.ts_event)


# --- trades, quotes, and closes seen as one ---


def _at_tick(book: Book, ask: int, bid: int, ts: int, by: PricedBy) -> None:
    # The list is taken first: a child activated by this datum waits for the next.
    for w in [w for w in book.orders if w.since <= ts and w.auction is None]:
        if not w.is_open:
            continue
        if w.expire_ts < ts:
            book.expire(w, w.expire_ts)
            continue
        now = ask if w.sign > 0 else bid
        if by is PricedBy.QUOTE and now <= 0:
            continue  # that side of the market is empty
        px = w.at(now)
        if px is not None:
            book.fill(w, px, by, ts, ts)
        if not _works(w):
            continue
        if w.immediate:
            book.cancel_rest(w, ts)
        elif isinstance(w, Trailing):
            w.follow(now)


def _tick_auctions(
    book: Book, ask: int, bid: int, tick: Trade | Quote, qty: tuple[int, int]
) -> None:
    # The first trade or quote of a day is its opening; the last one is its close, which is
    # known to be the last when the day ends.
    ts = tick.ts_event
    by = PricedBy.TRADE if isinstance(tick, Trade) else PricedBy.QUOTE
    for w in book.orders:
        if w.auction is None or not w.is_open:
            continue
        now, volume = (ask, qty[0]) if w.sign > 0 else (bid, qty[1])
        there = now > 0 or by is PricedBy.TRADE
        if w.auction is TimeInForce.AT_THE_CLOSE:
            if w.since <= ts <= w.expire_ts and there:
                w.closing = Closing(now, volume, ts, tick.seq, by)
            continue
        day = book.calendar.day(ts)
        first = w.previous_day is None or day > w.previous_day
        if w.since <= ts and first:
            px = w.at(now) if there else None
            if px is not None:
                book.fill(w, px, by, ts, ts)
            if w.is_open:
                book.end(w, OrderExpired, Reason.AT_THE_OPENING, ts)
        w.previous_day = day


def _after_tick(book: Book, ts: int) -> list[Event]:
    for w in book.orders:
        if not w.is_open:
            continue
        if w.expire_ts < ts:
            book.expire(w, w.expire_ts)
        elif w.expire_ts == NEVER and w.since <= ts and w.order.time_in_force in _BY_DAY:
            book.expire_at(w, book.calendar.day_end(ts))
    return book.finish()
