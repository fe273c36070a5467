"""Verdicts looked at again: explain one from a run's files, replay a run under other limits."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.config import Config, all_keys
from engine.domain.instruments import Instrument
from engine.domain.risk import (
    SPEC_OF,
    Check,
    CheckInputs,
    DenyCode,
    RiskLimits,
    bounds,
    checks,
    judge,
    symbol_bounds,
)
from engine.errors import ConfigError, InputError
from engine.registry import code_hash, load_strategy
from engine.research.backtest import run_backtest
from engine.research.result import BacktestResult
from engine.wiring import open_history

__all__ = ["Explanation", "Replay", "explain", "replay"]

FILES = ("orders.parquet", "verdicts.parquet", "check_inputs.parquet", "manifest.json")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One stored verdict, worked out anew.

    Attributes:
        order: what was ordered, by column of ``orders.parquet``.
        stored: code of the stored verdict; None when it approved.
        recomputed: the code that the stored inputs and limits give now.
        checks: every code in order of precedence with its check; None for what is not measured.
        is_measured: False when a check that needs no price had failed before anything was measured.
    """

    order: Mapping[str, Any]
    stored: DenyCode | None
    recomputed: DenyCode | None
    checks: list[tuple[DenyCode, Check | None]]
    is_measured: bool

    @property
    def agrees(self) -> bool:
        """True when the stored verdict is the one its inputs give."""
        return self.stored is self.recomputed


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A finished run and the same run under other limits.

    Attributes:
        before: figures of the finished run; ``peak_exposure`` is the largest worst-case exposure
            that an order was let to add to.
        after: those of the new one.
        denied: orders that the new limits deny and the old ones did not, with their code.
        admitted: orders the other way round, with the code they were denied by.
        only_before: number of orders that the new run did not send: the strategy reacted.
        only_after: number of those that only the new run sent.
        same_hash: whether both runs made the same events.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    denied: pl.DataFrame
    admitted: pl.DataFrame
    only_before: int
    only_after: int
    same_hash: bool


