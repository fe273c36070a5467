"""The reference system, talked to by a client that keeps to nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from adapters.grpc import server as server_module
from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from engine.config import load_config
from engine.errors import EngineHaltedError
from engine.oms import ReferenceOms, default_speed
from engine.wiring import open_history
from tests.cli.rig import bar_text
from tests.integration.rig import oms_edge

UUID = "0b0f1a52-6a1e-5c4f-9d27-4b9b3a7d5e10"
PLAIN, EXTENDED = "/order.OrderService/StreamOrders", "/tetrad.oms.v1.OrderLink/Trade"
SLOW = 24.0  # a bar takes an hour
FAST = 86_400.0 * 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "A.csv").write_text(bar_text())
    return tmp_path


def serve(folder: Path, speed: float) -> tuple[ReferenceOms, int]:
    config = load_config("backtest", settings={"data.paths": [str(folder)]})
    history = open_history(config)
    system = ReferenceOms(config, history, oms_edge(history), speed=speed)
    system.start()
    return system, system.serve("127.0.0.1", 0)


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    system, port = serve(folder, SLOW)
    yield port
    system.stop()


class Client:
    """One stream of bytes, without the manners of a link."""

    def __init__(self, port: int, path: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._out: SimpleQueue[bytes | None] = SimpleQueue()
        stream: Any = self._channel.stream_stream(path)
        self.call = stream(iter(self._out.get, None), timeout=30)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._out.put(None)
        self._channel.close()

    def say(self, message: Any) -> None:
        self._out.put(message if isinstance(message, bytes) else message.SerializeToString())

    def response(self) -> order_pb2.OrderResponse:
        return order_pb2.OrderResponse.FromString(next(self.call))

    def report(self) -> oms_pb2.Report:
        return oms_pb2.Report.FromString(next(self.call))


def request(**changes: Any) -> order_pb2.OrderRequest:
    fields = {
        "id": UUID,
        "symbol": "A",
        "side": order_pb2.BUY,
        "type": order_pb2.LIMIT,
        "price": 50.0,
        "quantity": 10,
        "strategy_id": "s",
    }
    return order_pb2.OrderRequest(**{**fields, **changes})


@pytest.mark.req("D8", "P11")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "not-a-uuid"}, "INVALID_ORDER: badly formed"),
        ({"id": ""}, "INVALID_ORDER: badly formed"),
        ({"price": float("nan")}, "INVALID_ORDER: nan"),
        ({"price": float("inf")}, "INVALID_ORDER: inf"),
        ({"price": 50.5}, "INVALID_ORDER: 50.5 has more than 0 digits"),
        ({"price": 0.0}, "PRICE_PRECISION"),
        ({"price": -1.0}, "PRICE_PRECISION"),
        ({"quantity": 0}, "QUANTITY_PRECISION"),
        ({"quantity": -5}, "QUANTITY_PRECISION"),
        ({"symbol": "NOPE"}, "UNKNOWN_SYMBOL"),
        ({"symbol": "NOPE", "quantity": 2**62}, "INVALID_ORDER: 4611686018427387904 is too large"),
    ],
)
def test_an_order_that_cannot_be_is_rejected(
    port: int, changes: dict[str, Any], words: str
) -> None:
    with Client(port, PLAIN) as client:
        client.say(request(**changes))
        response = client.response()
        assert response.status == order_pb2.REJECTED
        assert response.message.startswith(words)
        assert response.request_id == changes.get("id", UUID)
        client.say(request(id=UUID.replace("0b", "1b")))
        assert client.response().status == order_pb2.ACCEPTED


@pytest.mark.parametrize(("field", "number"), [("side", 7), ("type", -1)])
def test_an_open_enumeration_holds_anything(port: int, field: str, number: int) -> None:
    with Client(port, PLAIN) as client:
        bad = request()
        setattr(bad, field, number)
        client.say(bad)
        response = client.response()
        assert response.status == order_pb2.REJECTED
        assert f"{field} {number} is neither" in response.message


def new_order(**changes: Any) -> oms_pb2.Request:
    fields = {
        "client_order_id": "o",
        "strategy_id": "s",
        "symbol": "A",
        "side": oms_pb2.SIDE_BUY,
        "type": oms_pb2.ORDER_TYPE_LIMIT,
        "quantity": "10",
        "time_in_force": oms_pb2.TIME_IN_FORCE_GTC,
        "limit_price": "50",
    }
    return oms_pb2.Request(new_order=oms_pb2.NewOrder(**{**fields, **changes}))


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_order_id": ""}, "INVALID_ORDER: client_order_id is empty"),
        ({"side": 0}, "INVALID_ORDER: side 0"),
        ({"type": 0}, "INVALID_ORDER: type 0"),
        ({"time_in_force": 0}, "INVALID_ORDER: time_in_force 0"),
        ({"time_in_force": oms_pb2.TIME_IN_FORCE_GTD}, "INVALID_ORDER: a GTD order without"),
        ({"quantity": "1e3"}, "INVALID_ORDER: '1e3' is not a decimal"),
        ({"quantity": "0.5"}, "INVALID_ORDER: '0.5' has more than 0 digits"),
        ({"limit_price": "NaN"}, "INVALID_ORDER: 'NaN' is not a decimal"),
        ({"limit_price": "-5"}, "PRICE_PRECISION"),
        ({"limit_price": None}, "INVALID_ORDER"),
        ({"parent_id": "nobody"}, "PARENT_UNKNOWN"),
    ],
)
def test_a_new_order_that_cannot_be_is_rejected(
    port: int, changes: dict[str, Any], words: str
) -> None:
    with Client(port, EXTENDED) as client:
        client.say(new_order(**changes))
        assert client.report().rejected.reason.startswith(words)


def test_a_replacement_that_cannot_be_read_is_refused(port: int) -> None:
    with Client(port, EXTENDED) as client:
        client.say(new_order())
        assert client.report().HasField("accepted")
        replace = oms_pb2.ReplaceOrder(client_order_id="o", strategy_id="s", quantity="many")
        client.say(oms_pb2.Request(replace_order=replace))
        assert client.report().replace_rejected.reason.startswith("INVALID_ORDER: 'many'")
        client.say(oms_pb2.Request())  # of a later version: ignored
        client.say(oms_pb2.Request(query_order=oms_pb2.QueryOrder(client_order_id="o")))
        assert client.report().HasField("accepted")
        assert client.report().HasField("query_done")


@pytest.mark.parametrize("path", [PLAIN, EXTENDED])
def test_what_is_no_message_ends_its_stream_and_no_other(port: int, path: str) -> None:
    with Client(port, path) as rude, Client(port, PLAIN) as other:
        rude.say(b"\xff\xff\xff")
        with pytest.raises(grpc.RpcError) as ended:
            next(rude.call)
        assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        other.say(request())
        assert other.response().status == order_pb2.ACCEPTED


def test_there_are_only_so_many_streams(port: int) -> None:
    clients = [Client(port, EXTENDED) for _ in range(server_module.STREAMS_MAX)]
    try:
        for client in clients:
            client.say(oms_pb2.Request(hello=oms_pb2.Hello()))
            assert client.report().HasField("welcome")
        with Client(port, EXTENDED) as one_more:
            with pytest.raises(grpc.RpcError) as ended:
                next(one_more.call)
            assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        for client in clients:
            client.__exit__()


def test_a_client_that_does_not_listen_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WAITING_MAX", 10)
    with Client(port, EXTENDED) as client:
        client.say(new_order())
        for _ in range(5_000):
            client.say(oms_pb2.Request(query_order=oms_pb2.QueryOrder(client_order_id="o")))
        with pytest.raises(grpc.RpcError) as ended:
            deque(client.call, maxlen=0)
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with Client(port, EXTENDED) as other:  # its order works on
        other.say(oms_pb2.Request(query_order=oms_pb2.QueryOrder(client_order_id="o")))
        assert other.report().HasField("accepted")


@pytest.mark.req("D8")
def test_totals_and_a_resend_over_the_contract(folder: Path) -> None:
    system, port = serve(folder, FAST)
    try:
        with Client(port, PLAIN) as client, Client(port, PLAIN) as other:
            market = request(type=order_pb2.MARKET, price=0.0)
            client.say(market)
            assert client.response().status == order_pb2.ACCEPTED
            assert system.run() == 12
            filled = client.response()
            assert (filled.status, filled.filled_quantity) == (order_pb2.FILLED, 10)
            assert filled.filled_price in {float(px) for px in range(95, 110)}
            other.say(market)
            assert other.response().status == order_pb2.ACCEPTED
            assert other.response() == filled
            system.wait(0.01)
    finally:
        system.stop()
        system.stop()


def test_a_failure_of_the_desk_is_told(folder: Path) -> None:
    config = load_config("backtest", settings={"data.paths": [str(folder)]})
    history = open_history(config)
    system = ReferenceOms(config, history, oms_edge(history), speed=SLOW)
    bad: Any = "no request at all"
    system.start()
    with Client(system.serve("127.0.0.1", 0), PLAIN) as client:
        client.say(request())
        assert client.response().status == order_pb2.ACCEPTED
        with pytest.raises(EngineHaltedError, match="KeyError"):
            system.ask(1, bad)
        with pytest.raises(EngineHaltedError, match="oms_desk"):
            system.wait(20)
        with pytest.raises(EngineHaltedError, match="oms_desk"):
            system.run()
        system.stop()
        with pytest.raises(grpc.RpcError):
            next(client.call)


def test_a_desk_that_takes_nothing_ends_the_stream() -> None:
    def refuse(message: Any) -> None:
        raise EngineHaltedError("no room")

    server = server_module.OmsServer(instruments={}, ask=refuse, extended=False)
    with Client(server.start("127.0.0.1", 0), PLAIN) as client:
        client.say(request())
        with pytest.raises(grpc.RpcError) as ended:
            next(client.call)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert ended.value.details() == "the desk is closed"
    server.stop(timeout_s=5)


def test_an_order_good_till_a_time_before_now_is_rejected(port: int) -> None:
    with Client(port, EXTENDED) as client:
        gtd = oms_pb2.TIME_IN_FORCE_GTD
        client.say(new_order(time_in_force=gtd, expire_timestamp=1))
        assert client.report().rejected.reason
        client.say(new_order(client_order_id="x", time_in_force=gtd, expire_timestamp=2**62))
        assert client.report().HasField("accepted")


def test_the_contract_has_no_word_for_a_replacement(port: int) -> None:
    with Client(port, EXTENDED) as client, Client(port, PLAIN) as other:
        client.say(new_order(client_order_id=UUID))
        assert client.report().HasField("accepted")
        replace = oms_pb2.ReplaceOrder(client_order_id=UUID, strategy_id="s", quantity="20")
        client.say(oms_pb2.Request(replace_order=replace))
        assert client.report().replaced.quantity == "20"
        other.say(request())  # the same id: it hears of the order from now on
        assert other.response().status == order_pb2.ACCEPTED
        cancel = oms_pb2.CancelOrder(client_order_id=UUID, strategy_id="s")
        client.say(oms_pb2.Request(cancel_order=cancel))
        assert client.report().HasField("canceled")
        other.say(request())
        said = [other.response().status for _ in range(2)]
        assert said == [order_pb2.ACCEPTED, order_pb2.CANCELLED]


def test_the_default_speed_lets_a_bar_take_a_second(folder: Path) -> None:
    config = load_config("backtest", settings={"data.paths": [str(folder)]})
    assert default_speed(open_history(config)) == 86_400
    (folder / "A.csv").write_text("timestamp,price,size\n2024-01-01T00:00:00Z,100,1\n")
    assert default_speed(open_history(config)) == 1
