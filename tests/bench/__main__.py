"""Measure the engine: ``make bench`` (``python -m tests.bench [--quick] [--json FILE]``).

Loop figures are CPU seconds of this process, taken in rounds that alternate the floor with what
is measured, and reported as the median of the rounds' ratios: the machine's speed drifts, ratios
taken side by side do not. Whole-process figures are wall time and peak memory of fresh
interpreters, from the operating system.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from engine.config import Config, load_config
from engine.ports import MarketHistory
from engine.research.backtest import simulate
from engine.wiring import open_history
from tests.bench.floor import floor_seconds
from tests.bench.gate import Bench
from tests.bench.strategies.sma_cross_bench import SmaCrossBench
from tests.bench.workloads import Workload, build

HERE = Path(__file__).resolve().parent
STRATEGY = HERE / "strategies" / "sma_cross_bench.py"
PROFILE = HERE / "bench.toml"


CHILD = """
import os, sys, time
began = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                     file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss)
"""
# A process's peak memory starts at that of the process it was forked from: measure from a small
# one, not from the bench.


class Figure(msgspec.Struct):
    """One row of the table: the measured figure and what it must reach and aims for."""

    name: str
    value: float
    unit: str
    must: float | None
    aim: float | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Say where the figure stands."""
        if self.must is None or self.aim is None:
            return ""
        if self.value <= self.aim:
            return "aim"
        return "must" if self.value <= self.must else "MISSED"


def config_for(workload: Workload, *, trading: bool) -> Config:
    """Resolve the bench profile over a workload."""
    paths = [str(path) for path in workload.paths]
    settings: dict[str, Any] = {"data.paths": paths, "strategy.trading": trading}
    return load_config(PROFILE, settings=settings)


def loop_seconds(config: Config, data: MarketHistory) -> tuple[float, int]:
    """Give the CPU seconds of one run's event loop, and its fills."""
    strategy = SmaCrossBench(**config.strategy)
    began = time.process_time()
    journal = simulate(config, strategy, data)
    return time.process_time() - began, len(journal.fills())


def whole_process(workload: Workload, *extra: str) -> tuple[float, float]:
    """Run the command line on a workload; give wall seconds and peak memory in MB."""
    engine = Path(sys.executable).with_name("engine")
    with tempfile.TemporaryDirectory() as out:
        command = [str(engine), "backtest", f"{STRATEGY}:SmaCrossBench", "--profile", str(PROFILE)]
        command += ["--data", *map(str, workload.paths), "--out", f"{out}/run", "--json", *extra]
        child = [sys.executable, "-S", "-c", CHILD, *command]
        report = subprocess.run(child, capture_output=True, text=True, check=True)
    status, took, peak = report.stdout.split()
    if int(status):
        raise SystemExit(f"engine failed with {status} on {workload.name}: {report.stderr}")
    return float(took), float(peak) / 1024


def loops(rounds: int) -> list[Figure]:
    """Measure the event loop against the floor."""
    w1, w2 = build("W1"), build("W2")
    quiet, busy = config_for(w1, trading=False), config_for(w1, trading=True)
    many = config_for(w2, trading=True)
    data1, data2 = open_history(quiet), open_history(many)
    loop_seconds(quiet, data1)  # imports and caches
    ratios, floors, order_us, widths, fills = [], [], [], [], 0
    for _ in range(rounds):
        floor = floor_seconds(data1)
        silent, _ = loop_seconds(quiet, data1)
        trading, fills = loop_seconds(busy, data1)
        wide, _ = loop_seconds(many, data2)
        floors.append(floor)
        ratios.append(silent / floor)
        order_us.append((trading - silent) / fills * 1e6)
        widths.append((wide / data2.rows) / (trading / data1.rows))
    floor_us = statistics.median(floors) / data1.rows * 1e6
    order = statistics.median(order_us)
    return [
        Figure("floor, per bar", floor_us, "µs", None, None, "bare loop, this run"),
        Figure("W1 loop, orders off", statistics.median(ratios), "x floor", 1.5, 1.0),
        Figure("one order's round trip", order, "µs", 25, 12, f"{fills:,} fills"),
        Figure("the same in floors", order / floor_us, "x floor", None, None),
        Figure("W2 per bar against W1", statistics.median(widths), "x W1", 1.3, 1.1),
    ]


def gate(rounds: int) -> list[Figure]:
    """Measure the risk gate by itself, beside the floor of the same rounds."""
    data = open_history(config_for(build("W1"), trading=False))
    few, many = Bench(10, 10), Bench(10_000, 1_000)
    costs, floors, ratios = [], [], []
    for _ in range(rounds):
        floors.append(floor_seconds(data) / data.rows)
        small, large = few.seconds(), many.seconds()
        costs.append(small)
        ratios.append(large / small)
    cost = statistics.median(costs)
    floor = cost / statistics.median(floors)
    return [
        Figure("gate, one order", cost * 1e6, "µs", 12, 6, "all checks, verdict recorded"),
        Figure("the same in floors", floor, "x floor", None, None),
        Figure("10,000 positions against ten", statistics.median(ratios), "x", 1.5, 1.0),
    ]


def processes(rounds: int, *, scaling: bool) -> list[Figure]:
    """Measure whole processes: import, load, run, statistics, files and report."""
    w0, w1 = build("W0"), build("W1")
    small = [whole_process(w0) for _ in range(rounds)]
    large = [whole_process(w1) for _ in range(rounds)]
    figures = [
        Figure("W0 whole process", statistics.median(t for t, _ in small), "s", 0.8, 0.4),
        Figure("W1 whole process", statistics.median(t for t, _ in large), "s", None, None),
        Figure("W1 peak memory", statistics.median(m for _, m in large), "MB", 400, 250),
    ]
    if scaling:
        seconds, memory = whole_process(build("W1", bars=10_000_000))
        time_1m = statistics.median(t for t, _ in large)
        memory_1m = statistics.median(m for _, m in large)
        figures += [
            Figure("10M bars against 1M, time", seconds / time_1m, "x", 10.5, 10),
            Figure("10M bars against 1M, memory", memory / memory_1m, "x", 2.5, 1.2),
        ]
    return figures


def main() -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the 10M-bar run")
    parser.add_argument("--json", type=Path, default=Path("bench-out/bench.json"))
    arguments = parser.parse_args()
    figures = loops(arguments.rounds) + gate(arguments.rounds)
    figures += processes(arguments.rounds, scaling=not arguments.quick)
    print(f"{'figure':<30}{'value':>10}  {'unit':<9}{'must':>7}{'aim':>7}  ")
    for figure in figures:
        must = "" if figure.must is None else f"{figure.must:g}"
        aim = "" if figure.aim is None else f"{figure.aim:g}"
        print(
            f"{figure.name:<30}{figure.value:>10.2f}  {figure.unit:<9}{must:>7}{aim:>7}  "
            f"{figure.verdict} {figure.note}"
        )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))


if __name__ == "__main__":
    main()
