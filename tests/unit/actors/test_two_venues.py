"""One router and two venues: each is up, asked and waited for by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.commands import CancelOrder, OrderMassStatusRequest, OrderStatusRequest
from engine.domain.events import (
    OrderAccepted,
    OrderNotFound,
    OrderStatusGiven,
    OrderSubmitted,
    OrdersWorking,
    RiskEvent,
    VenueDown,
    VenueUp,
)
from engine.domain.orders import Order, OrderStatus
from tests.unit.actors.router_rig import ASKED, Keeper, Rig, approval

A, B = "a1", "b1"
"""Two orders; the first letter says to which venue each goes."""


class Pair:
    """A router with two venues that have not been heard of yet."""

    def __init__(self) -> None:
        self.second = Keeper("second", *ASKED)
        self.rig = Rig(
            others=[self.second],
            outside=True,
            venues={"a": "venue", "b": "second"},
            venue_of=lambda order: order.client_order_id[0],
        )
        self.rig.cell.now = 7

    def tell(self, *messages: Any) -> list[Any]:
        return self.rig.tell(*messages)

    def sent(self) -> tuple[list[Any], list[Any]]:
        """Take what each venue has been asked since the last time."""
        found = tuple(list(each.kept) for each in (self.rig.venue, self.second))
        for each in (self.rig.venue, self.second):
            each.kept.clear()
        return found[0], found[1]


def up(venue: str) -> VenueUp:
    return VenueUp(service="x", ts_event=1, venue=venue)


def down(venue: str) -> VenueDown:
    return VenueDown(reason="LOST", ts_event=1, venue=venue)


def working(venue: str) -> OrdersWorking:
    return OrdersWorking(client_order_ids=(), refused=None, ts_event=9, venue=venue)


def given_of(order_id: str) -> OrderStatusGiven:
    return OrderStatusGiven(client_order_id=order_id, ts_event=9)


@pytest.mark.req("P8")
def test_an_order_waits_for_its_own_venue_only() -> None:
    pair = Pair()
    pair.tell(up("b"))
    assert pair.tell(approval(A), approval(B)) == [OrderSubmitted(B, 7)]
    assert pair.sent() == ([], [OrderMassStatusRequest(), approval(B).order])
    assert pair.rig.status(A) is OrderStatus.INITIALIZED
    assert pair.tell(up("a")) == [OrderSubmitted(A, 7)]
    assert pair.sent() == ([OrderMassStatusRequest(), approval(A).order], [])


@pytest.mark.req("P2", "P8")
def test_a_venue_that_comes_back_is_asked_about_its_own_orders_only() -> None:
    pair = Pair()
    pair.tell(up("a"), up("b"), approval(A), approval(B))
    pair.tell(OrderAccepted(A, "V", 8), OrderAccepted(B, "W", 8))
    pair.sent()
    (told,) = pair.tell(down("b"))
    assert isinstance(told, RiskEvent)
    assert (told.event_type, told.description) == ("VENUE_DOWN", "b: LOST")
    pair.tell(approval("a2"), approval("b2"))
    assert pair.sent() == ([approval("a2").order], [])
    pair.tell(up("b"))
    asked = [OrderMassStatusRequest(), OrderStatusRequest(approval(B).order, ())]
    assert pair.sent() == ([], asked)
    pair.tell(given_of(A))  # of another venue: no answer to this question
    assert pair.sent() == ([], [])
    assert pair.tell(given_of(B)) == [OrderSubmitted("b2", 7)]
    assert pair.sent() == ([], [approval("b2").order])


@pytest.mark.req("P12", "P13")
def test_a_cancel_goes_to_the_venue_of_its_order() -> None:
    pair = Pair()
    pair.tell(up("a"), up("b"), approval(A), approval(B), OrderAccepted(B, "W", 8))
    pair.sent()
    pair.tell(down("b"), CancelOrder(B, "S", 6))
    pair.sent()
    pair.tell(up("a"))
    assert CancelOrder(B, "S", 7) not in pair.sent()[0]
    pair.tell(up("b"))
    assert pair.sent()[1][-1] == CancelOrder(B, "S", 7)


@pytest.mark.req("P2")
def test_one_that_never_arrived_is_sent_to_its_own_venue_again() -> None:
    pair = Pair()
    pair.tell(up("a"), up("b"), approval(A), approval(B))
    pair.tell(down("b"), up("b"))
    pair.sent()
    pair.tell(OrderNotFound(client_order_id=B, ts_event=9))
    assert pair.sent() == ([], [approval(B).order])


@pytest.mark.req("P19")
def test_all_venues_must_agree() -> None:
    pair = Pair()
    router = pair.rig.router
    pair.tell(up("a"), working("a"))
    assert not router.agrees
    pair.tell(up("b"))
    assert not router.agrees
    pair.tell(working("b"))
    assert router.agrees
    pair.tell(OrderMassStatusRequest(), working("a"))
    assert not router.agrees
    pair.tell(working("b"))
    assert router.agrees


@pytest.mark.req("P1", "P2")
@given(st.lists(st.sampled_from("abxyXY"), max_size=24))
def test_no_order_ever_goes_to_the_other_venue_nor_leaves_twice(steps: list[str]) -> None:
    """A new order of either venue (a, b); venue a up or down (x, X), venue b (y, Y)."""
    pair, count = Pair(), 0
    for step in steps:
        if step in "ab":
            count += 1
            pair.tell(approval(f"{step}{count}"))
        else:
            venue = "a" if step in "xX" else "b"
            pair.tell(up(venue) if step.islower() else down(venue))
            for order_id, record in list(pair.rig.router.orders.items()):
                if order_id[0] == venue and step.islower() and record.questions:
                    pair.tell(OrderAccepted(order_id, "V", 8), given_of(order_id))
    for venue, sent in zip("ab", pair.sent(), strict=True):
        orders = [each.client_order_id for each in sent if isinstance(each, Order)]
        assert all(order_id[0] == venue for order_id in orders)
        assert len(set(orders)) == len(orders)
