"""The exposure book by itself: quantities and prices in, totals out."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.instruments import Instrument
from engine.domain.market import Quote
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Order, OrderType, Side
from tests.unit.domain.exposure_rig import CASH, A, B, book_of, fine, price, put


def test_the_grain_makes_every_product_whole() -> None:
    assert book_of().grain == 10
    assert book_of((A, B)).grain == 1
    assert book_of(()).grain == 1
    assert {s: m.fine for s, m in book_of().markets.items()} == {"A": 10**7, "B": 5 * 10**7, "C": 1}


@pytest.mark.req("P10")
@pytest.mark.parametrize(
    ("quantity", "buys", "sells", "worst", "gross"),
    [
        (0, 10, 0, 10, 0),
        (0, 10, 12, 12, 0),
        (30, 10, 12, 40, 30),
        (30, 0, 100, 70, 30),
        (-30, 10, 0, 30, 30),
        (-30, 100, 5, 70, 30),
        (0, 0, 0, 0, 0),
    ],
)
def test_the_worst_case_is_the_side_that_hurts(
    quantity: int, buys: int, sells: int, worst: int, gross: int
) -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", quantity, buys, sells)
    account = book.account
    assert account.worst == fine(book, worst * 100)
    assert account.gross == fine(book, gross * 100)
    assert account.equity == fine(book, 1_000_000 + quantity * 100)
    assert book.markets["A"].worst_qty == worst
    price(book, "A", 11_000)
    assert account.worst == fine(book, worst * 110)
    assert account.gross == fine(book, gross * 110)
    assert account.equity == fine(book, 1_000_000 + quantity * 110)
    put(book, "A", 7, 3)
    assert (account.worst, account.gross) == (fine(book, 1_100), fine(book, 770))
    assert book.markets["A"].worst_qty == 10
    put(book, "A", 0)
    assert (account.worst, account.gross, account.equity) == (0, 0, CASH * book.grain)
    assert book.active == {}


def test_before_the_first_price_nothing_is_worth_anything() -> None:
    book = book_of()
    put(book, "A", 30, 10)
    account = book.account
    assert (account.worst, account.gross, account.equity) == (0, 0, CASH * book.grain)
    price(book, "A", 10_000)
    assert (account.worst, account.gross) == (fine(book, 4_000), fine(book, 3_000))


def test_totals_of_strategies_and_sectors() -> None:
    book = book_of()
    for symbol in ("A", "B"):
        price(book, symbol, 10_000)
    put(book, "A", 10)
    put(book, "A", -10, name="T")
    put(book, "B", 4, name="T")
    assert book.account.worst == fine(book, 1_000 + 1_000 + 2_000)  # nothing cancels out
    assert book.strategy("S").worst == fine(book, 1_000)
    assert book.strategy("T").worst == fine(book, 3_000)
    sector = book.markets["A"].sector
    assert sector is not None
    assert sector is book.markets["B"].sector
    assert book.markets["C"].sector is None
    assert sector.worst == fine(book, 4_000)
    price(book, "A", 12_000)
    assert book.strategy("S").equity == fine(book, 1_200)
    assert book.strategy("T").equity == fine(book, -1_200 + 2_000)
    assert sector.worst == fine(book, 1_200 + 1_200 + 2_000)
    assert book.markets["A"].worst_qty == 20


def test_cash_is_the_accounts_and_the_flow_the_strategys() -> None:
    book = book_of()
    price(book, "A", 10_000)
    exposure = book.exposure(book.markets["A"], "S")
    book.pay(exposure, CASH - 30 * CASH_UNIT)
    assert book.cash == CASH - 30 * CASH_UNIT
    assert book.account.equity == fine(book, 1_000_000 - 30)
    assert book.strategy("S").equity == fine(book, -30)


def test_a_quote_marks_at_its_middle_and_a_still_price_changes_nothing() -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", 1)
    quote = Quote("A", 0, 0, 9_990, 10_030, 1, 1, 100, 1)
    book.mark(book.markets["A"], quote)
    assert book.markets["A"].px == 10_010
    assert book.markets["A"].seen is quote
    assert not price(book, "A", 10_010)
    assert book.account.equity == fine(book, 1_000_000 + 100.10)


def order(side: Side, qty: int, **fields: Any) -> Order:
    return Order("O", "S", fields.pop("symbol", "A"), side, OrderType.MARKET, qty, 0, **fields)


NAMES = (
    "buys", "order_value", "short_after", "position_before", "position_after", "exposure_after",
    "net_after", "sector_after", "cash_after", "strategy_exposure", "equity",
)  # fmt: skip

# Held, working buys and sells of S in A; 50 long of T in A; the order; what is measured, in
# currency (a quantity for short_after).
MEASURED: list[tuple[tuple[int, int, int], Order, dict[str, float]]] = [
    ((0, 0, 0), order(Side.BUY, 10), {"buys": 1, "order_value": 1_000, "position_before": 5_000,
     "position_after": 6_000, "exposure_after": 6_000, "sector_after": 6_000,
     "strategy_exposure": 1_000, "short_after": 0}),
    ((0, 0, 0), order(Side.BUY, 10, limit_px=11_000), {"order_value": 1_100,
     "position_after": 6_100, "exposure_after": 6_100}),
    ((0, 0, 0), order(Side.BUY, 10, limit_px=9_000), {"order_value": 900,
     "position_after": 6_000}),
    ((0, 0, 0), order(Side.BUY, 10, stop_px=10_500), {"order_value": 1_050,
     "position_after": 6_050}),
    ((40, 0, 0), order(Side.SELL, 30), {"position_after": 9_000, "short_after": 0, "buys": 0}),
    ((40, 0, 0), order(Side.SELL, 50), {"position_after": 9_000, "short_after": 10}),
    ((40, 0, 0), order(Side.SELL, 90), {"position_after": 10_000, "short_after": 50}),
    ((-40, 0, 10), order(Side.SELL, 5), {"position_before": 10_000, "position_after": 10_500,
     "short_after": 55}),
    ((-40, 0, 10), order(Side.BUY, 5), {"position_after": 10_000}),
    ((-40, 0, 0), order(Side.BUY, 80, limit_px=11_000), {"position_before": 9_000,
     "position_after": 9_000}),  # as far the other way: no worse
    ((40, 20, 0), order(Side.BUY, 5), {"position_before": 11_000, "position_after": 11_500}),
]  # fmt: skip


@pytest.mark.req("P10")
@pytest.mark.parametrize(("held", "sent", "expected"), MEASURED)
def test_what_an_order_would_make_of_it(
    held: tuple[int, int, int], sent: Order, expected: dict[str, float]
) -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", *held)
    put(book, "A", 50, name="T")
    exposure = book.exposure(book.markets["A"], "S")
    found = dict(zip(NAMES, book.measure(sent, exposure, 0, (0, 0)), strict=True))
    whole = ("buys", "short_after")
    for name, value in expected.items():
        assert found[name] == (value if name in whole else round(value * CASH_UNIT)), name
    reducing = dict(zip(NAMES, book.measure(sent, exposure, 1, (0, 0)), strict=True))
    assert reducing["position_after"] == reducing["position_before"]
    assert reducing["short_after"] == 0


@pytest.mark.parametrize(
    ("held", "quantity", "short"),
    [
        ((40, 0, 0), 40, 0),  # all of it: nothing of its own could be short
        ((40, 0, 0), 41, 1 + 35 + 3),
        ((40, 0, 1), 40, 1 + 35 + 3),
        ((0, 0, 0), 1, 1 + 35 + 3),
    ],
)
def test_what_others_could_be_short_counts_once_one_is_short_oneself(
    held: tuple[int, int, int], quantity: int, short: int
) -> None:
    """T is 30 short and sells 5 more, U is 2 long and sells 5, V is long."""
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", *held)
    put(book, "A", -30, buys=9, sells=5, name="T")
    put(book, "A", 2, sells=5, name="U")
    put(book, "A", 50, name="V")
    exposure = book.exposure(book.markets["A"], "S")
    found = book.measure(order(Side.SELL, quantity), exposure, 0, (0, 0))
    assert found[NAMES.index("short_after")] == short


def test_an_order_in_no_sector_is_nothing_to_a_sector() -> None:
    book = book_of([Instrument(symbol="X")])
    price(book, "X", 10_000)
    exposure = book.exposure(book.markets["X"], "S")
    found = book.measure(order(Side.BUY, 10, symbol="X"), exposure, 0, (0, 0))
    assert found[NAMES.index("sector_after")] == 0


@pytest.mark.parametrize(
    ("side", "exempt", "net", "cash"),
    [
        (Side.BUY, 0, 5_000 + 300 + 1_000, 1_000_000 - 300 - 1_000),
        (Side.SELL, 0, 5_300, 1_000_000 - 300),
        (Side.BUY, 1, 5_300, 1_000_000 - 300),
        (Side.SELL, 1, 5_300, 1_000_000 - 300),
    ],
)
def test_reservations_count_in_cash_and_in_the_net(
    side: Side, exempt: int, net: float, cash: float
) -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", 50)
    exposure = book.exposure(book.markets["A"], "S")
    reserved = (300 * CASH_UNIT, 700 * CASH_UNIT)
    found = dict(zip(NAMES, book.measure(order(side, 10), exposure, exempt, reserved), strict=True))
    assert found["net_after"] == net * CASH_UNIT
    assert found["cash_after"] == cash * CASH_UNIT
    assert found["equity"] == 1_005_000 * CASH_UNIT


def test_a_net_short_counts_from_the_other_side() -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", -50)
    exposure = book.exposure(book.markets["A"], "S")
    reserved = (300 * CASH_UNIT, 700 * CASH_UNIT)
    found = book.measure(order(Side.SELL, 10), exposure, 0, reserved)
    assert found[NAMES.index("net_after")] == (5_000 + 700 + 1_000) * CASH_UNIT


def test_amounts_of_a_fine_scale_round_half_to_even_once() -> None:
    book = book_of()
    price(book, "C", 3)
    exposure = book.exposure(book.markets["C"], "S")
    found = book.measure(order(Side.BUY, 5, symbol="C"), exposure, 0, (0, 0))
    assert found[NAMES.index("order_value")] == 2  # 15 tenths
    assert book.cash_units(25) == 2
    assert book.cash_units(35) == 4


def test_prices_of_resting_orders_are_kept_in_order() -> None:
    market = book_of().markets["A"]
    for order_id, side, px in (
        ("1", Side.BUY, 5), ("2", Side.BUY, 3), ("3", Side.BUY, 5), ("4", Side.SELL, 9),
        ("2", Side.BUY, 8),
    ):  # fmt: skip
        market.rest(order_id, side, px)
    assert (market.bids, market.asks) == ([3, 5, 5, 8], [9])
    market.unrest("2")
    market.unrest("?")
    assert (market.bids, market.asks) == ([5, 5], [9])
    market.unrest("4")
    market.unrest("1")
    assert (market.bids, market.asks) == ([5], [])
