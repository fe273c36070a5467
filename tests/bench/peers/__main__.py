"""Run the bench rule in every peer and in ours, and print one table.

``python -m tests.bench.peers [--workload W1] [--only a,b] [--repeat N] [--json out.json]``

Each peer runs as a process of its own, in an environment of its own, one at a time. A peer that
cannot be installed or run is a row with the reason. Every result is also compared with what an
independent computation (``tests/bench/oracle.py``) gives for that peer's fill and rounding rules,
so a difference from ours is either explained to the cent or marked UNEXPLAINED.

Exit status: 0 if every row ran and every difference is explained, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.peers.catalog import OURS, OURS_RULE, PEERS, Peer
from tests.bench.peers.runs import (
    HERE,
    ROOT,
    Measured,
    RunFailedError,
    environment,
    last_json,
    measure,
)

CASH = 10_000_000
CENT = 0.005
RUN_SECONDS_MAX = 1_800.0
WARM_UP_BARS = 2_000
STRATEGY_FILE = ROOT / "tests" / "bench" / "strategies" / "sma_cross_bench.py"
PROFILE = ROOT / "tests" / "bench" / "bench.toml"
ENGINE = Path(sys.executable).parent / "engine"
HEADER = (
    "| engine | whole, s | CPU, s | / ours | loop, µs/bar | RSS, MB | fills | final equity "
    "| equals ours | as its rules predict |"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; without ``reason`` all figures are there.

    ``wall_s``, ``cpu_s`` and ``peak_rss_mb`` are of the whole process, seen from outside;
    ``loop_s`` is what the peer itself measured of its backtest, data loaded.
    """

    name: str
    rule: str
    note: str
    version: str = ""
    reason: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_mb: float = 0.0
    loop_s: float = 0.0
    bars: int = 0
    fills: int = 0
    trades: int = 0
    final_equity: float = 0.0


def run_ours(data: Path, seconds_max: float) -> Row:
    """Run our engine by its command line."""
    blank = Row(
        name=OURS,
        rule=OURS_RULE,
        note="this engine, by its command line; its loop is elapsed_s, wall time",
    )
    missing = [path for path in (ENGINE, STRATEGY_FILE, PROFILE) if not path.exists()]
    if missing:
        names = ", ".join(_relative(path) for path in missing)
        return _failed(blank, f"not run: {names} not there")
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-") as out:
        command = [
            *(str(ENGINE), "backtest", f"{_relative(STRATEGY_FILE)}:SmaCrossBench"),
            *("--data", str(data), "--cash", str(CASH), "--set", "costs.commission_bps=10"),
            *("--profile", _relative(PROFILE), "--out", out, "--json"),
        ]
        try:
            measured = measure(command, seconds_max=seconds_max)
            return _filled(blank, measured, last_json(measured.output), loop_key="elapsed_s")
        except RunFailedError as error:
            return _failed(blank, str(error))


def run_peer(peer: Peer, data: Path, workload: str, cache: Path, seconds_max: float) -> Row:
    """Install a peer where needed and run it."""
    blank = Row(
        name=peer.name,
        rule=peer.rule,
        note=peer.note,
        version=peer.requirements[0].partition("==")[2],
    )
    try:
        python, cold = environment(peer, cache)
        script = str(HERE / peer.script)
        if cold:
            # Byte code and numba's disk cache are made by the first run; they are not counted.
            small = _data("W1", cache, WARM_UP_BARS)
            measure([str(python), script, str(small), "W1"], seconds_max=seconds_max)
        measured = measure([str(python), script, str(data), workload], seconds_max=seconds_max)
        return _filled(blank, measured, last_json(measured.output), loop_key="loop_s")
    except RunFailedError as error:
        return _failed(blank, str(error))


def table(rows: list[Row], predicted: dict[str, dict[str, float]]) -> str:
    """Return the Markdown table, ours first, followed by what explains each difference."""
    ours = next((row for row in rows if row.name == OURS and not row.reason), None)
    lines = [HEADER, "|---|--:|--:|--:|--:|--:|--:|--:|---|---|"]
    for row in rows:
        label = f"{row.name} {row.version}".strip()
        if row.reason:
            lines.append(f"| {label} | {row.reason} |" + " |" * 8)
            continue
        ratio = f"{row.wall_s / ours.wall_s:.1f}" if ours else "-"
        figures = (
            f"{row.wall_s:.2f} | {row.cpu_s:.2f} | {ratio} | {row.loop_s / row.bars * 1e6:.2f} "
            f"| {row.peak_rss_mb:.0f} | {row.fills:,} | {row.final_equity:,.4f}"
        )
        lines.append(
            f"| {label} | {figures} | {_against(row, ours)} | {_verdict(row, predicted)} |"
        )
    lines += ["", "Rules and what the figures include:", ""]
    lines += [f"- {row.name}: {row.note}." for row in rows]
    return "\n".join(lines)


