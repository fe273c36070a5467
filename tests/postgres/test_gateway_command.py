"""``engine gateway``: set up, served and traded at, as the documentation says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.cli.rig import Called, bar_text, process

ROOT = Path(__file__).parents[2]
ENGINE = str(Path(sys.executable).parent / "engine")


def documented(*starts: str) -> list[list[str]]:
    """Give commands of docs/gateway.md, as the shell reads them."""
    text = (ROOT / "docs/gateway.md").read_text("utf-8").replace("\\\n", "")
    found = [line.split() for line in text.splitlines() if line.startswith(starts)]
    assert found, starts
    return found


@contextmanager
def serving(arguments: list[str], environment: dict[str, str]) -> Iterator[int]:
    with subprocess.Popen(
        [ENGINE, *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            found = re.fullmatch(r"  serving +127\.0\.0\.1:(\d+)\n", line)
            assert found, (line, child.stderr and child.stderr.read())
            yield int(found[1])
        finally:
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert out.endswith("  stopped\n")
    assert "Traceback" not in err


@pytest.fixture
def environment(database: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": database}


def engine(arguments: list[str], environment: dict[str, str], *more: str) -> str:
    done = subprocess.run(
        [ENGINE, *arguments, *more],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.req("D9", "R35", "R40", "R41", "R46")
def test_from_nothing_to_a_trade(database: str, environment: dict[str, str]) -> None:
    """The page's commands; a book of the engine and one of the gateway that say the same."""
    for _, *setup in documented("engine gateway user", "engine gateway session"):
        engine(setup, environment)
    ((_, *serve),) = documented("engine gateway serve")
    ((_, *trade),) = documented("engine run")
    fast = ["--speed", "4320000"]
    with serving([*serve, *fast], environment) as port:
        more = {"GATEWAY_URL": f"http://127.0.0.1:{port}"}
        done = engine(trade, {**environment, **more}, "--set", "feed.speed=8640000",
                      "--set", "data.end=2006-06-30")  # fmt: skip
        assert "fills" in done
        session = httpx2.get(f"http://127.0.0.1:{port}/v1/sessions/SmaCross").json()
    with psycopg.connect(database) as connection:
        ours = connection.execute(
            "SELECT order_id, exec_id, abs(quantity), price, commission "
            "FROM strategy_worker.execution_fills ORDER BY ts_event, exec_id"
        ).fetchall()
        theirs = connection.execute(
            "SELECT client_order_id, exec_id, quantity, price, commission "
            "FROM gateway.trades ORDER BY ts_event, exec_id"
        ).fetchall()
        orders = connection.execute(
            "SELECT count(*) FROM strategy_worker.execution_orders WHERE status <> 'REJECTED'"
        ).fetchone()
        taken = connection.execute("SELECT count(*) FROM gateway.orders").fetchone()
    assert ours == theirs
    assert len(ours) > 5
    assert orders == taken
    assert len(session["trades"]) == len(ours)


@pytest.mark.req("P1", "P5")
def test_a_kill_loses_no_order_and_no_trade(
    environment: dict[str, str], tmp_path: Path, database: str
) -> None:
    (tmp_path / "A.csv").write_text(bar_text())
    engine(["gateway", "user", "u", "--balance", "10000"], environment)
    engine(["gateway", "session", "s", "--user", "u"], environment)
    arguments = [
        ENGINE, "gateway", "serve", "--data", str(tmp_path / "A.csv"), "--speed", "864000",
        "--state", str(tmp_path / "exchange.state"), "--port", "0",
    ]  # fmt: skip
    ids: list[str] = []
    for life in range(4):
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            port = int(child.stdout.readline().rpartition(":")[2])
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                for number in range(5):
                    ids.append(f"{life}-{number}")
                    order = {"sessionId": "s", "symbol": "A", "action": "BUY", "qty": 1}
                    order |= {"price": 130, "clientOrderId": ids[-1]}
                    assert client.post("/internal/execute", json=order).status_code == 201
            child.send_signal(signal.SIGKILL)
    with serving(arguments[1:-2], environment) as port:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            session: dict[str, Any] = client.get("/v1/sessions/s").json()
        with psycopg.connect(database) as connection:
            kept = connection.execute("SELECT client_order_id FROM gateway.orders").fetchall()
            assert {each for (each,) in kept} == set(ids)
    spent = sum(trade["quantity"] * trade["price"] for trade in session["trades"])
    assert session["virtual_balance"] == 10_000 - spent
    assert session["trades"]


def refused(*arguments: str, environment: dict[str, str]) -> Called:
    done = process("gateway", *arguments, env=environment)
    assert done.code == 2
    assert "Traceback" not in done.err
    return done


def test_what_cannot_be(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(bar_text())
    serve = ("serve", "--data", str(tmp_path / "A.csv"))
    for arguments, words in (
        (("user", "u", "--balance", "much"), "--balance 'much' is not a number"),
        (("user", "u", "--balance", "-1"), "is not from 0"),
        (("user", "u", "--balance", "NaN"), "is not from 0"),
        (("session", "s"), "--user NAME is missing"),
        (("session", "s", "--user", "nobody"), "there is no user 'nobody'"),
        (("session", "s", "--stop"), "there is no session 's'"),
        ((*serve, "--key", "key.pem"), "--certificate and --key go together"),
        ((*serve, "--host", "256.1.1.1"), "cannot listen on"),
    ):
        assert words in refused(*arguments, environment=environment).message


def test_sessions_start_and_stop(environment: dict[str, str]) -> None:
    assert "user u has 1,000.50" in engine(
        ["gateway", "user", "u", "--balance", "1000.50"], environment
    )
    start = ["gateway", "session", "s", "--user", "u", "--strategy", "x"]
    assert "session s of user u is running" in engine(start, environment)
    assert "session s is stopped" in engine(["gateway", "session", "s", "--stop"], environment)
