from __future__ import annotations

import pytest

from engine.domain.events import OrderFilled, PositionChanged, PricedBy
from engine.domain.orders import Liquidity
from engine.domain.results import Result, Results


def changed(
    signed: int,
    after: int,
    realized: int = 0,
    commission: int = 0,
    name: str = "S",
    symbol: str = "A",
) -> PositionChanged:
    fill = OrderFilled(
        "O", "E", name, symbol, signed, 1, 1, 0, commission, 0, Liquidity.TAKER, 0, PricedBy.TRADE,
        0, 0,
    )  # fmt: skip
    return PositionChanged(fill, after, 0, realized, 0)


def streaks(results: Results, name: str = "S") -> tuple[int, int]:
    return results.account.losing_streak, results.of(name).losing_streak


def test_a_round_trip_ends_flat_or_through_a_flip() -> None:
    results = Results(100)
    assert not results.book(changed(10, 10))
    assert not results.book(changed(-4, 6, realized=-50))
    assert streaks(results) == (0, 0)
    assert results.book(changed(-6, 0, realized=20))  # 30 lost in all
    assert streaks(results) == (1, 1)
    assert results.trips == {}
    results.book(changed(-5, -5))
    assert results.book(changed(8, 3, realized=-1))
    assert streaks(results) == (2, 2)
    assert not results.book(changed(-3, 0, realized=1))
    assert streaks(results) == (0, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_position_of_one_is_a_position(sign: int) -> None:
    """Neither growing from one nor shrinking to it ends a round trip; all of it counts then."""
    results = Results(100)
    for signed, after, realized in ((1, 1, -1), (9, 10, 0), (-9, 1, -5)):
        assert results.book(changed(sign * signed, sign * after, realized)) is False
    assert streaks(results) == (0, 0)
    assert results.trips == {("S", "A"): -6}
    assert results.book(changed(-sign, 0, realized=5)) is True
    assert streaks(results) == (1, 1)
    assert results.book(changed(sign, sign)) is False
    assert results.book(changed(-2 * sign, -sign, realized=-1)) is True
    assert results.book(changed(sign, 0, realized=1)) is False


def test_round_trips_of_strategies_and_symbols_are_apart() -> None:
    results = Results(100)
    everywhere = [(name, symbol) for name in "ST" for symbol in "AB"]
    for number, (name, symbol) in enumerate(everywhere):
        results.book(changed(1, 1, -number, name=name, symbol=symbol))
    assert results.trips == dict(zip(everywhere, (0, -1, -2, -3), strict=True))
    for name, symbol in everywhere:  # 2 more come in: 2, 1, 0 and -1 in all
        lost = results.book(changed(-1, 0, 2, name=name, symbol=symbol))
        assert lost is ((name, symbol) == ("T", "B"))
    assert streaks(results, "S") == (1, 0)
    assert streaks(results, "T") == (1, 1)


@pytest.mark.parametrize(("commission", "lost"), [(10, False), (11, True)])
def test_commissions_count_and_breaking_even_is_no_loss(commission: int, lost: bool) -> None:
    results = Results(100)
    results.book(changed(10, 10, commission=4))
    assert results.book(changed(-10, 0, realized=10, commission=commission - 4)) is lost
    assert streaks(results) == (int(lost), int(lost))


def test_streaks_of_strategies_and_of_the_account() -> None:
    results = Results(100)
    for name in ("S", "T", "S"):
        results.book(changed(1, 1, name=name))
        results.book(changed(-1, 0, realized=-1, name=name))
    assert streaks(results) == (3, 2)
    assert streaks(results, "T") == (3, 1)
    results.book(changed(1, 1, name="T"))
    results.book(changed(-1, 0, realized=1, name="T"))
    assert streaks(results) == (0, 2)
    assert streaks(results, "T") == (0, 0)


def test_a_day_begins_with_its_equity_and_the_highest_of_all() -> None:
    results = Results(100)
    assert results.account == Result(100, 100)
    assert results.of("S") == Result(0, 0)
    assert results.of("S") is results.of("S")
    account = results.account
    account.losing_streak, account.warned = 2, True
    account.start_day(150)
    assert account == Result(150, 150)
    account.start_day(120)
    assert account == Result(120, 150)
