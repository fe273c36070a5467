"""The contract of a VenueLink, on every implementation, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.domain.orders import OrderType, TimeInForce
from engine.errors import EngineHaltedError
from engine.ports import VenueLink
from tests.integration.every_peer import PEERS
from tests.integration.peers import NOW, Peer
from tests.integration.proxy import FaultProxy
from tests.integration.rig import Heard, make_order, opened


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    made = PEERS[request.param]()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def heard() -> Heard:
    return Heard()


Open = Callable[..., VenueLink]


@pytest.fixture
def open_link(peer: Peer, heard: Heard) -> Iterator[Open]:
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


@pytest.mark.req("D8")
class TestOrders:
    def test_an_order_is_accepted_and_filled_in_parts(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        peer.fill(order, 30, 1_000)
        peer.fill(order, 70, 990)
        heard.wait(OrderFilled, 2)
        accepted = heard.wait(OrderAccepted)
        assert (accepted.client_order_id, accepted.venue_order_id) == ("o", "V-o")
        assert accepted.ts_event == NOW + 1
        first, second = heard.of(OrderFilled)
        assert (first.signed_qty, first.last_px, first.cum_qty, first.leaves_qty) == (
            30,
            1_000,
            30,
            70,
        )
        assert (second.signed_qty, second.last_px, second.cum_qty, second.leaves_qty) == (
            70,
            990,
            100,
            0,
        )
        assert first.exec_id != second.exec_id
        assert not heard.bad

    def test_a_rejection_keeps_the_venues_words(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.reject(order, "no such thing here")
        assert heard.wait(OrderRejected).reason == "no such thing here"

    @pytest.mark.req("P6")
    def test_fills_may_come_before_the_acknowledgement(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.fill(order, 100, 1_000)
        heard.wait(OrderFilled)
        peer.accept(order)
        heard.wait(OrderAccepted)
        assert [type(event) for event in heard.events] == [VenueUp, OrderFilled, OrderAccepted]

    @pytest.mark.req("P6")
    def test_a_repeated_report_changes_nothing(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order, other = make_order("o"), make_order("other")
        link.submit(order)
        link.submit(other)
        peer.wait_received(2)
        steps: dict[type, Callable[[], None]] = {
            OrderAccepted: lambda: peer.accept(order),
            OrderFilled: lambda: peer.fill(order, 40, 1_000),
            OrderCanceled: lambda: peer.cancel(order),
        }
        for kind, step in steps.items():
            step()
            heard.wait(kind)
            peer.repeat(order)
            peer.repeat(order)
        peer.accept(other)
        heard.wait(OrderAccepted, 2)
        kinds = [type(event) for event in heard.events if event.__class__ is not VenueUp]
        assert kinds == [OrderAccepted, OrderFilled, OrderCanceled, OrderAccepted]
        assert not heard.bad

    @pytest.mark.req("P6")
    def test_a_fill_beyond_the_order_is_booked_and_told(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        peer.fill(order, 100, 1_000)
        peer.fill(order, 1, 1_100)
        heard.wait_bad()
        fill = heard.of(OrderFilled)[-1]
        assert (fill.signed_qty, fill.last_px, fill.cum_qty, fill.leaves_qty) == (1, 1_100, 101, 0)
        assert [bad.code for bad in heard.bad] == ["OVERFILL"]
        assert not heard.of(OrderUnknown)

    def test_a_fill_after_the_end_is_reported(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.cancel(order)
        peer.fill(order, 10, 1_000)
        assert heard.wait(OrderFilled).cum_qty == 10
        assert not heard.bad

    def test_an_order_in_something_unknown_never_leaves(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        link.submit(make_order("o", symbol="NOPE"))
        assert heard.wait(OrderRejected).reason == "UNKNOWN_SYMBOL"
        assert not peer.received


@pytest.mark.req("P3", "P4", "P9")
class TestUnknownOutcomes:
    def test_no_answer_in_time(self, peer: Peer, open_link: Open, heard: Heard) -> None:
        link = open_link(timeout=0.2)
        order = make_order("o")
        link.submit(order)
        unknown = heard.wait(OrderUnknown)
        assert (unknown.client_order_id, unknown.reason) == ("o", "NO_ANSWER")
        peer.wait_received(1)
        peer.accept(order)  # late, and welcome
        heard.wait(OrderAccepted)
        assert len(peer.received) == 1
        assert not heard.of(OrderRejected)

    def test_the_connection_breaks_after_the_send(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        with FaultProxy(peer.port) as proxy:
            link = open_link(port=proxy.port)
            link.submit(make_order("o"))
            peer.wait_received(1)
            proxy.reset()
            assert heard.wait(OrderUnknown).reason == "VENUE_DOWN"
            heard.wait(VenueUp, 2)
            other = make_order("other")
            link.submit(other)
            peer.wait_received(2)
            peer.accept(other)
            heard.wait(OrderAccepted)
            assert len(peer.received) == len(set(peer.received)) == 2

    def test_the_reply_is_lost(self, peer: Peer, open_link: Open, heard: Heard) -> None:
        with FaultProxy(peer.port) as proxy:
            link = open_link(port=proxy.port)
            order = make_order("o")
            proxy.lose_replies()
            link.submit(order)
            peer.wait_received(1)
            peer.accept(order)
            peer.fill(order, 100, 1_000)
            proxy.reset()
            assert heard.wait(OrderUnknown).client_order_id == "o"
            heard.wait(VenueUp, 2)
            link.query(order)
            if "query" in peer.offers:
                assert heard.wait(OrderFilled).cum_qty == 100
                assert len(heard.of(OrderAccepted)) == 1
            else:
                assert heard.wait(OrderUnknown, 2).reason == "VENUE_LACKS_QUERY"
            assert len(peer.received) == 1

    def test_an_order_while_the_connection_is_down_never_leaves(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        peer.stop()
        heard.wait(VenueDown)
        link.submit(make_order("o"))
        link.cancel(CancelOrder("o", "s", NOW))
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=50))
        link.query(make_order("o"))
        link.list_working()
        assert heard.wait(OrderNotFound).client_order_id == "o"
        assert heard.wait(CancelRejected).reason == "VENUE_DOWN"
        assert heard.wait(ReplaceRejected).reason == "VENUE_DOWN"
        assert heard.wait(OrderUnknown).reason == "VENUE_DOWN"
        assert heard.wait(OrdersWorking).refused == "VENUE_DOWN"
        peer.start()
        heard.wait(VenueUp, 2)
        assert not peer.received

    def test_a_resend_is_the_callers_decision(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(timeout=0.2)
        order = make_order("o")
        link.submit(order)
        heard.wait(OrderUnknown)
        link.submit(order)
        peer.wait_received(2)
        assert peer.received[0] == peer.received[1]
        peer.accept(order)
        heard.wait(OrderAccepted)

    def test_closing_leaves_nothing_unanswered(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link()
        link.submit(make_order("o"))
        peer.wait_received(1)
        link.close(timeout_s=10)
        assert heard.wait(OrderUnknown).reason == "CLOSED"
        with pytest.raises(EngineHaltedError, match="is closed"):
            link.submit(make_order("other"))
        link.close(timeout_s=10)


class TestRequests:
    @pytest.mark.req("D8")
    def test_cancel(self, peer: Peer, link: VenueLink, heard: Heard) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        heard.wait(OrderAccepted)
        link.cancel(CancelOrder("o", "s", NOW))
        if "cancel" not in peer.offers:
            assert heard.wait(CancelRejected).reason == "VENUE_LACKS_CANCEL"
            return
        peer.cancel(order)
        assert heard.wait(OrderCanceled).reason == "USER"

    @pytest.mark.req("D8")
    def test_what_the_venue_lacks_is_refused_by_name(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        stop = OrderType.STOP
        asked = {
            "stops": make_order("1", order_type=stop, stop_px=900, limit_px=None),
            "times": make_order("2", time_in_force=TimeInForce.DAY),
            "reduce-only": make_order("3", reduce_only=True),
            "links": make_order("4", group_id="g"),
            "fractions": make_order("5", symbol="C", order_qty=12_345),
        }
        codes = {
            "stops": "VENUE_LACKS_STOP_ORDERS",
            "times": "VENUE_LACKS_TIME_IN_FORCE",
            "reduce-only": "VENUE_LACKS_REDUCE_ONLY",
            "links": "VENUE_LACKS_LINKED_ORDERS",
            "fractions": "VENUE_LACKS_FRACTIONS",
        }
        for order in asked.values():
            link.submit(order)
        lacking = [code for what, code in codes.items() if what not in peer.offers]
        heard.wait_until(lambda: len(heard.of(OrderRejected)) == len(lacking))
        peer.wait_received(len(asked) - len(lacking))
        assert [event.reason for event in heard.of(OrderRejected)] == lacking
        assert len(peer.received) == len(asked) - len(lacking)

    @pytest.mark.req("D8")
    def test_query_of_a_known_order_gives_the_same_executions(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        peer.fill(order, 40, 1_000)
        fill = heard.wait(OrderFilled)
        link.query(order)
        if "query" not in peer.offers:
            assert heard.wait(OrderUnknown).reason == "VENUE_LACKS_QUERY"
            return
        assert heard.wait(OrderFilled, 2) == fill
        assert len(heard.of(OrderAccepted)) == 2

    @pytest.mark.req("D8")
    def test_query_of_an_order_of_an_earlier_process(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        order, mine = make_order("o"), make_order("mine")
        peer.accept(order)
        peer.fill(order, 40, 1_000)
        link = open_link()
        link.submit(mine)
        peer.wait_received(1)
        link.query(order)
        if "query" not in peer.offers:
            assert heard.wait(OrderUnknown).reason == "VENUE_LACKS_QUERY"
        else:
            heard.wait(OrderFilled)
        # From now on the link knows it.
        peer.fill(order, 60, 1_000)
        heard.wait_until(lambda: {e.cum_qty for e in heard.of(OrderFilled)} >= {100})
        executions = {e.exec_id: e.signed_qty for e in heard.of(OrderFilled)}
        assert sum(executions.values()) == 100

    @pytest.mark.req("D8")
    def test_query_of_an_order_the_venue_never_got(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        link.query(make_order("o"))
        if "query" in peer.offers:
            assert heard.wait(OrderNotFound).client_order_id == "o"
        else:
            assert heard.wait(OrderUnknown).reason == "VENUE_LACKS_QUERY"

    @pytest.mark.req("P2", "P3")
    def test_an_answer_from_before_the_order_was_sent_says_nothing_of_it(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        if "query" not in peer.offers:
            return
        with FaultProxy(peer.port) as proxy:
            link = open_link(port=proxy.port)
            order = make_order("o")
            proxy.pause()  # everything is asked and sent before the first answer comes
            link.query(order)
            link.query(order)
            link.submit(order)
            proxy.heal()
            peer.wait_received(1)
            peer.accept(order)
            heard.wait(OrderAccepted)
            assert not heard.of(OrderNotFound)
            peer.cancel(order)
            heard.wait(OrderCanceled)
            link.query(make_order("p"))
            assert heard.wait(OrderNotFound).client_order_id == "p"

    def test_list_of_working_orders(self, peer: Peer, link: VenueLink, heard: Heard) -> None:
        link.list_working()
        refused = None if "list" in peer.offers else "VENUE_LACKS_LIST"
        assert heard.wait(OrdersWorking).refused == refused


@pytest.mark.req("P24", "P36")
class TestConnection:
    def test_a_server_that_dies_and_comes_back(
        self, peer: Peer, link: VenueLink, heard: Heard
    ) -> None:
        peer.stop()
        assert "UNAVAILABLE" in heard.wait(VenueDown).reason or "CANCELLED" in (
            heard.of(VenueDown)[0].reason
        )
        # The first failures after it are not news; from the third on each is.
        heard.wait(VenueDown, 3)
        peer.start()
        heard.wait(VenueUp, 2)
        order = make_order("o")
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        heard.wait(OrderAccepted)

    def test_a_half_open_connection_is_found_within_five_seconds(
        self, peer: Peer, open_link: Open, heard: Heard
    ) -> None:
        with FaultProxy(peer.port) as proxy:
            open_link(port=proxy.port)
            began = time.monotonic()
            proxy.blackhole()
            heard.wait(VenueDown, timeout_s=6)
            assert heard.moments[heard.events.index(heard.of(VenueDown)[0])] - began < 5
            proxy.heal()
            proxy.reset()
            heard.wait(VenueUp, 2)

    def test_a_peer_that_says_nothing_from_the_start(self, peer: Peer, heard: Heard) -> None:
        with FaultProxy(peer.port) as proxy:
            proxy.blackhole()
            link = peer.link(heard.on_bad_answer, port=proxy.port, timeout=0.3)
            link.open(heard.report)
            # The session may give up a moment before the connection does: it has the same deadline.
            reason = heard.wait(VenueDown).reason
            assert reason.startswith(("NO_CONNECTION", "NO_ANSWER")), reason
            proxy.heal()
            heard.wait(VenueUp)
            link.close(timeout_s=10)

    def test_a_slow_network_is_only_slow(self, peer: Peer, open_link: Open, heard: Heard) -> None:
        with FaultProxy(peer.port) as proxy:
            proxy.delay_s = 0.05
            link = open_link(port=proxy.port)
            order = make_order("o")
            link.submit(order)
            peer.wait_received(1)
            peer.accept(order)
            heard.wait(OrderAccepted)
            assert not heard.of(VenueDown, OrderUnknown)

    def test_nobody_there_at_first(self, peer: Peer, heard: Heard) -> None:
        peer.stop()
        link = peer.link(heard.on_bad_answer)
        link.open(heard.report)
        heard.wait(VenueDown)
        peer.start()
        heard.wait(VenueUp)
        link.close(timeout_s=10)
