"""Good messages with something wrong in them, at every boundary: used, or refused with a name.

A few thousand each here; ``make test-deep`` makes a million in all, from a fresh seed.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from adapters.grpc.extended import ExtendedDialect
from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from adapters.grpc.plain import PlainDialect, request_id
from adapters.http import wire
from adapters.http.calls import Answer, Call, Line
from adapters.http.extended import ExtendedDialect as HttpExtendedDialect
from adapters.http.plain import PlainDialect as HttpPlainDialect
from adapters.http.writer import MalformedError, Writer
from engine.domain.approved_wire import read_approved
from engine.domain.control_wire import read_control
from engine.domain.market_wire import RejectedError
from engine.link.dialect import OrderTable, SentOrder, Unreadable
from tests.integration.peers import INSTRUMENTS, NOW, SHARE
from tests.integration.rig import make_order
from tests.unit.domain.test_approved_wire import MESSAGE as APPROVED
from tests.unit.domain.test_market_wire import BAR, QUOTE, TRADE, reader, text

IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
COUNT = 130_000 if IS_DEEP else 2_500

Handle = Callable[[bytes], str]
"""Reads a message; gives what became of it, in a word."""


def market(kind: str, base: dict[str, Any]) -> tuple[list[bytes], Handle]:
    reading = reader(kind)

    def handle(raw: bytes) -> str:
        try:
            return "used" if reading.read(raw) is not None else "nobody's"
        except RejectedError as error:
            return error.code.name

    return [text(base)], handle


def control() -> tuple[list[bytes], Handle]:
    def handle(raw: bytes) -> str:
        try:
            read_control(raw)
        except RejectedError as error:
            return error.code.name
        return "used"

    return [b'{"action":"subscribe","symbol":"IBM","type":"stock","strategyId":"s"}'], handle


def approvals() -> tuple[list[bytes], Handle]:
    def handle(raw: bytes) -> str:
        try:
            read_approved(raw, refuse_unknown=False)
        except RejectedError as error:
            return error.code.name
        return "used"

    return [json.dumps(APPROVED).encode()], handle


def table(name: Callable[[str], str]) -> OrderTable:
    orders = OrderTable(100, name)
    orders.add(SentOrder(make_order("o"), SHARE))
    return orders


def read_by(dialect: Any, wrap: Callable[[bytes], Any]) -> Handle:
    def handle(raw: bytes) -> str:
        reading = dialect.read(wrap(raw), NOW)
        codes = [event.code for _, event in reading if isinstance(event, Unreadable)]
        return codes[0] if codes else "used"

    return handle


def grpc_extended() -> tuple[list[bytes], Handle]:
    said = {"client_order_id": "o", "timestamp": NOW}
    executed = oms_pb2.Executed(
        exec_id="E1", last_quantity="30", last_price="10.5", commission="0.1",
        liquidity=oms_pb2.LIQUIDITY_TAKER, **said,
    )  # fmt: skip
    reports = [
        oms_pb2.Report(executed=executed),
        oms_pb2.Report(accepted=oms_pb2.Accepted(venue_order_id="V", **said)),
        oms_pb2.Report(replaced=oms_pb2.Replaced(quantity="5", limit_price="9", **said)),
        oms_pb2.Report(rejected=oms_pb2.Rejected(reason="no", **said)),
    ]
    raws = [report.SerializeToString() for report in reports]
    return raws, read_by(ExtendedDialect(table(str)), bytes)


def grpc_plain() -> tuple[list[bytes], Handle]:
    answer = order_pb2.OrderResponse(
        order_id="V", request_id=request_id("o"), status=order_pb2.PARTIALLY_FILLED,
        filled_price=10.5, filled_quantity=30, message="fine", timestamp=NOW,
    )  # fmt: skip
    raws = [answer.SerializeToString()]
    return raws, read_by(PlainDialect(table(request_id), "refuse"), bytes)


def http_lines() -> tuple[list[bytes], Handle]:
    said: Any = {"client_order_id": "o", "timestamp": NOW}
    reports = [
        wire.Executed(exec_id="E1", last_quantity="30", last_price="10.5", **said),
        wire.Accepted(venue_order_id="V", **said),
        wire.Replaced(quantity="5", limit_price="9", **said),
        wire.Working(client_order_ids=["o"], timestamp=NOW),
    ]
    dialect = HttpExtendedDialect(table(str), {}, lambda symbol: 1)
    return [wire.encode(report) for report in reports], read_by(dialect, Line)


def http_answers() -> tuple[list[bytes], Handle]:
    outcome = b'{"orderId":"V","status":"FILLED","filledQty":100,"filledAvgPrice":9.995}'
    dialect = HttpPlainDialect(table(str), {}, lambda symbol: 1, "refuse")
    call = Call("order", "o", wire.EXECUTE, b"{}")
    return [outcome], read_by(dialect, lambda raw: Answer(call, 201, raw))


def http_orders() -> tuple[list[bytes], Handle]:
    writer = Writer(INSTRUMENTS)

    def handle(raw: bytes) -> str:
        try:
            writer.order(raw, "o")
        except MalformedError:
            return "INVALID_ORDER"
        return "used"

    order = (
        b'{"sessionId":"s","symbol":"A","action":"BUY","price":10.5,"qty":3,"confidence":0.5,'
        b'"orderType":"STOP_LIMIT","limitPrice":"10.5","stopPrice":"11","clientOrderId":"o"}'
    )
    return [order], handle


BOUNDARIES: dict[str, Callable[[], tuple[list[bytes], Handle]]] = {
    "bars": lambda: market("bar", BAR),
    "trades": lambda: market("trade", TRADE),
    "quotes": lambda: market("quote", QUOTE),
    "control": control,
    "approvals": approvals,
    "tetrad.oms.v1.OrderLink": grpc_extended,
    "order.OrderService": grpc_plain,
    "lines of a gateway": http_lines,
    "answers of a gateway": http_answers,
    "orders to a gateway": http_orders,
}
PIECES = [
    b"", b"\x00", b"\xff\xfe", b"null", b"true", b"-1", b"1e999", b"NaN", b"1e-400", b'"', b"[[[[",
    b"{}", b"9" * 40, b"0.1" + b"0" * 30, b"9223372036854775808", b"\\u0000", b"2999-01-01",
    b"1970-01-01T00:00:00Z", b"\xf0\x9f\x92\xa9",
]  # fmt: skip


def spoil(draw: random.Random, raw: bytes) -> bytes:
    """Change a few places of a message, or cut it short."""
    content = bytearray(raw)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(content) + 1)
        until = min(len(content), at + draw.choice((0, 1, 1, 2, 5, 20)))
        how = draw.randrange(4)
        if how == 0:
            content[at:until] = draw.choice(PIECES)
        elif how == 1:
            content[at:until] = draw.randbytes(until - at)
        elif how == 2:
            content[at:at] = content[at:until] * draw.randrange(1, 4)
        else:
            del content[at : draw.choice((until, len(content)))]
    return bytes(content)


@pytest.mark.req("P22", "R14")
@pytest.mark.parametrize("name", BOUNDARIES)
def test_whatever_comes_is_used_or_refused_with_a_name(
    name: str, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.option.hypothesis_seed
    draw = random.Random(f"{seed} {name}")
    good, handle = BOUNDARIES[name]()
    assert [handle(raw) for raw in good] == ["used"] * len(good)
    outcomes: Counter[str] = Counter()
    for _ in range(COUNT):
        raw = spoil(draw, draw.choice(good))
        try:
            outcome = handle(raw)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {name} was broken by {raw!r}") from error
        assert outcome, (seed, raw)
        outcomes[outcome] += 1
    assert len(outcomes) >= 2, outcomes
