"""Answers that no broker should give: each is told by its name, and the link goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine.domain.commands import CancelOrder
from engine.domain.events import OrderAccepted, OrderFilled, OrderRejected, OrderUnknown, VenueDown
from engine.ports import VenueLink
from tests.integration.alpaca import AlpacaPeer, stamp
from tests.integration.peers import NOW
from tests.integration.rig import Heard, make_order, opened

ORDER = make_order("o")
POST = ("POST", "/v2/orders")
LIST = ("GET", "/v2/orders")
FILLS = ("GET", "/v2/account/activities/FILL")
HUGE = "9" * 5_000


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def peer() -> Iterator[AlpacaPeer]:
    made = AlpacaPeer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def link(peer: AlpacaPeer, heard: Heard) -> Iterator[VenueLink]:
    made = peer.link(heard.on_bad_answer, timeout=1.0)
    yield opened(made, heard)
    made.close(timeout_s=10)


def order(**changes: Any) -> bytes:
    """Make the answer to ORDER."""
    said = {
        "id": "V-o", "client_order_id": "o", "symbol": "A", "side": "buy", "status": "new",
        "qty": "100", "filled_qty": "0", "limit_price": "10", "submitted_at": stamp(NOW),
    }  # fmt: skip
    return msgspec.json.encode({**said, **changes})


ANSWERS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"<html>", "UNPARSABLE"),
    "nothing": (b"", "UNPARSABLE"),
    "half of it": (order()[:-9], "UNPARSABLE"),
    "text that is not UTF-8": (order().replace(b"new", b"\xff\xfe"), "UNPARSABLE"),
    "endless nesting": (b"[" * 100_000, "UNPARSABLE"),
    "another kind of thing": (b"[]", "UNPARSABLE"),
    "a number as text": (order(id=7), "UNPARSABLE"),
    "text as a number": (order(qty=100), "UNPARSABLE"),
    "a quantity that is a double": (order(filled_qty=0.1), "UNPARSABLE"),
    "a bare NaN": (order().replace(b'"100"', b"NaN"), "UNPARSABLE"),
    "no status": (order(status=None), "UNPARSABLE"),
    "a status beyond the contract": (order(status="exploded"), "BAD_STATUS"),
    "another client order id": (order(client_order_id="p"), "UNKNOWN_ORDER"),
    "another symbol": (order(symbol="B"), "OTHER_ORDER"),
    "the other side": (order(side="sell"), "OTHER_ORDER"),
    "another quantity": (order(qty="99"), "OTHER_ORDER"),
    "no quantity": (order(qty=None), "BAD_QUANTITY"),
    "a quantity that is not a number": (order(qty="NaN"), "BAD_QUANTITY"),
    "a part of a share": (order(qty="100.5"), "BAD_QUANTITY"),
    "an endless quantity": (order(qty=HUGE), "BAD_QUANTITY"),
    "an exponent that fills the memory": (order(filled_qty="1e999999999"), "BAD_QUANTITY"),
    "less than nothing filled": (order(filled_qty="-1"), "BAD_QUANTITY"),
    "filled, but not all of it": (order(status="filled"), "FILLED_SHORT"),
    "replaced by all orders": (order(status="replaced", replaced_by="."), "BAD_ID"),
    "replaced by itself": (order(status="replaced", replaced_by="V-o"), "BAD_CHAIN"),
    "replaced by nothing": (order(status="replaced", replaced_by="V-x"), "HTTP_404"),
}


@pytest.mark.req("P3", "P22")
@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_to_an_order(
    name: str, peer: AlpacaPeer, link: VenueLink, heard: Heard
) -> None:
    body, code = ANSWERS[name]
    peer.put(ORDER)
    peer.say(*POST, 200, body)
    link.submit(ORDER)
    bad = heard.wait_bad()
    assert (bad.code, bad.client_order_id) == (code, "o")
    assert bad.detail
    peer.accept(ORDER)
    heard.wait(OrderAccepted)
    assert [event.reason for event in heard.of(OrderUnknown)] == [code]
    assert not heard.of(OrderRejected, VenueDown, OrderFilled)


@pytest.mark.parametrize("hostile", ["", "..", "../account", "V-o/../V-p", "x" * 500])
def test_a_hostile_id_leads_to_no_other_order(
    hostile: str, peer: AlpacaPeer, link: VenueLink, heard: Heard
) -> None:
    peer.say(*POST, 200, order(id=hostile))
    link.submit(ORDER)
    heard.wait(OrderAccepted)
    link.cancel(CancelOrder("o", "s", NOW))
    heard.wait(OrderUnknown)
    assert heard.bad
    paths = {path for method, path, _, _ in peer.requests if method == "DELETE"}
    assert all(path.startswith("/v2/orders/") and len(path) > 11 for path in paths)


EXECUTIONS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "no id": ({"id": ""}, "BAD_EXEC_ID", True),
    "an endless id": ({"id": "E" * 1_000}, "BAD_EXEC_ID", True),
    "no text": ({"price": 10.5}, "UNPARSABLE", False),
    "no order": ({"order_id": None}, "UNPARSABLE", False),
    "an order never sent": ({"order_id": "V-x"}, "UNKNOWN_ORDER", False),
    "another symbol": ({"symbol": "B"}, "OTHER_ORDER", True),
    "the other side": ({"side": "sell"}, "OTHER_ORDER", True),
    "nothing": ({"qty": "0"}, "BAD_QUANTITY", True),
    "less than nothing": ({"qty": "-5"}, "BAD_QUANTITY", True),
    "a part of a share": ({"qty": "0.5"}, "BAD_QUANTITY", True),
    "an endless quantity": ({"qty": HUGE}, "BAD_QUANTITY", True),
    "digits of another script": ({"qty": "\u0661"}, "BAD_QUANTITY", True),
    "a price that is not a number": ({"price": "NaN"}, "BAD_PRICE", True),
    "an infinite price": ({"price": "inf"}, "BAD_PRICE", True),
    "a price of nothing": ({"price": "0"}, "BAD_PRICE", True),
    "a negative price": ({"price": "-10"}, "BAD_PRICE", True),
    "a price below half a unit": ({"price": "0.001"}, "BAD_PRICE", True),
    "a price beyond all bounds": ({"price": HUGE}, "BAD_PRICE", True),
    "an exponent that fills the memory": ({"price": "1e999999999"}, "BAD_PRICE", True),
}


@pytest.mark.req("P3", "P22")
@pytest.mark.parametrize("name", EXECUTIONS)
def test_a_hostile_execution(name: str, peer: AlpacaPeer, link: VenueLink, heard: Heard) -> None:
    changes, code, is_ours = EXECUTIONS[name]
    link.submit(ORDER)
    peer.wait_received(1)
    peer.accept(ORDER)
    heard.wait(OrderAccepted)
    with peer.at_once():
        peer.fill(ORDER, 5, 1_000)
        peer.activities[0].update(changes)
        peer.fill(ORDER, 7, 1_000)
        peer.orders["V-o"]["filled_qty"] = "7"
    bad = heard.wait_bad()
    assert (bad.code, bad.client_order_id) == (code, "o" if is_ours else None)
    assert heard.wait(OrderFilled).signed_qty == 7
    assert not heard.of(OrderRejected, VenueDown)


@pytest.mark.req("P6")
def test_an_execution_that_was_another_one_before(
    peer: AlpacaPeer, link: VenueLink, heard: Heard
) -> None:
    link.submit(ORDER)
    peer.wait_received(1)
    peer.accept(ORDER)
    peer.fill(ORDER, 5, 1_000)
    heard.wait(OrderFilled)
    with peer.at_once():
        peer.activities.append({**peer.activities[0], "price": "11"})
        peer.fill(ORDER, 7, 1_000)
    heard.wait(OrderFilled, 2)
    assert [bad.code for bad in heard.bad] == ["CHANGED_EXECUTION"]
    assert {fill.last_px for fill in heard.of(OrderFilled)} == {1_000}


LISTS: dict[str, tuple[tuple[str, str], int, bytes, str]] = {
    "orders that are no JSON": (LIST, 200, b"{", "UNPARSABLE"),
    "orders that are no list": (LIST, 200, b"{}", "UNPARSABLE"),
    "an order that is none": (LIST, 200, b"[1]", "UNPARSABLE"),
    "no orders for now": (LIST, 503, b"", "HTTP_503"),
    "executions that are no JSON": (FILLS, 200, b"\xff", "UNPARSABLE"),
    "executions that are no list": (FILLS, 200, b"null", "UNPARSABLE"),
    "an execution that is none": (FILLS, 200, b"[{}]", "UNPARSABLE"),
    "no executions for now": (FILLS, 500, b"", "HTTP_500"),
}


@pytest.mark.req("P3", "P22")
@pytest.mark.parametrize("name", LISTS)
def test_a_hostile_list(name: str, peer: AlpacaPeer, link: VenueLink, heard: Heard) -> None:
    path, status, body, code = LISTS[name]
    link.submit(ORDER)
    peer.wait_received(1)
    peer.accept(ORDER)
    heard.wait(OrderAccepted)
    peer.say(*path, status, body)
    peer.fill(ORDER, 5, 1_000)
    bad = heard.wait_bad()
    assert (bad.code, bad.client_order_id) == (code, None)
    assert heard.wait(OrderFilled).signed_qty == 5
    assert not heard.of(OrderUnknown, VenueDown)
    assert len(heard.bad) == 1


def test_what_is_in_every_list_is_told_once(
    peer: AlpacaPeer, link: VenueLink, heard: Heard
) -> None:
    link.submit(ORDER)
    peer.wait_received(1)
    peer.put(make_order("legs"), symbol=None, side=None, qty=None, status="new")  # not ours
    peer.put(make_order("odd"), qty=7, status="new")
    peer.activities.append({"id": "9::9", "order_id": 7})  # type: ignore[dict-item]
    peer.activities[0]["transaction_time"] = stamp(NOW + 10**12)
    peer.accept(ORDER)
    peer.fill(ORDER, 5, 1_000)
    heard.wait(OrderFilled)
    looks = peer.count(*LIST)
    peer.fill(ORDER, 5, 1_000)
    heard.wait(OrderFilled, 2)
    peer.wait_until(lambda: peer.count(*LIST) > looks + 2)
    assert [bad.code for bad in heard.bad] == ["UNPARSABLE", "UNPARSABLE"]


def test_a_long_speech_is_cut(peer: AlpacaPeer, link: VenueLink, heard: Heard) -> None:
    link.submit(ORDER)
    peer.wait_received(1)
    peer.reject(ORDER, "no " * 10_000)
    assert len(heard.wait(OrderRejected).reason) <= 1_000
