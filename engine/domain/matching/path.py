"""The intrabar path: open, nearer extreme, other extreme, close, and what it meets on the way."""

from __future__ import annotations

from engine.domain.events import PricedBy
from engine.domain.market import Bar
from engine.domain.matching.book import Book
from engine.domain.matching.working import StopLimit, Trailing, Working

__all__ = ["vertices", "walk"]


def vertices(bar: Bar, net_qty: int) -> tuple[int, int, int]:
    """Give the prices the path goes to after the open: two extremes and the close.

    The extreme nearer to the open comes first; when both are as near, the one that hurts the
    net position: the high when short, else the low.

    Args:
        bar: the bar.
        net_qty: net position in the symbol, signed.
    """
    up, down = bar.high_px - bar.open_px, bar.open_px - bar.low_px
    if down < up or (down == up and net_qty >= 0):
        return bar.low_px, bar.high_px, bar.close_px
    return bar.high_px, bar.low_px, bar.close_px


def walk(book: Book, bar: Bar, live: list[Working]) -> None:
    """Walk the path of a bar after its open.

    Args:
        book: the book; children activated on the way join in from where they are activated.
        bar: the bar.
        live: the orders that the open left working, in order of priority.
    """
    book.woken.clear()
    cur, ts = bar.open_px, bar.ts_event
    path = vertices(bar, sum(book.positions.values()))
    done: set[Working] = set()  # asked only for membership, never iterated
    _follow(live, cur)
    for i, to in enumerate(path):
        while (met := _nearest(live, done, cur, to)) is not None:
            px, w = met
            if w.linked and not w.is_stop:
                ahead = (cur, *path[i:])
                if book.stop_in_reach(w, min(ahead), max(ahead), bar.ts_open):
                    done.add(w)
                    continue
            cur = px
            if w.is_stop and not w.triggered:
                w.triggered = True
                if isinstance(w, StopLimit):
                    continue  # a limit order from here on
            done.add(w)
            book.fill(w, px, PricedBy.BAR_RANGE, ts, ts)
            live += _joining(book, bar.ts_open)
        cur = to
        _follow(live, cur)


def _nearest(
    live: list[Working], done: set[Working], cur: int, to: int
) -> tuple[int, Working] | None:
    # The first order on the way from cur to `to`: nearest price, stops first, then priority.
    best: tuple[int, bool] | None = None
    met: tuple[int, Working] | None = None
    for w in live:
        if not w.is_open or w in done:
            continue
        px = w.along(cur, to)
        if px is None:
            continue
        key = (abs(px - cur), not w.is_stop)
        if best is None or key < best:
            best, met = key, (px, w)
    return met


def _joining(book: Book, ts_open: int) -> list[Working]:
    # Children that the last fill activated and that may work on the rest of this bar: their
    # terms were known at its open, and they do not wait for an open or a close.
    joining: list[Working] = []
    for kid in book.woken:
        if kid.terms_ts <= ts_open and kid.auction is None and not kid.immediate:
            kid.since = ts_open
            joining.append(kid)
    book.woken.clear()
    return joining


def _follow(live: list[Working], px: int) -> None:
    for w in live:
        if isinstance(w, Trailing) and w.is_open:
            w.follow(px)
