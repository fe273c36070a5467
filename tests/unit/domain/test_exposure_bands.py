"""Bands of the exposure book: how far prices may go before somebody must look."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.exposure import FAR
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.risk import NO_LIMIT, PPM
from tests.unit.domain.exposure_rig import (
    PER_PX,
    C,
    Lane,
    X,
    Y,
    bar,
    book_of,
    distance,
    fine,
    long_of,
    price,
    put,
    wait,
    widths,
    work_out,
)  # fmt: skip

BOTH = pytest.mark.parametrize("all_of_it", [False, True])
"""Bands are worked out for one symbol and for all; with one symbol it is the same."""


@pytest.mark.parametrize(("quantity", "low", "high"), [(100, 9_375, FAR), (-100, -FAR, 10_625)])
def test_a_band_is_a_share_of_the_way_to_the_alarm(quantity: int, low: int, high: int) -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", quantity)
    book.account.alarm = book.account.equity - fine(book, 20_000)
    assert not book.grant(book.markets["A"])
    market = book.markets["A"]
    # 20,000 over 2 x 16 shares is 625, which is 6.25 a share of the hundred.
    assert (market.low, market.high) == (low, high)
    price(book, "A", 10_100)
    assert (market.low, market.high) == (low, high)  # it stays: the way has not grown


@pytest.mark.req("P10")
def test_a_price_that_creeps_to_the_alarm_is_not_hidden_by_marks_on_the_way() -> None:
    """Every price is inside the band and marked because an order is judged, not granted anew."""
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", 1)
    book.account.alarm = book.account.equity - fine(book, 32)  # at a price of 6,800
    market = book.markets["A"]
    book.grant(market)
    for px in range(9_940, 6_800, -60):
        if market.low < px < market.high:
            wait(book, "A", px)
            assert not book.sync()
        else:
            assert not price(book, "A", px)
            book.grant(market)
    assert not market.low < 6_760 < market.high


def test_without_a_position_no_price_matters() -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", 0, buys=10)
    book.grant(book.markets["A"])
    assert (book.markets["A"].low, book.markets["A"].high) == (-FAR, FAR)


# What S and T hold in X at 100.00, and how far its price may fall and rise: a thirty-second of
# the 3,200.00 to the alarm is 100.00, or 10,000 ticks of one share.
HELD = [
    (1, 0, 10_000, None),
    (-1, 0, None, 10_000),
    (3, 0, 3_333, None),
    (0, -3, None, 3_333),
    (6, 2, 1_250, None),
    (6, -2, 1_250, 1_250),  # one of them loses either way
    (-20, 20, 250, 250),
]


@BOTH
@pytest.mark.parametrize(("first", "second", "fall", "rise"), HELD)
def test_a_band_allows_for_its_share_of_the_loss_of_everybody(
    first: int, second: int, fall: int | None, rise: int | None, all_of_it: bool
) -> None:
    book = book_of([X, Y])
    price(book, "X", 10_000)
    put(book, "X", first)
    put(book, "X", second, name="T")
    distance(book, 3_200 * CASH_UNIT)
    assert work_out(book, "X", all_of_it) is False
    market = book.markets["X"]
    assert market.low == (-FAR if fall is None else 10_000 - fall)
    assert market.high == (FAR if rise is None else 10_000 + rise)


def test_a_price_that_goes_our_way_can_set_off_nothing() -> None:
    book = long_of("X", cents=3_200)
    book.grant_all()
    assert book.markets["X"].low < 10_000 < 10**15 < book.markets["X"].high
    put(book, "X", -1)
    distance(book, 3_200 * PER_PX)
    book.grant_all()
    assert book.markets["X"].low < -(10**15) < 10_000 < book.markets["X"].high


@BOTH
@pytest.mark.parametrize(("symbols", "width"), [(1, 136), (16, 136), (17, 128), (34, 64)])
def test_of_many_symbols_each_may_lose_less(symbols: int, width: int, all_of_it: bool) -> None:
    """4,352 ticks to the alarm are shared by twice as many as there are, at least by 32."""
    names = [f"S{number}" for number in range(symbols)]
    book = long_of(*names, cents=4_352)
    work_out(book, "S0", all_of_it)
    assert widths(book)["S0"] == width
    if all_of_it:
        assert set(widths(book).values()) == {width}


# Distances to the alarms of the account, of S and of T, in ticks of one share; the width.
DISTANCES = [
    (3_200, None, None, 100),
    (3_200, 6_400, 6_400, 100),
    (6_400, 3_200, 6_400, 100),
    (6_400, 6_400, 3_200, 100),
    (6_400, 3_200, 1_600, 50),
    (None, 3_200, None, 100),
    (0, 3_200, 3_200, 0),
    (-1, 3_200, 3_200, 0),
]


@BOTH
@pytest.mark.parametrize(("account", "first", "second", "width"), DISTANCES)
def test_the_nearest_alarm_of_all_counts(
    account: int | None, first: int | None, second: int | None, width: int, all_of_it: bool
) -> None:
    book = long_of("X", cents=0)
    totals = (book.account, book.strategy("S"), book.strategy("T"))
    for total, ticks in zip(totals, (account, first, second), strict=True):
        total.alarm = -NO_LIMIT if ticks is None else total.equity - ticks * PER_PX
    rings = work_out(book, "X", all_of_it)
    assert widths(book) == {"X": width}
    assert rings is (width == 0)


# A hundred at 100.00 with 20,000 of one's own, by the margin: a quarter of 10,000 must stay.
# Each unit lost takes one from the 17,500 above that, and of a short a quarter more besides.
MARGINS = [
    (100, 250_000, -NO_LIMIT, 437),  # 17,500 / 1.25 = 14,000; a thirty-second is 437.50
    (-100, 250_000, -NO_LIMIT, 437),
    (100, 250_000, 14_080, 437),
    (100, 250_000, 13_920, 435),  # now the alarm is nearer
    (100, 1_000_000, -NO_LIMIT, 156),  # 10,000 / 2
    (100, 0, 14_080, 440),
]


@BOTH
@pytest.mark.parametrize(("quantity", "ppm", "to_alarm", "width"), MARGINS)
def test_a_margin_call_is_an_alarm_too(
    quantity: int, ppm: int, to_alarm: int, width: int, all_of_it: bool
) -> None:
    book = book_of([X], ppm)
    price(book, "X", 10_000)
    put(book, "X", quantity)
    exposure = book.exposure(book.markets["X"], "S")
    book.pay(exposure, (20_000 - quantity * 100) * CASH_UNIT)
    assert book.account.equity == 20_000 * CASH_UNIT
    if to_alarm != -NO_LIMIT:
        distance(book, to_alarm * CASH_UNIT)
    assert work_out(book, "X", all_of_it) is False
    market = book.markets["X"]
    assert (market.low if quantity > 0 else market.high) - 10_000 == (
        -width if quantity > 0 else width
    )


# Shares that have been given.


@BOTH
@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (6_400 * PER_PX, {"X": 200, "Y": 3_100}),
        (3_200 * PER_PX, {"X": 100, "Y": 3_100}),  # with 3,100 given, 100 more is all of it
        (3_200 * PER_PX - 1, {"X": 99, "Y": 3_100}),  # likewise: a share is rounded down
        (3_200 * PER_PX - 2, {"X": 99, "Y": 99}),
        (32 * PER_PX, {"X": 1, "Y": 1}),
    ],
)
def test_when_too_little_is_left_all_bands_are_cut_anew(
    left: int, expected: dict[str, int], all_of_it: bool
) -> None:
    """Y was given 3,100 of a distance of 99,200 that has become less since."""
    book = long_of("X", "Y", cents=99_200)
    work_out(book, "Y", all_of_it)
    distance(book, left)
    assert book.grant(book.markets["X"]) is False
    assert widths(book) == expected


@BOTH
def test_a_band_worked_out_again_gives_its_old_share_back(all_of_it: bool) -> None:
    book = long_of("X", "Y", cents=3_200)
    work_out(book, "Y", all_of_it)
    distance(book, 6_400 * PER_PX)
    for _ in range(100):
        book.grant(book.markets["X"])
        if all_of_it:
            put(book, "X", 1)
    assert widths(book) == {"X": 200, "Y": 100}  # the other was never cut anew


@BOTH
def test_a_share_is_given_back_once(all_of_it: bool) -> None:
    """Where nothing is held nothing is given, however often it is worked out."""
    book = long_of("X", "Y", cents=99_200)
    book.grant_all()
    put(book, "X", 0, buys=1)
    distance(book, 99_200 * PER_PX)
    for _ in range(3):
        work_out(book, "X", all_of_it)
    put(book, "X", 1)
    distance(book, 3_200 * PER_PX - 2)
    book.grant(book.markets["X"])
    assert widths(book) == {"X": 99, "Y": 99}


def test_working_out_everything_forgets_what_was_given() -> None:
    book = long_of("X", "Y", cents=3_200)
    for _ in range(40):
        book.grant_all()
    distance(book, 6_400 * PER_PX)
    book.grant(book.markets["X"])
    assert widths(book) == {"X": 200, "Y": 100}


def test_the_smallest_share_is_given_like_any_other() -> None:
    """A price unit of C or D is worth a fine unit: D has 31 of 992, and C then one of 32."""
    book = book_of([C, msgspec.structs.replace(C, symbol="D")])
    for symbol in "CD":
        price(book, symbol, 10_000)
        put(book, symbol, 1)
    distance(book, 992)
    book.grant(book.markets["D"])
    distance(book, 32)
    assert book.grant(book.markets["C"]) is False
    assert widths(book) == {"C": 1, "D": 31}


# Laws.


class Driven:
    """A book driven as the gate does, and a naive sum at any prices beside it."""

    def __init__(self, alarms: Sequence[int], maintenance_ppm: int) -> None:
        self.book = book_of([Instrument(symbol=s) for s in "XYZ"], maintenance_ppm)
        self.ppm = maintenance_ppm
        self.cash = 20_000 * CASH_UNIT
        self.book.pay(self.book.exposure(self.book.markets["X"], "S"), self.cash)
        self.px = dict.fromkeys("XYZ", 10_000)
        self.held: dict[tuple[str, str], int] = {}
        self.flows = {"S": 0, "T": 0}
        for symbol in "XYZ":
            price(self.book, symbol, 10_000)
        for name, ticks in zip(("", "S", "T"), alarms, strict=True):
            total = self.book.strategy(name) if name else self.book.account
            total.equity = 0 if name else total.equity
            total.alarm = total.equity - ticks * CASH_UNIT

    def hold(self, symbol: str, name: str, quantity: int) -> bool:
        """Change a quantity for nothing, as a fill at the latest price does."""
        market, key = self.book.markets[symbol], (name, symbol)
        if market.lane is not None and market.lane.last is not None:
            self.book.mark(market, market.lane.last)
        paid = (quantity - self.held.get(key, 0)) * self.px[symbol] * PER_PX
        self.cash -= paid
        self.flows[name] -= paid
        self.held[key] = quantity
        exposure = self.book.exposure(market, name)
        exposure.quantity = quantity
        self.book.pay(exposure, self.cash)
        self.book.resize(name, exposure)
        return self.book.grant(market)

    def move(self, symbol: str, change: int) -> bool:
        px = self.px[symbol] = max(self.px[symbol] + change, 1)
        market, event = self.book.markets[symbol], bar(symbol, px)
        market.lane = Lane(event)
        if market.low < px < market.high:
            if not market.is_stale:
                market.is_stale = True
                self.book.stale.append(market)
            return False
        rings = self.book.mark(market, event)
        return self.book.grant(market) or rings

    def equity(self, px: dict[str, int], name: str = "") -> int:
        """Give what the account has, or what a strategy has earned, at some prices."""
        held = [(q, s) for (n, s), q in self.held.items() if name in ("", n)]
        cash = self.flows[name] if name else self.cash
        return cash + sum(quantity * px[symbol] * PER_PX for quantity, symbol in held)

    def is_due(self, px: dict[str, int]) -> bool:
        """Say whether an alarm would go off at some prices."""
        gross = sum(abs(q) * px[s] * PER_PX for (_, s), q in self.held.items())
        return (
            self.equity(px) <= self.book.account.alarm
            or any(self.equity(px, n) <= self.book.strategy(n).alarm for n in "ST")
            or self.equity(px) * PPM < gross * self.ppm
        )

    def edges(self, symbol: str) -> set[int]:
        """Give the ends of what a price may be without anybody looking."""
        market, px = self.book.markets[symbol], self.px[symbol]
        if not market.low < px < market.high:
            return {px}
        low = 1 if market.low == -FAR else max(market.low + 1, 1)
        return {low, px, 10 * px if market.high == FAR else market.high - 1}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.sampled_from("XYZ"), st.integers(-400, 400)),
        st.tuples(st.just("move"), st.sampled_from("XYZ"), st.integers(-9, 9)),
        st.tuples(
            st.sampled_from(("hold S", "hold T")), st.sampled_from("XYZ"), st.integers(-60, 60)
        ),
        st.tuples(st.just("all"), st.just(""), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.req("D13", "P10")
@given(
    STEPS,
    st.tuples(st.integers(1, 19_999), st.integers(1, 9_999), st.integers(1, 9_999)),
    st.sampled_from((0, 250_000, 900_000)),
)
def test_inside_the_bands_no_alarm_can_go_off(
    steps: list[tuple[str, str, int]], alarms: tuple[int, int, int], maintenance_ppm: int
) -> None:
    """Wherever each price is within its band, whatever the others are; and none is missed."""
    driven = Driven(alarms, maintenance_ppm)
    for what, symbol, number in steps:
        if what == "all":
            rings = driven.book.grant_all()
        elif what == "move":
            rings = driven.move(symbol, number)
        else:
            rings = driven.hold(symbol, what[-1], number)
        if driven.is_due(driven.px):
            assert rings
            return
        for corner in product(*(driven.edges(s) for s in "XYZ")):
            assert not driven.is_due(dict(zip("XYZ", corner, strict=True)))
    driven.book.sync()
    assert driven.book.account.equity == driven.equity(driven.px)
    assert driven.book.strategy("T").equity == driven.equity(driven.px, "T")