class _Run:
    """The folder of a finished run."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ConfigError(
                f"--out {folder} is not the folder of a run: it has no {missing[0]}; name the "
                "folder that engine backtest --out wrote"
            )
        self._folder = folder
        try:
            self.manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
            self.profile: dict[str, Any] = self.manifest["profile"]
            self.limits = msgspec.convert(self.profile["risk"], RiskLimits)
            self.instruments = {
                row["symbol"]: msgspec.convert(row, Instrument)
                for row in self.manifest["data"]["instruments"]
            }
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder}/manifest.json cannot be used: {error}") from error

    def summary(self) -> dict[str, Any]:
        path = self._folder / "summary.json"
        try:
            return dict(msgspec.json.decode(path.read_bytes()))
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error

    def frame(self, name: str) -> pl.DataFrame:
        path = self._folder / f"{name}.parquet"
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error


def explain(folder: str | Path, order_id: str) -> list[Explanation]:
    """Work out anew every verdict on one order, from the files of its run alone.

    A duplicate of an order has its id too, so there may be several.

    Raises:
        ConfigError: the folder is not that of a run, or holds what cannot be read.
        InputError: the run has no such order; the message names those that come near.
    """
    run = _Run(Path(folder))
    orders, verdicts = run.frame("orders"), run.frame("verdicts")
    inputs = run.frame("check_inputs")
    rows = verdicts.with_row_index("row").filter(order_id=order_id)["row"].to_list()
    if not rows:
        near = difflib.get_close_matches(order_id, orders["order_id"].to_list(), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"the run in {folder} has no order {order_id!r}{hint}")
    return [
        _explained(run, orders.row(n, named=True), verdicts["code"][n], inputs.row(n, named=True))
        for n in rows
    ]


def _explained(
    run: _Run, order: Mapping[str, Any], code: str | None, row: Mapping[str, Any]
) -> Explanation:
    stored = None if code is None else DenyCode[code]
    if row["order_value"] is None:
        return Explanation(
            order=order,
            stored=stored,
            # Nothing was measured, so only a check that measures nothing can have failed.
            recomputed=stored if stored not in SPEC_OF else None,
            checks=[(each, None) for each in DenyCode if each not in SPEC_OF],
            is_measured=False,
        )
    instrument = run.instruments[order["symbol"]]
    bound, own = bounds(run.limits), symbol_bounds(run.limits, instrument)
    measured = CheckInputs(**{name: row[name] for name in CheckInputs._fields})
    by_code = {check.code: check for check in checks(measured, bound, own, instrument)}
    return Explanation(
        order=order,
        stored=stored,
        recomputed=judge(measured, bound, own),
        checks=[(each, by_code.get(each)) for each in DenyCode],
        is_measured=True,
    )


def replay(
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    limits: RiskLimits | None = None,
) -> Replay:
    """Run a finished run again under other limits and compare the two.

    The strategy runs too, so it may send other orders once one of its own is denied.

    Args:
        folder: where ``engine backtest --out`` wrote it.
        settings: ``risk.`` settings that differ, by dotted name.
        limits: a whole other set of limits.

    Raises:
        ConfigError: the folder is not that of a run, its strategy or its data is not what it was,
            or a setting is no limit.
    """
    run = _Run(Path(folder))
    config = _config(run, settings or {}, limits)
    reference = run.manifest["strategy"].get("reference")
    if reference is None:
        raise ConfigError(
            f"the run in {folder} was made from a class in memory; only a run that names its "
            "strategy by file or by registered name can be run again"
        )
    cls = load_strategy(reference)
    if code_hash(cls) != run.manifest["strategy"]["sha256"]:
        raise ConfigError(f"the strategy {reference} has changed since the run in {folder}")
    if open_history(config).data_hash != run.manifest["data"]["sha256"]:
        raise ConfigError(f"the market data of the run in {folder} has changed since")
    return _compared(run, run_backtest(config, cls, reference=reference))


def _config(run: _Run, settings: Mapping[str, Any], limits: RiskLimits | None) -> Config:
    risk: dict[str, Any] = msgspec.to_builtins(run.limits if limits is None else limits)
    for key, value in settings.items():
        if not key.startswith("risk."):
            raise ConfigError(f"--set {key}: a replay changes limits only; write --set risk.NAME=")
        if key not in all_keys() and not key.startswith("risk.symbols."):
            near = difflib.get_close_matches(key, all_keys(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"--set: unknown setting {key!r}{hint}")
        *path, leaf = key.split(".")[1:]
        section = risk
        for part in path:
            section = section.setdefault(part, {})
        section[leaf] = value
    try:
        return msgspec.convert({**run.profile, "risk": risk}, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the limits of the replay: {error}") from error


def _compared(run: _Run, result: BacktestResult) -> Replay:
    before, after = run.frame("verdicts"), result.verdicts
    names = ["order_id", "symbol", "side", "quantity"]
    orders = pl.concat([run.frame("orders").select(names), result.orders.select(names)])
    both = before.select("order_id", old="code").join(
        after.select("order_id", new="code"), on="order_id", how="full", coalesce=False
    )
    common = both.drop_nulls(["order_id", "order_id_right"]).join(
        orders.unique("order_id", keep="first"), on="order_id", maintain_order="left"
    )
    return Replay(
        before=_figures(run.frame("verdicts"), run.summary()),
        after=_figures(after, result.summary),
        denied=common.filter(pl.col("old").is_null() & pl.col("new").is_not_null()).select(
            *names, code="new"
        ),
        admitted=common.filter(pl.col("old").is_not_null() & pl.col("new").is_null()).select(
            *names, code="old"
        ),
        only_before=both["order_id_right"].null_count(),
        only_after=both["order_id"].null_count(),
        same_hash=run.manifest["run_hash"] == result.run_hash,
    )


def _figures(verdicts: pl.DataFrame, summary: Mapping[str, Any]) -> dict[str, Any]:
    # What an order adds to; one that only shrinks may find more there than a limit would add to.
    raising = verdicts.filter("approved", pl.col("position_after") > pl.col("position_before"))
    approved = raising["exposure_after"]
    names = ("orders", "denied", "fills", "final_equity", "total_return", "max_drawdown")
    return {**{name: summary[name] for name in names}, "peak_exposure": approved.max() or 0.0}
