"""The command line, and the only place that prints.

Exit codes: 0 done, 1 the strategy failed, 2 the usage or the input is wrong, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from engine.errors import ConfigError, InputError, StrategyError

if TYPE_CHECKING:
    from engine.research.result import BacktestResult

__all__ = ["app", "main"]


def _version() -> str:
    from importlib.metadata import version

    return version("tetrad")


app = App(
    name="engine",
    help="Tetrad: one event-driven trading engine for every mode.",
    version=_version,
    # Plain text spares the import of a Markdown renderer.
    version_format="plaintext",
    help_format="plaintext",
)

_REFERENCE = (
    "path/to/file.py:ClassName (a file with one class needs no name), or a registered name."
)
StrategyName = Annotated[str, Parameter(help=_REFERENCE)]
Reference = Annotated[str | None, Parameter(help=_REFERENCE)]
Data = Annotated[
    list[Path] | None,
    Parameter(
        name="--data",
        consume_multiple=True,
        negative=(),
        help="Parquet, CSV or Arrow files, or folders of them.",
    ),
]
Symbols = Annotated[
    str | None, Parameter(help="Symbols, separated by commas, in this order; all by default.")
]
Start = Annotated[str | None, Parameter(name="--from", help="First moment, such as 2005-01-01.")]
End = Annotated[str | None, Parameter(name="--to", help="Last moment; a date counts to its end.")]
Cash = Annotated[float | None, Parameter(help="Opening cash; 100000 unless the profile differs.")]
Overlay = Annotated[
    Path | None, Parameter(help="A TOML file of settings over the shipped backtest profile.")
]
ProfileName = Annotated[
    str, Parameter(help="A shipped profile (backtest), or a TOML file over one.")
]
OnBadData = Annotated[
    str | None,
    Parameter(
        name="--on-bad-data",
        help="fail on the first bad row (default), or drop, which counts and lists them.",
    ),
]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative=(),
        help="KEY=VALUE of any setting, such as strategy.fast=10; may be repeated.",
    ),
]
Out = Annotated[
    Path | None,
    Parameter(name="--out", help="Folder for the results; without it nothing is written."),
]
Json = Annotated[
    bool,
    Parameter(
        name="--json",
        negative=(),
        show_default=False,
        help="Print the summary as JSON and nothing else.",
    ),
]


@app.command
def backtest(
    strategy: StrategyName,
    /,
    *,
    data: Data = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    cash: Cash = None,
    profile: Overlay = None,
    on_bad_data: OnBadData = None,
    settings: Settings = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Run a strategy over market data files."""
    from engine.research.backtest import backtest as run

    changes = _settings(settings, on_bad_data)
    with _Progress(quiet=json) as progress:
        result = run(
            strategy,
            [str(path) for path in data or _configured_paths(profile, changes)],
            symbols=symbols.split(",") if symbols else None,
            start=start,
            end=end,
            cash=cash,
            profile=profile,
            settings=changes,
            out=out,
            progress=progress,
        )
    _show(result, out, json)
    return 0


