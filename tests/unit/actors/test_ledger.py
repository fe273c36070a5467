"""The ledger alone: whose accounts a fill lands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actors.ledger import Ledger
from engine.domain.events import OrderFilled, PositionChanged, PricedBy
from engine.domain.instruments import Instrument
from engine.domain.ledger import AccountKind
from engine.domain.orders import Liquidity
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell

CASH = 10**12
CENT = 10**6
"""Cash units of a price of 0.01 times a quantity of one."""


class World(Actor):
    """Keeps what the ledger publishes."""

    def __init__(self) -> None:
        super().__init__("world")
        self.kept: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return {PositionChanged: self.kept.append}


def booked(*fills: OrderFilled) -> Ledger:
    instruments = {symbol: Instrument(symbol=symbol) for symbol in ("X", "Y")}
    ledger = Ledger("ledger", instruments=instruments, initial_cash=CASH)
    cell = Cell("core", [ledger, World()], {PositionChanged: ("world",)})
    for fill in fills:
        cell.deliver("ledger", fill)
    return ledger


def bought(strategy: str, symbol: str, qty: int, commission: int = 0) -> OrderFilled:
    return OrderFilled(
        "O", "E", strategy, symbol, qty, 100, qty, 0, commission, 0, Liquidity.TAKER, 9,
        PricedBy.TRADE, 0, 9,
    )  # fmt: skip


@pytest.mark.req("P17")
def test_each_strategy_has_accounts_of_its_own_in_each_symbol() -> None:
    ledger = booked(
        bought("S", "X", 1, 7), bought("S", "Y", 2, 8), bought("T", "X", 3, 9), bought("S", "X", 4)
    )
    books = ledger.books
    holdings = {("S", "X"): 5, ("S", "Y"): 2, ("T", "X"): 3, ("T", "Y"): 0}
    fees = {("S", "X"): 7, ("S", "Y"): 8, ("T", "X"): 9, ("T", "Y"): 0}
    for (strategy, symbol), quantity in holdings.items():
        cost = quantity * 100 * CENT
        assert ledger.position(strategy, symbol) == (quantity, cost)
        assert books.account(AccountKind.POSITION, "USD", strategy, symbol).balance == cost
        fee = books.account(AccountKind.COMMISSION, "USD", strategy, symbol).balance
        assert fee == fees[strategy, symbol]
    assert ledger.cash == CASH - 10 * 100 * CENT - 24


def test_an_account_is_in_dollars_unless_told_otherwise() -> None:
    books = booked().books
    assert books.total(AccountKind.CASH, "USD") == CASH
    assert books.total(AccountKind.CAPITAL, "USD") == -CASH
