"""What every peer script shares: its arguments, its clock and the one JSON line it prints.

Imported by the scripts beside it as a sibling (``from row import ...``), because they run in
environments that have the peer and not this project. Standard library only.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CASH = 10_000_000
COMMISSION_RATE = 0.001
FAST_BARS = 10
SLOW_BARS = 30


@dataclass(frozen=True)
class Outcome:
    """What one run gave.

    Attributes:
        loop_s: CPU seconds of the backtest itself, data already loaded.
        fills: Executions, entries and exits.
        trades: Closed round trips.
        final_equity: Cash plus open positions at the last close, in currency units.
        bars: Bars replayed, over all symbols.
    """

    loop_s: float
    fills: int
    trades: int
    final_equity: float
    bars: int


def main(distribution: str, run: Callable[[list[Path], str], Outcome]) -> None:
    """Run a peer on the files named on the command line and print its row.

    The command line is ``script.py PATH WORKLOAD``; ``PATH`` is a Parquet file, or a folder with
    one per symbol.

    Args:
        distribution: Name of the peer on the package index, for its version.
        run: Given the files and the workload's name, loads the data, runs and measures.
    """
    if len(sys.argv) != 3:
        sys.exit(f"usage: {Path(sys.argv[0]).name} PATH WORKLOAD")
    given, workload = Path(sys.argv[1]), sys.argv[2]
    paths = sorted(given.glob("*.parquet")) if given.is_dir() else [given]
    if not paths or not paths[0].exists():
        sys.exit(f"{given}: no Parquet file there")
    outcome = run(paths, workload)
    print(
        json.dumps(
            {
                "peer": distribution,
                "version": version(distribution),
                "workload": workload,
                "bars": outcome.bars,
                "loop_s": round(outcome.loop_s, 4),
                "wall_s": round(_process_age_s(), 2),
                "fills": outcome.fills,
                "trades": outcome.trades,
                "final_equity": round(float(outcome.final_equity), 6),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        ),
        flush=True,
    )


def _process_age_s() -> float:
    # Field 22 of /proc/self/stat is the start in clock ticks since boot; the name in field 2 may
    # hold spaces, so count from the closing parenthesis. 100 ticks a second on Linux.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / 100
