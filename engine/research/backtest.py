"""Backtests as a library call: profile and data in, frames and figures out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Config, load_config
from engine.errors import ConfigError, StrategyError
from engine.ports import MarketHistory, RunRecord
from engine.registry import absolute_reference, load_strategy, new_strategy
from engine.research.output import check_folder
from engine.research.result import BacktestResult, summarize
from engine.runtime.cell import Cell
from engine.runtime.sim_runtime import EVENTS_OF, Columns, SimRuntime
from engine.strategy.base import Strategy
from engine.wiring import (
    KIND_TYPES,
    build_core,
    host_name,
    latch_store,
    new_record,
    open_history,
    routes,
)

__all__ = ["backtest", "columns_of", "resolve", "run_backtest", "simulate"]


Progress = Callable[[int, int], None]
"""Called with (events handled, events in all)."""


def backtest(
    strategy: str | type[Strategy],
    data: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    cash: float | None = None,
    profile: str | Path = "backtest",
    limits: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run a strategy over market data files.

    Args:
        strategy: a Strategy class, ``path/to/file.py:ClassName`` or a registered name.
        data: files or folders.
        symbols: symbols to use, in this order; all by default.
        start: first moment, ISO date or time.
        end: last moment, ISO date or time.
        cash: opening cash.
        profile: name of a shipped profile, or a TOML file over one.
        limits: a whole limits file in place of the shipped one.
        settings: dotted setting -> value, such as ``{"costs.commission_bps": 10}``.
        out: folder to write the results to.
        progress: called with (events handled, events in all) now and then.

    Returns:
        The result with its polars frames.

    Raises:
        InputError: a setting, the strategy file or the data are unusable.
        StrategyError: a hook of the strategy raised; it carries the traceback.
    """
    config, cls, reference = resolve(
        strategy, data, symbols=symbols, start=start, end=end, cash=cash, profile=profile,
        limits=limits, settings=settings,
    )  # fmt: skip
    if out is not None:
        out = check_folder(out)  # absolute: a strategy may change the directory
    result = run_backtest(config, cls, progress=progress, reference=reference)
    if out is not None:
        result.save(out)
    return result


def resolve(
    strategy: str | type[Strategy],
    data: str | Path | Sequence[str | Path],
    *,
    symbols: Sequence[str] | None,
    start: str | None,
    end: str | None,
    cash: float | None,
    profile: str | Path,
    limits: str | Path | None,
    settings: Mapping[str, Any] | None,
) -> tuple[Config, type[Strategy], str | None]:
    """Give the profile, the strategy's class and its name from anywhere; see :func:`backtest`."""
    changes = dict(settings or {})
    paths = [data] if isinstance(data, str | Path) else list(data)
    changes["data.paths"] = [str(path) for path in paths]
    given = {"data.start": start, "data.end": end, "account.cash": cash}
    changes |= {key: value for key, value in given.items() if value is not None}
    if symbols is not None:
        changes["data.symbols"] = [symbols] if isinstance(symbols, str) else list(symbols)
    config = load_config(profile, limits=limits, environment=os.environ, settings=changes)
    if isinstance(strategy, str):
        return config, load_strategy(strategy), absolute_reference(strategy)
    return config, strategy, None


def run_backtest(
    config: Config,
    cls: type[Strategy],
    *,
    progress: Progress | None = None,
    reference: str | None = None,
) -> BacktestResult:
    """Run one strategy class under a resolved profile; see :func:`backtest`.

    ``reference`` names the strategy so that the run can be made again; None when nothing does.
    """
    began = time.perf_counter()
    if config.run.executions != "one":
        raise ConfigError(
            f"run.executions = {config.run.executions!r}: a backtest has no messages; give the "
            "parameters as strategy.NAME, and leave run.executions at 'one'"
        )
    strategy = new_strategy(cls, config.strategy)
    data = open_history(config)
    # Now: a strategy may change the directory.
    paths = [str(Path(path).absolute()) for path in config.data.paths]
    held = latch_store(config).load()
    journal = simulate(config, strategy, data, progress=progress)
    _raise_failure(journal, config)
    return summarize(
        config, strategy, data, journal, began=began, reference=reference, paths=paths, held=held
    )


def simulate(
    config: Config, strategy: Strategy, data: MarketHistory, *, progress: Progress | None = None
) -> RunRecord:
    """Carry one strategy through market data on the simulated runtime; give its journal."""
    journal = new_record()
    strategy_id = type(strategy).__name__
    batch = config.indicators.mode == "batch" and data.kind == "bar"
    # The controller is made before the runtime that it may have to stop.
    started: list[SimRuntime] = []

    def stop_run() -> None:
        started[0].stop()

    core = build_core(
        config,
        strategies={strategy_id: strategy},
        instruments=data.instruments,
        kinds=(KIND_TYPES[data.kind],),
        columns_of=data.columns if batch else None,
        journal=journal,
        stop_run=stop_run,
    )
    cell = Cell("core", core, routes([host_name(strategy_id)]))
    runtime = SimRuntime(
        cell,
        data.instruments,
        EVENTS_OF[data.kind],
        start_ts=data.ts_first,
        seed=config.run.seed,
    )
    started.append(runtime)
    runtime.run(_chunks(data, config.run.chunk_rows), _counting(progress, data.rows))
    return journal


def _chunks(data: MarketHistory, rows: int) -> Iterator[Columns]:
    alone = len(data.instruments) == 1
    for frame in data.chunks(rows):
        yield columns_of(frame, alone=alone)


def columns_of(frame: pl.DataFrame, *, alone: bool) -> Columns:
    """Turn a chunk into lists of integers; a lone series needs no series numbers."""
    return {
        column.name: column.to_list()
        for column in frame.iter_columns()
        if not (alone and column.name == "series")
    }


def _counting(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    done = 0

    def count(events: int) -> None:
        nonlocal done
        done += events
        progress(done, total)

    return count


def _raise_failure(journal: RunRecord, config: Config) -> None:
    if journal.failures and config.supervision.strategy == "stop":
        failed = journal.failures[0]
        raise StrategyError(
            failed.strategy_id, failed.hook, failed.event, failed.error, failed.traceback
        )
