"""The command line, and the only place that prints.

Exit codes: 0 done, 1 the strategy failed, 2 the usage or the input is wrong, 70 the engine itself
failed, 75 the database or the venue does not answer (run again to go on), 130 interrupted, 141
whoever read the output went away, 143 terminated.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from engine.addresses import masked
from engine.cli_db import db
from engine.cli_doctor import doctor
from engine.cli_feed import dead_letters, publish
from engine.cli_gateway import gateway
from engine.cli_oms import oms
from engine.cli_operator import flatten, halt, reduce, resume, stop
from engine.cli_risk import printable, risk
from engine.cli_summary import alarm_line, going_lines, summary_lines
from engine.errors import ConfigError, InputError, StrategyError, UnavailableError

if TYPE_CHECKING:
    from engine.domain.events import RiskEvent
    from engine.research.result import BacktestResult
    from engine.session import Going

__all__ = ["app", "main"]


def _version() -> str:
    from importlib.metadata import version

    return version("tetrad")


app = App(
    name="engine",
    help="Tetrad: one event-driven trading engine for every mode.",
    version=_version,
    # Plain text spares the import of a Markdown renderer.
    suppress_keyboard_interrupt=False,
    version_format="plaintext",
    help_format="plaintext",
)

_REFERENCE = (
    "path/to/file.py:ClassName (a file with one class needs no name), or a registered name."
)
app.command(risk)
app.command(db)
app.command(oms)
app.command(gateway)
app.command(publish)
app.command(dead_letters)
app.command(doctor)
for _command in (halt, reduce, resume, flatten, stop):
    app.command(_command)
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
LimitsFile = Annotated[
    Path | None,
    Parameter(name="--limits", help="A whole limits file (TOML) in place of the shipped one."),
]
ProfileName = Annotated[
    str, Parameter(help="A shipped profile (backtest, paper), or a TOML file over one.")
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
OptionalProfile = Annotated[
    str | None,
    Parameter(
        name="--profile",
        help="A shipped profile (backtest, paper, services, live), or a TOML file over one; "
        "that of CONFIG_PATH by default.",
    ),
]
Services = Annotated[
    bool,
    Parameter(
        negative=(),
        show_default=False,
        help="Paper on the Redis and PostgreSQL servers of REDIS_URL and DATABASE_URL.",
    ),
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
    profile: ProfileName = "backtest",
    limits: LimitsFile = None,
    on_bad_data: OnBadData = None,
    settings: Settings = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Run a strategy over market data files."""
    from engine.research.backtest import backtest as run

    changes = _settings(settings, on_bad_data)
    # Whatever a strategy prints must not end up in the JSON.
    printing = redirect_stdout(sys.stderr) if json else nullcontext()
    with printing, _Progress(quiet=json) as progress:
        result = run(
            strategy,
            [str(path) for path in data or _configured_paths(profile, limits, changes)],
            symbols=_names(symbols),
            start=start,
            end=end,
            cash=cash,
            profile=profile,
            limits=limits,
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
    profile: OptionalProfile = None,
    services: Services = False,
    data: Data = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    cash: Cash = None,
    limits: LimitsFile = None,
    on_bad_data: OnBadData = None,
    settings: Settings = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Run the engine under a profile; all but a backtest go on where they were left off."""
    from engine.config import profile_base

    profile = profile or os.environ.get("CONFIG_PATH")
    if profile is None:
        raise ConfigError("name a profile: engine run ... --profile paper, or set CONFIG_PATH")
    if services and profile != "paper":
        raise ConfigError("--services goes with --profile paper; it is --profile services in short")
    profile = "services" if services else profile

    if strategy is None:
        raise ConfigError("name a strategy: engine run path/to/file.py:ClassName --profile ...")
    commands = {"backtest": backtest, "paper": paper, "services": paper, "live": paper}
    command = commands.get(profile_base(profile))
    if command is None:
        runs = ", ".join(commands)
        raise ConfigError(f"profile {profile!r} cannot be run; this release runs: {runs}")
    return command(
        strategy,
        data=data,
        symbols=symbols,
        start=start,
        end=end,
        cash=cash,
        profile=profile,
        limits=limits,
        on_bad_data=on_bad_data,
        settings=settings,
        out=out,
        json=json,
    )


def paper(
    strategy: str,
    *,
    data: list[Path] | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    cash: float | None,
    profile: str,
    limits: Path | None,
    on_bad_data: str | None,
    settings: list[str] | None,
    out: Path | None,
    json: bool,
) -> int:
    """Carry a strategy through market data in real time, from where its run was."""
    from engine.session import paper as run

    def told(going: Going) -> None:
        for line in going_lines(going):
            sys.stderr.write(f"{printable(line)}\n")

    def alarmed(event: RiskEvent) -> None:
        sys.stderr.write(f"{printable(alarm_line(event))}\n")

    changes = _settings(settings, on_bad_data)
    printing = redirect_stdout(sys.stderr) if json else nullcontext()
    try:
        with printing, _Progress(quiet=json) as progress:
            result = run(
                strategy,
                [str(path) for path in data or _configured_paths(profile, limits, changes)],
                symbols=_names(symbols),
                start=start,
                end=end,
                cash=cash,
                profile=profile,
                limits=limits,
                settings=changes,
                out=out,
                progress=progress,
                going=None if json else told,
                alarm=None if json else alarmed,
            )
    except UnavailableError as error:
        return _fail(75, f"{error}; run the same command again to go on")
    except KeyboardInterrupt as stopped:
        code = 143 if isinstance(stopped, _Terminated) else 130
        return _fail(code, "stopped; run the same command again to go on")
    _show(result, out, json)
    return 0


def _settings(pairs: list[str] | None, on_bad_data: str | None) -> dict[str, Any]:
    from engine.config import parse_settings

    changes = parse_settings(pairs or [])
    if on_bad_data is not None:
        changes["data.on_bad_data"] = on_bad_data
    return changes


def _names(symbols: str | None) -> list[str] | None:
    if symbols is None:
        return None
    names = [name.strip() for name in symbols.split(",")]
    names = [name for name in names if name]
    if not names:
        raise ConfigError(
            f"--symbols {symbols!r} names no symbol; write AAPL,MSFT or leave it out for all"
        )
    return names


def _configured_paths(profile: str, limits: Path | None, changes: dict[str, Any]) -> list[str]:
    from engine.config import load_config

    config = load_config(profile, limits=limits, environment=os.environ, settings=changes)
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")  # a symbol may not exist in the terminal's encoding
    with _Boundary(), _termination(), _no_scans():
        code = _run(arguments)
    raise SystemExit(code)


def _run(arguments: list[str] | None) -> int:
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        if sys.stdout is not None:
            sys.stdout.flush()
    except CycloptsError as error:
        words = str(error).strip()
        words = masked(words) if "://" in words else words
        return _fail(2, f"{words} (engine --help shows the usage)")
    except InputError as error:
        return _fail(2, str(error))
    except StrategyError as error:
        sys.stderr.write(error.traceback)
        return _fail(1, str(error))
    except UnavailableError as error:
        return _fail(75, str(error))
    except _Terminated:
        return _fail(143, "terminated; nothing was written")
    except KeyboardInterrupt:
        return _fail(130, "interrupted; nothing was written")
    except BrokenPipeError:
        # What is left in the buffer has nowhere to go; the interpreter would try again and say so.
        _discard_output()
        return 141
    except OSError as error:
        _discard_output()
        return _fail(2, f"cannot read or write: {error.strerror or error}")
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _no_scans() -> Iterator[None]:
    # What start-up creates lives to the end: scanning it for garbage is a tenth of its time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run as Ctrl-C does, so that nothing half-written is left."""


@contextmanager
def _termination() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Boundary:
    """The outermost wall: what nobody foresaw is told as what it is, a fault of the engine."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        import traceback

        traceback.print_exception(error)
        about = "the engine failed; this is not your fault. Please report it with the lines above"
        raise SystemExit(_fail(70, about)) from error


def _fail(code: int, message: str) -> int:
    sys.stderr.write("".join(f"{printable(line)}\n" for line in f"engine: {message}".split("\n")))
    return code
