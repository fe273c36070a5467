from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.memory import journal as module
from adapters.memory.journal import FrameJournal
from engine.domain.commands import OrderApproved
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    PricedBy,
    RiskEvent,
    Severity,
    StrategyFailed,
)
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import CheckInputs, DenyCode, Verdict
from engine.domain.signals import Signal

BIG = 2**62 + 1
"""No double holds it: a column that went through floats would show."""

ORDER = Order("O1", "S", "A", Side.BUY, OrderType.LIMIT, BIG, 5, limit_px=BIG - 2, tag="t")
INPUTS = CheckInputs(*(BIG + n if n % 2 else -BIG - n for n in range(len(CheckInputs._fields))))
FILL = OrderFilled(
    "O1", "E1", "S", "A", -BIG, BIG, BIG, 0, 3, 4, Liquidity.MAKER, 9, PricedBy.BAR_OPEN, 2, 8
)
EVENTS: list[Any] = [
    OrderApproved(ORDER, Verdict("O1", 6, None, INPUTS)),
    OrderAccepted("O1", "V1", 7),
    OrderDenied(
        msgspec.structs.replace(ORDER, client_order_id="O2"),
        Verdict("O2", 6, DenyCode.TRADING_HALTED, None),
    ),
    PositionChanged(FILL, -BIG, BIG, -3, BIG - 1),
    OrderReplaced("O1", BIG, None, 5, 7),
    OrderCanceled("O1", "USER", 8),
    OrderExpired("O3", "DAY", 8),
    OrderRejected("O4", "no", 8),
    Signal(strategy_id="S", symbol="A", ts_event=BIG, signal=True, score=0.5, extra={"x": 1}),
    Signal(strategy_id="S", symbol="A", ts_event=BIG, signal=False, score=0.0),
    RiskEvent(
        event_type="DAILY_LOSS", severity=Severity.WARNING, strategy_id=None, symbol=None,
        limit=None, value=1.5, action_taken="NONE", description="d", ts_event=9,
    ),
    StrategyFailed(strategy_id="S", hook="on_bar", event="e", error="E: x", traceback="t",
        ts_event=9),
]  # fmt: skip


def written(*batches: list[Any]) -> FrameJournal:
    journal = FrameJournal()
    for batch in batches:
        journal.write(tuple(batch))
    return journal


def frames(journal: FrameJournal) -> list[pl.DataFrame]:
    return [
        journal.orders(), journal.verdicts(), journal.fills(), journal.replaced(),
        journal.signals(), journal.risk_events(), journal.ends(),
    ]  # fmt: skip


def test_integers_are_kept_exactly() -> None:
    journal = written(EVENTS)
    (order, denied) = journal.orders().to_dicts()
    assert (order["order_qty"], order["limit_px"], order["stop_px"]) == (BIG, BIG - 2, None)
    assert (order["side"], order["order_type"], denied["order_id"]) == ("BUY", "LIMIT", "O2")
    (verdict, refused) = journal.verdicts().to_dicts()
    assert [verdict[name] for name in CheckInputs._fields] == list(INPUTS)
    assert (verdict["code"], refused["code"]) == (None, "TRADING_HALTED")
    assert all(refused[name] is None for name in CheckInputs._fields)
    (fill,) = journal.fills().to_dicts()
    assert (fill["signed_qty"], fill["last_px"]) == (-BIG, BIG)
    assert (fill["position_after"], fill["cash_after"], fill["realized"]) == (-BIG, BIG - 1, -3)
    assert (fill["liquidity"], fill["priced_by"], fill["datum_ts"]) == ("MAKER", "bar.open", 8)


def test_ends_signals_and_failures() -> None:
    journal = written(EVENTS)
    assert journal.ends().select("order_id", "status", "reason").rows() == [
        ("O1", "CANCELED", "USER"),
        ("O3", "EXPIRED", "DAY"),
        ("O4", "REJECTED", "no"),
    ]
    assert journal.signals()["extra"].to_list() == ['{"x":1}', None]
    assert journal.signals()["ts"].to_list() == [BIG, BIG]
    assert journal.risk_events()["severity"].to_list() == ["WARNING"]
    assert [failure.hook for failure in journal.failures] == ["on_bar"]
    assert journal.events == len(EVENTS)


def test_an_empty_journal_has_frames_of_the_same_columns() -> None:
    for empty, full in zip(frames(FrameJournal()), frames(written(EVENTS)), strict=True):
        assert empty.height == 0
        assert empty.schema == full.schema


@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.data())
def test_batches_do_not_matter(events: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    whole, parts = written(events), written(events[:at], events[at:])
    single = written(*([event] for event in events))
    assert whole.hash == parts.hash == single.hash
    for one, other in zip(frames(whole), frames(parts), strict=True):
        assert one.equals(other)


def test_packing_early_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [EVENTS] * 5
    whole = written(*batches)
    monkeypatch.setattr(module, "PIECE_EVENTS", 7)
    packed = written(*batches)
    assert whole.hash == packed.hash
    for one, other in zip(frames(whole), frames(packed), strict=True):
        assert one.equals(other)


@pytest.mark.req("P18")
@given(st.lists(st.sampled_from(EVENTS), max_size=5), st.lists(st.sampled_from(EVENTS), max_size=5))
def test_hashes_are_equal_exactly_when_the_events_are(one: list[Any], other: list[Any]) -> None:
    assert (written(one).hash == written(other).hash) == (one == other)


@pytest.mark.parametrize("at", range(len(EVENTS)))
def test_every_field_of_every_event_is_in_the_hash(at: int) -> None:
    event = EVENTS[at]
    reference = written([event]).hash
    for field in msgspec.structs.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, bool):
            changed: Any = not value
        elif isinstance(value, int | float):
            changed = value + 1
        elif isinstance(value, str):
            changed = value + "x"
        elif value is None:
            changed = 1 if "px" in field.name or field.name == "limit" else "x"
        else:
            continue
        other = msgspec.structs.replace(event, **{field.name: changed})
        assert written([other]).hash != reference, field.name
