"""When the link to a broker in Alpaca's REST shape may ask, and whether it is let in."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.domain.events import OrderAccepted, OrderUnknown, VenueDown, VenueUp
from engine.errors import ConfigError
from engine.ports import VenueLink
from tests.integration.alpaca import KEYS, AlpacaPeer, error
from tests.integration.peers import WAIT_S
from tests.integration.rig import Heard, make_order, opened

ORDER = make_order("o")
POST = ("POST", "/v2/orders")
LIST = ("GET", "/v2/orders")


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


class TestPace:
    def test_a_broker_that_wants_to_be_left_alone_is(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link()
        accepted(peer, link, heard)
        asked: list[float] = []
        with peer.watched(lambda: asked.append(time.monotonic())):
            peer.say(*LIST, 429, error("too many requests"), Retry_After="1")
            heard.wait_bad()
            peer.wait_until(lambda: any(b - a >= 0.95 for a, b in itertools.pairwise(asked)))
        assert not heard.of(VenueDown, OrderUnknown)

    def test_an_order_that_may_not_leave_in_time_never_leaves(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(timeout=0.4)
        accepted(peer, link, heard)
        peer.say(*LIST, 429, b"", Retry_After="2")
        heard.wait_bad()
        link.submit(make_order("late"))
        assert heard.wait(OrderUnknown).reason == "NO_ANSWER"
        peer.wait_until(lambda: peer.count(*LIST) > 3)
        assert peer.received == ["o"]

    def test_looking_leaves_room_for_orders(
        self, peer: AlpacaPeer, open_link: Open, heard: Heard
    ) -> None:
        link = open_link(requests_per_minute=20)
        accepted(peer, link, heard)
        peer.wait_until(lambda: len(peer.requests) >= 15)
        link.submit(make_order("p"))
        peer.wait_received(2)
        assert len(peer.requests) <= 17


class TestLettingIn:
    def test_refused_keys_are_said_to_be(
        self, peer: AlpacaPeer, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(KEYS, "APCA_API_SECRET_KEY", "another")
        link = peer.link(heard.on_bad_answer)
        monkeypatch.undo()
        link.open(heard.report)
        reason = heard.wait(VenueDown).reason
        assert reason.startswith("UNAUTHORIZED: the broker refuses APCA_API_KEY_ID")
        assert "another" not in reason
        link.close(timeout_s=10)

    def test_keys_that_are_taken_away_end_the_connection(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        peer.say(*POST, 401, error("unauthorized."))
        link.submit(ORDER)
        assert heard.wait(OrderUnknown).reason == "VENUE_DOWN"
        assert "UNAUTHORIZED" in heard.of(VenueDown)[0].reason
        heard.wait(VenueUp, 2)

    @pytest.mark.parametrize(
        ("status", "body", "reason"),
        [
            (503, b"", "UNAVAILABLE"),
            (404, b"<html>", "UNAVAILABLE"),
            (200, b"{}", "NOT_ALPACA"),
            (200, b'{"id": 7, "status": "ACTIVE"}', "NOT_ALPACA"),
            (200, b"\xff\xfe", "NOT_ALPACA"),
        ],
    )
    def test_a_peer_that_is_something_else(
        self, status: int, body: bytes, reason: str, peer: AlpacaPeer, heard: Heard
    ) -> None:
        peer.say("GET", "/v2/account", status, body)
        link = peer.link(heard.on_bad_answer)
        link.open(heard.report)
        assert heard.wait(VenueDown).reason.startswith(reason)
        heard.wait(VenueUp)
        link.close(timeout_s=10)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"url": "https://api.alpaca.markets"}, "alpaca.live = true"),
            ({"url": "https://other.example"}, "alpaca.live = true"),
            ({"url": "http://api.alpaca.markets", "live": True}, "unencrypted"),
            ({"url": "http://paper-api.alpaca.markets"}, "unencrypted"),
        ],
    )
    def test_real_money_needs_a_second_switch(
        self, settings: dict[str, Any], words: str, peer: AlpacaPeer, heard: Heard
    ) -> None:
        with pytest.raises(ConfigError, match=words):
            peer.link(heard.on_bad_answer, **settings)

    def test_with_the_switch_it_may(self, peer: AlpacaPeer, heard: Heard) -> None:
        peer.link(heard.on_bad_answer, url="https://api.alpaca.markets", live=True)

    @pytest.mark.parametrize("name", KEYS)
    @pytest.mark.parametrize("value", ["", "two\nlines"])
    def test_keys_must_be_there(
        self, name: str, value: str, peer: AlpacaPeer, heard: Heard, monkeypatch: Any
    ) -> None:
        monkeypatch.setitem(KEYS, name, value)
        with pytest.raises(ConfigError, match=name):
            peer.link(heard.on_bad_answer)

    @pytest.mark.req("P24")
    def test_an_answer_that_never_ends_is_silence(
        self, peer: AlpacaPeer, link: VenueLink, heard: Heard
    ) -> None:
        began = time.monotonic()
        peer.trickles = True
        heard.wait(VenueDown, timeout_s=WAIT_S)
        peer.trickles = False
        assert heard.moments[heard.events.index(heard.of(VenueDown)[0])] - began < 5
        heard.wait(VenueUp, 2)

    def test_a_session_leaves_no_thread_behind(self, peer: AlpacaPeer, heard: Heard) -> None:
        link = opened(peer.link(heard.on_bad_answer), heard)
        link.close(timeout_s=10)
        deadline = time.monotonic() + WAIT_S
        for thread in threading.enumerate():
            if thread.name.startswith("alpaca-"):
                thread.join(max(deadline - time.monotonic(), 0.0))
                assert not thread.is_alive(), thread
