"""What has been lost, by a risk book alone: which limits that reaches, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.latch import TradingState
from engine.domain.money import CASH_UNIT
from engine.domain.risk import NO_LIMIT, PPM
from engine.domain.risk_book import Reached
from tests.unit.domain.risk_book_rig import FINE, Rig

HALTED, REDUCING = TradingState.HALTED, TradingState.REDUCING
AMOUNT = {"max_daily_loss_amount": 1_000.0}
OWN = {"per_strategy": {"max_daily_loss": 1_000.0}}

# A hundred of A are held, so that a tick is 1.00: the limits, the price, what is reached.
LOSSES: list[tuple[dict[str, Any], int, Reached | None]] = [
    ({}, 1, None),
    (AMOUNT, 11_000, None),
    (AMOUNT, 10_000, None),
    (AMOUNT, 9_301, None),
    (AMOUNT, 9_300, Reached("DAILY_LOSS", "", None, "next_day", 700.0, 1_000.0)),
    (AMOUNT, 9_001, Reached("DAILY_LOSS", "", None, "next_day", 999.0, 1_000.0)),
    (AMOUNT, 9_000, Reached("DAILY_LOSS", "", HALTED, "next_day", 1_000.0, 1_000.0)),
    (AMOUNT, 8_000, Reached("DAILY_LOSS", "", HALTED, "next_day", 2_000.0, 1_000.0)),
    (
        AMOUNT | {"halt_reset": "manual"}, 9_000,
        Reached("DAILY_LOSS", "", HALTED, "manual", 1_000.0, 1_000.0),
    ),
    (
        AMOUNT | {"halt_reset": "manual"}, 9_300,
        Reached("DAILY_LOSS", "", None, "manual", 700.0, 1_000.0),
    ),
    (
        AMOUNT | {"max_daily_loss": 0.005}, 9_500,
        Reached("DAILY_LOSS", "", HALTED, "next_day", 500.0, 500.0),
    ),
    ({"max_daily_loss_amount": 0.0}, 10_000, None),
    ({"max_daily_loss_amount": 0.0}, 10_001, None),
    (
        {"max_daily_loss_amount": 0.0}, 9_999,
        Reached("DAILY_LOSS", "", HALTED, "next_day", 1.0, 0.0),
    ),
    (OWN, 9_301, None),
    (OWN, 9_300, Reached("STRATEGY_LOSS", "S", None, "next_day", 700.0, 1_000.0)),
    (OWN, 9_000, Reached("STRATEGY_LOSS", "S", HALTED, "next_day", 1_000.0, 1_000.0)),
    ({"max_drawdown": 0.02}, 8_001, None),
    ({"max_drawdown": 0.02}, 8_000, Reached("DRAWDOWN", "", HALTED, "manual", 0.02, 0.02)),
    ({"max_drawdown": 0.02}, 5_000, Reached("DRAWDOWN", "", HALTED, "manual", 0.05, 0.02)),
    ({"max_drawdown": 0.0}, 10_000, None),
    ({"max_drawdown": 0.0}, 10_001, None),
    ({"max_drawdown": 0.0}, 9_000, Reached("DRAWDOWN", "", HALTED, "manual", 0.01, 0.0)),
]  # fmt: skip


@pytest.mark.req("P12")
@pytest.mark.parametrize(("limits", "px", "expected"), LOSSES)
def test_a_loss_reaches_its_limit_or_nearly(
    limits: dict[str, Any], px: int, expected: Reached | None
) -> None:
    rig = Rig(**limits)
    rig.hold(100)
    assert rig.reached() == []
    rig.price("A", px)
    assert rig.reached() == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_daily_loss_amount": 0.0}, "DAILY_LOSS"),
        ({"max_drawdown": 0.0}, "DRAWDOWN"),
        ({"per_strategy": {"max_daily_loss": 0.0}}, "STRATEGY_LOSS"),
    ],
)
def test_where_nothing_may_be_lost_the_smallest_loss_is_too_much(
    limits: dict[str, Any], code: str
) -> None:
    rig = Rig(**limits)
    rig.hold(1)
    assert rig.reached() == []
    rig.hold(1, fee=1)
    assert [reached.reason for reached in rig.reached()] == [code]


@pytest.mark.parametrize(("limits", "code"), [(AMOUNT, "DAILY_LOSS"), (OWN, "STRATEGY_LOSS")])
def test_a_loss_is_warned_of_once_a_day_and_never_after_a_halt(
    limits: dict[str, Any], code: str
) -> None:
    rig = Rig(**limits)
    rig.hold(100)

    def told(px: int) -> list[tuple[str, TradingState | None]]:
        rig.price("A", px)
        return [(reached.reason, reached.state) for reached in rig.reached()]

    assert told(9_250) == [(code, None)]
    assert told(9_200) == []
    assert told(10_000) == []
    assert told(9_300) == []
    rig.price("A", 10_000)
    rig.book.end_day(1)
    assert told(9_000) == [(code, HALTED)]
    assert told(8_999) == [(code, HALTED)]
    assert told(9_200) == []


def test_a_margin_call_is_told_once_a_day() -> None:
    rig = Rig(maintenance_margin=0.25)
    rig.hold(4_000)  # 400,000 with 100,000 of one's own: a quarter
    assert rig.reached() == []
    assert rig.price("A", 9_999)
    # 40 less of either: 99,960, and a quarter of 399,960.
    call = Reached("MARGIN_CALL", "", REDUCING, "next_day", 99_960.0, 99_990.0)
    assert rig.reached() == [call]
    assert rig.reached() == []
    assert not rig.price("A", 9_998)
    assert rig.reached() == []
    rig.price("A", 7_000)
    assert rig.book.equity() < 0  # and not even then
    assert rig.reached() == []
    rig.price("A", 9_998)
    rig.book.end_day(1)
    assert rig.book.exposure.account.maintenance_ppm == PPM // 4
    call = Reached("MARGIN_CALL", "", REDUCING, "next_day", 99_920.0, 99_980.0)
    assert rig.reached() == [call]


def test_a_margin_call_ends_as_a_daily_loss_does() -> None:
    rig = Rig(maintenance_margin=0.25, halt_reset="manual")
    rig.hold(-4_000)
    rig.price("A", 10_001)
    call = Reached("MARGIN_CALL", "", REDUCING, "manual", 99_960.0, 100_010.0)
    assert rig.reached() == [call]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_losing_in_a_row_is_counted_of_the_account_and_of_each_strategy(count: int) -> None:
    rig = Rig(max_losing_trades=count, per_strategy={"max_losing_trades": count})
    assert rig.reached() == []
    for _ in range(count - 1):
        assert rig.lose() is False
        assert rig.reached() == []
    assert rig.lose() is True
    number = float(count)
    assert rig.reached() == [
        Reached("LOSING_STREAK", "", HALTED, "next_day", number, number),
        Reached("STRATEGY_LOSING_STREAK", "S", HALTED, "next_day", number, number),
    ]
    assert rig.lose() is True
    assert [(r.reason, r.value) for r in rig.reached()] == [
        ("LOSING_STREAK", number + 1), ("STRATEGY_LOSING_STREAK", number + 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_losing_trades": 2}, [False, True, True]),
        ({"per_strategy": {"max_losing_trades": 2}}, [False, False, True]),
        ({}, [False, False, False]),
    ],
)
def test_a_fill_tells_when_a_row_has_become_too_long(
    limits: dict[str, Any], expected: list[bool]
) -> None:
    rig = Rig(**limits)
    assert [rig.lose(name) for name in ("S", "T", "S")] == expected
    # Neither an opening fill nor a trip that wins makes a row any longer.
    assert rig.hold(1, "B") is False
    assert rig.hold(-1, "B", realized=1) is False


@pytest.mark.parametrize(
    "limits", [{"max_losing_trades": 0}, {"per_strategy": {"max_losing_trades": 0}}]
)
def test_a_row_of_none_is_no_row(limits: dict[str, Any]) -> None:
    rig = Rig(**limits)
    rig.hold(1)
    assert rig.reached() == []
    assert rig.lose() is True
    assert [reached.value for reached in rig.reached()] == [1.0]


def test_all_that_is_reached_is_told_the_account_first() -> None:
    rig = Rig(
        max_daily_loss_amount=100.0, max_drawdown=0.01, maintenance_margin=0.25,
        max_losing_trades=1, per_strategy={"max_daily_loss": 100.0, "max_losing_trades": 1},
    )  # fmt: skip
    rig.lose("T")
    rig.hold(4_000)
    rig.price("A", 9_000)
    assert [(r.reason, r.strategy_id) for r in rig.reached()] == [
        ("DAILY_LOSS", ""), ("DRAWDOWN", ""), ("MARGIN_CALL", ""), ("LOSING_STREAK", ""),
        ("STRATEGY_LOSING_STREAK", "T"), ("STRATEGY_LOSS", "S"),
    ]  # fmt: skip


# Alarms.


def alarms(rig: Rig, strategy: str = "") -> tuple[float | None, float | None]:
    """Give the equity at or below which, and above which, there is news; in currency."""
    book = rig.book.exposure
    total = book.strategy(strategy) if strategy else book.account
    return (
        None if total.alarm == -NO_LIMIT else total.alarm / CASH_UNIT,
        None if total.rearm == NO_LIMIT else total.rearm / CASH_UNIT,
    )


def test_a_book_that_was_just_made_knows_when_to_look() -> None:
    assert alarms(Rig(max_daily_loss_amount=1_000.0)) == (99_300.0, None)
    assert alarms(Rig(max_drawdown=0.1)) == (90_000.0, None)
    assert alarms(Rig(max_daily_loss_amount=1_000.0, max_drawdown=0.004)) == (99_600.0, None)
    assert alarms(Rig()) == (None, None)


def test_alarms_are_the_nearest_level_below_and_what_has_been_passed() -> None:
    """A loss of 5,000 halts and one of 4,000 is near it; so does a fall of 10,000."""
    rig = Rig(max_daily_loss_amount=5_000.0, daily_loss_warning=0.8, max_drawdown=0.1)
    rig.hold(1_000)  # a tick is 10.00
    for px, expected in (
        (10_000, (96_000.0, None)),
        (9_601, (96_000.0, None)),
        (9_600, (95_000.0, None)),  # warned of, once and for all
        (9_501, (95_000.0, None)),
        (9_500, (90_000.0, 95_000.0)),
        (9_200, (90_000.0, 95_000.0)),
        (9_000, (None, 90_000.0)),
        (9_001, (90_000.0, 95_000.0)),
        (9_501, (95_000.0, None)),
        (9_700, (95_000.0, None)),
    ):
        rig.price("A", px)
        rig.reached()
        assert alarms(rig) == expected, px


def test_a_strategys_alarms_are_of_what_it_earns() -> None:
    rig = Rig(per_strategy={"max_daily_loss": 500.0}, daily_loss_warning=0.8)
    rig.hold(100)
    rig.hold(-100, strategy="T")
    for px, own, other in (
        (10_000, (-400.0, None), (-400.0, None)),
        (9_600, (-500.0, None), (-400.0, None)),
        (9_500, (None, -500.0), (-400.0, None)),
        (10_500, (-500.0, None), (None, -500.0)),
    ):
        rig.price("A", px)
        rig.reached()
        assert (alarms(rig, "S"), alarms(rig, "T")) == (own, other), px
        assert alarms(rig) == (None, None)


@pytest.mark.parametrize(("fine", "due"), [(0, True), (4, True), (5, True), (6, False)])
def test_an_alarm_goes_off_exactly_when_there_is_something_to_say(fine: int, due: bool) -> None:
    """Ten fine units are a cash unit, rounded half to even: five above a level are on it."""
    limit = 1_000 * CASH_UNIT * 10
    rig = Rig(FINE, max_daily_loss_amount=1_000.0, daily_loss_warning=1.0)
    rig.price("C", 2 * limit)
    rig.hold(1, "C")
    assert rig.price("C", limit + fine) is due
    assert [reached.state for reached in rig.reached()] == ([HALTED] if due else [])


@pytest.mark.parametrize("fine", [4, 5, 6, 7])
def test_an_alarm_is_set_again_exactly_when_its_level_is_left(fine: int) -> None:
    limit = 1_000 * CASH_UNIT * 10
    rig = Rig(FINE, max_daily_loss_amount=1_000.0, daily_loss_warning=1.0)
    rig.price("C", 2 * limit)
    rig.hold(1, "C")
    rig.price("C", limit)
    rig.reached()
    assert rig.price("C", limit + fine) is (fine > 5)
    rig.reached()
    assert (alarms(rig)[0] is None) is (fine <= 5)


def test_bands_are_cut_for_the_alarms_that_are_set() -> None:
    """A thirty-second of the way: of 3,200.00 to the warning, then of 800.00 to the halt."""
    rig = Rig(max_daily_loss_amount=4_000.0, daily_loss_warning=0.8)
    rig.hold(100)
    market = rig.market()
    assert market.px - market.low == 100
    rig.price("A", 6_800)
    rig.reached()
    assert market.px - market.low == 25


# Days.


def test_a_day_begins_with_what_there_is() -> None:
    rig = Rig(max_daily_loss=0.01, daily_loss_warning=1.0, max_drawdown=0.1,
              max_losing_trades=1, per_strategy={"max_daily_loss": 500.0})  # fmt: skip
    rig.hold(1_000)
    rig.lose("T")
    rig.price("A", 12_000)
    assert alarms(rig) == (99_000.0, None)
    assert rig.measure(rig.order(1)).day_orders == 3
    rig.book.end_day(5)
    account = rig.book.results.account
    assert (account.day_start, account.peak) == (120_000 * CASH_UNIT, 120_000 * CASH_UNIT)
    assert rig.book.results.of("S").day_start == 20_000 * CASH_UNIT
    assert rig.book.results.of("T").day_start == 0
    assert alarms(rig) == (118_800.0, None)
    assert alarms(rig, "S") == (19_500.0, None)
    assert rig.reached() == []  # the row has ended too
    assert rig.measure(rig.order(1)).day_orders == 0
    rig.price("A", 11_000)
    rig.book.end_day(6)
    assert (account.day_start, account.peak) == (110_000 * CASH_UNIT, 120_000 * CASH_UNIT)
    assert alarms(rig) == (108_900.0, None)


def test_a_day_begins_at_prices_that_waited_to_be_marked() -> None:
    rig = Rig(max_daily_loss_amount=1_000.0)
    rig.hold(10)
    rig.wait("A", 10_010)
    assert rig.book.equity() == 100_001 * CASH_UNIT
    rig.wait("A", 10_020)
    rig.book.end_day(5)
    assert rig.book.results.account.day_start == 100_002 * CASH_UNIT
