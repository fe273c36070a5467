"""Answers that no venue should give: each is a named dead letter, and the stream goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from adapters.grpc.plain import request_id
from engine.domain.events import OrderAccepted, OrderFilled, OrderRejected, OrderUnknown, VenueDown
from engine.ports import VenueLink
from tests.integration.peers import COIN, ExtendedPeer, PlainPeer
from tests.integration.rig import Heard, make_order, opened

ORDER = make_order("o")
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def plain() -> Iterator[PlainPeer]:
    peer = PlainPeer()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def extended() -> Iterator[ExtendedPeer]:
    peer = ExtendedPeer()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def plain_link(plain: PlainPeer, heard: Heard) -> Iterator[VenueLink]:
    link = plain.link(heard.on_bad_answer)
    yield opened(link, heard)
    link.close(timeout_s=10)


@pytest.fixture
def extended_link(extended: ExtendedPeer, heard: Heard) -> Iterator[VenueLink]:
    link = extended.link(heard.on_bad_answer)
    yield opened(link, heard)
    link.close(timeout_s=10)


def said(status: int, quantity: int = 0, price: float = 0.0, **fields: Any) -> bytes:
    """Make a response to ``ORDER``; open enumerations take any number."""
    response = order_pb2.OrderResponse(
        request_id=request_id("o"), filled_quantity=quantity, filled_price=price, **fields
    )
    response.status = status  # type: ignore[assignment]
    return response.SerializeToString()


FILLS = order_pb2.PARTIALLY_FILLED
PLAIN = {
    "no message at all": (b"\xff\xff\xff", "UNPARSABLE", False),
    "text that is not UTF-8": (b"\x12\x02\xff\xfe", "UNPARSABLE", False),
    "an empty message": (b"", "UNKNOWN_ORDER", False),
    "an order never sent": (
        order_pb2.OrderResponse(request_id=request_id("x"), status=FILLS).SerializeToString(),
        "UNKNOWN_ORDER",
        False,
    ),
    "our own id instead of the UUID": (
        order_pb2.OrderResponse(request_id="o", status=FILLS).SerializeToString(),
        "UNKNOWN_ORDER",
        False,
    ),
    "a status beyond the contract": (said(17), "BAD_STATUS", True),
    "a negative status": (said(-1), "BAD_STATUS", True),
    "a fill of nothing": (said(FILLS), "BAD_QUANTITY", True),
    "a fill of less than nothing": (said(FILLS, -5, 10.0), "BAD_QUANTITY", True),
    "a price that is not a number": (said(FILLS, 5, NAN), "BAD_PRICE", True),
    "an infinite price": (said(FILLS, 5, INF), "BAD_PRICE", True),
    "a price of nothing": (said(FILLS, 5, 0.0), "BAD_PRICE", True),
    "a negative price": (said(FILLS, 5, -10.0), "BAD_PRICE", True),
    "a price below half a unit": (said(FILLS, 5, 0.001), "BAD_PRICE", True),
    "a price beyond all bounds": (said(FILLS, 5, 1e300), "BAD_PRICE", True),
    "filled, but not all of it": (said(order_pb2.FILLED, 5, 10.0), "FILLED_SHORT", True),
}


@pytest.mark.req("D8", "P3", "P22")
@pytest.mark.parametrize("name", PLAIN)
def test_a_hostile_response(
    name: str, plain: PlainPeer, plain_link: VenueLink, heard: Heard
) -> None:
    raw, code, is_ours = PLAIN[name]
    plain_link.submit(ORDER)
    plain.wait_received(1)
    plain.send_raw(raw)
    bad = heard.wait_bad()
    assert (bad.code, bad.raw, bad.client_order_id) == (code, raw, "o" if is_ours else None)
    assert bad.detail
    plain.accept(ORDER)
    heard.wait(OrderAccepted)
    assert [event.reason for event in heard.of(OrderUnknown)] == ([code] if is_ours else [])
    assert not heard.of(OrderRejected, VenueDown)
    assert plain_link.counts == {code: 1}  # type: ignore[attr-defined]


@pytest.mark.req("P3")
@pytest.mark.parametrize("partly", [False, True])
def test_an_order_that_became_unknown_is_known_again_by_the_next_word(
    plain: PlainPeer, plain_link: VenueLink, heard: Heard, partly: bool
) -> None:
    plain_link.submit(ORDER)
    plain.wait_received(1)
    plain.accept(ORDER)
    if partly:
        plain.fill(ORDER, 40, 1_000)
    plain.send_raw(said(17))
    heard.wait(OrderUnknown)
    plain.repeat(ORDER)
    heard.wait(OrderAccepted, 2)
    assert len(heard.of(OrderFilled)) == partly


@pytest.mark.req("D8")
def test_a_quantity_beyond_all_bounds_of_a_fraction(
    plain: PlainPeer, plain_link: VenueLink, heard: Heard
) -> None:
    plain_link.submit(make_order("o", symbol="C", order_qty=COIN.quantity_unit))
    plain.wait_received(1)
    plain.send_raw(said(FILLS, 2**62, 10.0))
    assert heard.wait_bad().code == "BAD_QUANTITY"


@pytest.mark.req("D8")
def test_old_totals_and_strange_times_do_no_harm(
    plain: PlainPeer, plain_link: VenueLink, heard: Heard
) -> None:
    plain_link.submit(ORDER)
    plain.wait_received(1)
    seconds = 1_700_000_000
    plain.send_raw(said(FILLS, 50, 10.0, timestamp=seconds))
    plain.send_raw(said(FILLS, 20, 10.0, timestamp=seconds * 1_000))  # overtaken by the other
    plain.send_raw(said(FILLS, 60, 10.0, timestamp=seconds * 1_000))
    plain.send_raw(said(FILLS, 70, 10.0, timestamp=seconds * 1_000_000))
    plain.send_raw(said(FILLS, 80, 10.0, timestamp=-1))
    heard.wait(OrderFilled, 4)
    fills = heard.of(OrderFilled)
    assert [fill.cum_qty for fill in fills] == [50, 60, 70, 80]
    assert {fill.ts_event for fill in fills} == {seconds * 10**9}
    assert not heard.bad


def report(**fields: Any) -> bytes:
    return oms_pb2.Report(**fields).SerializeToString()


def executed(**changes: Any) -> bytes:
    fields = {
        "client_order_id": "o",
        "exec_id": "E1",
        "last_quantity": "5",
        "last_price": "10",
        "commission": "0",
        "liquidity": oms_pb2.LIQUIDITY_MAKER,
    }
    return report(executed=oms_pb2.Executed(**{**fields, **changes}))


EXTENDED = {
    "no message at all": (b"\xff\xff\xff", "UNPARSABLE", False),
    "an empty message": (b"", "UNEXPECTED", False),
    "a second welcome": (report(welcome=oms_pb2.Welcome()), "UNEXPECTED", False),
    "an order never sent": (
        report(accepted=oms_pb2.Accepted(client_order_id="x")),
        "UNKNOWN_ORDER",
        False,
    ),
    "an execution without an id": (executed(exec_id=""), "BAD_EXEC_ID", True),
    "an endless execution id": (executed(exec_id="E" * 1_000), "BAD_EXEC_ID", True),
    "no quantity": (executed(last_quantity=""), "BAD_QUANTITY", True),
    "a quantity of nothing": (executed(last_quantity="0"), "BAD_QUANTITY", True),
    "a negative quantity": (executed(last_quantity="-5"), "BAD_QUANTITY", True),
    "a part of a share": (executed(last_quantity="0.5"), "BAD_QUANTITY", True),
    "an endless quantity": (executed(last_quantity="9" * 5_000), "BAD_QUANTITY", True),
    "a price that is not a number": (executed(last_price="NaN"), "BAD_PRICE", True),
    "an exponent that fills the memory": (executed(last_price="1e999999999"), "BAD_PRICE", True),
    "a price finer than the tick": (executed(last_price="10.001"), "BAD_PRICE", True),
    "digits of another script": (executed(last_price="\u0661\u0660"), "BAD_PRICE", True),
    "no commission": (executed(commission="x"), "BAD_COMMISSION", True),
    "no liquidity": (executed(liquidity=0), "BAD_LIQUIDITY", True),
    "a replacement to nothing": (
        report(replaced=oms_pb2.Replaced(client_order_id="o", quantity="0")),
        "BAD_QUANTITY",
        True,
    ),
    "a replacement to no price": (
        report(replaced=oms_pb2.Replaced(client_order_id="o", quantity="1", limit_price="-1")),
        "BAD_PRICE",
        True,
    ),
}


@pytest.mark.req("P3", "P22")
@pytest.mark.parametrize("name", EXTENDED)
def test_a_hostile_report(
    name: str, extended: ExtendedPeer, extended_link: VenueLink, heard: Heard
) -> None:
    raw, code, is_ours = EXTENDED[name]
    extended_link.submit(ORDER)
    extended.wait_received(1)
    extended.send_raw(raw)
    bad = heard.wait_bad()
    assert (bad.code, bad.client_order_id) == (code, "o" if is_ours else None)
    assert bad.raw == raw[:4096]
    extended.accept(ORDER)
    heard.wait(OrderAccepted)
    assert [event.reason for event in heard.of(OrderUnknown)] == ([code] if is_ours else [])
    assert not heard.of(OrderRejected, VenueDown)


def test_an_execution_that_was_another_one_before(
    extended: ExtendedPeer, extended_link: VenueLink, heard: Heard
) -> None:
    extended_link.submit(ORDER)
    extended.wait_received(1)
    extended.send_raw(executed())
    extended.send_raw(executed(last_price="11"))
    assert heard.wait_bad().code == "CHANGED_EXECUTION"
    assert len(heard.of(OrderFilled)) == 1


def test_a_long_speech_is_cut(plain: PlainPeer, plain_link: VenueLink, heard: Heard) -> None:
    plain_link.submit(ORDER)
    plain.wait_received(1)
    plain.reject(ORDER, "no " * 10_000)
    assert len(heard.wait(OrderRejected).reason) == 1_000
