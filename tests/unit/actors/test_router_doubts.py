"""What a refused cancel says of its order (nothing), and the last question to a venue."""

from __future__ import annotations

from typing import Any

import pytest

from engine.domain.commands import OrderMassStatusRequest, OrderStatusRequest
from engine.domain.events import CancelRejected, OrdersWorking, ReplaceRejected
from engine.domain.orders import OrderStatus
from tests.unit.actors.router_rig import ACCEPTED, CANCEL, MAY_REPLACE, Rig, approval, fill
from tests.unit.actors.test_venue_session import DOWN, GIVEN, NOT_FOUND, UNKNOWN, UP, outside, sent

CANCEL_REFUSED = CancelRejected("O", "VENUE_DOWN", 9)
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


@pytest.mark.req("P2")
def test_one_whose_cancel_was_refused_for_want_of_a_venue_is_sent_when_it_never_arrived() -> None:
    rig = connected()
    rig.tell(UNKNOWN, DOWN, CANCEL, CANCEL_REFUSED, UP)
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
