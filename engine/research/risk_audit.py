"""Verdicts looked at again: explain one from a run's files, replay a run under other limits."""

from __future__ import annotations

import difflib
import hashlib
import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl

from engine.config import Config, load_config
from engine.domain.instruments import Instrument
from engine.domain.latch import Hold
from engine.domain.money import CASH_UNIT, MAX_UNITS
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
from engine.research.frames import SHOWN_AMOUNTS
from engine.research.result import BacktestResult, content_hash
from engine.wiring import latch_store, open_history

__all__ = ["Explanation", "Replay", "explain", "replay"]

FILES = ("orders.parquet", "verdicts.parquet", "check_inputs.parquet", "manifest.json")
NEIGHBORS = 2_000
"""How many order ids on each side of an unknown one are looked at for what was meant."""

_COLUMNS: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "orders": {
        **dict.fromkeys(("order_id", "symbol", "side", "order_type", "status"), pl.String),
        **dict.fromkeys(("quantity", "limit_price", "stop_price"), pl.Float64),
        "ts_init": pl.Datetime("ns", "UTC"),
    },
    "verdicts": {
        **dict.fromkeys(("order_id", "code"), pl.String),
        "approved": pl.Boolean,
        **dict.fromkeys(SHOWN_AMOUNTS, pl.Float64),
    },
    "check_inputs": {"order_id": pl.String, **dict.fromkeys(CheckInputs._fields, pl.Int64)},
}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One stored verdict, worked out anew.

    Attributes:
        order: what was ordered, by column of ``orders.parquet``.
        currency: of its amounts.
        approved: whether the stored verdict says so.
        stored: code of the stored verdict; None without one.
        recomputed: the code that the stored inputs and limits give now.
        checks: every code in order of precedence with its check; None for what was not measured.
        is_measured: False when a check that needs no price had failed before anything was measured.
        faults: where else the files contradict each other, a sentence each.
    """

    order: Mapping[str, Any]
    currency: str
    approved: bool
    stored: DenyCode | None
    recomputed: DenyCode | None
    checks: list[tuple[DenyCode, Check | None]]
    is_measured: bool
    faults: Sequence[str] = ()

    @property
    def agrees(self) -> bool:
        """True when the stored verdict is the one its inputs give; an approval needs inputs."""
        return (
            not self.faults
            and self.stored is self.recomputed
            and self.approved == (self.stored is None)
            and (self.is_measured or not self.approved)
        )

    def result(self, code: DenyCode) -> str:
        """Give the outcome of one check in a word: passed, FAILED, exempt, no limit, not reached.

        What is not measured and comes after the check that failed was not asked any more.
        """
        check = dict(self.checks)[code]
        if check is not None:
            if check.exempt or not check.passed:
                return "exempt" if check.exempt else "FAILED"
            return "no limit" if check.limit is None else "passed"
        if code is self.stored:
            return "FAILED"
        order = list(DenyCode)
        before = self.stored is not None and order.index(code) < order.index(self.stored)
        return "passed" if self.is_measured or before else "not reached"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A finished run and the same run under other limits.

    Attributes:
        before: figures of the finished run; ``peak_exposure`` is the largest worst-case exposure
            that an order was let to add to.
        after: those of the new one.
        denied: orders that the new limits deny and the old ones did not, with their code.
        admitted: orders the other way round, with the code they were denied by.
        recoded: orders that both deny, for another reason: ``old`` and ``new`` code.
        only_before: number of orders that the new run did not send: the strategy reacted.
        only_after: number of those that only the new run sent.
        run_hashes: of the events of the finished run and of the new one.
        same_limits: whether the new run had the limits of the finished one.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    denied: pl.DataFrame
    admitted: pl.DataFrame
    recoded: pl.DataFrame
    only_before: int
    only_after: int
    run_hashes: tuple[str, str]
    same_limits: bool

    @property
    def same_hash(self) -> bool:
        """True when both runs made the same events."""
        return self.run_hashes[0] == self.run_hashes[1]


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
            self.profile: dict[str, Any] = dict(self.manifest["profile"])
            self.strategy: dict[str, Any] = dict(self.manifest["strategy"])
            self.data: dict[str, Any] = dict(self.manifest["data"])
            self.run_hash = str(self.manifest["run_hash"])
            self.limits = msgspec.convert(self.profile["risk"], RiskLimits)
            self.held = msgspec.convert(self.manifest["held"], dict[str, Hold])
            self.has_its_limits = (
                content_hash(self.profile["risk"]) == self.manifest["limits_sha256"]
            )
            self.instruments = {
                row["symbol"]: msgspec.convert(row, Instrument) for row in self.data["instruments"]
            }
        except KeyError as error:
            raise ConfigError(
                f"{folder}/manifest.json cannot be used: it has no {error}"
            ) from error
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise ConfigError(f"{folder}/manifest.json cannot be used: {error}") from error

    def summary(self) -> dict[str, Any]:
        path = self._folder / "summary.json"
        try:
            return dict(msgspec.json.decode(path.read_bytes()))
        except (OSError, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error

    def frame(self, name: str) -> pl.DataFrame:
        path = self._folder / f"{name}.parquet"
        try:
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{path} cannot be read: {reason}") from error
        for column, kind in _COLUMNS[name].items():
            if frame.schema.get(column) != kind:
                found = frame.schema.get(column, "missing")
                raise ConfigError(f"{path} is not of a run: column {column} is {found}, not {kind}")
        return frame


def explain(folder: str | Path, order_id: str) -> list[Explanation]:
    """Work out anew every verdict on one order, from the files of its run alone.

    A duplicate of an order has its id too, so there may be several.

    Raises:
        ConfigError: the folder is not that of a run, or holds what cannot be read.
        InputError: the run has no such order; the message names those that come near.
    """
    run = _Run(Path(folder))
    frames = {name: run.frame(name) for name in _COLUMNS}
    rows = {name: frame.filter(order_id=order_id) for name, frame in frames.items()}
    count = len(rows["verdicts"])
    if not count:
        near = _near(order_id, frames["verdicts"]["order_id"])
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"the run in {folder} has no order {order_id!r}{hint}")
    for name, found in rows.items():
        if len(found) != count:
            raise ConfigError(
                f"{folder}/{name}.parquet does not belong to the verdicts beside it: it has order "
                f"{order_id} {len(found)} times, they {count}"
            )
    numbered = [frame.iter_rows(named=True) for frame in rows.values()]
    return [_explained(run, *each) for each in zip(*numbered, strict=True)]


def _near(order_id: str, ids: pl.Series) -> Sequence[str]:
    known = ids.drop_nulls().unique().sort().to_list()
    at = bisect(known, order_id)
    around = known[max(at - NEIGHBORS, 0) : at + NEIGHBORS]
    return difflib.get_close_matches(order_id, around, n=3, cutoff=0.5)


def _explained(
    run: _Run, order: Mapping[str, Any], verdict: Mapping[str, Any], row: Mapping[str, Any]
) -> Explanation:
    order_id, code = order["order_id"], verdict["code"]
    instrument = run.instruments.get(order["symbol"])
    if instrument is None:
        raise ConfigError(
            f"manifest.json has no instrument {order['symbol']!r} of order {order_id}"
        )
    if code is not None and code not in DenyCode.__members__:
        raise ConfigError(f"verdicts.parquet: {code!r} of order {order_id} is no code of a denial")
    stored = None if code is None else DenyCode[code]
    missing = [name for name in CheckInputs._fields if row[name] is None]
    if missing and len(missing) < len(CheckInputs._fields):
        raise ConfigError(f"check_inputs.parquet: {missing[0]} of order {order_id} is missing")
    # Without inputs only a check that measures nothing can have failed.
    recomputed = None if stored in SPEC_OF else stored
    by_code: dict[DenyCode, Check] = {}
    if not missing:
        bound, own = bounds(run.limits), symbol_bounds(run.limits, instrument)
        measured = _measured(row)
        recomputed = judge(measured, bound, own)
        by_code = {check.code: check for check in checks(measured, bound, own, instrument)}
    return Explanation(
        order=order,
        currency=instrument.currency,
        approved=bool(verdict["approved"]),
        stored=stored,
        recomputed=recomputed,
        checks=[(each, by_code.get(each)) for each in DenyCode],
        is_measured=not missing,
        faults=_faults(run, verdict, row),
    )


def _faults(run: _Run, verdict: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Hold what is shown of a verdict against what it looked at, and the limits against their hash.

    A column that is empty on both sides is right: an earlier check had failed.
    """
    found = []
    if not run.has_its_limits:
        found.append("the limits in manifest.json are not those that its limits_sha256 is of")
    for name in SHOWN_AMOUNTS:
        shown, units = verdict[name], row[name]
        if shown is None and units is None:
            continue
        if shown is None or units is None or not math.isclose(shown, units / CASH_UNIT):
            exact = "nothing" if units is None else f"{units / CASH_UNIT:,.2f}"
            told = "nothing" if shown is None else f"{shown:,.2f}"
            found.append(f"{name} is {told} in verdicts.parquet, {exact} in check_inputs.parquet")
    return found


