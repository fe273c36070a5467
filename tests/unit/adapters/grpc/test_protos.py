"""The generated messages are those of the definitions, and the contract is the agreed one."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from grpc_tools import protoc

from adapters.grpc.pb import order_pb2

ROOT = Path(__file__).parents[4]
PROTOS, PB = ROOT / "protos", ROOT / "adapters" / "grpc" / "pb"


@pytest.mark.req("R198")
def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    outs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", f"--proto_path={PROTOS}", *outs, *sources]) == 0
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    there = {path.relative_to(PB): path.read_text() for path in PB.rglob("*_pb2.py*")}
    assert made.keys() == there.keys()
    assert len(made) == 2 * len(sources)
    assert made == there, "run make protos"


@pytest.mark.req("D8")
def test_the_order_service_is_the_agreed_contract() -> None:
    file = order_pb2.DESCRIPTOR
    assert file.package == "order"
    (service,) = file.services_by_name.values()
    assert service.full_name == "order.OrderService"
    (method,) = service.methods
    assert (method.name, method.input_type.name, method.output_type.name) == (
        "StreamOrders",
        "OrderRequest",
        "OrderResponse",
    )
    assert method.client_streaming
    assert method.server_streaming
    numbers = {
        name: {value.name: value.number for value in enum.values}
        for name, enum in file.enum_types_by_name.items()
    }
    assert numbers == {
        "Side": {"BUY": 0, "SELL": 1},
        "OrderType": {"LIMIT": 0, "MARKET": 1},
        "OrderStatus": {
            "PENDING": 0,
            "ACCEPTED": 1,
            "REJECTED": 2,
            "PARTIALLY_FILLED": 3,
            "FILLED": 4,
            "CANCELLED": 5,
        },
    }
    text, whole, real, enum = (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_ENUM,
    )
    fields = {
        message.name: [(f.name, f.number, f.type) for f in message.fields]
        for message in file.message_types_by_name.values()
    }
    assert fields == {
        "OrderRequest": [
            ("id", 1, text),
            ("symbol", 2, text),
            ("side", 3, enum),
            ("type", 4, enum),
            ("price", 5, real),
            ("quantity", 6, whole),
            ("strategy_id", 7, text),
            ("timestamp", 8, whole),
        ],
        "OrderResponse": [
            ("order_id", 1, text),
            ("request_id", 2, text),
            ("status", 3, enum),
            ("filled_price", 4, real),
            ("filled_quantity", 5, whole),
            ("message", 6, text),
            ("timestamp", 7, whole),
        ],
    }
