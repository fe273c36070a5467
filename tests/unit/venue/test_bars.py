"""Every order type against one or two bars, under each timing; prices worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.costs import CostsConfig
from engine.domain.matching import FillConfig
from tests.unit.venue.rig import Rig, brief

Prices = tuple[int, int, int, int]
FIRST: Prices = (100, 100, 100, 100)  # known before any order arrives

# (what, order, bars, next_open, next_tick, intrabar_path); a fill is (qty, price, part), the
# number of the bar follows from the part and price
CASES: list[tuple[str, dict[str, Any], list[Prices], Any, Any, Any]] = [
    ("market", {"side": "BUY"}, [(101, 105, 99, 103)],
     (5, 101, "bar.open"), (5, 103, "bar.close"), (5, 101, "bar.open")),
    ("sell short", {"side": "SELL"}, [(101, 105, 99, 103)],
     (-5, 101, "bar.open"), (-5, 103, "bar.close"), (-5, 101, "bar.open")),
    ("limit better at the open", {"side": "BUY", "kind": "LIMIT", "limit": 102},
     [(101, 105, 99, 103)],
     (5, 101, "bar.open"), None, (5, 101, "bar.open")),
    ("limit touched", {"side": "BUY", "kind": "LIMIT", "limit": 99}, [(101, 105, 99, 103)],
     (5, 99, "bar.range"), None, (5, 99, "bar.range")),
    ("limit missed by a tick", {"side": "BUY", "kind": "LIMIT", "limit": 98},
     [(101, 105, 99, 103)], None, None, None),
    ("sell limit touched", {"side": "SELL", "kind": "LIMIT", "limit": 105},
     [(101, 105, 99, 103)], (-5, 105, "bar.range"), None, (-5, 105, "bar.range")),
    ("sell limit in the second bar", {"side": "SELL", "kind": "LIMIT", "limit": 106},
     [(101, 105, 99, 103), (107, 108, 106, 107)],
     (-5, 107, "bar.open"), (-5, 107, "bar.close"), (-5, 107, "bar.open")),
    ("stop gapped", {"side": "SELL", "kind": "STOP", "stop": 98}, [(95, 99, 94, 96)],
     (-5, 95, "bar.open"), (-5, 96, "bar.close"), (-5, 95, "bar.open")),
    ("stop touched", {"side": "SELL", "kind": "STOP", "stop": 99}, [(101, 105, 99, 103)],
     (-5, 99, "bar.range"), None, (-5, 99, "bar.range")),
    ("buy stop touched", {"side": "BUY", "kind": "STOP", "stop": 104}, [(101, 105, 99, 103)],
     (5, 104, "bar.range"), None, (5, 104, "bar.range")),
    ("stop not reached", {"side": "BUY", "kind": "STOP", "stop": 106}, [(101, 105, 99, 103)],
     None, None, None),
    ("stop limit, limit beyond the stop",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 104}, [(101, 105, 99, 102)],
     (5, 103, "bar.range"), None, (5, 103, "bar.range")),
    ("stop limit gapped over the limit, back within the bar",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 104}, [(106, 107, 103, 105)],
     (5, 104, "bar.range"), None, (5, 104, "bar.range")),
    ("stop limit gapped over the limit and gone",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 104}, [(106, 107, 105, 105)],
     None, None, None),
    ("stop limit gapped, back in the next bar",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 104},
     [(106, 107, 105, 105), (102, 103, 101, 102)],
     (5, 102, "bar.open"), (5, 102, "bar.close"), (5, 102, "bar.open")),
    # triggered at 103, the limit needs the price to come back to 102
    ("stop limit inside out, the close proves it",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 102}, [(101, 105, 99, 102)],
     (5, 102, "bar.range"), None, (5, 102, "bar.range")),
    ("stop limit inside out, the close does not",
     {"side": "BUY", "kind": "STOP_LIMIT", "stop": 103, "limit": 102}, [(101, 105, 99, 103)],
     None, None, None),
    # the price at arrival was 100, so the stop starts at 97
    ("trailing, gapped through the first stop",
     {"side": "SELL", "kind": "TRAILING_STOP", "trail_px": 3}, [(96, 98, 95, 97)],
     (-5, 96, "bar.open"), (-5, 97, "bar.close"), (-5, 96, "bar.open")),
    # on the path the open lifts the stop to 98, and the nearer extreme is the low
    ("trailing, the bar's own high does not count against its low",
     {"side": "SELL", "kind": "TRAILING_STOP", "trail_px": 3},
     [(101, 106, 98, 105), (104, 104, 102, 102)],
     (-5, 103, "bar.range"), (-5, 102, "bar.close"), (-5, 98, "bar.range")),
    ("trailing in basis points, rounded away from the price",
     {"side": "SELL", "kind": "TRAILING_STOP", "trail_bps": 250},
     [(101, 110, 101, 110), (110, 110, 100, 100)],
     (-5, 107, "bar.range"), (-5, 100, "bar.close"), (-5, 107, "bar.range")),
    ("trailing buy", {"side": "BUY", "kind": "TRAILING_STOP", "trail_px": 3},
     [(99, 99, 95, 96), (96, 99, 96, 99)],
     (5, 98, "bar.range"), (5, 99, "bar.close"), (5, 98, "bar.range")),
    ("trailing with a first stop",
     {"side": "SELL", "kind": "TRAILING_STOP", "trail_px": 3, "stop": 99}, [(101, 101, 99, 99)],
     (-5, 99, "bar.range"), (-5, 99, "bar.close"), (-5, 99, "bar.range")),
]  # fmt: skip
TIMINGS = ("next_open", "next_tick", "intrabar_path")


@pytest.mark.req("R137")
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].replace(" ", "-"))
def test_order_types(case: tuple[Any, ...], timing: Any) -> None:
    _, order, bars, *expected = case
    rig = Rig(FillConfig(timing=timing))
    rig.bar(FIRST)
    rig.order(qty=5, **order)
    for prices in bars:
        rig.bar(prices)
    fill = expected[TIMINGS.index(timing)]
    assert brief(rig.take()) == ([] if fill is None else [("O1", *fill)])


# (what, side, kind, prices, the order's own price, slipped price, cash lost in units of 1e-8)
SLIPPAGE: list[tuple[CostsConfig, str, dict[str, int], Prices, int, int]] = [
    (CostsConfig(slippage="ticks", slippage_ticks=2), "BUY", {}, (101, 105, 99, 103), 103, 10),
    (CostsConfig(slippage="ticks", slippage_ticks=2), "SELL", {}, (101, 105, 99, 103), 99, 10),
    # 0.1 % of 101 is 0.101 of a tick: a whole tick away from the trader
    (CostsConfig(slippage="bps", slippage_bps=10), "BUY", {}, (101, 105, 99, 103), 102, 5),
    (CostsConfig(slippage="bps", slippage_bps=10), "SELL", {}, (101, 105, 99, 103), 100, 5),
    (CostsConfig(slippage="bps", slippage_bps=0), "SELL", {}, (101, 105, 99, 103), 101, 0),
    # never beyond the limit
    (CostsConfig(slippage="ticks", slippage_ticks=9), "BUY", {"limit": 102}, (101, 105, 99, 103),
     102, 5),
    (CostsConfig(slippage="ticks", slippage_ticks=9), "BUY", {"limit": 100}, (101, 105, 99, 103),
     100, 0),
    # 5 of 1000 is a share of 0.005; 4000 * 0.005 ** 2 = 0.1, 101 * 1.1 = 111.1, up to 112
    (CostsConfig(slippage="volume_share", price_impact=4_000), "BUY", {}, (101, 105, 99, 103),
     112, 55),
    (CostsConfig(slippage="volume_share", price_impact=4_000), "SELL", {}, (101, 105, 99, 103),
     90, 55),
]  # fmt: skip


@pytest.mark.parametrize("case", SLIPPAGE)
def test_slippage(case: tuple[Any, ...]) -> None:
    costs, side, order, prices, last_px, lost = case
    rig = Rig(costs=costs)
    rig.bar(FIRST)
    rig.order(side, 5, "LIMIT" if "limit" in order else "MARKET", **order)
    rig.bar(prices)
    fill = rig.take()[-1]
    assert (fill.last_px, fill.slippage) == (last_px, lost * 1_000_000)


def test_volume_limit_fills_in_parts() -> None:
    # A quarter of each bar's 10 is 2; the two buys share it, the sell has its own.
    rig = Rig(FillConfig(volume_limit=0.25))
    rig.order("BUY", 3)
    rig.order("BUY", 2)
    rig.order("SELL", 2)
    for open_px in (100, 101, 102):
        rig.bar((open_px,) * 4, volume=10)
    assert brief(rig.take()) == [
        ("O1", 2, 100, "bar.open"),
        ("O3", -2, 100, "bar.open"),
        ("O1", 1, 101, "bar.open"),
        ("O2", 1, 101, "bar.open"),
        ("O2", 1, 102, "bar.open"),
    ]


def test_a_partly_filled_stop_is_a_market_order() -> None:
    rig = Rig(FillConfig(volume_limit=0.2))
    rig.order("SELL", 3, "STOP", stop=99)
    rig.bar((100, 100, 98, 99), volume=10)
    rig.bar((105, 105, 105, 105), volume=10)
    assert brief(rig.take()) == [("O1", -2, 99, "bar.range"), ("O1", -1, 105, "bar.open")]


def test_commission_minimum_is_topped_up_by_the_first_fill() -> None:
    # 1.00 a share, at least 5: 2 shares pay 5, the next 2 nothing (4 < 5), the last 2 pay 1.
    costs = CostsConfig(commission_per_share=1, commission_min=5)
    rig = Rig(FillConfig(volume_limit=0.2), costs)
    rig.order("BUY", 6)
    for _ in range(3):
        rig.bar((100, 100, 100, 100), volume=10)
    assert [fill.commission // 10**8 for fill in rig.fills()] == [5, 0, 1]


def test_priority_is_arrival_then_sequence() -> None:
    rig = Rig(FillConfig(volume_limit=0.1))
    for order_id in ("b", "a", "c"):
        rig.order("BUY", 1, id=order_id)
    rig.bar((100, 100, 100, 100), volume=20)
    rig.bar((100, 100, 100, 100), volume=20)
    assert [fill.client_order_id for fill in rig.fills()] == ["b", "a", "c"]


# The path of (100, 104, 97, 99): 104 is 4 away, 97 is 3 away, so 97 comes first.
@pytest.mark.parametrize(
    ("prices", "first"),
    [
        ((100, 104, 97, 99), "low"),
        ((100, 103, 96, 99), "high"),
        ((100, 104, 96, 99), "low"),  # a tie, flat: the low first
    ],
)
def test_path_goes_to_the_nearer_extreme_first(prices: Prices, first: str) -> None:
    rig = Rig(FillConfig(timing="intrabar_path"))
    rig.order("BUY", 1, "LIMIT", limit=97, id="low")
    rig.order("SELL", 1, "LIMIT", limit=103, id="high")
    rig.bar(prices)
    assert next(fill.client_order_id for fill in rig.fills()) == first


def test_path_tie_hurts_the_short() -> None:
    rig = Rig(FillConfig(timing="intrabar_path"))
    rig.order("SELL", 1)
    rig.order("BUY", 1, "LIMIT", limit=97, id="low")
    rig.order("SELL", 1, "LIMIT", limit=103, id="high")
    rig.bar((100, 104, 96, 99))
    assert [fill.client_order_id for fill in rig.fills()] == ["O1", "high", "low"]


def test_trailing_follows_the_path() -> None:
    # 100 -> 99 -> 110 -> 105: the high comes last, so the stop is 107 when the price falls.
    rig = Rig(FillConfig(timing="intrabar_path"))
    rig.bar(FIRST)
    rig.order("SELL", 1, "TRAILING_STOP", trail_px=3)
    rig.bar((100, 110, 99, 105))
    assert brief(rig.take()) == [("O1", -1, 107, "bar.range")]
