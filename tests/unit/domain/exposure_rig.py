"""An exposure book alone, and what puts quantities and prices in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.exposure import ExposureBook
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.risk import symbol_bounds
from tests.limits import limits

A = Instrument(symbol="A", sector="TECH")
B = Instrument(symbol="B", sector="TECH", multiplier=5)
C = Instrument(symbol="C", price_decimals=5, quantity_decimals=4)
X, Y = Instrument(symbol="X"), Instrument(symbol="Y")
CASH = 1_000_000 * CASH_UNIT
PER_PX = 10**6
"""Fine units that a price unit is worth on a quantity of one, in a book of X and Y alone."""


@dataclass
class Lane:
    last: Any = None


def book_of(
    instruments: Sequence[Instrument] = (A, B, C), maintenance_ppm: int = 0
) -> ExposureBook:
    given = {i.symbol: i for i in instruments}
    chosen = limits()
    book = ExposureBook(given, lambda i: symbol_bounds(chosen, i), CASH, maintenance_ppm)
    for market in book.markets.values():
        market.lane = Lane()
    return book


def put(
    book: ExposureBook, symbol: str, quantity: int, buys: int = 0, sells: int = 0, name: str = "S"
) -> None:
    exposure = book.exposure(book.markets[symbol], name)
    exposure.quantity, exposure.buys, exposure.sells = quantity, buys, sells
    book.resize(name, exposure)


def bar(symbol: str, px: int) -> Bar:
    return Bar(symbol, 0, 0, 0, px, px, px, px, 1, 100, 1)


def price(book: ExposureBook, symbol: str, px: int) -> bool:
    event = bar(symbol, px)
    book.markets[symbol].lane = Lane(event)
    return book.mark(book.markets[symbol], event)


def fine(book: ExposureBook, amount: float) -> int:
    return round(amount * CASH_UNIT) * book.grain


def long_of(*symbols: str, cents: int) -> ExposureBook:
    """Give a book that is long one of each symbol at 100.00, ``cents`` away from its alarm."""
    book = book_of([Instrument(symbol=s) for s in symbols])
    for symbol in symbols:
        price(book, symbol, 10_000)
        put(book, symbol, 1)
    distance(book, cents * PER_PX)
    return book


def distance(book: ExposureBook, amount: int) -> None:
    """Put the alarm of the account so many fine units below its equity."""
    book.account.alarm = book.account.equity - amount


def widths(book: ExposureBook) -> dict[str, int]:
    """Give how far each price may fall."""
    return {s: m.px - m.low for s, m in book.markets.items()}


def work_out(book: ExposureBook, symbol: str, all_of_it: bool) -> bool:
    return book.grant_all() if all_of_it else book.grant(book.markets[symbol])


def wait(book: ExposureBook, symbol: str, px: int) -> None:
    """Let a price inside its band come, as the gate does."""
    market = book.markets[symbol]
    market.lane = Lane(bar(symbol, px))
    market.is_stale = True
    book.stale.append(market)
