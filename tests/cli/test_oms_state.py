"""``engine oms --state FILE``: what it was asked outlives the process that was asked."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.domain.commands import CancelOrder
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrderStatusGiven,
    OrdersWorking,
)
from engine.domain.orders import OrderType
from tests.cli.rig import Bench, command
from tests.cli.test_oms_command import FAST, STILL, linked
from tests.integration.rig import Heard, make_order

MARKET = {"order_type": OrderType.MARKET, "limit_px": None, "order_qty": 7}


@contextmanager
def killed_in_the_end(bench: Bench, state: Path, *arguments: str) -> Iterator[int]:
    """Run the command with a state; give its port; kill it."""
    with subprocess.Popen(
        command("oms", "--data", bench.data, "--port", "0", "--state", state, *arguments),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline().rpartition(":")[2])
        finally:
            child.send_signal(signal.SIGKILL)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "oms.state"


@pytest.mark.req("P2", "P5")
def test_a_killed_system_knows_its_orders_and_what_became_of_them(
    bench: Bench, state: Path
) -> None:
    heard, again = Heard(), Heard()
    with killed_in_the_end(bench, state, *FAST) as port, linked(port, heard) as link:
        link.submit(make_order("m", **MARKET))
        fill = heard.wait(OrderFilled)
        link.submit(make_order("resting", limit_px=5_000))
        link.submit(make_order("gone", limit_px=5_000))
        link.cancel(CancelOrder("gone", "s", 1))
        heard.wait(OrderCanceled)
    with killed_in_the_end(bench, state, *FAST) as port, linked(port, again) as link:
        link.query(make_order("m", **MARKET))
        assert again.wait(OrderFilled).exec_id == fill.exec_id
        again.wait(OrderStatusGiven)
        link.submit(make_order("m", **MARKET))  # it is one order for ever
        link.query(make_order("gone", limit_px=5_000))
        assert again.wait(OrderCanceled).reason == "USER"
        link.query(make_order("never"))
        again.wait(OrderNotFound)
        link.list_working()
        assert again.wait(OrdersWorking).client_order_ids == ("resting",)
        link.query(make_order("resting", limit_px=5_000))
        link.cancel(CancelOrder("resting", "s", 1))
        assert again.wait(OrderCanceled, 2).client_order_id == "resting"
    assert len({each.exec_id for each in again.of(OrderFilled)}) == 1


@pytest.mark.req("P2")
def test_a_line_that_a_kill_left_half_written_is_dropped(bench: Bench, state: Path) -> None:
    heard, again = Heard(), Heard()
    with killed_in_the_end(bench, state, *STILL) as port, linked(port, heard) as link:
        link.submit(make_order("first", limit_px=5_000))
        link.submit(make_order("second", limit_px=5_000))
        heard.wait(OrderAccepted, 2)
    whole = state.read_bytes()
    lines = whole.splitlines(keepends=True)
    second = next(i for i, line in enumerate(lines) if b'"second"' in line)
    # It died while it wrote down the second order.
    state.write_bytes(b"".join(lines[:second]) + lines[second][:20])
    with killed_in_the_end(bench, state, *STILL) as port, linked(port, again) as link:
        link.query(make_order("first", limit_px=5_000))
        link.query(make_order("second", limit_px=5_000))
        again.wait_until(lambda: len(again.of(OrderStatusGiven, OrderNotFound)) == 2)
    assert {each.client_order_id for each in again.of(OrderStatusGiven)} == {"first"}


@pytest.mark.req("P2")
def test_a_report_that_was_not_written_is_made_again(bench: Bench, state: Path) -> None:
    heard = Heard()
    with killed_in_the_end(bench, state, *STILL) as port, linked(port, heard) as link:
        link.submit(make_order("o", limit_px=5_000))
        heard.wait(OrderAccepted)
    lines = state.read_bytes().splitlines(keepends=True)
    report = next(i for i, line in enumerate(lines) if b'"report"' in line)
    state.write_bytes(b"".join(lines[:report]))
    for _ in range(2):
        with killed_in_the_end(bench, state, *STILL):
            pass
        assert state.read_bytes().count(b"order_accepted") == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ((b"order_accepted", b"order_acccpted"), "line 4: other reports"),
        ((b'{"kind":"order"', b'{"kind":"ordre"'), "line 3: it is not what was written"),
        ((b'"kind":"header"', b'"kind":"haeder"'), "begun with other data"),
    ],
)
def test_a_damaged_state_is_refused(
    bench: Bench, state: Path, damage: tuple[bytes, bytes], words: str
) -> None:
    heard = Heard()
    with killed_in_the_end(bench, state, *STILL) as port, linked(port, heard) as link:
        link.submit(make_order("o", limit_px=5_000))
        heard.wait(OrderAccepted)
    before = state.read_bytes()
    state.write_bytes(before.replace(*damage))
    assert state.read_bytes() != before
    called = bench.call("oms", "--data", bench.data, "--port", "0", "--state", state)
    assert called.code == 2
    assert words in called.message


def test_a_state_goes_on_under_the_same_settings_and_in_one_process(
    bench: Bench, state: Path
) -> None:
    arguments = ("oms", "--data", bench.data, "--port", "0", "--state", state)
    with killed_in_the_end(bench, state, *STILL):
        called = bench.call(*arguments)
        assert called.code == 2
        assert "another system has it" in called.message
    called = bench.call(*arguments, "--set", "costs.commission_bps=5")
    assert called.code == 2
    assert "begun with other data or other settings" in called.message
    called = bench.call("oms", "--data", bench.data, "--state", bench.folder / "no" / "file")
    assert called.code == 2
    assert "cannot be used: No such file" in called.message
