"""A client that connects anew: what is still on its way over its old connection never arrives."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from tests.cli.rig import bar_text
from tests.integration.proxy import FaultProxy
from tests.integration.test_oms_server import EXTENDED, SLOW, Client, new_order, serve

QUERY = oms_pb2.Request(query_order=oms_pb2.QueryOrder(client_order_id="o"))


def hello(client: str) -> oms_pb2.Request:
    return oms_pb2.Request(hello=oms_pb2.Hello(client=client))


def greeted(client: Client, name: str) -> None:
    client.say(hello(name))
    assert client.report().HasField("welcome")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "A.csv").write_text(bar_text())
    return tmp_path


@pytest.mark.req("P2", "P3")
def test_what_the_venue_says_it_has_never_had_does_not_arrive_late(folder: Path) -> None:
    system, port = serve(folder, SLOW)
    with (
        FaultProxy(port) as slow,
        Client(slow.port, EXTENDED) as old,
        Client(port, EXTENDED) as new,
    ):
        greeted(old, "run")
        slow.pause()
        old.say(new_order())
        greeted(new, "run")
        new.say(QUERY)
        assert new.report().HasField("not_found")
        slow.heal()
        with pytest.raises(grpc.RpcError) as ended:
            next(old.call)
        assert ended.value.code() is grpc.StatusCode.ABORTED
        new.say(QUERY)
        assert new.report().HasField("not_found")
    system.stop()


@pytest.mark.req("P2")
def test_others_and_those_without_a_name_go_on(folder: Path) -> None:
    system, port = serve(folder, SLOW)
    with (
        Client(port, EXTENDED) as nameless,
        Client(port, EXTENDED) as other,
        Client(port, EXTENDED) as one,
        Client(port, EXTENDED) as two,
    ):
        for client, name in ((nameless, ""), (other, "other"), (one, "run"), (two, "run")):
            greeted(client, name)
        with pytest.raises(grpc.RpcError):
            next(one.call)
        for client in (nameless, other, two):
            client.say(QUERY)
            assert client.report().HasField("not_found")
    system.stop()
