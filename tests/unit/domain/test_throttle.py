from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import bounds
from engine.domain.throttle import SWEEP_MIN, Throttle
from tests.limits import limits

SECOND = 10**9
NAMES = (
    "backlog", "strategy_backlog", "repeats", "open_orders", "strategy_open_orders", "day_orders",
    "strategy_day_orders",
)  # fmt: skip


def throttle(**changes: Any) -> Throttle:
    return Throttle(bounds(limits(**changes)))


def order(name: str = "S", **fields: Any) -> Order:
    given: dict[str, Any] = {
        "symbol": "A", "side": Side.BUY, "order_type": OrderType.MARKET, "order_qty": 1,
        "ts_init": 0,
    }  # fmt: skip
    return Order("O", name, **(given | fields))


def seen(t: Throttle, now: int, sent: Order | None = None) -> dict[str, int]:
    return dict(zip(NAMES, t.measure(sent or order(), now), strict=True))


def test_counts_are_the_accounts_and_the_strategys() -> None:
    t = throttle()
    assert seen(t, 0) == dict.fromkeys(NAMES, 0)
    t.sent(order(), 0)
    t.sent(order("T"), 0)
    t.sent(order("T"), 0)
    mine = seen(t, 0)
    assert (mine["open_orders"], mine["strategy_open_orders"]) == (3, 1)
    assert (mine["day_orders"], mine["strategy_day_orders"]) == (3, 1)
    t.ended("T")
    t.amended("S", 0)
    mine = seen(t, 0)
    assert (mine["open_orders"], mine["strategy_open_orders"]) == (2, 1)
    assert (mine["day_orders"], mine["strategy_day_orders"]) == (4, 2)
    t.end_day()
    mine = seen(t, 0)
    assert (mine["open_orders"], mine["strategy_open_orders"]) == (2, 1)
    assert (mine["day_orders"], mine["strategy_day_orders"]) == (0, 0)


