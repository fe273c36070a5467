"""What is particular to the link over gRPC: encryption, pings, attempts, services that change."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from adapters.grpc.channel import Endpoint
from adapters.grpc.link import GrpcVenueLink
from adapters.grpc.plain import request_id
from engine.config import load_config
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    BadAnswer,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.errors import ConfigError, EngineHaltedError, InvariantError
from engine.sections import OmsGrpcConfig, RetryConfig, TlsConfig
from tests.integration.peers import INSTRUMENTS, NOW, ExtendedPeer, GrpcPeer, PlainPeer
from tests.integration.proxy import FaultProxy
from tests.integration.rig import Heard, make_order, opened

CERTIFICATES = Path(__file__).parent / "certificates"


def certificate(name: str) -> str:
    return str(CERTIFICATES / name)


TRUSTED = {
    "enabled": True,
    "root_certificate": certificate("ca.pem"),
    "client_certificate": certificate("client.pem"),
    "client_key": certificate("client.key"),
    "server_name": "oms.test",
}


@pytest.fixture
def heard() -> Heard:
    return Heard()


@contextmanager
def running(peer: GrpcPeer) -> Iterator[GrpcPeer]:
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


@contextmanager
def linked(
    peer: GrpcPeer, heard: Heard, report: Callable[[Any], None] | None = None, **settings: Any
) -> Iterator[GrpcVenueLink]:
    link = peer.link(heard.on_bad_answer, **settings)
    link.open(report or heard.report)
    try:
        yield link
    finally:
        link.close(timeout_s=10)


# Encryption.


@pytest.fixture
def secret() -> Iterator[GrpcPeer]:
    """A server that shows a certificate and wants one."""
    peer = ExtendedPeer()
    key, chain, root = (
        (CERTIFICATES / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem")
    )
    peer.credentials = grpc.ssl_server_credentials([(key, chain)], root, require_client_auth=True)
    with running(peer):
        yield peer


@pytest.mark.req("P40")
def test_both_sides_show_their_certificates(secret: GrpcPeer, heard: Heard) -> None:
    with linked(secret, heard, tls=TlsConfig(**TRUSTED)) as link:
        heard.wait(VenueUp)
        order = make_order("o")
        link.submit(order)
        secret.wait_received(1)


@pytest.mark.req("P40")
@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False, **dict.fromkeys(list(TRUSTED)[1:])},
        {"root_certificate": None},
        {"server_name": "another.test"},
        {"client_certificate": None, "client_key": None},
    ],
    ids=["plain text", "an authority nobody knows", "another name", "no certificate of ours"],
)
def test_a_peer_that_cannot_be_verified_gets_nothing(
    secret: GrpcPeer, heard: Heard, changes: dict[str, Any]
) -> None:
    with linked(secret, heard, tls=TlsConfig(**{**TRUSTED, **changes})) as link:
        heard.wait(VenueDown, 2)
        link.submit(make_order("o"))
    assert not heard.of(VenueUp)
    assert not secret.received


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"root_certificate": "nowhere.pem"}, "root_certificate: cannot read nowhere.pem: No such"),
        ({"client_key": None}, "client_key is missing"),
        ({"client_certificate": None}, "client_certificate is missing"),
        ({"client_key": __file__}, "is not a PEM file"),
        ({"enabled": False}, "oms_grpc.tls.root_certificate is set and oms_grpc.tls.enabled is"),
    ],
)
def test_files_that_cannot_be_used(tls: dict[str, Any], words: str) -> None:
    if words.startswith("is not"):
        tls = {"client_key": certificate("README.md")}
    with pytest.raises(ConfigError, match=words):
        Endpoint(OmsGrpcConfig(tls=TlsConfig(**{**TRUSTED, **tls})))


@pytest.mark.req("R72", "R73", "R74", "R75", "R76")
def test_the_settings_as_shipped() -> None:
    config = load_config("backtest").oms_grpc
    assert (config.host, config.port, config.timeout) == ("localhost", 50_051, 5)
    assert (config.retry.max_attempts, config.retry.backoff_ms) == (3, 1_000)
    assert Endpoint(config).target == "localhost:50051"
    assert Endpoint(OmsGrpcConfig(host="::1", port=1)).target == "[::1]:1"


# Watching the peer.


@pytest.mark.req("P24", "D8")
def test_any_server_of_the_contract_is_watched_without_pings(heard: Heard) -> None:
    with (
        running(PlainPeer()) as peer,
        FaultProxy(peer.port) as proxy,
        linked(peer, heard, port=proxy.port),
    ):
        heard.wait(VenueUp)
        # Longer than a server as it comes bears pings.
        assert not threading.Event().wait(9)
        assert len(heard.events) == 1
        began = time.monotonic()
        proxy.blackhole()
        heard.wait(VenueDown, timeout_s=6)
        assert time.monotonic() - began < 5


@pytest.mark.req("P24")
def test_a_peer_that_hangs_up_on_pings_is_not_pinged_again(heard: Heard) -> None:
    with (
        running(ExtendedPeer()) as peer,
        FaultProxy(peer.port) as proxy,
        linked(peer, heard, port=proxy.port),
    ):
        assert "pings" in heard.wait(VenueDown).reason.lower()
        heard.wait(VenueUp, 2)
        assert not threading.Event().wait(3)
        assert len(heard.of(VenueDown)) == 1
        began = time.monotonic()
        proxy.blackhole()
        heard.wait(VenueDown, 2, timeout_s=6)
        assert time.monotonic() - began < 5


# Attempts.


@pytest.mark.req("D8", "R76")
def test_attempts_are_spaced_and_told_when_there_have_been_enough(heard: Heard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        moments: list[float] = []
        enough = threading.Event()

        def hang_up() -> None:
            for _ in range(5):
                connection, _ = listener.accept()
                moments.append(time.monotonic())
                connection.close()
            enough.set()

        threading.Thread(target=hang_up, daemon=True).start()
        config = OmsGrpcConfig(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            retry=RetryConfig(max_attempts=3, backoff_ms=100),
        )
        link = make_link(config, heard.on_bad_answer)
        link.open(heard.report)
        assert enough.wait(20)
        heard.wait(VenueDown, 3)
        link.close(timeout_s=10)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert gap > least * 0.9
    # The first failure is news, the second is not, from the third on each is.
    told = [moment - moments[0] for moment in heard.moments]
    assert told[0] < told[1]
    assert told[1] >= 0.27
    assert told[2] >= 0.63


def make_link(config: OmsGrpcConfig, on_bad_answer: Callable[[BadAnswer], None]) -> GrpcVenueLink:
    return GrpcVenueLink(
        config,
        instruments=INSTRUMENTS,
        keep_closed=2,
        on_bad_answer=on_bad_answer,
        now=lambda: NOW,
    )


def test_a_peer_that_does_not_greet(heard: Heard) -> None:
    peer = ExtendedPeer()
    peer.greets = False
    with running(peer), linked(peer, heard, timeout=0.2):
        assert heard.wait(VenueDown).reason.startswith("NO_CONNECTION")
        assert not heard.of(VenueUp)


@pytest.mark.parametrize("answer", [b"\xff\xff", b"", None], ids=["noise", "nothing", "the end"])
def test_a_peer_that_answers_the_greeting_with_something_else(
    heard: Heard, answer: bytes | None
) -> None:
    class Rude(ExtendedPeer):
        def _begin(self, out: Any) -> None:
            out.put(answer)

    with running(Rude()) as peer, linked(peer, heard):
        assert heard.wait(VenueDown).reason.startswith("NO_WELCOME")
        assert not heard.of(VenueUp)


def test_a_peer_that_offers_neither_service(heard: Heard) -> None:
    class Other(PlainPeer):
        path = "/some.Other/Thing"

    with running(Other()) as peer, linked(peer, heard) as link:
        assert heard.wait(VenueDown, 2).reason.startswith("UNIMPLEMENTED")
        link.submit(make_order("o"))
    assert heard.events


def test_a_peer_that_ends_the_stream(heard: Heard) -> None:
    with running(PlainPeer()) as peer, linked(peer, heard) as link:
        heard.wait(VenueUp)
        link.submit(make_order("o"))
        peer.wait_received(1)
        peer.end_stream()
        assert heard.wait(VenueDown).reason.startswith("STREAM_ENDED")
        assert heard.wait(OrderUnknown).reason == "VENUE_DOWN"
        heard.wait(VenueUp, 2)


# Life.


def test_a_link_is_used_between_open_and_close(heard: Heard) -> None:
    with running(PlainPeer()) as peer:
        link = peer.link(heard.on_bad_answer)
        with pytest.raises(EngineHaltedError, match="is not open"):
            link.submit(make_order("o"))
        link.close(timeout_s=1)  # nothing to let go of
        opened(link, heard)
        with pytest.raises(InvariantError, match="opened once"):
            link.open(heard.report)
        link.close(timeout_s=10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_report_that_cannot_be_handed_on_ends_the_link(heard: Heard) -> None:
    def refuse(event: Any) -> None:
        heard.report(event)
        raise EngineHaltedError("no room")

    with running(PlainPeer()) as peer, linked(peer, heard, refuse) as link:
        heard.wait(VenueUp)
        link.close(timeout_s=10)
        with pytest.raises(EngineHaltedError, match="is closed"):
            link.submit(make_order("o"))


def test_what_comes_in_while_the_link_closes_is_answered(heard: Heard) -> None:
    go_on = threading.Event()

    def slow(event: Any) -> None:
        heard.report(event)
        assert go_on.wait(20)

    with running(PlainPeer()) as peer, linked(peer, heard, slow) as link:
        heard.wait(VenueUp)
        with pytest.raises(TimeoutError, match="did not end within"):
            link.close(timeout_s=0.05)
        link.submit(make_order("o"))  # after the last message, and never sent
        link.list_working()
        go_on.set()
        assert heard.wait(OrderNotFound).client_order_id == "o"
        assert heard.wait(OrdersWorking).refused == "VENUE_DOWN"
    assert not peer.received


# Requests that end otherwise.


def test_a_list_that_nobody_gives(heard: Heard) -> None:
    peer = ExtendedPeer()
    peer.answers_lists = False
    with running(peer), linked(peer, heard, timeout=0.2) as link:
        heard.wait(VenueUp)
        link.list_working()
        assert heard.wait(OrdersWorking).refused == "NO_ANSWER"
        link.list_working()
        peer.wait_requests(2)
        peer.stop()
        assert heard.wait(OrdersWorking, 2).refused == "VENUE_DOWN"


def test_orders_that_the_link_has_not_been_told_of(heard: Heard) -> None:
    with running(ExtendedPeer()) as peer, linked(peer, heard) as link:
        heard.wait(VenueUp)
        link.cancel(CancelOrder("o", "s", NOW))
        assert heard.wait(CancelRejected).reason == "UNKNOWN_ORDER"
        link.replace(ReplaceOrder("o", "s", NOW, order_qty=1))
        assert heard.wait(ReplaceRejected).reason == "UNKNOWN_ORDER"
        link.query(make_order("o", symbol="NOPE"))
        assert heard.wait(OrderUnknown).reason == "UNKNOWN_SYMBOL"
    assert not peer.requests


@pytest.mark.req("P3")
def test_an_order_that_may_have_left_is_never_said_not_to_have(heard: Heard) -> None:
    with running(PlainPeer()) as peer, linked(peer, heard, timeout=0.2) as link:
        heard.wait(VenueUp)
        order = make_order("o")
        link.submit(order)
        assert heard.wait(OrderUnknown).reason == "NO_ANSWER"
        peer.stop()
        heard.wait(VenueDown)
        link.submit(order)
        assert heard.wait(OrderUnknown, 2).reason == "VENUE_DOWN"
    assert not heard.of(OrderNotFound)


# Ids and memory.


@pytest.mark.req("D8", "D17")
def test_the_uuid_of_an_order_is_a_pure_function() -> None:
    assert request_id("SmaCross:IBM:113:1") == "83c4fdce-09b8-5255-a6ff-aee481b6c4c8"
    assert request_id("a") != request_id("b")


@pytest.mark.req("D14")
def test_reduce_only_orders_may_be_sent_plain(heard: Heard) -> None:
    with running(PlainPeer()) as peer, linked(peer, heard, reduce_only="plain") as link:
        heard.wait(VenueUp)
        link.submit(make_order("o", reduce_only=True))
        peer.wait_received(1)


def test_totals_go_on_from_what_an_earlier_process_has_booked(heard: Heard) -> None:
    with running(PlainPeer()) as peer:
        order = make_order("o")
        with linked(peer, heard) as first:
            heard.wait(VenueUp)
            first.submit(order)
            peer.wait_received(1)
            peer.fill(order, 40, 1_000)
            booked = heard.wait(OrderFilled)
        with linked(peer, heard) as second:
            heard.wait(VenueUp, 2)
            second.query(order, [booked])
            other = make_order("other")
            second.submit(other)
            peer.wait_received(2)
            peer.repeat(order)
            peer.fill(order, 60, 1_100)
            fill = heard.wait(OrderFilled, 2)
    assert (fill.exec_id, fill.signed_qty, fill.last_px) == ("o:100", 60, 1_100)


@pytest.mark.req("P3")
def test_not_found_at_another_service_proves_nothing(heard: Heard) -> None:
    order = make_order("o")
    peer: GrpcPeer = PlainPeer()
    with running(peer), linked(peer, heard) as link:
        heard.wait(VenueUp)
        link.submit(order)
        peer.wait_received(1)
        peer.accept(order)
        heard.wait(OrderAccepted)
        peer.stop()
        successor = ExtendedPeer()
        successor.port = peer.port
        with running(successor):
            heard.wait(VenueUp, 2)
            link.query(order)
            assert heard.wait(OrderUnknown).reason == "SENT_OVER_ANOTHER_SERVICE"


def test_ended_orders_are_forgotten_in_turn(heard: Heard) -> None:
    with running(ExtendedPeer()) as peer:
        config = OmsGrpcConfig(host="127.0.0.1", port=peer.port)
        link = opened(make_link(config, heard.on_bad_answer), heard)
        orders = [make_order(str(number)) for number in range(4)]
        for number, order in enumerate(orders, start=1):
            link.submit(order)
            peer.wait_received(number)
            if number > 1:
                peer.cancel(order)
                heard.wait(OrderCanceled, number - 1)
        peer.repeat(orders[1])  # keep_closed is two: this one is the third
        assert heard.wait_bad().code == "UNKNOWN_ORDER"
        peer.repeat(orders[2])
        peer.accept(orders[0])  # open all the time
        heard.wait(OrderAccepted)
        assert len(heard.bad) == 1
        link.close(timeout_s=10)
