"""The ledger alone: whose accounts a fill and a reservation land in, and what is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from actors.ledger import Ledger
from engine.domain.commands import OrderApproved, ReplaceApproved, ReplaceOrder
from engine.domain.events import (
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    PricedBy,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.ledger import AccountKind
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import CheckInputs, Verdict
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


FINE = Instrument(symbol="Z", price_decimals=5, quantity_decimals=4)


def booked(*messages: Any, world: World | None = None) -> Ledger:
    """Give a ledger that has heard some messages."""
    instruments = {symbol: Instrument(symbol=symbol) for symbol in ("X", "Y")} | {"Z": FINE}
    ledger = Ledger("ledger", instruments=instruments, initial_cash=CASH)
    cell = Cell("core", [ledger, world or World()], {PositionChanged: ("world",)})
    for message in messages:
        cell.deliver("ledger", message)
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


# Reservations.


def reserved(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Give what is reserved by strategy and symbol, in cents of one; the books must agree."""
    found = {
        (a.strategy_id, a.symbol): a.balance // CENT
        for a in ledger.books.accounts
        if a.kind is AccountKind.RESERVED
    }
    total = ledger.books.total(AccountKind.RESERVATIONS, "USD")
    assert total == -sum(found.values()) * CENT
    assert total == -(ledger.reservations.buys + ledger.reservations.sells)
    return {key: amount for key, amount in found.items() if amount}


def approved(
    order_id: str = "O", qty: int = 10, reference: int | None = None, **fields: Any
) -> OrderApproved:
    """Approve an order: at its own limit price, or the latest one when there is none."""
    given = {"strategy_id": "S", "symbol": "X", "limit_px": None, **fields}
    kind = OrderType.MARKET if given["limit_px"] is None else OrderType.LIMIT
    side = Side.BUY if qty > 0 else Side.SELL
    order = Order(
        client_order_id=order_id, side=side, order_type=kind, order_qty=abs(qty), ts_init=0,
        **given,
    )  # fmt: skip
    return OrderApproved(order, verdict(order_id, reference))


def verdict(order_id: str, reference: int | None) -> Verdict:
    none = CheckInputs(*[0] * len(CheckInputs._fields))
    return Verdict(
        order_id, 0, None, None if reference is None else none._replace(reference_px=reference)
    )


def amended(
    qty: int | None, limit_px: int | None = None, reference: int | None = None, order_id: str = "O"
) -> ReplaceApproved:
    replace = ReplaceOrder(order_id, "S", 0, order_qty=qty, limit_px=limit_px)
    return ReplaceApproved(replace, verdict(order_id, reference))


def filled(qty: int, cum: int, leaves: int, order_id: str = "O") -> OrderFilled:
    return OrderFilled(
        order_id, f"E{cum}", "S", "X", qty, 100, cum, leaves, 0, 0, Liquidity.TAKER, 9,
        PricedBy.TRADE, 0, 9,
    )  # fmt: skip


@pytest.mark.req("P10")
@pytest.mark.parametrize(
    ("order", "amount"),
    [
        (approved(limit_px=90), 900),
        (approved(limit_px=90, reference=100), 900),
        (approved(reference=100), 1_000),
        (approved(qty=-10, reference=100), 1_000),
        (approved(), 0),  # no price of its own, and none that was looked at
        (approved(reference=100, reduce_only=True), 0),
    ],
)
def test_an_approved_order_is_reserved_for(order: OrderApproved, amount: int) -> None:
    ledger = booked(order)
    assert reserved(ledger) == ({("S", "X"): amount} if amount else {})
    assert ledger.cash == CASH
    assert booked(order, OrderCanceled("O", "USER", 0)).reservations.orders == {}


@pytest.mark.req("P10", "P17")
def test_reservations_of_strategies_and_symbols_are_apart() -> None:
    ledger = booked(
        approved("1", 1, limit_px=90), approved("2", 2, limit_px=90, symbol="Y"),
        approved("3", 3, limit_px=90, strategy_id="T"), approved("4", 4, limit_px=90),
        approved("5", 5, limit_px=90, symbol="Y", strategy_id="T"),
    )  # fmt: skip
    assert reserved(ledger) == {
        ("S", "X"): 450, ("S", "Y"): 180, ("T", "X"): 270, ("T", "Y"): 450,
    }  # fmt: skip
    kinds = [a.kind for a in ledger.books.accounts]
    assert kinds.count(AccountKind.RESERVED) == 4


# After ten at 0.90: what comes, what is reserved then.
AFTERWARDS: list[tuple[list[Any], int]] = [
    ([OrderCanceled("O", "USER", 0)], 0),
    ([OrderExpired("O", "DAY", 0)], 0),
    ([OrderRejected("O", "NO", 0)], 0),
    ([OrderCanceled("?", "USER", 0)], 900),
    ([filled(4, 4, 6)], 540),
    ([filled(4, 4, 6), filled(6, 10, 0)], 0),
    ([filled(4, 4, 6), OrderCanceled("O", "USER", 0)], 0),
    ([filled(4, 4, 6, "?")], 900),
    ([amended(20)], 1_800),
    ([amended(20, 80)], 1_800),
    ([amended(5, 95)], 950),
    ([amended(20, order_id="?")], 900),
    ([amended(20), ReplaceRejected("O", "NO", 0)], 900),
    ([amended(20), ReplaceRejected("?", "NO", 0)], 1_800),
    ([amended(20, 80), OrderReplaced("O", 20, 80, None, 0)], 1_600),
    ([amended(20, 80), OrderReplaced("?", 20, 80, None, 0)], 1_800),
    ([amended(20, 80), OrderReplaced("O", 20, 80, None, 0), filled(15, 15, 5)], 400),
    ([amended(20), OrderCanceled("O", "USER", 0)], 0),
]


@pytest.mark.req("P10", "P15")
@pytest.mark.parametrize(("events", "amount"), AFTERWARDS)
def test_what_becomes_of_an_order_gives_back_what_it_needs_no_longer(
    events: list[Any], amount: int
) -> None:
    ledger = booked(approved(limit_px=90), *events)
    assert reserved(ledger) == ({("S", "X"): amount} if amount else {})


@pytest.mark.parametrize(
    ("first", "second", "amount"),
    [(90, 100, 2_000), (90, 80, 1_800), (90, None, 1_800), (None, None, 0)],
)
def test_a_replacement_without_a_price_is_reserved_for_at_the_latest(
    first: int | None, second: int | None, amount: int
) -> None:
    ledger = booked(approved(reference=first), amended(20, reference=second))
    assert reserved(ledger) == ({("S", "X"): amount} if amount else {})


# What is told.


@pytest.mark.req("P17")
def test_a_fill_is_told_with_what_it_left() -> None:
    world = World()
    ledger = booked(bought("S", "X", 4, 7), filled(-3, 3, 0), world=world)
    first, second = world.kept
    assert first == PositionChanged(bought("S", "X", 4, 7), 4, 400 * CENT, 0, CASH - 400 * CENT - 7)
    # At the price it was bought for: three quarters of the cost, and no result.
    assert (second.quantity, second.cost, second.realized) == (1, 100 * CENT, 0)
    assert second.cash == ledger.cash == CASH - 100 * CENT - 7


def test_a_value_between_two_cash_units_is_rounded_half_to_even() -> None:
    """A price unit of a quantity unit is a tenth of a cash unit of Z."""
    ledger = booked(bought("S", "Z", 1), msgspec.structs.replace(bought("S", "Z", 5), last_px=3))
    assert ledger.position("S", "Z") == (6, 10 + 2)
    assert ledger.cash == CASH - 12
