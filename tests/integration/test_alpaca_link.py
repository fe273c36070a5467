"""What is particular to the link to a broker in Alpaca's REST shape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from adapters.alpaca.dialect import Names
from adapters.alpaca.endpoint import CONNECTIONS
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
)
from engine.domain.orders import OrderType, Side, TimeInForce
from engine.ports import VenueLink
from tests.integration.alpaca import AlpacaPeer, error
from tests.integration.peers import NOW, WAIT_S
from tests.integration.rig import Heard, make_order, opened

ORDER = make_order("o")
POST = ("POST", "/v2/orders")
LIST = ("GET", "/v2/orders")
FILLS = ("GET", "/v2/account/activities/FILL")
OPEN_STATUSES = (302, 403, 404, 405, 408, 409, 425, 429, 500, 502, 503, 504)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def peer() -> Iterator[AlpacaPeer]:
    made = AlpacaPeer()
    made.start()
    yield made
    made.stop()


Open = Callable[..., VenueLink]


@pytest.fixture
def open_link(peer: AlpacaPeer, heard: Heard) -> Iterator[Open]:
    links: list[VenueLink] = []

    def make(**settings: Any) -> VenueLink:
        links.append(peer.link(heard.on_bad_answer, **settings))
        return opened(links[-1], heard)

    yield make
    for link in links:
        link.close(timeout_s=10)


@pytest.fixture
def link(open_link: Open) -> VenueLink:
    return open_link()


def accepted(peer: AlpacaPeer, link: VenueLink, heard: Heard) -> None:
    """Bring ORDER to work."""
    link.submit(ORDER)
    peer.wait_received(1)
    peer.accept(ORDER)
    heard.wait(OrderAccepted)


def bodies(peer: AlpacaPeer, method: str) -> list[dict[str, str]]:
    return [msgspec.json.decode(body) for how, _, _, body in peer.requests if how == method]


PLAIN = {
    "client_order_id": "o", "symbol": "A", "side": "buy", "type": "limit", "qty": "100",
    "time_in_force": "gtc", "limit_price": "10",
}  # fmt: skip
WORDED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a limit order": ({}, {}),
    "a market order": (
        {"order_type": OrderType.MARKET, "limit_px": None, "side": Side.SELL},
        {"type": "market", "side": "sell", "limit_price": ""},
    ),
    "a stop": (
        {"order_type": OrderType.STOP, "limit_px": None, "stop_px": 901},
        {"type": "stop", "stop_price": "9.01", "limit_price": ""},
    ),
    "a stop limit": (
        {"order_type": OrderType.STOP_LIMIT, "stop_px": 990},
        {"type": "stop_limit", "stop_price": "9.9"},
    ),
    "a trailing price": (
        {"order_type": OrderType.TRAILING_STOP, "limit_px": None, "trail_px": 25},
        {"type": "trailing_stop", "trail_price": "0.25", "limit_price": ""},
    ),
    "a trailing percentage": (
        {"order_type": OrderType.TRAILING_STOP, "limit_px": None, "trail_bps": 150},
        {"type": "trailing_stop", "trail_percent": "1.5", "limit_price": ""},
    ),
    "a part of a coin": (
        {"symbol": "C", "order_qty": 12_345},
        {"symbol": "C", "qty": "1.2345"},
    ),
    "for the day": ({"time_in_force": TimeInForce.DAY}, {"time_in_force": "day"}),
    "at once": ({"time_in_force": TimeInForce.IOC}, {"time_in_force": "ioc"}),
    "whole or not": ({"time_in_force": TimeInForce.FOK}, {"time_in_force": "fok"}),
    "at the open": ({"time_in_force": TimeInForce.AT_THE_OPENING}, {"time_in_force": "opg"}),
    "at the close": ({"time_in_force": TimeInForce.AT_THE_CLOSE}, {"time_in_force": "cls"}),
}


class TestOrders:
    @pytest.mark.req("R40")
    @pytest.mark.parametrize("name", WORDED)
    def test_an_order_is_worded_exactly(
        self, name: str, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        changes, differs = WORDED[name]
        peer.holds_posts = False
        link.submit(make_order("o", **changes))
        peer.wait_received(1)
        wanted = {key: value for key, value in {**PLAIN, **differs}.items() if value}
        assert bodies(peer, "POST") == [wanted]

    @pytest.mark.req("R40")
    def test_an_order_that_is_filled_at_once(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        link.submit(ORDER)
        peer.wait_received(1)
        with peer.at_once():
            peer.accept(ORDER)
            peer.execute(ORDER, "60", "9.99")
            peer.execute(ORDER, "40", "9.985")  # between two ticks
        heard.wait(OrderFilled, 2)
        fills = heard.of(OrderFilled)
        assert [(fill.signed_qty, fill.last_px, fill.leaves_qty) for fill in fills] == [
            (60, 999, 40),
            (40, 998, 0),
        ]
        assert [fill.exec_id for fill in fills] == [each["id"] for each in peer.activities]
        assert not heard.bad

    @pytest.mark.parametrize("status", [400, 403, 404, 422])
    def test_a_refusal_keeps_its_words(
        self, status: int, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        peer.say(*POST, status, error("insufficient\n buying power", 40310000))
        link.submit(ORDER)
        assert heard.wait(OrderRejected).reason == "insufficient buying power"
        assert not heard.of(OrderUnknown)

    @pytest.mark.req("P3", "P4")
    @pytest.mark.parametrize("status", OPEN_STATUSES)
    def test_what_leaves_the_outcome_open_is_unknown_and_asked_about(
        self, status: int, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        peer.say(*POST, status, b"<html>not Alpaca</html>")
        peer.put(ORDER)
        link.submit(ORDER)
        assert heard.wait(OrderUnknown).reason == f"HTTP_{status}"
        assert [bad.code for bad in heard.bad] == [f"HTTP_{status}"]
        peer.accept(ORDER)
        link.query(ORDER)
        heard.wait(OrderStatusGiven)
        assert heard.of(OrderAccepted)
        assert len(peer.received) == 1
        assert not heard.of(OrderRejected, VenueDown)

    @pytest.mark.req("P2")
    def test_an_id_that_is_taken_is_an_acknowledgement(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(timeout=0.3)
        link.submit(ORDER)
        heard.wait(OrderUnknown)
        link.submit(ORDER)
        peer.wait_received(2)
        peer.accept(ORDER)
        heard.wait(OrderAccepted)
        assert not heard.of(OrderRejected)
        assert len(peer.orders) == 1

    @pytest.mark.req("P2")
    def test_an_id_that_another_run_has_had(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        peer.put(ORDER, qty="99", status="new")
        link.submit(ORDER)
        assert heard.wait(OrderUnknown).reason == "OTHER_ORDER"
        assert "name of its own" in heard.bad[0].detail
        assert not heard.of(OrderAccepted)

    @pytest.mark.req("P2", "P3")
    def test_never_had_is_not_believed_while_it_may_be_on_its_way(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(timeout=0.5)
        peer.say(*POST, 503, b"")
        began = time.monotonic()
        link.submit(ORDER)
        asked = 1
        while not heard.of(OrderNotFound):
            heard.wait(OrderUnknown, asked)
            link.query(ORDER)
            asked += 1
            heard.wait_until(lambda n=asked: len(heard.of(OrderUnknown, OrderNotFound)) >= n)
        assert time.monotonic() - began > 1.0
        assert len(peer.received) == 1

    def test_the_run_is_a_part_of_the_id(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(client="monday")
        accepted(peer, link, heard)
        assert peer.received == ["monday:o"]
        link.list_working()
        assert heard.wait(OrdersWorking).client_order_ids == ("o",)

    @pytest.mark.parametrize("own", ["x" * 200, "café", "a~b", "line\nbreak"])
    def test_an_id_that_the_broker_would_not_take_has_a_stand_in(self, own: str) -> None:
        names = Names("run")
        stands_in = names.wire_id(own)
        assert stands_in == Names("run").wire_id(own)
        assert len(stands_in) == 36
        assert stands_in != Names("other").wire_id(own)

    def test_what_ends_without_us_is_seen(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.end(ORDER, "expired")
        assert heard.wait(OrderExpired).client_order_id == "o"
        other = make_order("p")
        link.submit(other)
        peer.wait_received(2)
        peer.accept(other)
        heard.wait(OrderAccepted, 2)
        peer.end(other, "rejected")
        assert heard.wait(OrderRejected).client_order_id == "p"

    def test_a_cancel_that_comes_too_late_keeps_its_words(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.fill(ORDER, 100, 1_000)
        heard.wait(OrderFilled)
        link.cancel(CancelOrder("o", "s", NOW))
        assert heard.wait(CancelRejected).reason == "order is already filled"

    def test_a_first_stop_price_of_a_trailing_stop_is_lacking(
        self, link: VenueLink, heard: Heard
    ) -> None:
        trailing = {"order_type": OrderType.TRAILING_STOP, "limit_px": None, "trail_px": 5}
        link.submit(make_order("o", stop_px=900, **trailing))
        assert heard.wait(OrderRejected).reason == "VENUE_LACKS_FIRST_STOP_PRICE"
        gtd = make_order("p", time_in_force=TimeInForce.GTD, expire_ts=NOW)
        link.submit(gtd)
        assert heard.wait(OrderRejected, 2).reason == "VENUE_LACKS_TIME_IN_FORCE"

    def test_reduce_only_may_be_left_to_the_gate(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(reduce_only="plain")
        link.submit(make_order("o", reduce_only=True))
        peer.wait_received(1)
        assert bodies(peer, "POST") == [PLAIN]

    @pytest.mark.req("P2")
    def test_what_has_not_left_when_the_link_is_closed_never_will(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        names = [f"o{number}" for number in range(CONNECTIONS + 3)]
        for name in names:
            link.submit(make_order(name))
        peer.wait_received(CONNECTIONS)
        link.close(timeout_s=10)
        for name in names:
            peer.accept(make_order(name))
        for thread in threading.enumerate():
            if thread.name.startswith("alpaca-"):
                thread.join(WAIT_S)
        assert len(peer.received) == CONNECTIONS
        assert {each.reason for each in heard.of(OrderUnknown)} == {"CLOSED"}
        assert len(heard.of(OrderUnknown)) == len(names)


class TestReplacements:
    def test_a_replacement_is_the_same_order_under_another_id(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.fill(ORDER, 30, 1_000)
        heard.wait(OrderFilled)
        link.replace(ReplaceOrder("o", "s", NOW + 5, order_qty=120, limit_px=1_010))
        replaced = heard.wait(OrderReplaced)
        assert (replaced.order_qty, replaced.limit_px, replaced.stop_px) == (120, 1_010, None)
        assert bodies(peer, "PATCH") == [
            {"client_order_id": f"o~{NOW + 5}", "qty": "90", "limit_price": "10.1"}
        ]
        peer.fill(ORDER, 90, 1_010)
        last = heard.wait(OrderFilled, 2)
        assert (last.client_order_id, last.cum_qty, last.leaves_qty) == ("o", 120, 0)
        assert not heard.bad

    def test_a_new_price_alone_keeps_what_is_left(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.fill(ORDER, 30, 1_000)
        heard.wait(OrderFilled)
        link.replace(ReplaceOrder("o", "s", NOW, limit_px=1_020))
        assert heard.wait(OrderReplaced).order_qty == 100
        assert bodies(peer, "PATCH")[0]["qty"] == "70"

    def test_cancels_and_lists_go_by_the_latest_form(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        for step in range(2):
            link.replace(ReplaceOrder("o", "s", NOW + step, limit_px=1_000 + step))
            heard.wait(OrderReplaced, step + 1)
        link.list_working()
        assert heard.wait(OrdersWorking).client_order_ids == ("o",)
        link.cancel(CancelOrder("o", "s", NOW))
        peer.wait_until(lambda: peer.count("DELETE", f"/v2/orders/V-o~{NOW + 1}") == 1)
        peer.cancel(ORDER)
        assert heard.wait(OrderCanceled).reason == "USER"

    def test_a_cancel_follows_a_replacement_that_somebody_else_has_made(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(poll_ms=60_000)
        accepted(peer, link, heard)
        with peer.at_once():
            peer.orders["V-o"].update(status="replaced", replaced_by="V-web")
            peer.put(ORDER, id="V-web", client_order_id="web", status="new", qty="80")
        link.cancel(CancelOrder("o", "s", NOW))
        peer.wait_until(lambda: peer.count("DELETE", "/v2/orders/V-web") == 1)
        assert heard.wait(OrderReplaced).order_qty == 80
        peer.orders["V-web"]["status"] = "canceled"
        link.list_working()
        assert heard.wait(OrderCanceled).reason == "USER"
        assert not heard.of(CancelRejected)

    def test_a_replacement_that_takes_its_time(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.replaces_at_once = False
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=50))
        peer.wait_until(lambda: peer.count("PATCH", "/v2/orders/V-o") == 1)
        looks = peer.count(*LIST)
        peer.wait_until(lambda: peer.count(*LIST) > looks + 2)
        assert not heard.of(OrderReplaced, ReplaceRejected)
        peer.orders["V-o"]["status"] = "replaced"
        assert heard.wait(OrderReplaced).order_qty == 50

    def test_a_replacement_that_fails_later_leaves_the_order(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.replaces_at_once = False
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=50))
        peer.wait_until(lambda: peer.count("PATCH", "/v2/orders/V-o") == 1)
        peer.orders[f"V-o~{NOW}"]["status"] = "rejected"
        peer.orders["V-o"]["status"] = "new"
        assert heard.wait(ReplaceRejected).reason == "the replacement was rejected"
        peer.orders["V-o"]["status"] = "canceled"
        heard.wait(OrderCanceled)
        assert not heard.of(OrderReplaced)

    def test_a_refused_replacement_keeps_its_words(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        peer.say("PATCH", "/v2/orders/V-o", 422, error("order is not open"))
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=50))
        assert heard.wait(ReplaceRejected).reason == "order is not open"

    def test_another_process_finds_the_latest_form(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link()
        accepted(peer, link, heard)
        peer.fill(ORDER, 30, 1_000)
        heard.wait(OrderFilled)
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=50))
        heard.wait(OrderReplaced)
        peer.fill(ORDER, 5, 1_001)
        heard.wait(OrderFilled, 2)
        link.close(timeout_s=10)
        later = Heard()
        again = peer.link(later.on_bad_answer)
        opened(again, later)
        again.query(ORDER, tuple(heard.of(OrderFilled)))
        later.wait(OrderStatusGiven)
        assert later.of(OrderReplaced)[0].order_qty == 50
        executions = [
            [(e.exec_id, e.cum_qty) for e in each.of(OrderFilled)] for each in (heard, later)
        ]
        assert executions[0] == executions[1]
        again.close(timeout_s=10)


class TestExecutions:
    def test_more_executions_than_a_page_holds(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o", order_qty=250)
        link.submit(order)
        peer.wait_received(1)
        with peer.at_once():
            peer.accept(order)
            for _ in range(250):
                peer.fill(order, 1, 1_000)
        assert heard.wait(OrderFilled, 250).cum_qty == 250
        assert not heard.bad

    def test_a_pair_is_the_same_with_and_without_its_slash(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        accepted(peer, link, heard)
        with peer.at_once():
            peer.fill(ORDER, 40, 1_000)
            peer.activities[0]["symbol"] = "/A"
        assert heard.wait(OrderFilled).symbol == "A"

    def test_what_was_said_before_a_list_is_here_before_it(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(poll_ms=60_000)
        accepted(peer, link, heard)
        peer.fill(ORDER, 40, 1_000)
        link.list_working()
        assert heard.wait(OrdersWorking).client_order_ids == ("o",)
        assert [type(event) for event in heard.events[-2:]] == [OrderFilled, OrdersWorking]

    def test_a_list_without_all_executions_is_no_answer(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(poll_ms=60_000, timeout=1.0)
        accepted(peer, link, heard)
        peer.hides_activities = True
        peer.fill(ORDER, 40, 1_000)
        link.list_working()
        assert heard.wait(OrdersWorking).refused == "NO_ANSWER"

    @pytest.mark.req("P3")
    def test_executions_that_are_missing_are_waited_for_and_then_told(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(timeout=0.5)
        accepted(peer, link, heard)
        peer.hides_activities = True
        peer.fill(ORDER, 100, 1_000)
        assert heard.wait_bad().code == "EXECUTIONS_MISSING"
        assert heard.wait(OrderUnknown).client_order_id == "o"
        link.query(ORDER)
        heard.wait(OrderUnknown, 2)
        assert not heard.of(OrderFilled)
        peer.hides_activities = False
        assert heard.wait(OrderFilled).leaves_qty == 0

    def test_an_execution_of_an_order_that_is_not_ours_is_told_once(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        foreign = make_order("foreign")
        accepted(peer, link, heard)
        for each in (foreign, foreign, ORDER):
            peer.fill(each, 1, 1_000)
        assert heard.wait_bad().code == "UNKNOWN_ORDER"
        assert heard.wait(OrderFilled).client_order_id == "o"
        assert len(heard.bad) == 1
