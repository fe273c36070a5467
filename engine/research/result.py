"""The result of a run: figures, frames, manifest, and the folder they are written to."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.analytics.equity import EquityBuilder
from engine.analytics.performance import statistics
from engine.analytics.trades import round_trips
from engine.config import Config
from engine.domain.events import StrategyFailed
from engine.domain.latch import Hold
from engine.domain.money import cash_units
from engine.domain.risk import RiskLimits
from engine.ports import MarketHistory, RunRecord
from engine.registry import code_hash
from engine.research.frames import (
    fills_frame,
    instances_frame,
    orders_frame,
    per,
    verdicts_frame,
)
from engine.research.output import new_folder
from engine.strategy.base import Strategy

__all__ = ["BacktestResult", "content_hash", "summarize"]

# Who was connected says nothing about a result, and may hold a password.
_PRIVATE = ("store", "redis", "kafka", "gateway", "alpaca")
PRICE_ROWS_MAX = 100_000
PRICE_BUCKETS = 5_000
EQUITY_CHUNK_ROWS = 131_072
_TIMES = ("ts", "ts_init", "ts_last", "entry_ts", "exit_ts", "timestamp", "datum_ts")


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """Everything a run produced.

    Attributes:
        summary: the figures of ``summary.json``.
        statistics: every statistic, with the monthly and yearly tables.
        manifest: resolved profile, hashes, versions.
        orders, fills, trades, instances, equity, verdicts, check_inputs, signals, risk_events:
            polars frames; times are UTC datetimes of nanoseconds.
        dropped: bad rows that were dropped, when the profile says so.
        notes: what the data reader wants to be known, replacements that were refused, and
            strategies that failed on the way.
    """

    summary: dict[str, Any]
    statistics: dict[str, Any]
    manifest: dict[str, Any]
    orders: pl.DataFrame
    fills: pl.DataFrame
    trades: pl.DataFrame
    instances: pl.DataFrame
    equity: pl.DataFrame
    verdicts: pl.DataFrame
    check_inputs: pl.DataFrame
    signals: pl.DataFrame
    risk_events: pl.DataFrame
    dropped: pl.DataFrame
    notes: Sequence[str]
    data: MarketHistory = field(repr=False)

    @property
    def run_hash(self) -> str:
        """Hash of every event of the run."""
        return str(self.summary["run_hash"])

    def save(self, folder: str | Path) -> Path:
        """Write the output folder; it appears under its name only when it is complete.

        Raises:
            ConfigError: the folder exists and holds something other than an earlier result, or it
                cannot be written, such as on a full disk.
        """
        absolute = Path(folder).absolute()
        with new_folder(absolute) as partial:
            for name in (
                "orders",
                "fills",
                "trades",
                "instances",
                "equity",
                "verdicts",
                "check_inputs",
            ):
                getattr(self, name).write_parquet(partial / f"{name}.parquet")
            for name in ("signals", "risk_events", "dropped"):
                frame = getattr(self, name)
                if len(frame):
                    frame.write_parquet(partial / f"{name}.parquet")
            if self.manifest["profile"]["report"]["html"]:
                self.report(partial / "report.html")
            _write_json(partial / "summary.json", self.summary)
            _write_json(partial / "statistics.json", self.statistics)
            _write_json(partial / "manifest.json", self.manifest)
        return absolute

    def report(self, path: str | Path) -> Path:
        """Write the one-file HTML report."""
        from engine.research.report import ReportInput, write_report

        profile = self.manifest["profile"]
        facts = {
            "profile": profile["profile"],
            "symbols": ", ".join(self.summary["symbols"]),
            "period": f"{self.summary['start'][:10]} to {self.summary['end'][:10]}",
            "bars": f"{self.summary['bars']:,}",
            "currency": profile["account"]["currency"],
        }
        shown = ReportInput(
            title=self.summary["strategy"],
            summary=facts,
            statistics=self.statistics,
            equity=_untimed(self.equity),
            trades=_untimed(self.trades),
            fills=_untimed(self.fills),
            orders=_untimed(self.orders),
            verdicts=_untimed(self.verdicts),
            prices=_prices(self.data),
            parameters=self.manifest["strategy"]["parameters"],
            limits=profile["risk"],
            risk_events=_untimed(self.risk_events),
            profile=profile,
            manifest=self.manifest,
        )
        write_report(Path(path), shown)
        return Path(path)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in self.summary.items()
        )
        return f"<table>{rows}</table>"


def summarize(
    config: Config,
    strategy: Strategy,
    data: MarketHistory,
    journal: RunRecord,
    *,
    began: float,
    reference: str | None = None,
    paths: Sequence[str] = (),
    held: Mapping[str, Hold] | None = None,
) -> BacktestResult:
    """Turn a journal and its market data into a result.

    ``reference`` and ``paths`` say where strategy and data are, from whatever directory; ``held``
    what was halted when the run began.
    """
    cash = cash_units(config.account.cash)
    instruments = data.instruments
    raw_orders = journal.orders()
    verdicts = journal.verdicts()
    fills = fills_frame(journal.fills(), raw_orders, instruments)
    orders = orders_frame(
        raw_orders, verdicts, fills, journal.replaced(), journal.ends(), instruments
    )
    builder = EquityBuilder(instruments, fills, cash)
    for chunk in data.chunks(EQUITY_CHUNK_ROWS):
        builder.add(chunk)
    equity = builder.finish()
    trades = round_trips(fills, instruments, builder.marks)
    figures = statistics(equity, trades, fills, initial_cash=cash, extremes=builder.extremes)
    summary = _summary(config, strategy, data, orders, fills, trades, figures, journal.hash)
    result = BacktestResult(
        summary=summary,
        statistics=figures,
        manifest={
            **_manifest(config, strategy, data, journal, reference, paths),
            "held": msgspec.to_builtins(dict(held or {})),
        },
        orders=_timed(orders),
        fills=_timed(fills),
        trades=_timed(trades),
        instances=_timed(instances_frame(journal.signals(), trades, raw_orders, fills)),
        equity=_timed(equity),
        verdicts=_timed(verdicts_frame(verdicts, raw_orders, config.risk, instruments)),
        check_inputs=verdicts.drop("ts", "code"),
        signals=_timed(journal.signals()),
        risk_events=_timed(journal.risk_events()),
        dropped=data.dropped,
        notes=[
            *data.notes,
            *_strangers(config.risk, data),
            *_refused(journal.refusals),
            *map(_quarantined, journal.failures),
        ],
        data=data,
    )
    summary["elapsed_s"] = round(time.perf_counter() - began, 3)
    return result


def _summary(
    config: Config,
    strategy: Strategy,
    data: MarketHistory,
    orders: pl.DataFrame,
    fills: pl.DataFrame,
    trades: pl.DataFrame,
    figures: Mapping[str, Any],
    run_hash: str,
) -> dict[str, Any]:
    same = (
        "initial_cash", "final_equity", "total_return", "cagr", "volatility", "sharpe_ratio",
        "sortino_ratio", "calmar_ratio", "max_drawdown", "max_drawdown_duration", "exposure",
        "turnover", "win_rate", "profit_factor", "expectancy", "best_trade", "worst_trade",
        "total_costs", "benchmark_return",
    )  # fmt: skip
    return {
        "strategy": type(strategy).__name__,
        "parameters": msgspec.to_builtins(dict(strategy.parameters)),
        "symbols": [i.symbol for i in data.instruments],
        "start": _iso(_period(data)[0]),
        "end": _iso(_period(data)[1]),
        "bars": data.rows,
        "orders": len(orders),
        "fills": len(fills),
        "trades": len(trades),
        "denied": int((orders["status"] == "DENIED").sum()),
        **{name: figures[name] for name in same},
        "run_hash": run_hash,
        "elapsed_s": 0.0,
    }


def _manifest(
    config: Config,
    strategy: Strategy,
    data: MarketHistory,
    journal: RunRecord,
    reference: str | None,
    paths: Sequence[str],
) -> dict[str, Any]:
    resolved = msgspec.to_builtins(config)
    for section in _PRIVATE:
        del resolved[section]
    cls = type(strategy)
    return {
        "run_hash": journal.hash,
        "events": journal.events,
        "strategy": {
            "class": cls.__qualname__,
            "reference": reference,
            "sha256": code_hash(cls),
            "parameters": msgspec.to_builtins(dict(strategy.parameters)),
        },
        "profile": resolved,
        "profile_sha256": content_hash(resolved),
        "limits_sha256": content_hash(resolved["risk"]),
        "data": {
            "sha256": data.data_hash,
            "paths": list(paths),
            "files": [{"path": str(path), "sha256": digest} for path, digest in data.files],
            "rows": data.rows,
            "start": _iso(_period(data)[0]),
            "end": _iso(_period(data)[1]),
            "symbols": [i.symbol for i in data.instruments],
            "instruments": msgspec.to_builtins(data.instruments),
        },
        "versions": {
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("tetrad", "polars", "msgspec", "ta-lib", "pykka")
            },
        },
    }


def content_hash(value: Any) -> str:
    """Give the SHA-256 of plain values, whatever the order of their keys, in hex."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def _strangers(limits: RiskLimits, data: MarketHistory) -> list[str]:
    """Name the symbols of the limits file that the run does not have: one may be misspelt."""
    known = {i.symbol for i in data.instruments}
    locates = {} if isinstance(limits.locates, str) else limits.locates
    named = {
        "risk.symbols": limits.symbols,
        "risk.restricted_symbols": limits.restricted_symbols,
        "risk.locates": locates,
    }
    return [
        f"{setting} names {', '.join(sorted(set(symbols) - known))}, which this run does not have"
        for setting, symbols in named.items()
        if set(symbols) - known
    ]


