"""The router alone: every message it knows, with a recorder for everybody else."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.commands import (
    CancelOrder,
    OrderApproved,
    ReplaceApproved,
    ReplaceOrder,
)
from engine.domain.events import (
    CancelRejected,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    ReplaceRejected,
)
from engine.domain.latch import Hold, TradingState
from engine.domain.orders import Order, OrderStatus, OrderType, Side
from engine.domain.risk import Verdict
from engine.errors import InvariantError
from tests.unit.actors.router_rig import (
    ACCEPTED,
    CANCEL,
    CANCELED,
    MAY_REPLACE,
    REPLACE,
    Rig,
    approval,
    fill,
)


def test_an_approved_order_is_sent_and_told() -> None:
    rig = Rig()
    assert rig.approve() == [OrderSubmitted("O", 7)]
    assert rig.venue.kept == [approval().order]
    assert rig.status() is OrderStatus.PENDING_NEW


@pytest.mark.req("P2")
def test_an_order_is_sent_once() -> None:
    rig = Rig()
    rig.approve()
    with pytest.raises(InvariantError, match="order O was approved twice"):
        rig.approve()
    assert len(rig.venue.kept) == 1


def test_only_an_approved_order_has_a_way_in() -> None:
    assert Order not in Rig().router.handlers()
    assert ReplaceOrder not in Rig().router.handlers()


@pytest.mark.req("P6")
def test_a_repeated_fill_counts_once() -> None:
    rig = Rig()
    rig.approve()
    first, second = fill(4, 4, 6, "E1"), fill(6, 10, 0, "E2")
    assert rig.tell(ACCEPTED, first, first, second, first, second) == [ACCEPTED, first, second]
    record = rig.router.orders["O"]
    assert (record.cum_qty, record.leaves_qty, record.status) == (10, 0, OrderStatus.FILLED)


@pytest.mark.req("P6")
def test_a_fill_before_the_acknowledgement_and_after_the_cancel_is_booked() -> None:
    rig = Rig()
    rig.approve()
    early, late = fill(4, 4, 6, "E1"), fill(1, 5, 5, "E2")
    assert rig.tell(early, ACCEPTED) == [early, ACCEPTED]
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    assert rig.tell(CANCELED, late) == [CANCELED, late]
    assert rig.status() is OrderStatus.CANCELED
    assert rig.router.orders["O"].cum_qty == 5


def test_a_fill_or_report_of_an_order_nobody_sent_is_a_bug() -> None:
    rig = Rig()
    with pytest.raises(InvariantError, match="a fill of unknown order O"):
        rig.tell(fill(1, 1, 0))
    with pytest.raises(InvariantError, match="a report on unknown order O"):
        rig.tell(ACCEPTED)


@pytest.mark.parametrize("report", [CANCELED, OrderExpired("O", "DAY", 9)])
def test_a_repeated_end_changes_nothing(report: Any) -> None:
    rig = Rig()
    rig.approve()
    assert rig.tell(ACCEPTED, report, report, CANCELED) == [ACCEPTED, report]


def test_a_rejected_order_is_over() -> None:
    rig = Rig()
    rig.approve()
    rejected = OrderRejected("O", "no margin, sorry", 9)
    assert rig.tell(rejected, ACCEPTED, CANCELED) == [rejected]
    assert rig.status() is OrderStatus.REJECTED


@pytest.mark.parametrize("ask", ["cancel", "replace"])
@pytest.mark.parametrize(
    ("prepare", "owner", "reason"),
    [
        (None, "S", "UNKNOWN_ORDER"),
        ([], "T", "NOT_OWNER"),
        ([ACCEPTED, CANCELED], "S", "ALREADY_CANCELED"),
        ([fill(10, 10, 0)], "S", "ALREADY_FILLED"),
        ([OrderExpired("O", "DAY", 9)], "S", "ALREADY_EXPIRED"),
        ([OrderRejected("O", "x", 9)], "S", "ALREADY_REJECTED"),
        ([CANCEL], "S", "ALREADY_PENDING_CANCEL"),
    ],
)
def test_what_cannot_be_canceled_or_replaced_is_answered_here(
    ask: str, prepare: list[Any] | None, owner: str, reason: str
) -> None:
    rig = Rig()
    if prepare is not None:
        rig.approve()
        rig.tell(*prepare)
    sent = len(rig.venue.kept)
    if ask == "cancel":
        assert rig.tell(CancelOrder("O", owner, 11)) == [CancelRejected("O", reason, 11)]
    else:
        replace = ReplaceOrder("O", owner, 11, order_qty=20)
        asked = ReplaceApproved(replace, Verdict("O", 11, None, None))
        assert rig.tell(asked) == [ReplaceRejected("O", reason, 11)]
    assert len(rig.venue.kept) == sent


def test_a_cancel_is_passed_on_and_its_refusal_puts_the_order_back_to_work() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED, fill(4, 4, 6))
    assert rig.tell(CANCEL) == []
    assert rig.venue.kept[-1] == CANCEL
    assert rig.status() is OrderStatus.PENDING_CANCEL
    rig.tell(CancelRejected("O", "TOO_LATE", 9))
    assert rig.status() is OrderStatus.PARTIALLY_FILLED


def test_a_replacement_is_passed_on_and_changes_what_is_open() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED, fill(4, 4, 6), MAY_REPLACE)
    assert rig.venue.kept[-1] is REPLACE
    assert rig.status() is OrderStatus.PENDING_REPLACE
    rig.tell(OrderReplaced("O", 20, 100, None, 9))
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    assert rig.router.orders["O"].leaves_qty == 16


def test_closed_orders_are_remembered_up_to_a_number() -> None:
    rig = Rig(keep_closed=2)
    for number in range(4):
        order_id = f"O{number}"
        rig.approve(order_id)
        rig.tell(fill(10, 10, 0, f"E{number}", order_id))
    assert list(rig.router.orders) == ["O2", "O3"]
    rig.approve("open")
    assert "open" in rig.router.orders


def test_an_acknowledged_order_works() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED)
    assert rig.status() is OrderStatus.ACCEPTED


def test_a_report_that_cannot_happen_to_a_working_order_is_a_bug() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED)
    replaced = OrderReplaced("O", 10, 100, None, 9)
    rig.approve("P")
    with pytest.raises(InvariantError, match="OrderReplaced cannot happen to a PENDING_NEW order"):
        rig.tell(msgspec.structs.replace(replaced, client_order_id="P"))


@pytest.mark.req("P6")
def test_an_acknowledgement_that_comes_twice_is_told_once() -> None:
    rig = Rig()
    rig.approve()
    assert rig.tell(ACCEPTED, ACCEPTED) == [ACCEPTED]
    assert rig.status() is OrderStatus.ACCEPTED


def test_only_an_order_that_ended_is_forgotten() -> None:
    rig = Rig(keep_closed=0)
    rig.approve()
    rig.tell(ACCEPTED, fill(4, 4, 6))
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    rig.tell(CANCELED)
    assert not rig.router.orders


def test_an_order_ends_once_whatever_is_reported_afterwards() -> None:
    rig = Rig(keep_closed=1)
    rig.approve()
    rig.tell(ACCEPTED, CANCELED, CancelRejected("O", "TOO_LATE", 9), fill(1, 1, 0))
    assert rig.status() is OrderStatus.CANCELED
    rig.approve("P")
    rig.tell(OrderCanceled("P", "USER", 9))
    assert list(rig.router.orders) == ["P"]


@pytest.mark.parametrize("keep_closed", [0, 1])
def test_the_refusal_of_a_cancel_that_crossed_the_end_is_passed_on(keep_closed: int) -> None:
    # The cancel was on its way while the order filled and others pushed it out of memory.
    rig = Rig(keep_closed)
    rig.approve()
    rig.tell(CANCEL, fill(10, 10, 0))
    for number in range(keep_closed):
        rig.approve(f"P{number}")
        rig.tell(fill(10, 10, 0, f"F{number}", f"P{number}"))
    assert "O" not in rig.router.orders
    for refusal in (
        CancelRejected("O", "UNKNOWN_ORDER", 12),
        ReplaceRejected("O", "UNKNOWN_ORDER", 12),
    ):
        assert rig.tell(refusal) == [refusal]
    assert "O" not in rig.router.orders


reports = st.lists(
    st.sampled_from(
        [ACCEPTED, fill(4, 4, 6, "E1"), fill(6, 10, 0, "E2"), CANCELED, CANCEL,
         OrderExpired("O", "DAY", 9), CancelRejected("O", "UNKNOWN_ORDER", 9)]
    ),
    max_size=8,
)  # fmt: skip


@pytest.mark.req("P6")
@given(reports)
def test_fills_survive_any_order_of_reports(script: list[Any]) -> None:
    rig = Rig()
    rig.approve()
    told = []
    for message in script:
        # A second acknowledgement may be impossible; a fill never is.
        with nullcontext() if type(message) is OrderFilled else suppress(InvariantError):
            told += rig.tell(message)
    fills = [event for event in told if type(event) is OrderFilled]
    expected = {m.exec_id for m in script if type(m) is OrderFilled}
    assert {event.exec_id for event in fills} == expected
    assert len(fills) == len(expected)
    ends = [e for e in told if type(e) in (OrderCanceled, OrderExpired)]
    assert len(ends) <= 1


# The trading state and the age of an intent, looked at again before anything leaves.

HALTED = Hold(TradingState.HALTED, "TEST", "manual", 0)
REDUCING = Hold(TradingState.REDUCING, "TEST", "manual", 0)


def reducing_approval(*, closing: bool = False) -> OrderApproved:
    order = Order("O", "S", "X", Side.SELL, OrderType.MARKET, 10, 5, reduce_only=True)
    return OrderApproved(order, Verdict("O", 7, None, None), closing)


@pytest.mark.req("P13", "D14", "D15")
@pytest.mark.parametrize(
    ("hold", "strategy_id", "approved", "reason"),
    [
        (HALTED, "", approval(), "TRADING_HALTED"),
        (HALTED, "S", approval(), "STRATEGY_HALTED"),
        (HALTED, "T", approval(), None),
        (REDUCING, "", approval(), "TRADING_REDUCING"),
        (REDUCING, "S", approval(), "STRATEGY_REDUCING"),
        (REDUCING, "", reducing_approval(), None),
        (HALTED, "", reducing_approval(), "TRADING_HALTED"),
        (HALTED, "", reducing_approval(closing=True), None),
    ],
)
def test_what_was_approved_before_a_halt_does_not_leave_after_it(
    hold: Hold, strategy_id: str, approved: OrderApproved, reason: str | None
) -> None:
    rig = Rig()
    rig.latch.enter(hold, strategy_id)
    if reason is None:
        assert rig.tell(approved) == [OrderSubmitted("O", 7)]
        assert rig.venue.kept == [approved.order]
    else:
        assert rig.tell(approved) == [OrderCanceled("O", reason, 0)]
        assert rig.venue.kept == []
        assert rig.status() is OrderStatus.CANCELED


def test_what_did_not_leave_is_remembered_as_long_as_what_has_ended() -> None:
    rig = Rig(keep_closed=2)
    rig.latch.enter(HALTED)
    for number in range(4):
        rig.approve(f"O{number}")
    assert list(rig.router.orders) == ["O2", "O3"]
    assert rig.tell(CancelOrder("O3", "S", 6)) == [CancelRejected("O3", "ALREADY_CANCELED", 6)]
    assert rig.tell(CancelOrder("O0", "S", 6)) == [CancelRejected("O0", "UNKNOWN_ORDER", 6)]


@pytest.mark.req("P7")
def test_an_intent_beyond_its_time_to_live_is_not_sent() -> None:
    rig = Rig()
    rig.cell.now = 105  # caused at 5, and may be 100 old
    assert rig.approve() == [OrderSubmitted("O", 7)]
    rig.cell.now = 106
    assert rig.approve("P") == [OrderCanceled("P", "INTENT_EXPIRED", 106)]
    assert rig.tell(MAY_REPLACE) == []  # caused at 6: just in time
    late = ReplaceApproved(ReplaceOrder("O", "S", 5, order_qty=20), Verdict("O", 6, None, None))
    assert rig.tell(late) == [ReplaceRejected("O", "INTENT_EXPIRED", 5)]


@pytest.mark.req("P13")
def test_an_amendment_does_not_leave_after_a_halt() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED)
    rig.latch.enter(HALTED)
    assert rig.tell(MAY_REPLACE) == [ReplaceRejected("O", "TRADING_HALTED", 6)]
    assert rig.tell(CANCEL) == []
    assert rig.venue.kept == [approval().order, CANCEL]


@pytest.mark.req("P3")
def test_an_order_of_unknown_outcome_stays_open_until_the_venue_says_what_it_is() -> None:
    rig = Rig()
    rig.approve()
    unknown = OrderUnknown("O", "TIMEOUT", 9)
    assert rig.tell(unknown) == [unknown]
    assert rig.status() is OrderStatus.UNKNOWN
    assert not rig.status().is_terminal
    assert rig.tell(fill(4, 4, 6)) == [fill(4, 4, 6)]
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    rig.tell(unknown, CANCELED)
    assert rig.status() is OrderStatus.CANCELED
    assert rig.tell(unknown) == []


@pytest.mark.req("P6")
def test_fills_count_where_they_come() -> None:
    rig = Rig()
    rig.approve()
    second, first = fill(6, 10, 0, "E2"), fill(4, 4, 6, "E1")
    assert rig.tell(second) == [fill(6, 6, 4, "E2")]
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    assert rig.tell(first) == [fill(4, 10, 0, "E1")]
    assert rig.status() is OrderStatus.FILLED


@pytest.mark.req("P6")
def test_what_is_left_is_of_the_total_whatever_the_order_of_fills() -> None:
    """Two, three and five of ten; the second comes first."""
    rig = Rig()
    rig.approve()
    one, two, three = fill(2, 2, 8, "E1"), fill(3, 5, 5, "E2"), fill(5, 10, 0, "E3")
    assert rig.tell(two) == [fill(3, 3, 7, "E2")]
    assert rig.tell(three) == [fill(5, 8, 2, "E3")]
    assert rig.status() is OrderStatus.PARTIALLY_FILLED
    assert rig.tell(one) == [fill(2, 10, 0, "E1")]
    assert rig.status() is OrderStatus.FILLED


@pytest.mark.req("P6")
def test_an_overfill_is_booked_told_and_halts_its_symbol() -> None:
    rig = Rig()
    rig.approve()
    assert rig.tell(fill(10, 10, 0)) == [fill(10, 10, 0)]
    assert rig.gate.kept == []
    booked, told = rig.tell(fill(3, 13, 0, "E2"))
    assert booked == fill(3, 13, 0, "E2")
    assert (told.event_type, told.action_taken) == ("OVERFILL", "SYMBOL_HALTED")
    assert (told.value, told.limit) == (13.0, 10.0)
    (halt,) = rig.gate.kept
    assert (halt.symbol, halt.halted, halt.reason) == ("X", True, "OVERFILL")


@pytest.mark.req("P6")
def test_what_a_replacement_allows_is_no_overfill() -> None:
    rig = Rig()
    rig.approve()
    rig.tell(ACCEPTED, MAY_REPLACE)
    rig.tell(OrderReplaced("O", 20, 100, None, 9), fill(20, 20, 0))
    assert rig.gate.kept == []
    rig.tell(fill(1, 21, 0, "E2"))
    assert len(rig.gate.kept) == 1
