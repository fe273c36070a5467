"""What a refused cancel says of its order (nothing), that cancels last, and the last question."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import CancelOrder, OrderMassStatusRequest, OrderStatusRequest
from engine.domain.events import (
    CancelRejected,
    OrderCanceled,
    OrderFilled,
    OrdersWorking,
    ReplaceRejected,
    Severity,
)
from engine.domain.latch import Hold, TradingState
from engine.domain.orders import OrderStatus
from tests.unit.actors.router_rig import (
    ACCEPTED,
    CANCEL,
    CANCELED,
    MAY_REPLACE,
    Rig,
    approval,
    fill,
)
from tests.unit.actors.test_venue_session import DOWN, GIVEN, NOT_FOUND, UNKNOWN, UP, outside, sent

CANCEL_REFUSED = CancelRejected("O", "NOT_NOW", 9)
NO_VENUE = CancelRejected("O", "VENUE_DOWN", 9)
REPLACE_REFUSED = ReplaceRejected("O", "VENUE_DOWN", 9)
WORKING = OrdersWorking(client_order_ids=(), refused=None, ts_event=9)


def connected() -> Rig:
    """Give a router with one order at a venue that is there."""
    rig = outside()
    rig.tell(UP)
    rig.approve()
    sent(rig)
    return rig


@pytest.mark.req("P3")
@pytest.mark.parametrize(
    ("before", "asked", "refused", "after"),
    [
        # Of unknown outcome, and nothing was learnt since.
        ((UNKNOWN,), CANCEL, CANCEL_REFUSED, OrderStatus.UNKNOWN),
        ((ACCEPTED, UNKNOWN), CANCEL, CANCEL_REFUSED, OrderStatus.UNKNOWN),
        ((ACCEPTED, UNKNOWN), MAY_REPLACE, REPLACE_REFUSED, OrderStatus.UNKNOWN),
        ((fill(4, 4, 6), UNKNOWN), CANCEL, CANCEL_REFUSED, OrderStatus.UNKNOWN),
        # Never acknowledged: whether it has arrived nobody knows.
        ((), CANCEL, CANCEL_REFUSED, OrderStatus.UNKNOWN),
        ((), MAY_REPLACE, REPLACE_REFUSED, OrderStatus.UNKNOWN),
        # Known to work.
        ((ACCEPTED,), CANCEL, CANCEL_REFUSED, OrderStatus.ACCEPTED),
        ((ACCEPTED,), MAY_REPLACE, REPLACE_REFUSED, OrderStatus.ACCEPTED),
        ((fill(4, 4, 6),), CANCEL, CANCEL_REFUSED, OrderStatus.PARTIALLY_FILLED),
        ((UNKNOWN, ACCEPTED), CANCEL, CANCEL_REFUSED, OrderStatus.ACCEPTED),
    ],
)
def test_a_refused_cancel_or_replacement_leaves_its_order_as_known_as_it_was(
    before: tuple[Any, ...], asked: Any, refused: Any, after: OrderStatus
) -> None:
    rig = connected()
    rig.tell(*before, asked)
    sent(rig)
    assert rig.tell(refused) == [refused]
    assert rig.status() is after
    rig.cell.fire_timers(10_000)
    is_asked = OrderStatusRequest in map(type, sent(rig))
    assert is_asked is (after is OrderStatus.UNKNOWN)


@pytest.mark.req("P3")
def test_an_answer_ends_the_doubt_that_a_pending_cancel_was_in() -> None:
    rig = connected()
    rig.tell(ACCEPTED, UNKNOWN, CANCEL, GIVEN, CANCEL_REFUSED)
    assert rig.status() is OrderStatus.ACCEPTED


@pytest.mark.req("P12", "P13")
@pytest.mark.parametrize(
    "before",
    [
        (ACCEPTED, DOWN, CANCEL, NO_VENUE),
        # The venue went while the cancel was on its way there.
        (ACCEPTED, CANCEL, DOWN, UNKNOWN),
        (ACCEPTED, CANCEL, DOWN, UNKNOWN, NO_VENUE),
        (fill(4, 4, 6), DOWN, CANCEL, NO_VENUE),
        (UNKNOWN, DOWN, CANCEL, NO_VENUE),
    ],
)
def test_a_cancel_for_which_there_was_no_venue_is_asked_for_when_there_is_one(
    before: tuple[Any, ...],
) -> None:
    rig = connected()
    assert CancelRejected not in map(type, rig.tell(*before))
    sent(rig)
    rig.tell(UP)
    booked = tuple(each for each in before if isinstance(each, OrderFilled))
    again = CancelOrder("O", "S", 7)
    assert sent(rig) == [OrderStatusRequest(approval().order, booked), again]
    rig.tell(ACCEPTED, GIVEN)
    assert (sent(rig), rig.status()) == ([], OrderStatus.PENDING_CANCEL)
    assert rig.tell(CANCELED) == [CANCELED]


@pytest.mark.req("P12", "P13")
@pytest.mark.parametrize("word", [ACCEPTED, fill(4, 4, 6)])
def test_a_cancel_without_an_answer_is_asked_for_again_as_soon_as_the_order_is_known_to_work(
    word: Any,
) -> None:
    rig = connected()
    rig.tell(ACCEPTED, CANCEL, UNKNOWN)
    sent(rig)
    assert rig.tell(word) == [word]
    assert (sent(rig), rig.status()) == ([CancelOrder("O", "S", 7)], OrderStatus.PENDING_CANCEL)


@pytest.mark.req("P2")
def test_one_that_never_arrived_and_is_to_be_canceled_is_not_sent_again() -> None:
    rig = connected()
    rig.tell(UNKNOWN, DOWN, CANCEL, NO_VENUE, UP)
    sent(rig)
    assert rig.tell(NOT_FOUND) == [OrderCanceled("O", "USER", 7)]
    assert sent(rig) == []


def test_what_is_being_canceled_is_not_replaced_however_little_is_known_of_it() -> None:
    rig = connected()
    rig.tell(ACCEPTED, CANCEL, UNKNOWN)
    sent(rig)
    assert rig.tell(MAY_REPLACE) == [ReplaceRejected("O", "ALREADY_PENDING_CANCEL", 6)]
    assert sent(rig) == []


@pytest.mark.req("P12", "R98")
@pytest.mark.parametrize("state", [TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED])
def test_a_refused_cancel_is_critical_when_its_order_should_not_work(state: TradingState) -> None:
    rig = connected()
    rig.tell(ACCEPTED, CANCEL)
    if state is not TradingState.ACTIVE:
        rig.latch.enter(Hold(state, "OPERATOR", "manual", 6), "")
    first, *rest = rig.tell(CANCEL_REFUSED)
    assert first == CANCEL_REFUSED
    if state is TradingState.ACTIVE:
        assert rest == []
        return
    (told,) = rest
    assert (told.event_type, told.severity) == ("CANCEL_REFUSED", Severity.CRITICAL)
    assert told.action_taken == "REPORTED"
    assert "order O works on while trading is held" in told.description
    assert "NOT_NOW" in told.description


@pytest.mark.req("P2")
def test_one_whose_cancel_was_refused_is_sent_when_it_never_arrived() -> None:
    rig = connected()
    rig.tell(UNKNOWN, CANCEL, CANCEL_REFUSED, DOWN, UP)
    sent(rig)
    rig.tell(NOT_FOUND)
    assert sent(rig) == [approval().order]


@pytest.mark.req("P19")
def test_the_venue_is_asked_for_the_last_time() -> None:
    rig = outside()
    assert not rig.router.agrees
    rig.tell(UP)
    assert not rig.router.agrees  # it has not said what is working there
    rig.tell(WORKING)
    assert rig.router.agrees
    rig.venue.kept.clear()
    rig.tell(OrderMassStatusRequest())
    assert rig.venue.kept == [OrderMassStatusRequest()]
    assert not rig.router.agrees
    rig.tell(WORKING)
    assert rig.router.agrees
    rig.tell(DOWN)
    assert not rig.router.agrees
    rig.tell(UP)
    assert not rig.router.agrees  # the last word was that of another connection


@pytest.mark.req("P19")
@pytest.mark.parametrize(
    ("refused", "agrees"),
    [(None, True), ("VENUE_LACKS_LIST", True), ("NO_ANSWER", False), ("VENUE_DOWN", False)],
)
def test_only_an_answer_of_the_venue_is_one(refused: str | None, agrees: bool) -> None:
    rig = outside()
    rig.tell(UP)
    rig.tell(OrdersWorking(client_order_ids=(), refused=refused, ts_event=9))
    assert rig.router.agrees is agrees


def test_a_venue_in_this_process_always_agrees() -> None:
    assert Rig().router.agrees


def test_what_is_still_asked_about_an_order_is_waited_for() -> None:
    rig = connected()
    rig.tell(ACCEPTED, WORKING, DOWN, UP, WORKING)
    assert not rig.router.agrees
    rig.tell(GIVEN)
    assert rig.router.agrees


@pytest.mark.req("P2", "P3")
@pytest.mark.parametrize("now", [7, 10_000], ids=["may still leave", "has grown old"])
def test_an_answer_from_before_an_order_was_sent_again_says_nothing_of_it(now: int) -> None:
    rig = connected()
    rig.tell(UNKNOWN, DOWN, UP)
    rig.cell.fire_timers(100)  # it is in doubt: asked about once more, before the first answer
    assert sent(rig) == [OrderStatusRequest(approval().order, ())] * 2
    rig.tell(NOT_FOUND)
    assert sent(rig) == [approval().order]
    rig.cell.now = now
    assert rig.tell(NOT_FOUND) == []
    assert sent(rig) == []
    assert rig.status() is OrderStatus.UNKNOWN
    # One that was asked since is an answer again.
    rig.cell.now = 7
    rig.tell(UNKNOWN)  # what was sent is not acknowledged in time
    rig.cell.fire_timers(100_000)
    assert sent(rig) == [OrderStatusRequest(approval().order, ())]
    rig.cell.now = 7
    rig.tell(NOT_FOUND)
    assert sent(rig) == [approval().order]


@pytest.mark.req("P2")
def test_a_question_that_was_answered_is_not_waited_for_any_more() -> None:
    rig = connected()
    rig.tell(UNKNOWN, DOWN, UP, GIVEN)
    for ts in (1_000, 2_000):
        rig.cell.fire_timers(ts)
        rig.cell.now = 7
        sent(rig)
        rig.tell(NOT_FOUND)  # the only question that is open
        assert sent(rig) == [approval().order]
        rig.tell(UNKNOWN)


@pytest.mark.req("P2")
def test_a_new_connection_answers_for_itself() -> None:
    rig = connected()
    rig.tell(UNKNOWN, DOWN, UP)
    rig.cell.fire_timers(100)
    rig.tell(NOT_FOUND, DOWN, UP)  # the second answer is lost with the connection
    sent(rig)
    rig.tell(NOT_FOUND)
    assert sent(rig) == [approval().order]


@pytest.mark.req("P2")
def test_one_that_is_denied_again_and_again_is_sent_again_and_again() -> None:
    rig = connected()
    rig.tell(UNKNOWN)
    for ts in (1_000, 2_000, 3_000):
        rig.cell.fire_timers(ts)
        rig.cell.now = 7
        assert sent(rig) == [OrderStatusRequest(approval().order, ())]
        rig.tell(NOT_FOUND, UNKNOWN)
        assert sent(rig) == [approval().order]