def _refused(refusals: Counter[str]) -> list[str]:
    if not refusals:
        return []
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in refusals.most_common())
    return [f"{refusals.total():,} replacements of orders were refused: {reasons}"]


def _quarantined(failed: StrategyFailed) -> str:
    return (
        f"strategy {failed.strategy_id} failed in {failed.hook} on {failed.event}: {failed.error}; "
        "it got nothing more from there on"
    )


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    times = [name for name in _TIMES if name in frame.columns]
    return frame.with_columns(pl.col(times).cast(pl.Datetime("ns", "UTC")))


def _untimed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Datetime("ns", "UTC")).cast(pl.Int64))


def _prices(data: MarketHistory) -> dict[str, pl.DataFrame]:
    """Give the prices a report draws: bars as they are while few, else a line through extremes."""
    if data.kind != "bar" or data.rows > PRICE_ROWS_MAX:
        return _thinned_prices(data)
    names = {"ts_open": "ts", "open": "open", "high": "high", "low": "low", "close": "close"}
    found = {}
    for instrument in data.instruments:
        columns = data.columns(instrument.symbol, names)
        found[instrument.symbol] = pl.DataFrame({new: columns[old] for old, new in names.items()})
    return found


def _thinned_prices(data: MarketHistory) -> dict[str, pl.DataFrame]:
    """Keep the lowest and highest price of every bucket of rows, in one pass over the data."""
    time, price = {
        "bar": ("ts_open", pl.col("close")),
        "trade": ("ts_event", pl.col("price")),
        "quote": ("ts_event", (pl.col("bid") + pl.col("ask")) // 2),
    }[data.kind]
    width = max(data.rows // len(data.instruments) // PRICE_BUCKETS, 1)
    lowest, highest = pl.col("px").arg_min(), pl.col("px").arg_max()
    pieces = []
    for chunk in data.chunks(EQUITY_CHUNK_ROWS):
        rows = chunk.select("series", bucket=pl.col("seq") // width, ts=pl.col(time), px=price)
        buckets = rows.group_by("series", "bucket", maintain_order=True)
        pieces += [
            buckets.agg(pl.col("ts").get(at), pl.col("px").get(at)).drop("bucket")
            for at in (lowest, highest)
        ]
    points = pl.concat(pieces).unique().sort("series", "ts")
    return {
        instrument.symbol: points.filter(pl.col("series") == number).select(
            "ts", close=per(pl.col("px"), instrument.price_unit)
        )
        for number, instrument in enumerate(data.instruments)
    }


def _period(data: MarketHistory) -> tuple[int, int]:
    """Give the first and the last moment the data is about: a bar's open, not its delivery."""
    length = min(data.interval_ns.values(), default=0)
    return data.ts_first - length, data.ts_last - (1 if length else 0)


def _iso(ts: int) -> str:
    return str(pl.Series([ts]).cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")[0])


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
