"""Alarms of the exposure book: which price sets one off, and who hears of it."""

from __future__ import annotations

import pytest

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
    work_out,
)  # fmt: skip

BOTH = pytest.mark.parametrize("all_of_it", [False, True])


def test_an_alarm_rings_at_its_level_and_not_before() -> None:
    book = book_of()
    price(book, "A", 10_000)
    put(book, "A", 100)
    book.account.alarm = fine(book, 1_009_000)
    assert not price(book, "A", 9_001)
    assert price(book, "A", 9_000)
    strategy = book_of()
    price(strategy, "A", 10_000)
    put(strategy, "A", 100)
    strategy.strategy("S").alarm = fine(strategy, 9_000)
    assert not price(strategy, "A", 9_001)
    assert price(strategy, "A", 9_000)


def test_a_margin_call_rings_below_its_share_of_gross() -> None:
    book = book_of(maintenance_ppm=PPM // 4)
    book.pay(book.exposure(book.markets["A"], "S"), 0)
    price(book, "A", 10_000)
    put(book, "A", -100)
    book.pay(book.exposure(book.markets["A"], "S"), 12_500 * CASH_UNIT)  # 2,500 of 10,000
    assert not price(book, "A", 9_999)
    assert not price(book, "A", 10_000)
    assert price(book, "A", 10_001)


@BOTH
@pytest.mark.parametrize(("ticks", "rings"), [(1, False), (0, True), (-5, True)])
@pytest.mark.parametrize("whose", ["", "S", "T"])
def test_who_works_out_a_band_hears_of_an_alarm(
    whose: str, ticks: int, rings: bool, all_of_it: bool
) -> None:
    book = long_of("X", cents=3_200)
    put(book, "X", 1, name="T")
    total = book.strategy(whose) if whose else book.account
    total.alarm = total.equity - ticks * PER_PX
    assert work_out(book, "X", all_of_it) is rings


@pytest.mark.parametrize("whose", ["", "S"])
def test_an_alarm_that_has_rung_is_to_be_set_again_above_its_level(whose: str) -> None:
    """Until then every price is looked at: nothing is inside any band."""
    book = long_of("X", "Y", cents=3_200)
    put(book, "Y", -1)
    distance(book, 3_200 * PER_PX)
    book.grant_all()
    total = book.strategy(whose) if whose else book.account
    total.rearm = total.equity + 10 * PER_PX
    for all_of_it in (True, False):
        assert work_out(book, "X", all_of_it) is False
        assert all(m.low >= m.px >= m.high for m in book.markets.values())
    assert price(book, "X", 10_010) is False
    assert book.grant(book.markets["X"]) is False
    assert price(book, "X", 10_011) is True
    assert price(book, "X", 10_010) is False  # going down sets nothing again
    assert price(book, "Y", 9_999) is True  # nor does it matter whose price it is
    assert book.grant(book.markets["Y"]) is True
    assert book.grant_all() is True
    total.rearm = NO_LIMIT
    assert book.grant_all() is False
    assert price(book, "Y", 9_998) is False
    assert all(m.low < m.px < m.high for m in book.markets.values())


def test_the_smallest_gain_sets_an_alarm_again_and_none_does_not() -> None:
    book = book_of([C, X])
    for symbol in "CX":
        price(book, symbol, 10_000)
    put(book, "C", 1)
    put(book, "X", 0, buys=1)
    book.account.rearm = book.account.equity
    assert book.grant_all() is False
    assert price(book, "C", 10_001) is True
    assert price(book, "X", 10_001) is False


def test_a_price_that_changes_no_equity_sets_off_nothing() -> None:
    book = book_of([X, Y])
    price(book, "X", 10_000)
    put(book, "X", 0, buys=5, sells=5)
    distance(book, 0)
    assert price(book, "X", 10_000) is False
    assert price(book, "X", 9_000) is False
    assert price(book, "X", 11_000) is False
    put(book, "X", 1)
    distance(book, 0)
    assert price(book, "X", 11_000) is False
    assert price(book, "X", 11_001) is False
    assert price(book, "X", 11_000) is True


@pytest.mark.parametrize("act", ["sync", "grant_all"])
def test_what_waits_is_marked_at_its_latest_price(act: str) -> None:
    book = long_of("X", "Y", cents=3_200)
    wait(book, "X", 9_990)
    wait(book, "Y", 10_050)
    book.markets["Y"].lane = Lane(bar("Y", 10_060))
    equity = book.account.equity
    assert book.account.equity == equity
    assert getattr(book, act)() is False
    assert {s: m.px for s, m in book.markets.items()} == {"X": 9_990, "Y": 10_060}
    assert book.account.equity == equity + 50 * PER_PX
    assert book.stale == []
    assert not any(m.is_stale for m in book.markets.values())
    assert getattr(book, act)() is False


@pytest.mark.parametrize("act", ["sync", "grant_all"])
def test_marking_what_waits_tells_of_an_alarm_that_a_later_price_takes_back(act: str) -> None:
    book = long_of("X", "Y", cents=100)
    wait(book, "X", 9_900)
    wait(book, "Y", 10_500)
    assert getattr(book, act)() is True


def test_what_waits_without_a_new_price_stays_as_it_is() -> None:
    book = long_of("X", "Y", cents=100)
    wait(book, "X", 10_000)
    seen = book.markets["X"].seen
    book.markets["X"].lane = Lane(seen)
    wait(book, "Y", 10_000)
    book.markets["Y"].lane = None
    assert book.sync() is False
    assert book.markets["X"].seen is seen
    assert (book.markets["X"].px, book.markets["Y"].px, book.stale) == (10_000, 10_000, [])