def _measured(row: Mapping[str, Any]) -> CheckInputs:
    """Give the inputs of a row; one at the bound of what is recorded stood for more than that."""
    inputs = (row[name] for name in CheckInputs._fields)
    return CheckInputs(*(x + (x >= MAX_UNITS) - (x <= -MAX_UNITS) for x in inputs))


def replay(
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    limits: str | Path | None = None,
) -> Replay:
    """Run a finished run again under other limits and compare the two.

    The strategy runs too, so it may send other orders once one of its own is denied. The new run
    begins with what was halted when the finished one began, and leaves ``run.latch`` alone.

    Args:
        folder: where ``engine backtest --out`` wrote it.
        settings: ``risk.`` settings that differ, by dotted name.
        limits: a whole limits file in place of the limits of the run.

    Raises:
        ConfigError: the folder is not that of a run, its strategy or its data is not what it was,
            or a setting is no limit.
        InputError: the strategy or the data is not where it was.
        StrategyError: a hook of the strategy raised under the other limits.
    """
    run = _Run(Path(folder))
    if not run.has_its_limits:
        raise ConfigError(f"the limits in {folder}/manifest.json have changed since the run")
    config = _config(run, settings or {}, limits)
    reference = run.strategy.get("reference")
    if reference is None:
        raise ConfigError(
            f"the run in {folder} was made from a class in memory; only a run that names its "
            "strategy by file or by registered name can be run again"
        )
    changed = ConfigError(f"the strategy {reference} has changed since the run in {folder}")
    file = Path(reference if reference.endswith(".py") else reference.rpartition(":")[0])
    # A file that has changed is not even imported: it may do anything.
    if file.suffix == ".py" and file.is_file() and _sha256(file) != run.strategy.get("sha256"):
        raise changed
    cls = load_strategy(reference)
    if code_hash(cls) != run.strategy.get("sha256"):
        raise changed
    if open_history(config).data_hash != run.data.get("sha256"):
        raise ConfigError(f"the market data of the run in {folder} has changed since")
    with TemporaryDirectory() as aside:
        config = _apart(config, run.held, Path(aside))
        return _compared(run, config, run_backtest(config, cls, reference=reference))


