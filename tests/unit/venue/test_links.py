"""Brackets, groups and reduce-only orders: quantities that are bound to each other."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.matching import FillConfig
from tests.unit.venue.rig import MINUTE, Rig, brief

TIMINGS = ("next_open", "next_tick", "intrabar_path")
BARS = ("next_open", "intrabar_path")


def bracket(rig: Rig, qty: int = 10, *, target: int = 110, stop: int = 95, **entry: Any) -> None:
    rig.order("BUY", qty, entry.pop("kind", "MARKET"), id="in", **entry)
    links = {"parent_id": "in", "group_id": "exits"}
    rig.order("SELL", qty, "LIMIT", limit=target, id="target", **links)
    rig.order("SELL", qty, "STOP", stop=stop, id="stop", **links)


# (what, bars after the order, reports)
BRACKETS: list[tuple[str, list[tuple[int, int, int, int]], Any]] = [
    ("held until the parent fills; target", [(100, 101, 99, 100), (105, 111, 104, 105)], [
        ("in", 10, 100, "bar.open"), ("target", -10, 110, "bar.range"),
        ("stop", "OrderCanceled", "OCO")]),
    ("stop", [(100, 101, 99, 100), (97, 98, 94, 96)], [
        ("in", 10, 100, "bar.open"), ("stop", -10, 95, "bar.range"),
        ("target", "OrderCanceled", "OCO")]),
    ("the rest of the entry bar counts", [(100, 112, 99, 105)], [
        ("in", 10, 100, "bar.open"), ("target", -10, 110, "bar.range"),
        ("stop", "OrderCanceled", "OCO")]),
    ("a bar that spans both: the stop, though the target is nearer", [(108, 112, 90, 100)], [
        ("in", 10, 108, "bar.open"), ("stop", -10, 95, "bar.range"),
        ("target", "OrderCanceled", "OCO")]),
    ("a later bar that spans both", [(100, 101, 99, 100), (108, 112, 90, 100)], [
        ("in", 10, 100, "bar.open"), ("stop", -10, 95, "bar.range"),
        ("target", "OrderCanceled", "OCO")]),
    ("gap beyond the target: the open is there before the low",
     [(100, 101, 99, 100), (115, 116, 90, 100)], [
        ("in", 10, 100, "bar.open"), ("target", -10, 115, "bar.open"),
        ("stop", "OrderCanceled", "OCO")]),
    ("entry below its own stop", [(94, 96, 93, 95)], [
        ("in", 10, 94, "bar.open"), ("stop", -10, 94, "bar.open"),
        ("target", "OrderCanceled", "OCO")]),
]  # fmt: skip


@pytest.mark.req("R55")
@pytest.mark.parametrize("timing", BARS)
@pytest.mark.parametrize("case", BRACKETS, ids=lambda case: case[0].replace(" ", "-"))
def test_bracket(case: tuple[Any, ...], timing: Any) -> None:
    rig = Rig(FillConfig(timing=timing))
    bracket(rig)
    for prices in case[1]:
        rig.bar(prices)
    assert brief(rig.take()) == case[2]


def test_entry_inside_the_range_leaves_its_exits_for_the_next_bar() -> None:
    rig = Rig()
    bracket(rig, kind="LIMIT", limit=98)
    rig.bar((100, 112, 90, 100))  # where in this bar the entry came is not known
    assert brief(rig.take()) == [("in", 10, 98, "bar.range")]
    rig.bar((94, 94, 94, 94))
    assert brief(rig.take()) == [
        ("stop", -10, 94, "bar.open"),
        ("target", "OrderCanceled", "OCO"),
    ]


def test_entry_on_the_path_lets_its_exits_work_on_the_rest() -> None:
    # 100 -> 92 -> 112 -> 100: bought at 98, the stop at 91 is not reached, the target is.
    rig = Rig(FillConfig(timing="intrabar_path"))
    bracket(rig, kind="LIMIT", limit=98, stop=91)
    rig.bar((100, 112, 92, 100))
    assert brief(rig.take()) == [
        ("in", 10, 98, "bar.range"),
        ("target", -10, 110, "bar.range"),
        ("stop", "OrderCanceled", "OCO"),
    ]


def test_only_the_rest_of_the_path_counts_for_exits() -> None:
    # 100 -> 112 -> 92 -> 100: the high was before the entry at 98.
    rig = Rig(FillConfig(timing="intrabar_path"))
    bracket(rig, kind="LIMIT", limit=98, stop=91)
    rig.bar((103, 112, 92, 100))
    assert brief(rig.take()) == [("in", 10, 98, "bar.range")]


def test_next_tick_gives_the_parent_and_its_exits_different_closes() -> None:
    rig = Rig(FillConfig(timing="next_tick"))
    bracket(rig)
    for close in (94, 96, 94):
        rig.bar((100, 120, 90, close))
    assert brief(rig.take()) == [
        ("in", 10, 94, "bar.close"),
        ("stop", -10, 94, "bar.close"),
        ("target", "OrderCanceled", "OCO"),
    ]


@pytest.mark.parametrize("timing", TIMINGS)
def test_children_of_a_canceled_parent_are_canceled(timing: Any) -> None:
    rig = Rig(FillConfig(timing=timing))
    bracket(rig, kind="LIMIT", limit=50)
    rig.bar((100, 120, 90, 100))
    rig.cancel("in")
    assert brief(rig.take()) == [
        ("in", "OrderCanceled", "USER"),
        ("target", "OrderCanceled", "PARENT"),
        ("stop", "OrderCanceled", "PARENT"),
    ]
    assert not rig.cell.lane("X").handlers


def test_children_work_for_what_the_parent_has_filled() -> None:
    rig = Rig(FillConfig(volume_limit=0.4))
    bracket(rig, 10)
    rig.bar((100, 101, 99, 100), volume=10)  # the entry gets 4
    rig.bar((100, 101, 99, 100), volume=10)  # and 4 more
    rig.cancel("in")
    assert brief(rig.take()) == [
        ("in", 4, 100, "bar.open"),
        ("in", 4, 100, "bar.open"),
        ("in", "OrderCanceled", "USER"),
    ]
    rig.bar((100, 112, 99, 100), volume=10)  # the target gets 4 of 8
    rig.bar((90, 90, 90, 90), volume=100)  # the stop the other 4
    assert brief(rig.take()) == [
        ("target", -4, 110, "bar.range"),
        ("stop", -4, 90, "bar.open"),
        ("target", "OrderCanceled", "OCO"),
        ("stop", "OrderCanceled", "OCO"),
    ]


def test_scaling_out_shares_one_stop_without_a_group() -> None:
    rig = Rig()
    rig.order("BUY", 10, id="in")
    rig.order("SELL", 10, "STOP", stop=90, id="stop", parent_id="in")
    rig.order("SELL", 5, "LIMIT", limit=105, id="half", parent_id="in")
    rig.order("SELL", 5, "LIMIT", limit=110, id="rest", parent_id="in")
    rig.bar((100, 106, 99, 100))
    rig.bar((100, 101, 85, 100))
    assert brief(rig.take()) == [
        ("in", 10, 100, "bar.open"),
        ("half", -5, 105, "bar.range"),
        ("stop", -5, 90, "bar.range"),
        ("stop", "OrderCanceled", "OCO"),
        ("rest", "OrderCanceled", "OCO"),
    ]


def test_a_trailing_child_starts_from_the_parents_price() -> None:
    rig = Rig()
    rig.bar((50, 50, 50, 50))
    rig.order("BUY", 1, id="in")
    rig.order("SELL", 1, "TRAILING_STOP", trail_px=5, id="trail", parent_id="in")
    rig.bar((100, 104, 96, 103))
    rig.bar((103, 103, 98, 98))
    assert brief(rig.take()) == [("in", 1, 100, "bar.open"), ("trail", -1, 99, "bar.range")]


def test_group_of_entries_takes_one_side() -> None:
    rig = Rig()
    rig.order("BUY", 5, "STOP", stop=105, id="up", group_id="g")
    rig.order("SELL", 5, "STOP", stop=95, id="down", group_id="g")
    rig.bar((100, 106, 99, 106))
    assert brief(rig.take()) == [("up", 5, 105, "bar.range"), ("down", "OrderCanceled", "OCO")]


def test_group_with_a_smaller_member() -> None:
    rig = Rig()
    rig.order("SELL", 4, "LIMIT", limit=105, id="small", group_id="g")
    rig.order("SELL", 10, "STOP", stop=95, id="big", group_id="g")
    rig.bar((100, 106, 99, 100))
    assert brief(rig.take()) == [("small", -4, 105, "bar.range")]
    rig.bar((90, 90, 90, 90))
    assert brief(rig.take()) == [("big", -6, 90, "bar.open"), ("big", "OrderCanceled", "OCO")]


def test_reduce_only_is_capped_by_the_position_at_the_fill() -> None:
    rig = Rig()
    rig.order("BUY", 5)
    rig.order("SELL", 9, "LIMIT", limit=110, reduce_only=True, id="out")
    rig.bar((100, 100, 100, 100))
    rig.bar((110, 110, 110, 110))
    assert brief(rig.take()) == [
        ("O1", 5, 100, "bar.open"),
        ("out", -5, 110, "bar.open"),
        ("out", "OrderCanceled", "REDUCE_ONLY"),
    ]


def test_reduce_only_without_a_position_is_canceled_when_it_would_fill() -> None:
    rig = Rig()
    rig.order("SELL", 5, "LIMIT", limit=105, reduce_only=True)
    rig.bar((100, 104, 99, 100))
    assert brief(rig.take()) == []
    rig.bar((105, 105, 105, 105))
    assert brief(rig.take()) == [("O1", "OrderCanceled", "REDUCE_ONLY")]


def test_reduce_only_ends_when_another_order_makes_it_flat() -> None:
    rig = Rig()
    rig.order("BUY", 5)
    rig.order("SELL", 5, "STOP", stop=90, reduce_only=True, id="guard")
    rig.bar((100, 100, 100, 100))
    rig.order("SELL", 5)
    rig.bar((101, 101, 101, 101))
    assert brief(rig.take()) == [
        ("O1", 5, 100, "bar.open"),
        ("O3", -5, 101, "bar.open"),
        ("guard", "OrderCanceled", "REDUCE_ONLY"),
    ]


def test_reduce_only_counts_its_own_strategy_only() -> None:
    rig = Rig()
    rig.order("BUY", 5, strategy="other")
    rig.order("SELL", 5, reduce_only=True, id="out")
    rig.bar((100, 100, 100, 100))
    assert ("out", "OrderCanceled", "REDUCE_ONLY") in brief(rig.take())


def test_reduce_only_does_not_use_what_the_same_range_bought() -> None:
    rig = Rig()
    rig.order("BUY", 5, "LIMIT", limit=98)
    rig.order("SELL", 5, "LIMIT", limit=105, reduce_only=True, id="out")
    rig.order("BUY", 1, id="one")
    rig.bar((100, 106, 97, 100))
    assert brief(rig.take()) == [
        ("one", 1, 100, "bar.open"),
        ("O1", 5, 98, "bar.range"),
        ("out", -1, 105, "bar.range"),
    ]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"parent_id": "nobody"}, "PARENT_UNKNOWN"),
        ({"parent_id": "in", "strategy": "other"}, "PARENT_UNKNOWN"),
    ],
)
def test_unknown_parents_are_rejected(extra: dict[str, Any], reason: str) -> None:
    rig = Rig()
    rig.order("BUY", 5, "LIMIT", limit=50, id="in")
    rig.order("SELL", 5, "LIMIT", limit=105, id="out", **extra)
    assert brief(rig.take()) == [("out", "OrderRejected", reason)]


def test_two_brackets_do_not_share() -> None:
    rig = Rig()
    for name in ("a", "b"):
        rig.order("BUY", 5, id=name)
        rig.order("SELL", 5, "STOP", stop=95, id=f"{name}-stop", parent_id=name, group_id=name)
    rig.bar((100, 100, 94, 95))
    assert [line[:2] for line in brief(rig.take())] == [
        ("a", 5),
        ("b", 5),
        ("a-stop", -5),
        ("b-stop", -5),
    ]
    assert rig.cell.now == MINUTE


@pytest.mark.parametrize("timing", TIMINGS)
def test_a_held_stop_does_not_trigger(timing: Any) -> None:
    rig = Rig(FillConfig(timing=timing))
    rig.order("BUY", 5, "LIMIT", limit=96, id="in")
    rig.order("SELL", 5, "STOP", stop=98, id="stop", parent_id="in")
    rig.bar((100, 101, 97, 97))  # below the stop, above the entry
    rig.order("BUY", 5, id="more")
    rig.replace("in", limit_px=120)
    rig.bar((100, 101, 99, 100))
    rig.bar((100, 101, 99, 100))
    assert {line[0] for line in brief(rig.take()) if len(line) == 4} == {"in", "more"}


def test_unlinked_reduce_only_exits_are_pessimistic_too() -> None:
    rig = Rig()
    rig.order("BUY", 5, id="in")
    rig.bar((100, 100, 100, 100))
    rig.order("SELL", 5, "LIMIT", limit=105, reduce_only=True, id="target")
    rig.order("SELL", 5, "STOP", stop=95, reduce_only=True, id="stop")
    rig.bar((100, 106, 94, 100))
    assert brief(rig.take()) == [
        ("in", 5, 100, "bar.open"),
        ("stop", -5, 95, "bar.range"),
        ("target", "OrderCanceled", "REDUCE_ONLY"),
    ]


def test_a_child_sent_inside_the_bar_does_not_join_its_path() -> None:
    rig = Rig(FillConfig(timing="intrabar_path", latency_ms=30_000))
    rig.order("BUY", 5, "LIMIT", limit=98, id="in")
    rig.bar((100, 100, 100, 100))
    rig.order("SELL", 5, "LIMIT", limit=105, id="out", parent_id="in")
    rig.bar((100, 106, 97, 100))  # the child arrives half way through
    assert brief(rig.take()) == [("in", 5, 98, "bar.range")]
    rig.bar((104, 106, 104, 104))
    assert brief(rig.take()) == [("out", -5, 105, "bar.range")]
