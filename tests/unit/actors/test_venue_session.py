"""The router and a venue outside this process: asked first, sent once, never given up by age."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.commands import (
    CancelOrder,
    OrderMassStatusRequest,
    OrderStatusRequest,
    SetSymbolState,
)
from engine.domain.events import (
    BadAnswer,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrderSubmitted,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    RiskEvent,
    Severity,
    VenueDown,
    VenueUp,
)
from engine.domain.latch import Hold, TradingState
from engine.domain.orders import Order, OrderStatus
from tests.unit.actors.router_rig import ACCEPTED, CANCEL, MAY_REPLACE, Rig, approval, fill

UP, DOWN = VenueUp(service="x", ts_event=1), VenueDown(reason="LOST", ts_event=1)
GIVEN = OrderStatusGiven(client_order_id="O", ts_event=9)
NOT_FOUND = OrderNotFound(client_order_id="O", ts_event=9)
UNKNOWN = OrderUnknown("O", "NO_ANSWER", 9)


def outside(**settings: Any) -> Rig:
    """Give a router whose venue has not been heard of yet."""
    rig = Rig(outside=True, ask_again_ns=10, **settings)
    rig.cell.now = 7
    return rig


def sent(rig: Rig) -> list[Any]:
    """Take what has been sent to the venue since the last time, without the mass requests."""
    found = [each for each in rig.venue.kept if type(each) is not OrderMassStatusRequest]
    rig.venue.kept.clear()
    return found


def kinds(events: list[Any]) -> list[type]:
    return [type(event) for event in events]


@pytest.mark.req("P8")
def test_nothing_leaves_before_the_venue_is_there() -> None:
    rig = outside()
    assert rig.approve() == []
    assert (sent(rig), rig.status()) == ([], OrderStatus.INITIALIZED)
    assert rig.tell(UP) == [OrderSubmitted("O", 7)]
    assert sent(rig) == [approval().order]
    assert rig.tell(ACCEPTED) == [ACCEPTED]


@pytest.mark.req("P8")
def test_nothing_new_leaves_before_every_open_order_is_answered_for() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve("O")
    rig.approve("P")
    rig.tell(ACCEPTED, fill(4, 4, 6), DOWN)
    sent(rig)
    rig.tell(UP)
    asked = sent(rig)
    assert asked == [
        OrderStatusRequest(approval("O").order, (fill(4, 4, 6),)),
        OrderStatusRequest(approval("P").order, ()),
    ]
    rig.approve("Q")
    # What the venue says again changes nothing and is not told again.
    assert rig.tell(ACCEPTED, fill(4, 4, 6), GIVEN) == []
    assert sent(rig) == []
    rig.tell(OrderStatusGiven(client_order_id="P", ts_event=9))
    assert sent(rig) == [approval("Q").order]


@pytest.mark.req("P3")
def test_an_order_that_never_arrived_is_sent_again_under_its_id() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    sent(rig)
    told = rig.tell(DOWN, UP, NOT_FOUND)
    assert kinds(told) == [RiskEvent]  # of the loss; the order is submitted but once
    assert sent(rig) == [OrderStatusRequest(approval().order, ()), approval().order]
    assert rig.status() is OrderStatus.PENDING_NEW


@pytest.mark.req("P7")
@pytest.mark.parametrize(("now", "reason"), [(105, None), (106, "INTENT_EXPIRED")])
def test_an_intent_that_has_grown_old_is_given_up_instead(now: int, reason: str | None) -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    sent(rig)
    rig.cell.now = now  # it was intended at 5 and may live for 100
    told = rig.tell(NOT_FOUND)
    if reason is None:
        assert (told, sent(rig)) == ([], [approval().order])
    else:
        assert (told, sent(rig)) == ([OrderCanceled("O", reason, now)], [])


def test_what_was_held_does_not_leave_after_a_halt() -> None:
    rig = outside()
    rig.approve()
    rig.latch.set(Hold(TradingState.HALTED, "X", "manual", 0))
    assert rig.tell(UP) == [OrderCanceled("O", "TRADING_HALTED", 7)]
    assert sent(rig) == []


def test_while_the_venue_is_away_not_found_says_nothing() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(DOWN)
    sent(rig)
    assert rig.tell(NOT_FOUND) == []
    assert (sent(rig), rig.status()) == ([], OrderStatus.PENDING_NEW)


def test_an_order_that_was_held_is_canceled_here() -> None:
    rig = outside()
    rig.approve()
    assert rig.tell(CANCEL) == [OrderCanceled("O", "USER", 7)]
    assert rig.tell(UP) == []
    assert sent(rig) == []


def test_a_held_or_doubtful_order_is_not_replaced() -> None:
    rig = outside()
    rig.approve()
    assert rig.tell(MAY_REPLACE) == [ReplaceRejected("O", "NOT_READY", 6)]
    rig.tell(UP, ACCEPTED, DOWN, UP)
    sent(rig)
    assert rig.tell(MAY_REPLACE) == [ReplaceRejected("O", "NOT_READY", 6)]
    rig.tell(GIVEN)
    assert rig.tell(MAY_REPLACE) == []
    assert sent(rig) == [MAY_REPLACE.replace]


def test_a_cancel_nobody_has_answered_is_sent_again() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(ACCEPTED, CANCEL, DOWN)
    sent(rig)
    rig.tell(UP)
    assert sent(rig)[1:] == [CancelOrder("O", "S", 7)]
    assert rig.tell(OrderCanceled("O", "USER", 9)) == [OrderCanceled("O", "USER", 9)]


def test_a_canceled_order_that_never_arrived_is_canceled() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(CANCEL, DOWN, UP)
    assert rig.tell(NOT_FOUND) == [OrderCanceled("O", "USER", 7)]


@pytest.mark.req("P10")
def test_a_replacement_that_the_venue_does_not_tell_of_never_came_to_be() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(ACCEPTED, MAY_REPLACE, DOWN, UP)
    assert rig.tell(ACCEPTED, GIVEN) == [ReplaceRejected("O", "NOT_APPLIED", 9)]
    assert rig.tell(GIVEN) == []
    assert rig.status() is OrderStatus.ACCEPTED


def test_a_replacement_that_is_told_of_again_is_one() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    replaced = OrderReplaced("O", 20, 100, None, 9)
    assert rig.tell(ACCEPTED, MAY_REPLACE, replaced)[-1] == replaced
    rig.tell(DOWN, UP)
    assert rig.tell(replaced, GIVEN) == []


@pytest.mark.req("P3")
def test_an_order_of_unknown_outcome_is_asked_about_until_it_is_known() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    sent(rig)
    assert rig.tell(UNKNOWN) == [UNKNOWN]
    asked = []
    for ts in range(7, 1_500):
        rig.cell.fire_timers(ts + 1)
        if sent(rig):
            asked.append(ts)
            assert rig.tell(UNKNOWN) == []  # it is known to be unknown
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 17
    assert gaps[:6] == [20, 40, 80, 160, 300, 300]
    assert rig.tell(ACCEPTED) == [ACCEPTED]
    rig.cell.fire_timers(10_000)
    assert sent(rig) == []


@pytest.mark.req("P19")
def test_an_order_that_the_venue_denies_having_had_halts_its_symbol() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(ACCEPTED, DOWN, UP)
    told = rig.tell(NOT_FOUND)
    assert kinds(told) == [RiskEvent, OrderUnknown]
    assert (told[0].event_type, told[0].severity) == ("ORDER_LOST", Severity.CRITICAL)
    assert (told[0].action_taken, told[0].strategy_id, told[0].symbol) == (
        "SYMBOL_HALTED",
        "S",
        "X",
    )
    assert told[1].reason == "ORDER_LOST"
    assert rig.gate.kept == [
        SetSymbolState(symbol="X", halted=True, reason="ORDER_LOST", ts_init=7)
    ]
    assert rig.status() is OrderStatus.UNKNOWN


@pytest.mark.req("P19")
def test_orders_of_nobody_are_told_of() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    mine = OrdersWorking(client_order_ids=("O",), refused=None, ts_event=9)
    assert rig.tell(mine) == []
    for count, said in ((5, "Z0, Z1, Z2, Z3, Z4"), (6, "Z0, Z1, Z2, Z3, Z4 and more")):
        others = ("O", *(f"Z{number}" for number in range(count)))
        (event,) = rig.tell(OrdersWorking(client_order_ids=others, refused=None, ts_event=9))
        assert (event.event_type, event.severity) == ("UNKNOWN_ORDERS", Severity.CRITICAL)
        assert (event.action_taken, event.strategy_id, event.symbol) == ("REPORTED", None, None)
        assert event.description.endswith(f": {said}")


def test_a_loss_of_the_venue_is_told_once() -> None:
    rig = outside()
    assert rig.tell(DOWN) == []  # there was none to lose
    rig.tell(UP)
    (event,) = rig.tell(DOWN)
    assert (event.event_type, event.severity) == ("VENUE_DOWN", Severity.WARNING)
    assert (event.description, event.action_taken) == ("LOST", "ORDERS_HELD")
    assert rig.tell(DOWN) == []


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (CancelRejected("O", "LATE", 9), "CancelRejected cannot happen to a PENDING_NEW order O"),
        (OrderReplaced("O", 9, 1, None, 9), "OrderReplaced cannot happen to a PENDING_NEW order"),
        (OrderAccepted("Z", "V", 9), "a report on unknown order Z"),
        (fill(1, 1, 0, order_id="Z"), "a fill of unknown order Z"),
    ],
)
def test_a_report_that_cannot_be_is_told_and_dropped(report: Any, said: str) -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    (event,) = rig.tell(report)
    assert (event.event_type, event.severity) == ("IMPOSSIBLE_REPORT", Severity.CRITICAL)
    assert event.description.startswith(said)
    assert event.action_taken == "REPORT_DROPPED"
    assert rig.status() is OrderStatus.PENDING_NEW
    halted = [state.reason for state in rig.gate.kept]
    assert halted == (["UNKNOWN_FILL"] if "fill" in said else [])


def test_an_answer_of_no_use_is_told() -> None:
    bad = BadAnswer(code="BAD_PRICE", detail="d", client_order_id=None, raw=b"", ts_event=9)
    (event,) = outside().tell(bad)
    assert (event.event_type, event.description) == ("BAD_ANSWER_BAD_PRICE", "d")
    assert (event.action_taken, event.value, event.limit) == ("ANSWER_DROPPED", 0.0, None)


def with_one_open() -> Rig:
    """Give a router that has one acknowledged order and lost its venue; another order waits."""
    rig = outside()
    rig.tell(UP)
    rig.approve("O")
    rig.tell(ACCEPTED, DOWN)
    rig.approve("Q")
    sent(rig)
    return rig


@pytest.mark.req("P8")
@pytest.mark.parametrize("answer", [GIVEN, UNKNOWN, NOT_FOUND])
def test_what_waits_leaves_with_the_last_answer_whatever_it_is(answer: Any) -> None:
    rig = with_one_open()
    rig.tell(UP)
    assert type(rig.venue.kept[0]) is OrderMassStatusRequest
    assert [type(each) for each in sent(rig)] == [OrderStatusRequest]
    rig.tell(OrderStatusGiven(client_order_id="Z", ts_event=9))  # nobody has asked about that
    assert sent(rig) == []
    rig.tell(answer)
    assert sent(rig) == [approval("Q").order]


def test_one_that_had_never_arrived_leaves_first_and_then_what_waits() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve("O")
    rig.tell(DOWN)
    rig.approve("Q")
    rig.tell(UP)
    sent(rig)
    rig.tell(NOT_FOUND)
    assert sent(rig) == [approval("O").order, approval("Q").order]


def test_an_answer_that_comes_after_the_venue_is_lost_again_lets_nothing_go() -> None:
    rig = with_one_open()
    rig.tell(UP)
    sent(rig)
    rig.tell(DOWN, GIVEN)
    assert sent(rig) == []


def test_one_that_was_canceled_does_not_keep_the_next_from_leaving() -> None:
    rig = outside()
    rig.approve("O")
    rig.approve("P")
    rig.tell(CANCEL, UP)
    assert sent(rig) == [approval("P").order]


def test_not_found_says_nothing_of_an_order_that_is_over_or_nobodys() -> None:
    rig = outside()
    rig.tell(UP)
    assert rig.tell(NOT_FOUND) == []
    rig.approve()
    rig.tell(OrderRejected("O", "NO", 9))
    sent(rig)
    assert (rig.tell(NOT_FOUND), sent(rig)) == ([], [])


@pytest.mark.req("P19")
@pytest.mark.parametrize(
    ("reports", "was_there"),
    [
        ((CANCEL, ACCEPTED), True),
        ((UNKNOWN,), False),
        ((UNKNOWN, OrderReplaced("O", 20, 100, None, 9)), True),
        ((UNKNOWN, fill(4, 4, 6)), True),
    ],
)
def test_only_what_the_venue_has_had_can_be_lost(reports: tuple[Any, ...], was_there: bool) -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(*reports)
    sent(rig)
    lost = [e for e in rig.tell(NOT_FOUND) if type(e) is RiskEvent]
    assert [event.event_type for event in lost] == (["ORDER_LOST"] if was_there else [])
    assert sent(rig) == ([] if was_there else [approval().order])


def test_every_replacement_has_an_answer_of_its_own() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(ACCEPTED)
    early = OrderReplaced("O", 11, 100, None, 0)  # nobody here has asked for it
    assert rig.tell(early) == [early]
    rig.tell(MAY_REPLACE, MAY_REPLACE, MAY_REPLACE)
    first, second = (OrderReplaced("O", qty, 100, None, 9) for qty in (20, 30))
    assert rig.tell(first, second) == [first, second]  # both at one time
    rig.tell(DOWN, UP)
    assert rig.tell(second, GIVEN) == [ReplaceRejected("O", "NOT_APPLIED", 9)]


def test_doubt_begins_anew_and_outlasts_the_loss_of_the_venue() -> None:
    rig = outside()
    rig.tell(UP)
    rig.approve()
    rig.tell(UNKNOWN)
    rig.cell.fire_timers(18)
    rig.tell(UNKNOWN, ACCEPTED)
    sent(rig)
    rig.cell.fire_timers(1_000)
    rig.cell.now = 1_000
    rig.tell(UNKNOWN)
    rig.cell.fire_timers(1_010)
    assert sent(rig) == []
    rig.tell(DOWN)
    rig.cell.fire_timers(1_011)
    rig.tell(UP)
    assert len(sent(rig)) == 1
    rig.cell.fire_timers(1_031)  # twice as long after the first
    assert len(sent(rig)) == 1


def test_doubt_lasts_a_second_at_first() -> None:
    rig = Rig(outside=True)
    rig.tell(UP)
    rig.approve()
    rig.tell(UNKNOWN)
    sent(rig)
    rig.cell.fire_timers(1_000_000_000)
    assert sent(rig) == []
    rig.cell.fire_timers(1_000_000_001)
    assert sent(rig) == [OrderStatusRequest(approval().order, ())]


REPORTS = (
    UP, DOWN, GIVEN, NOT_FOUND, UNKNOWN, ACCEPTED, CANCEL, MAY_REPLACE, fill(4, 4, 6, "E1"),
    fill(6, 10, 0, "E2"), OrderCanceled("O", "USER", 9), OrderRejected("O", "NO", 9),
    CancelRejected("O", "LATE", 9), OrderReplaced("O", 20, 100, None, 9),
    ReplaceRejected("O", "NO", 9), OrderAccepted("O", "V", 9),
)  # fmt: skip


def _may_happen(rig: Rig, report: Any) -> bool:
    """Leave out what no venue says: the end of an order it has never had."""
    record = rig.router.orders.get("O")
    unsent = record is None or record.status is OrderStatus.INITIALIZED
    return not unsent or report in (UP, DOWN)


@pytest.mark.req("P2")
@pytest.mark.req("P6")
@given(st.lists(st.sampled_from(REPORTS), max_size=25))
def test_an_order_leaves_again_only_when_it_had_not_arrived(reports: list[Any]) -> None:
    rig = outside()
    rig.approve()
    may_leave, left, booked = 1, 0, 0
    for report in reports:
        record = rig.router.orders["O"]
        if not _may_happen(rig, report):
            continue
        if report is NOT_FOUND and not (record.acked or record.cum_qty):
            may_leave += 1
        told = rig.tell(report)
        booked += sum(event.signed_qty for event in told if type(event) is type(fill(1, 1, 1)))
        left += sum(type(request) is Order for request in sent(rig))
        assert left <= may_leave
        assert booked <= 10