def _apart(config: Config, held: Mapping[str, Hold], aside: Path) -> Config:
    """Give a run a trading state of its own: the real one is not for replays to read or halt."""
    latch = str(aside / "latch.json") if held else None
    config = msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, latch=latch))
    latch_store(config).save(held)
    return config


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _config(run: _Run, settings: Mapping[str, Any], limits: str | Path | None) -> Config:
    """Give the profile of a run with other limits; the environment has no say in it."""
    for key in settings:
        if not key.startswith("risk."):
            raise ConfigError(f"--set {key}: a replay changes limits only; write --set risk.NAME=")
    profile = dict(run.profile)
    paths = run.data.get("paths") or profile["data"]["paths"]
    profile["data"] = {**profile["data"], "paths": paths}
    if limits is None:
        # A copy: the settings are written into it.
        profile["risk"] = risk = msgspec.to_builtins(run.limits)
        if isinstance(risk["locates"], str) and any(
            k.startswith("risk.locates.") for k in settings
        ):
            risk["locates"] = {}
    else:
        del profile["risk"]
    return load_config("backtest", limits=limits, settings={**profile, **settings})


def _compared(run: _Run, config: Config, result: BacktestResult) -> Replay:
    before, after = run.frame("verdicts"), result.verdicts
    key, names = ["order_id", "nth"], ["order_id", "symbol", "side", "quantity"]
    # A duplicate has the id of its original: the second verdict on an id meets the second.
    nth = pl.int_range(pl.len()).over("order_id").alias("nth")
    both = (
        before.select("order_id", nth, was_approved="approved", old="code")
        .join(
            after.select("order_id", nth, is_approved="approved", new="code"),
            on=key,
            how="full",
            coalesce=True,
            maintain_order="left_right",
        )
        .join(result.orders.select(*names, nth), on=key, how="left", maintain_order="left")
    )
    was, now = pl.col("was_approved"), pl.col("is_approved")
    return Replay(
        before=_figures(before, run.summary()),
        after=_figures(after, result.summary),
        denied=both.filter(was & ~now).select(*names, code="new"),
        admitted=both.filter(~was & now).select(*names, code="old"),
        recoded=both.filter(~was & ~now & (pl.col("old") != pl.col("new"))).select(
            *names, "old", "new"
        ),
        only_before=both["is_approved"].null_count(),
        only_after=both["was_approved"].null_count(),
        run_hashes=(run.run_hash, result.run_hash),
        same_limits=config.risk == run.limits,
    )


def _figures(verdicts: pl.DataFrame, summary: Mapping[str, Any]) -> dict[str, Any]:
    # What an order adds to; one that only shrinks may find more there than a limit would add to.
    raising = verdicts.filter("approved", pl.col("position_after") > pl.col("position_before"))
    approved = raising["exposure_after"]
    names = ("orders", "denied", "fills", "final_equity", "total_return", "max_drawdown")
    missing = [name for name in names if name not in summary]
    if missing:
        raise ConfigError(f"summary.json cannot be used: it has no {missing[0]!r}")
    return {**{name: summary[name] for name in names}, "peak_exposure": approved.max() or 0.0}