@app.command
def run(
    strategy: Reference = None,
    /,
    *,
    profile: ProfileName,
    data: Data = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    cash: Cash = None,
    on_bad_data: OnBadData = None,
    settings: Settings = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Run the engine under a profile; the options are those of its command."""
    from engine.config import profile_base

    base = profile_base(profile)
    if base != "backtest":
        raise ConfigError(f"profile {base!r} cannot be run; this release runs: backtest")
    if strategy is None:
        raise ConfigError("name a strategy: engine run path/to/file.py:ClassName --profile ...")
    return backtest(
        strategy,
        data=data,
        symbols=symbols,
        start=start,
        end=end,
        cash=cash,
        profile=Path(profile) if profile.endswith(".toml") else None,
        on_bad_data=on_bad_data,
        settings=settings,
        out=out,
        json=json,
    )


def _settings(pairs: list[str] | None, on_bad_data: str | None) -> dict[str, Any]:
    from engine.config import parse_settings

    changes = parse_settings(pairs or [])
    if on_bad_data is not None:
        changes["data.on_bad_data"] = on_bad_data
    return changes


def _configured_paths(profile: Path | None, changes: dict[str, Any]) -> list[str]:
    from engine.config import load_config

    config = load_config("backtest", file=profile, environment=os.environ, settings=changes)
    return config.data.paths


class _Progress:
    """A progress bar on a terminal, nothing otherwise."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Callable[[int, int], None] | None:
        if not self._shown:
            return None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            "[progress.description]{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("events", total=None)
        return self._update

    def _update(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _show(result: BacktestResult, out: Path | None, as_json: bool) -> None:
    import msgspec

    if as_json:
        print(msgspec.json.encode(result.summary).decode())
        return
    for line in summary_lines(result, out):
        print(line)


def summary_lines(result: BacktestResult, out: Path | None) -> list[str]:
    """Render a result for people: headline figures, denials, what was dropped and written."""
    s = result.summary
    closed = result.statistics["trades"]

    def percent(key: str) -> str:
        return "n/a" if s[key] is None else f"{100 * s[key]:.2f} %"

    def number(key: str) -> str:
        return "n/a" if s[key] is None else f"{s[key]:,.2f}"

    rows = [
        ("strategy", f"{s['strategy']} on {', '.join(s['symbols'][:8])}"),
        ("period", f"{s['start'][:10]} to {s['end'][:10]}, {s['bars']:,} bars"),
        ("final equity", f"{number('final_equity')} from {number('initial_cash')}"),
        ("total return", f"{percent('total_return')} (buy and hold {percent('benchmark_return')})"),
        ("CAGR", percent("cagr")),
        ("Sharpe / Sortino", f"{number('sharpe_ratio')} / {number('sortino_ratio')}"),
        ("max drawdown", percent("max_drawdown")),
        ("trades", f"{closed:,} closed, {percent('win_rate')} won; {s['trades'] - closed:,} open"),
        ("profit factor", number("profit_factor")),
        ("costs", number("total_costs")),
        ("orders", f"{s['orders']:,}, {s['fills']:,} fills, {s['denied']:,} denied"),
    ]
    lines = [f"  {name:<18}{value}" for name, value in rows]
    lines += _denials(result)
    lines += [f"  note              {note}" for note in result.notes]
    if len(result.dropped):
        lines.append(f"  dropped           {len(result.dropped):,} bad rows:")
        lines += [
            f"    {row['file']}, row {row['row']}: {row['detail']} [{row['rule']}]"
            for row in result.dropped.head(10).iter_rows(named=True)
        ]
    rate = s["bars"] / s["elapsed_s"] if s["elapsed_s"] else 0.0
    lines.append(
        f"  run hash          {s['run_hash'][:16]}  ({s['elapsed_s']:.2f} s, {rate:,.0f}/s)"
    )
    if out is not None:
        lines.append(f"  written to        {out}/  (open {out}/report.html)")
    return lines


def _denials(result: BacktestResult) -> list[str]:
    counts = result.verdicts["code"].drop_nulls().value_counts(sort=True)
    lines = []
    for row in counts.iter_rows(named=True):
        first = result.verdicts.filter(code=row["code"]).head(1)
        lines.append(f"    denied {row['count']:,} x {row['code']}: {first['detail'][0]}")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # What start-up creates lives to the end: scanning it for garbage is a tenth of its time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _complain(f"{str(error).strip()} (engine --help shows the usage)")
        code = 2
    except InputError as error:
        _complain(str(error))
        code = 2
    except StrategyError as error:
        sys.stderr.write(error.traceback)
        _complain(str(error))
        code = 1
    except KeyboardInterrupt:
        _complain("interrupted; nothing was written")
        code = 130
    finally:
        if collecting:
            gc.enable()
    raise SystemExit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    sys.stderr.write(f"engine: {message}\n")
