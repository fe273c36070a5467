"""The link to a gateway: the contract of every gateway, and what only HTTP can do wrong."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from adapters.http import wire
from engine.domain.commands import CancelOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    OrdersWorking,
    OrderUnknown,
    VenueDown,
    VenueUp,
)
from engine.domain.orders import OrderType
from engine.errors import ConfigError
from engine.ports import VenueLink
from engine.sections import RetryConfig
from tests.integration.http_peer import HttpPeer, PlainHttpPeer
from tests.integration.peers import NOW
from tests.integration.rig import Heard, make_order, opened

ORDER = make_order("o", confidence=0.75)
FUNDS = b'{"error":"Insufficient funds"}'
OPEN = (408, 409, 425, 429)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def plain() -> Iterator[PlainHttpPeer]:
    peer = PlainHttpPeer()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def linked() -> Iterator[HttpPeer]:
    peer = HttpPeer()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def plain_link(plain: PlainHttpPeer, heard: Heard) -> Iterator[VenueLink]:
    link = plain.link(heard.on_bad_answer, timeout=1.0, sessions={"s": "S-1"}, token="secret")
    yield opened(link, heard)
    link.close(timeout_s=10)


@pytest.fixture
def link(linked: HttpPeer, heard: Heard) -> Iterator[VenueLink]:
    link = linked.link(heard.on_bad_answer, timeout=1.0)
    yield opened(link, heard)
    link.close(timeout_s=10)


@pytest.mark.req("D9", "R35", "R46")
class TestTheContractOfEveryGateway:
    def test_an_order_goes_in_its_words(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        plain_link.submit(ORDER)
        heard.wait(OrderAccepted)
        path, body, headers = plain.requests[-1]
        assert path == "/internal/execute"
        assert (headers["idempotency-key"], headers["authorization"]) == ("o", "Bearer secret")
        assert msgspec.json.decode(body) == {
            "sessionId": "S-1",
            "strategyId": "s",
            "symbol": "A",
            "action": "BUY",
            "price": 10.0,
            "qty": 100,
            "quantity": 100,
            "confidence": 0.75,
            "clientOrderId": "o",
        }

    def test_a_market_order_goes_with_the_latest_price(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        order = make_order("é/1", order_type=OrderType.MARKET, limit_px=None)
        plain_link.submit(order)
        assert heard.wait(OrderAccepted).client_order_id == "é/1"
        _, body, headers = plain.requests[-1]
        assert b'"price":12.34,' in body
        assert headers["idempotency-key"] == "%C3%A9/1"

    def test_fractions_keep_their_digits(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        plain_link.submit(make_order("o", symbol="C", order_qty=12_345))
        heard.wait(OrderAccepted)
        assert b'"qty":1.2345,"quantity":1.2345' in plain.requests[-1][1]

    @pytest.mark.req("R40", "R42")
    def test_the_answer_may_carry_the_fill(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        filled = b'{"orderId":"V","status":"FILLED","filledQty":100,"filledAvgPrice":9.995}'
        plain.answers.append((201, filled))
        plain_link.submit(ORDER)
        fill = heard.wait(OrderFilled)
        assert heard.of(OrderAccepted)[0].venue_order_id == "V"
        assert (fill.exec_id, fill.signed_qty, fill.last_px, fill.leaves_qty) == (
            "o:100",
            100,
            1_000,
            0,
        )

    @pytest.mark.req("R39")
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (FUNDS, "Insufficient funds"),
            (b"Insufficient funds", "Insufficient funds"),
            (b'{"code":40310000,"message":"no"}', '{"code":40310000,"message":"no"}'),
            (b'{"message":"no such session"}', "no such session"),
            (b"", "HTTP 400"),
            (b"\xff\n \xfe", "\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"),
        ],
    )
    def test_a_refusal_keeps_its_words(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard, body: bytes, reason: str
    ) -> None:
        plain.answers.append((400, body))
        plain_link.submit(ORDER)
        assert heard.wait(OrderRejected).reason == reason
        assert plain.received == ["o"]

    @pytest.mark.req("P4")
    def test_every_status_has_a_meaning(self, plain: PlainHttpPeer, heard: Heard) -> None:
        """2xx is accepted, 4xx is refused but for four, and the rest leaves it open."""
        link = plain.link(heard.on_bad_answer, retry=RetryConfig(max_attempts=2, backoff_ms=1))
        opened(link, heard)
        for status in range(200, 600):
            order_id = str(status)
            is_open = status in OPEN or not (200 <= status < 300 or 400 <= status < 500)
            expected = OrderUnknown if is_open else OrderAccepted
            expected = OrderRejected if status >= 400 and not is_open else expected
            plain.answers += [(status, b"")] * (2 if is_open else 1)
            before = len(heard.events)
            link.submit(make_order(order_id))
            heard.wait_until(lambda before=before: len(heard.events) > before)  # type: ignore[misc]
            assert type(heard.events[-1]) is expected, status
            assert plain.received.count(order_id) == (2 if is_open else 1), status
        link.close(timeout_s=10)

    def test_an_open_outcome_is_asked_for_with_the_same_key_until_it_is_known(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        plain.answers += [(503, b"busy"), (409, b"in progress")]
        plain_link.submit(ORDER)
        heard.wait(OrderAccepted)
        assert plain.received == ["o", "o", "o"]
        assert len({body for _, body, _ in plain.requests if b"clientOrderId" in body}) == 1

    def test_a_gateway_that_is_gone_leaves_the_order_unknown(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        plain.answers.append((201, b"{}"))
        plain_link.submit(make_order("first"))
        heard.wait(OrderAccepted)
        plain.stop()
        plain_link.submit(ORDER)
        assert heard.wait(OrderUnknown).client_order_id == "o"
        heard.wait(VenueDown)
        plain.start()
        heard.wait(VenueUp, 2)

    def test_what_is_not_in_the_contract_is_refused_by_name(
        self, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
    ) -> None:
        plain_link.submit(ORDER)
        heard.wait(OrderAccepted)
        plain_link.cancel(CancelOrder("o", "s", NOW))
        assert heard.wait(CancelRejected).reason == "VENUE_LACKS_CANCEL"
        plain_link.query(ORDER)
        assert heard.wait(OrderUnknown).reason == "VENUE_LACKS_QUERY"
        plain_link.list_working()
        assert heard.wait(OrdersWorking).refused == "VENUE_LACKS_LIST"
        plain_link.submit(make_order("stop", order_type=OrderType.STOP, stop_px=900))
        assert heard.wait(OrderRejected).reason == "VENUE_LACKS_STOP_ORDERS"
        assert plain.received == ["o"]


BODIES = {
    "no object": (b"[1, 2]", None),
    "no JSON": (b"<html>", None),
    "a fill of another type": (b'{"filledQty":"many"}', None),
    "less than nothing": (b'{"filledQty":-5,"filledAvgPrice":10}', "BAD_FILL"),
    "a fraction of a share": (b'{"filledQty":0.5,"filledAvgPrice":10}', "BAD_FILL"),
    "a fill without a price": (b'{"filledQty":5}', "BAD_FILL"),
    "a price of nothing": (b'{"filledQty":5,"filledAvgPrice":0}', "BAD_FILL"),
    "a price beyond all bounds": (b'{"filledQty":5,"filledAvgPrice":1e300}', "BAD_FILL"),
    "no number": (b'{"filledQty":"NaN","filledAvgPrice":10}', "BAD_FILL"),
    "an exponent without end": (b'{"filledQty":1e999999999,"filledAvgPrice":10}', "BAD_FILL"),
}


@pytest.mark.req("D9", "P22")
@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_of_an_accepted_order(
    name: str, plain: PlainHttpPeer, plain_link: VenueLink, heard: Heard
) -> None:
    body, code = BODIES[name]
    plain.answers.append((201, body))
    plain_link.submit(ORDER)
    heard.wait(OrderAccepted)
    if code is not None:
        assert heard.wait_bad().code == code
        assert heard.wait(OrderUnknown).reason == code
    plain_link.submit(make_order("next"))
    heard.wait(OrderAccepted, 2)
    assert [bad.code for bad in heard.bad] == ([] if code is None else [code])
    assert not heard.of(VenueDown, OrderFilled)


EXECUTED = wire.Executed(client_order_id="o", exec_id="E", last_quantity="5", last_price="10")


def changed(**fields: str) -> bytes:
    return wire.encode(msgspec.structs.replace(EXECUTED, **fields))


LINES = {
    "no JSON": (b"\xff\xff", "UNPARSABLE", False),
    "no report": (b'{"type":"welcome"}', "UNPARSABLE", False),
    "no object": (b"[]", "UNPARSABLE", False),
    "nested without end": (b"[" * 5_000, "UNPARSABLE", False),
    "a wrong type": (b'{"type":"accepted","clientOrderId":1}', "UNPARSABLE", False),
    "an order never sent": (changed(client_order_id="x"), "UNKNOWN_ORDER", False),
    "a quantity of nothing": (changed(last_quantity="0"), "BAD_QUANTITY", True),
    "a quantity in words": (changed(last_quantity="five"), "BAD_QUANTITY", True),
    "a negative price": (changed(last_price="-10"), "BAD_PRICE", True),
    "a price with an exponent": (changed(last_price="1e3"), "BAD_PRICE", True),
    "a commission in words": (changed(commission="free"), "BAD_COMMISSION", True),
    "a liquidity of its own": (changed(liquidity="NONE"), "BAD_LIQUIDITY", True),
    "an execution without a name": (changed(exec_id=""), "BAD_EXEC_ID", True),
}


@pytest.mark.req("P3", "P22")
@pytest.mark.parametrize("name", LINES)
def test_a_hostile_line(name: str, linked: HttpPeer, link: VenueLink, heard: Heard) -> None:
    raw, code, is_ours = LINES[name]
    link.submit(ORDER)
    linked.wait_received(1)
    linked.send_raw(raw)
    bad = heard.wait_bad()
    assert (bad.code, bad.client_order_id) == (code, "o" if is_ours else None)
    assert bad.raw == raw[:4096]
    linked.accept(ORDER)
    heard.wait(OrderAccepted)
    assert [event.reason for event in heard.of(OrderUnknown)] == ([code] if is_ours else [])
    assert not heard.of(VenueDown, OrderFilled)


@pytest.mark.req("P22")
def test_a_line_without_an_end_is_no_report(
    linked: HttpPeer, link: VenueLink, heard: Heard
) -> None:
    linked.send_raw(b"x" * 200_000)
    assert heard.wait_bad().code == "UNPARSABLE"
    link.submit(ORDER)
    linked.wait_received(1)
    linked.accept(ORDER)
    heard.wait(OrderAccepted)


@pytest.mark.req("P3", "P4")
class TestLinks:
    def test_a_refusal_of_a_call_is_a_rejection(
        self, linked: HttpPeer, link: VenueLink, heard: Heard
    ) -> None:
        linked.answers.append((400, FUNDS))
        link.submit(ORDER)
        assert heard.wait(OrderRejected).reason == "Insufficient funds"

    def test_a_call_whose_outcome_is_left_open_is_unknown(
        self, linked: HttpPeer, link: VenueLink, heard: Heard
    ) -> None:
        linked.answers += [(503, b"")] * 3
        link.submit(ORDER)
        assert heard.wait(OrderUnknown).reason == "HTTP_503"
        link.query(ORDER)
        linked.accept(ORDER)
        heard.wait(OrderAccepted)

    def test_an_end_of_the_reports_is_the_end_of_the_connection(
        self, linked: HttpPeer, link: VenueLink, heard: Heard
    ) -> None:
        link.submit(ORDER)
        linked.wait_received(1)
        linked.send_raw(None)
        assert heard.wait(VenueDown).reason.startswith("STREAM_ENDED")
        assert heard.wait(OrderUnknown).client_order_id == "o"
        heard.wait(VenueUp, 2)

    def test_a_link_that_is_superseded_opens_anew(
        self, linked: HttpPeer, link: VenueLink, heard: Heard
    ) -> None:
        linked.answers.append((410, b""))
        link.submit(ORDER)
        assert heard.wait(VenueDown).reason.startswith("SUPERSEDED")
        heard.wait(VenueUp, 2)


def test_a_certificate_that_cannot_be_used(linked: HttpPeer, heard: Heard) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.root_certificate: cannot use /nowhere"):
        linked.link(heard.on_bad_answer, root_certificate="/nowhere")