def explained(row: Row, predicted: dict[str, dict[str, float]]) -> bool:
    """Tell whether a row's fills and equity (to the cent) are what its rules must give."""
    wanted = predicted[row.rule]
    # Trades are not compared: engines differ in whether a trade still open counts as one.
    return row.fills == wanted["fills"] and abs(row.final_equity - wanted["final_equity"]) < CENT


def _against(row: Row, ours: Row | None) -> str:
    if ours is None or row is ours:
        return "-"
    gap = row.final_equity - ours.final_equity
    if row.fills == ours.fills and abs(gap) < CENT:
        return "yes"
    return f"{row.fills - ours.fills:+d} fills, {gap:+.2f}"


def _verdict(row: Row, predicted: dict[str, dict[str, float]]) -> str:
    if explained(row, predicted):
        return "yes"
    wanted = predicted[row.rule]
    return f"UNEXPLAINED: {wanted['fills']:,} fills, {wanted['final_equity']:,.4f}"


def _filled(blank: Row, measured: Measured, result: dict[str, object], *, loop_key: str) -> Row:
    try:
        numbers = {
            key: float(str(result[key]))
            for key in ("bars", "fills", "trades", "final_equity", loop_key)
        }
    except (KeyError, ValueError) as error:
        raise RunFailedError(f"its JSON lacks or spoils {error}: {result}") from error
    return Row(
        name=blank.name,
        rule=blank.rule,
        note=blank.note,
        version=str(result.get("version", blank.version)),
        wall_s=measured.wall_s,
        cpu_s=measured.cpu_s,
        peak_rss_mb=measured.peak_rss_mb,
        loop_s=numbers[loop_key],
        bars=int(numbers["bars"]),
        fills=int(numbers["fills"]),
        trades=int(numbers["trades"]),
        final_equity=numbers["final_equity"],
    )


def _failed(blank: Row, reason: str) -> Row:
    # The reason stands in a table cell.
    reason = reason.replace("|", "/").replace("\n", " ")
    return Row(
        name=blank.name, rule=blank.rule, note=blank.note, version=blank.version, reason=reason
    )


def _median(rows: list[Row]) -> Row:
    # The run whose wall time is the (lower) median, so that its figures belong together.
    failed = [row for row in rows if row.reason]
    if failed:
        return failed[0]
    middle = statistics.median_low([row.wall_s for row in rows])
    return next(row for row in rows if row.wall_s == middle)


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _module(name: str, *arguments: str) -> str:
    # In a process of its own: polars here would weigh on every child's peak memory.
    command = [sys.executable, "-m", name, *arguments]
    return measure(command, seconds_max=RUN_SECONDS_MAX).output


def _data(workload: str, cache: Path, bars: int | None) -> Path:
    size = [] if bars is None else ["--bars", str(bars)]
    written = _module("tests.bench.workloads", workload, "--cache", str(cache), *size)
    return Path(written.strip())


def _predictions(workload: str, cache: Path, bars: int | None) -> dict[str, dict[str, float]]:
    size = [] if bars is None else ["--bars", str(bars)]
    printed = _module(
        *("tests.bench.oracle", workload, "--cache", str(cache), "--cash", str(CASH)), *size
    )
    rules: dict[str, dict[str, float]] = json.loads(printed)["rules"]
    return rules


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--workload", choices=("W0", "W1", "W2"), default="W1")
    parser.add_argument("--bars", type=int, help="bars per symbol, for a scaled W1 or W2")
    parser.add_argument("--only", help="peers, comma separated; ours always runs")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median is shown")
    parser.add_argument("--timeout", type=float, default=RUN_SECONDS_MAX, help="seconds per run")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tetrad-bench")
    args = parser.parse_args()
    names = [peer.name for peer in PEERS]
    args.only = args.only.split(",") if args.only else names
    unknown = sorted(set(args.only) - set(names))
    if unknown:
        parser.error(f"no peer {', '.join(unknown)}: there are {', '.join(names)}")
    if args.repeat < 1:
        parser.error(f"--repeat must be at least 1, got {args.repeat}")
    return args


def main() -> int:
    """Run what the command line asks for and return the exit status."""
    args = _arguments()
    try:
        data = _data(args.workload, args.cache, args.bars)
        predicted = _predictions(args.workload, args.cache, args.bars)
    except RunFailedError as error:
        sys.exit(f"cannot prepare {args.workload}: {error}")
    rows = [_median([run_ours(data, args.timeout) for _ in range(args.repeat)])]
    _progress(rows[-1])
    for peer in PEERS:
        if peer.name in args.only:
            runs = []
            for _ in range(args.repeat):
                runs.append(run_peer(peer, data, args.workload, args.cache, args.timeout))
                if runs[-1].reason:
                    break
            rows.append(_median(runs))
            _progress(rows[-1])
    print(table(rows, predicted))
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0 if all(not row.reason and explained(row, predicted) for row in rows) else 1


def _progress(row: Row) -> None:
    print(f"{row.name}: {row.reason or f'{row.wall_s:.2f} s'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
