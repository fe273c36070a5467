"""Runs that are stopped at every point: what is there afterwards is whole, and the next run works.

The process under test stops itself, at a hook of its strategy or at its nth operation on the
output folder (told by Python's audit hook), so no test waits for a moment that may not come.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.cli.rig import Bench, command, process

SELF_STOPPING = """
import os
import signal

from engine import Strategy


class Stopping(Strategy):
    number: int = 0
    at: int = 5

    def on_bar(self, bar):
        if bar.seq == self.at and self.number:
            os.kill(os.getpid(), self.number)
"""

WAITING = """
import sys

from engine import Strategy


class Waiting(Strategy):
    def on_bar(self, bar):
        print("here", flush=True)
        while True:
            pass
"""

AUDITED = """
import os
import sys

number, at, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
count = 0


def watch(event, arguments):
    global count
    # What rmtree removes is named without its folder.
    if event not in WATCHED:
        return
    ours = str(arguments[0]).startswith((f"{folder}/out", f"{folder}/.out"))
    if ours or (count and event == "os.remove"):
        count += 1
        if count == at:
            os.kill(os.getpid(), number)


WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
from engine.cli import main

sys.addaudithook(watch)
main(sys.argv[4:])
"""


def run_hash(folder: Path) -> str:
    """Read all of a result; fails when it is not whole."""
    manifest = json.loads((folder / "manifest.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["run_hash"] == manifest["run_hash"]
    for name in ("orders", "fills", "trades", "instances", "equity", "verdicts"):
        pl.read_parquet(folder / f"{name}.parquet")
    return str(summary["run_hash"])


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted; nothing was written"),
        (signal.SIGTERM, 143, "terminated; nothing was written"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_a_signal_in_the_middle_of_a_run(
    bench: Bench, number: signal.Signals, code: int, words: str
) -> None:
    strategy = bench.write("stopping.py", SELF_STOPPING)
    out = bench.folder / "out"
    arguments = ["backtest", strategy, "--data", bench.data, "--out", out]
    called = process(*arguments, "--set", f"strategy.number={int(number)}")
    assert (called.code, called.out) == (code, "")
    assert words in called.err
    assert "Traceback" not in called.err
    assert len(called.err.splitlines()) == bool(words)
    assert not list(bench.folder.glob("*out*"))
    assert bench.backtest("--out", out, strategy=strategy).code == 0
    run_hash(out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_strategy_that_never_returns_can_be_stopped(
    bench: Bench, number: signal.Signals, code: int
) -> None:
    strategy = bench.write("waiting.py", WAITING)
    with subprocess.Popen(
        command("backtest", strategy, "--data", bench.data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == code
    assert len(err.splitlines()) == 1


def stop_at(bench: Bench, number: int, at: int, fast: int) -> int:
    arguments = [
        "backtest", bench.strategy, "--data", bench.data, "--out", bench.folder / "out",
        "--set", "report.html=false", "--set", f"strategy.fast={fast}",
    ]  # fmt: skip
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            AUDITED,
            str(number),
            str(at),
            str(bench.folder),
            *map(str, arguments),
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_replaced_result_is_whole_whenever_the_run_is_stopped(
    bench: Bench, number: signal.Signals
) -> None:
    out = bench.folder / "out"
    assert bench.backtest("--out", out, "--set", "strategy.fast=2").code == 0
    old = run_hash(out)
    expected = json.loads(bench.backtest("--json", "--set", "strategy.fast=5").out)["run_hash"]
    stopped = 0
    # The first file, the last, the renames, and removing what was there before.
    for at in (2, 4, 5, 6, 8, 11, 17):
        code = stop_at(bench, number, at, 5)
        stopped += code != 0
        assert not out.exists() or run_hash(out) in (old, expected)
        if number is signal.SIGINT and code:
            assert not (bench.folder / ".out.partial").exists()
    assert stopped == 7
    assert stop_at(bench, 0, 0, 5) == 0
    assert run_hash(out) == expected
    assert {entry.name for entry in bench.folder.iterdir()} == {"A.csv", "out", "trader.py"}


def test_leftovers_of_a_killed_run_are_cleared(bench: Bench) -> None:
    bench.write(".out.partial/fills.parquet", "half")
    bench.write(".out.old/manifest.json", "{}")
    assert bench.backtest("--out", bench.folder / "out").code == 0
    assert not list(bench.folder.glob(".out*"))
    run_hash(bench.folder / "out")
