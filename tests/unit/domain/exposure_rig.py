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
CASH = 1_000_000 * CASH_UNIT


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
