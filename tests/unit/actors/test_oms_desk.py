"""The desk of the reference system: every id once, reports to whoever asked last."""

from __future__ import annotations

from typing import Any

import pytest

from actors.oms_desk import OmsDesk
from actors.sim_venue import SimVenue
from engine.domain.clients import ClientGone, FromClient, ListOrders, QueryAnswered, QueryOrder
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.costs import CostsConfig
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrdersWorking,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.matching import FillConfig
from engine.domain.orders import Order, OrderType, Side
from engine.runtime.cell import Cell

MARKET = Order("o", "s", "A", Side.BUY, OrderType.MARKET, 10, 5)
LIMIT = Order("o", "s", "A", Side.BUY, OrderType.LIMIT, 10, 5, limit_px=100)


class Desk:
    """The desk and its venue in one cell, and what clients hear."""

    def __init__(self, keep_closed: int = 10) -> None:
        self.heard: list[tuple[int, Any]] = []
        instruments = {"A": Instrument(symbol="A")}
        desk = OmsDesk(
            "desk",
            venue="venue",
            instruments=instruments,
            deliver=lambda session, event: self.heard.append((session, event)),
            keep_closed=keep_closed,
        )
        venue = SimVenue(
            "venue",
            fill=FillConfig(),
            costs=CostsConfig(),
            instruments=instruments,
            report_to="desk",
        )
        self.cell = Cell("oms", [desk, venue], {Bar: ["desk"]})
        self.cell.now = 1_000
        self.cell.start()
        self.cell.bind_symbols(["A"])

    def ask(self, session: int, request: Any) -> list[tuple[int, Any]]:
        """Ask something; give what was said since."""
        return self.tell(FromClient(session, request))

    def tell(self, message: Any) -> list[tuple[int, Any]]:
        said = len(self.heard)
        self.cell.deliver("desk", message)
        return self.heard[said:]

    def bar(self, px: int) -> list[tuple[int, Any]]:
        said = len(self.heard)
        start = self.cell.now
        self.cell.now = start + 10
        self.cell.deliver_market(Bar("A", 0, start, start + 10, px, px, px, px, 1_000, 100, 1))
        return self.heard[said:]


@pytest.mark.req("D8")
def test_an_order_is_stamped_with_the_time_of_the_venue() -> None:
    desk = Desk()
    ((session, accepted),) = desk.ask(1, MARKET)
    assert (session, type(accepted), accepted.ts_event) == (1, OrderAccepted, 1_000)
    ((_, fill),) = desk.bar(200)
    assert (type(fill), fill.signed_qty, fill.last_px) == (OrderFilled, 10, 200)


@pytest.mark.req("P2")
def test_a_resend_is_answered_with_the_reports_so_far_and_makes_no_order() -> None:
    desk = Desk()
    before = [event for _, event in desk.ask(1, MARKET) + desk.bar(200)]
    again = desk.ask(2, Order("o", "s", "A", Side.SELL, OrderType.MARKET, 99, 5))
    assert again == [(2, event) for event in before]
    assert desk.bar(300) == []


def test_reports_go_to_whoever_asked_last() -> None:
    desk = Desk()
    desk.ask(1, LIMIT)
    assert [type(e) for _, e in desk.ask(2, QueryOrder("o"))] == [OrderAccepted, QueryAnswered]
    assert [session for session, _ in desk.ask(3, CancelOrder("o", "s", 0))] == [3]


def test_the_orders_of_a_client_that_has_gone_work_on() -> None:
    desk = Desk()
    desk.ask(1, MARKET)
    assert desk.tell(ClientGone(1)) == []
    assert desk.bar(200) == []
    said = [type(event) for _, event in desk.ask(2, QueryOrder("o"))]
    assert said == [OrderAccepted, OrderFilled, QueryAnswered]


def test_what_is_not_there_is_told_to_whoever_asked() -> None:
    desk = Desk()
    for request, kind in (
        (CancelOrder("o", "s", 0), CancelRejected),
        (ReplaceOrder("o", "s", 0, order_qty=1), ReplaceRejected),
        (QueryOrder("o"), OrderNotFound),
    ):
        ((session, event),) = desk.ask(7, request)
        assert (session, type(event)) == (7, kind)
    ((_, rejected),) = desk.ask(7, Order("x", "s", "NOPE", Side.BUY, OrderType.MARKET, 1, 0))
    assert (type(rejected), rejected.reason) == (OrderRejected, "UNKNOWN_SYMBOL")


def test_orders_and_replacements_that_cannot_be_are_refused() -> None:
    desk = Desk()
    ((_, rejected),) = desk.ask(1, Order("x", "s", "A", Side.BUY, OrderType.LIMIT, 10, 0))
    assert (type(rejected), rejected.reason) == (OrderRejected, "INVALID_ORDER")
    desk.ask(1, LIMIT)
    ((_, refused),) = desk.ask(1, ReplaceOrder("o", "s", 0, order_qty=-1))
    assert (type(refused), refused.reason) == (ReplaceRejected, "QUANTITY_PRECISION")


def test_a_refused_cancel_is_no_part_of_the_orders_history() -> None:
    desk = Desk()
    desk.ask(1, LIMIT)
    ((_, refused),) = desk.ask(1, CancelOrder("o", "other", 0))
    assert type(refused) is CancelRejected
    assert [type(e) for _, e in desk.ask(1, QueryOrder("o"))] == [OrderAccepted, QueryAnswered]


def test_closed_orders_are_forgotten_in_turn_and_open_ones_never() -> None:
    desk = Desk(keep_closed=1)
    desk.ask(1, LIMIT)
    for name in ("a", "b"):
        desk.ask(1, Order(name, "s", "A", Side.BUY, OrderType.MARKET, 0, 0))
    ((_, listed),) = desk.ask(1, ListOrders())
    assert (type(listed), listed.client_order_ids) == (OrdersWorking, ("o",))
    assert type(desk.ask(1, QueryOrder("a"))[-1][1]) is OrderNotFound
    assert type(desk.ask(1, QueryOrder("b"))[-1][1]) is QueryAnswered
    assert type(desk.ask(1, CancelOrder("o", "s", 0))[-1][1]) is OrderCanceled