@pytest.mark.req("P14")
def test_a_backlog_grows_by_an_interval_an_order_and_drains_with_time() -> None:
    t = throttle(max_order_rate=10.0, per_strategy={"max_order_rate": 2.0})
    t.sent(order(), 5)
    t.sent(order(), 5)
    found = seen(t, 5)
    assert (found["backlog"], found["strategy_backlog"]) == (SECOND // 5, SECOND)
    assert seen(t, 5, order("T"))["strategy_backlog"] == 0
    t.amended("S", 5)
    assert seen(t, 5)["backlog"] == 3 * SECOND // 10
    assert seen(t, 5 + SECOND)["backlog"] == 0
    assert seen(t, 5 + SECOND)["strategy_backlog"] == SECOND // 2
    t.sent(order(), 10 * SECOND)  # a rest saves nothing up
    assert seen(t, 10 * SECOND)["backlog"] == SECOND // 10


@pytest.mark.req("P14")
def test_a_backlog_is_there_until_the_very_nanosecond() -> None:
    t = throttle(max_order_rate=10.0, per_strategy={"max_order_rate": 10.0})
    t.sent(order(), 0)
    for now, left in ((SECOND // 10 - 1, 1), (SECOND // 10, 0), (SECOND // 10 + 1, 0)):
        assert (seen(t, now)["backlog"], seen(t, now)["strategy_backlog"]) == (left, left)


def test_without_a_rate_there_is_no_backlog() -> None:
    t = throttle(max_order_rate="unlimited")
    for _ in range(5):
        t.sent(order(), 0)
    assert seen(t, 0)["backlog"] == seen(t, 0)["strategy_backlog"] == 0


@pytest.mark.req("P14")
@given(
    st.lists(st.integers(0, 400_000_000), min_size=1, max_size=40),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_the_bucket_is_the_one_that_leaks(gaps: list[int], burst: int, rate: int) -> None:
    bound = bounds(limits(max_order_rate=float(rate), order_burst=burst))
    t = Throttle(bound)
    level, now = 0, 0  # in nanoseconds of draining: an order adds an interval
    for gap in gaps:
        now += gap
        level = max(level - gap, 0)
        assert seen(t, now)["backlog"] == level
        if level <= bound.burst:
            t.sent(order(), now)
            level += bound.interval


@pytest.mark.req("P14")
@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": "B"}, {"side": Side.SELL}, {"order_qty": 2}, {"limit_px": 5}, {"stop_px": 5},
        {"order_type": OrderType.LIMIT}, {"name": "T"},
    ],
)  # fmt: skip
def test_equal_means_equal_in_everything_that_trades(fields: dict[str, Any]) -> None:
    t = throttle()
    t.sent(order(), 0)
    assert seen(t, 0)["repeats"] == 1
    assert seen(t, 0, order(**fields))["repeats"] == 0
    assert seen(t, 0, order(tag="x", ts_init=5))["repeats"] == 1


@pytest.mark.req("P14")
@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 2)), min_size=1, max_size=30))
def test_repeats_are_those_within_the_window(script: list[tuple[int, int]]) -> None:
    t = throttle(repeat_window=1.5)
    sent: list[tuple[int, int]] = []
    now = 0
    for gap, quantity in script:
        now += gap
        one = order(order_qty=quantity)
        naive = sum(1 for ts, q in sent if q == quantity and now - ts <= 3 * SECOND // 2)
        assert seen(t, now, one)["repeats"] == naive
        t.sent(one, now)
        sent.append((now, quantity))


@pytest.mark.req("P14")
def test_the_window_ends_after_its_last_nanosecond() -> None:
    t = throttle()
    t.sent(order(), 0)
    assert seen(t, SECOND)["repeats"] == 1
    t.sent(order(order_qty=2), SECOND)  # a pause of exactly the window forgets nothing
    assert seen(t, SECOND)["repeats"] == 1
    assert seen(t, SECOND + 1)["repeats"] == 0


@pytest.mark.req("P14")
def test_orders_without_a_pause_are_remembered_for_the_window_only() -> None:
    t = throttle()
    apart = SECOND // 400
    for n in range(10_000):
        t.sent(order(order_qty=n), n * apart)
        assert len(t.repeats) <= SWEEP_MIN
        if n >= 400:  # the oldest in the window is as old as it may be
            assert seen(t, n * apart, order(order_qty=n - 400))["repeats"] == 1
    now = 10_000 * apart
    assert seen(t, now, order(order_qty=9_600))["repeats"] == 1
    assert seen(t, now, order(order_qty=9_599))["repeats"] == 0


@pytest.mark.req("P14")
def test_the_window_is_swept_only_when_as_many_again_are_remembered() -> None:
    """2,000 orders a second, none like another: twice what a window of a second holds."""
    t = throttle()
    most = 0
    for n in range(10_000):
        t.sent(order(order_qty=n), n * SECOND // 2_000)
        most = max(most, len(t.repeats))
    assert most == 4_000


@pytest.mark.req("P14")
def test_what_was_sent_again_within_the_window_is_not_swept() -> None:
    t = throttle()
    again = order(order_qty=SWEEP_MIN)
    t.sent(again, 0)
    t.sent(again, SECOND // 2)
    for n in range(SWEEP_MIN):
        t.sent(order(order_qty=n), 5 * SECOND // 4)
    assert seen(t, 5 * SECOND // 4, again)["repeats"] == 1


def test_an_order_that_was_found_out_of_the_window_is_forgotten_too() -> None:
    t = throttle()
    for n in range(SWEEP_MIN):
        t.sent(order(order_qty=n), 0)
    assert seen(t, 2 * SECOND, order(order_qty=7))["repeats"] == 0
    t.sent(order(order_qty=SWEEP_MIN), SECOND // 2)
    assert len(t.repeats) == SWEEP_MIN


@pytest.mark.req("P14")
def test_as_many_as_the_window_holds_are_remembered() -> None:
    t = throttle()
    for n in range(5_000):
        t.sent(order(order_qty=n), n * 1_000)
    assert all(seen(t, 5_000_000, order(order_qty=n))["repeats"] == 1 for n in range(5_000))


def test_what_is_not_limited_is_not_counted() -> None:
    t = throttle(max_repeated_orders="unlimited")
    t.sent(order(), 0)
    assert t.repeats == {}


def test_repeats_come_back_after_a_restart() -> None:
    before, after = throttle(), throttle()
    before.sent(order(), 7)
    before.sent(order(), 9)
    after.put_repeats([(key, list(times)) for key, times in before.repeats.items()])
    assert seen(after, 9)["repeats"] == 2
    assert seen(after, 8 + SECOND)["repeats"] == 1
    after.sent(order(order_qty=5), 3 * SECOND)
    assert len(after.repeats) == 1  # what is out of the window is dropped


@pytest.mark.req("P12", "P14")
def test_a_pause_is_counted_from_the_last_order_before_a_restart() -> None:
    """Three orders, the last at 10.9 s; the first after the restart comes 0.9 s later."""
    before, after = throttle(), throttle()
    old, twice = order(order_qty=1), order(order_qty=2)
    for sent, tenths in ((twice, 102), (old, 105), (twice, 109)):
        before.sent(sent, tenths * SECOND // 10)
    after.put_repeats([(key, list(times)) for key, times in before.repeats.items()])
    now = 118 * SECOND // 10
    after.sent(order(order_qty=3), now)
    assert (seen(after, now, old)["repeats"], seen(after, now, twice)["repeats"]) == (0, 1)
