"""``engine oms``: a process of its own, talked to over both services."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adapters.grpc.link import GrpcVenueLink
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.domain.instruments import Instrument
from engine.domain.orders import OrderType
from engine.sections import OmsGrpcConfig, RetryConfig
from tests.cli.rig import Bench, command
from tests.integration.proxy import FaultProxy
from tests.integration.rig import Heard, make_order, opened

A = Instrument(symbol="A")
# A bar of a day a tenth of a second: twelve bars are over in little more than one.
FAST = ("--speed", "864000")
# So slow that nothing fills: a bar takes an hour.
STILL = ("--speed", "24")


@contextmanager
def serving(bench: Bench, *arguments: str, stop: signal.Signals = signal.SIGTERM) -> Iterator[int]:
    """Run the command; give its port; stop it and see it end in order."""
    with subprocess.Popen(
        command("oms", "--data", bench.data, "--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            found = re.fullmatch(r"  serving +127\.0\.0\.1:(\d+)\n", line)
            assert found, (line, child.stderr and child.stderr.read())
            yield int(found[1])
        finally:
            child.send_signal(stop)
            out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert out.endswith("  stopped\n")
    assert "Traceback" not in err


@contextmanager
def linked(port: int, heard: Heard, **settings: object) -> Iterator[GrpcVenueLink]:
    config = OmsGrpcConfig(
        host="127.0.0.1",
        port=port,
        retry=RetryConfig(backoff_ms=20),
        **settings,  # type: ignore[arg-type]
    )
    link = GrpcVenueLink(
        config,
        instruments={"A": A},
        keep_closed=100,
        on_bad_answer=heard.on_bad_answer,
        now=lambda: 1,
    )
    opened(link, heard)
    try:
        yield link
    finally:
        link.close(timeout_s=10)


@pytest.mark.req("D8", "R51")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("more", "service"),
    [((), "tetrad.oms.v1.OrderLink"), (("--plain",), "order.OrderService")],
)
def test_orders_fill_from_the_data(
    bench: Bench, more: tuple[str, ...], service: str, stop: signal.Signals
) -> None:
    heard = Heard()
    with serving(bench, *FAST, *more, stop=stop) as port, linked(port, heard) as link:
        assert heard.of(VenueUp)[0].service == service
        link.submit(make_order("m", order_type=OrderType.MARKET, limit_px=None, order_qty=7))
        link.submit(make_order("zero", order_qty=0))
        fill = heard.wait(OrderFilled)
        assert (fill.client_order_id, fill.signed_qty, fill.leaves_qty) == ("m", 7, 0)
        assert fill.last_px in {100 * px for px in range(95, 110)}
        assert heard.wait(OrderAccepted).client_order_id == "m"
        assert heard.wait(OrderRejected).reason == "QUANTITY_PRECISION"
    assert not heard.bad


@pytest.mark.req("D8")
def test_everything_the_contract_lacks(bench: Bench) -> None:
    heard = Heard()
    with serving(bench, *STILL) as port, linked(port, heard) as link:
        order = make_order("o", limit_px=5_000)
        link.submit(order)
        heard.wait(OrderAccepted)
        link.replace(ReplaceOrder("o", "s", 1, order_qty=50, limit_px=4_900))
        replaced = heard.wait(OrderReplaced)
        assert (replaced.order_qty, replaced.limit_px, replaced.stop_px) == (50, 4_900, None)
        link.replace(ReplaceOrder("o", "s", 1, limit_px=-100))
        assert heard.wait(ReplaceRejected).reason == "PRICE_PRECISION"
        link.list_working()
        assert heard.wait(OrdersWorking).client_order_ids == ("o",)
        link.cancel(CancelOrder("o", "another", 1))
        assert heard.wait(CancelRejected).reason == "NOT_OWNER"
        link.cancel(CancelOrder("o", "s", 1))
        assert heard.wait(OrderCanceled).reason == "USER"
        link.list_working()
        assert heard.wait(OrdersWorking, 2).client_order_ids == ()
        stop = {"order_type": OrderType.STOP, "limit_px": None}
        link.submit(make_order("stop", stop_px=90_000, **stop))
        link.submit(make_order("odd", stop_px=90_001, **stop))  # the data has whole prices
        assert heard.wait(OrderRejected).reason.startswith("INVALID_ORDER: '900.01' has more than")
        assert heard.wait(OrderAccepted, 2).client_order_id == "stop"
        link.query(make_order("never"))
        assert heard.wait(OrderNotFound).client_order_id == "never"
    assert not heard.bad


@pytest.mark.req("P2", "P3", "P9")
@pytest.mark.parametrize("more", [(), ("--plain",)])
def test_a_lost_reply_and_a_resend_make_one_order(bench: Bench, more: tuple[str, ...]) -> None:
    heard, witness = Heard(), Heard()
    with (
        serving(bench, *FAST, *more) as port,
        FaultProxy(port) as proxy,
        linked(proxy.port, heard, timeout=0.5) as link,
    ):
        order = make_order("m", order_type=OrderType.MARKET, limit_px=None, order_qty=7)
        proxy.lose_replies()
        link.submit(order)
        heard.wait(OrderUnknown)
        proxy.reset()
        heard.wait(VenueUp, 2)
        if more:
            link.submit(order)  # the caller's decision: this system knows an id that it has seen
        else:
            link.query(order)
        fill = heard.wait(OrderFilled)
        assert fill.cum_qty == 7
        # Whoever else asks hears of the same one execution.
        with linked(port, witness) as other:
            (other.submit if more else other.query)(order)
            assert witness.wait(OrderFilled).exec_id == fill.exec_id
        assert len(heard.of(OrderFilled)) == len(witness.of(OrderFilled)) == 1


@pytest.mark.req("P3", "P24")
@pytest.mark.parametrize("more", [(), ("--plain",)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_system_that_dies_or_freezes_leaves_orders_unknown(
    bench: Bench, number: signal.Signals, more: tuple[str, ...]
) -> None:
    heard = Heard()
    with subprocess.Popen(
        command("oms", "--data", bench.data, "--port", "0", *STILL, *more),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline().rpartition(":")[2])
            with linked(port, heard) as link:
                link.submit(make_order("working", limit_px=5_000))
                heard.wait(OrderAccepted)
                child.send_signal(number)
                # It works on for a moment: wait until it has stopped or is gone.
                os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                link.submit(make_order("lost", limit_px=5_000))
                heard.wait(VenueDown, timeout_s=5)
                # What was sent is unknown; what had no connection any more never left.
                heard.wait_until(lambda: bool(heard.of(OrderUnknown, OrderNotFound)))
                assert {e.client_order_id for e in heard.of(OrderUnknown, OrderNotFound)} == {
                    "lost"
                }
        finally:
            child.kill()
    assert not heard.of(OrderRejected)


def test_a_client_that_talks_nonsense_harms_nobody(bench: Bench) -> None:
    heard = Heard()
    with serving(bench, *STILL) as port, linked(port, heard) as link:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(1_000))
            while rude.recv(65_536):
                pass
        link.submit(make_order("o", limit_px=5_000))
        heard.wait(OrderAccepted)


def test_a_port_that_is_taken(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = bench.call("oms", "--data", bench.data, "--port", port)
    assert called.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in called.message
    assert "--port 0" in called.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "nowhere"), "nowhere"),
        (("--data", "A.csv", "--speed", "0"), "--speed"),
        (("--data", "A.csv", "--speed", "inf"), "--speed"),
        (("--data", "A.csv", "--speed", "nan"), "--speed"),
        (("--data", "A.csv", "--port", "70000"), "--port"),
        (("--data", "A.csv", "--set", "nope=1"), "nope"),
        ((), "--data"),
    ],
)
def test_bad_input_is_one_clear_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(bench.folder)
    called = bench.call("oms", *arguments)
    assert called.code == 2
    assert words in called.err
    assert "Traceback" not in called.err
