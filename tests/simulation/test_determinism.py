"""One run, one hash: whatever the process, the chunks, the indicators' way or the file format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.research.backtest import backtest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
SMA = str(ROOT / "examples" / "strategies" / "sma_cross.py:SmaCross")
BRACKET = str(ROOT / "examples" / "strategies" / "bracket_entry.py:BracketEntry")
SPAN: dict[str, Any] = {"start": "2006-01-01", "end": "2008-12-31"}
SETTINGS: dict[str, Any] = {"costs.commission_bps": 5.0, "data.adjust": True}

CHILD = """
import sys
from engine.research.backtest import backtest
strategy, data = sys.argv[1:]
result = backtest(strategy, data, start="2006-01-01", end="2008-12-31",
                  settings={"costs.commission_bps": 5.0, "data.adjust": True})
print(result.run_hash, result.summary["fills"])
"""


def hash_of(strategy: str = SMA, data: str | list[str] = str(DATA), **settings: Any) -> str:
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    result = backtest(strategy, data, **SPAN, settings={**SETTINGS, **changed})
    assert result.summary["fills"] > 10
    return result.run_hash


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return {strategy: hash_of(strategy) for strategy in (SMA, BRACKET)}


@pytest.mark.req("P33", "P18")
def test_a_fresh_process_gives_the_same_hash_whatever_its_hash_seed(
    reference: dict[str, str],
) -> None:
    children = []
    for seed, strategy in (("0", SMA), ("1", BRACKET), ("12345", SMA)):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", CHILD, strategy, str(DATA)]
        child = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        children.append((strategy, child))
    for strategy, child in children:
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert out.split()[0] == reference[strategy]


@pytest.mark.req("P33")
@pytest.mark.parametrize("chunk_rows", [1, 7, 8192])
def test_chunks_do_not_matter(reference: dict[str, str], chunk_rows: int) -> None:
    assert hash_of(run__chunk_rows=chunk_rows) == reference[SMA]


def test_a_seed_permutes_the_same_events_however_the_data_is_cut() -> None:
    hashes = [hash_of(run__seed=7, run__chunk_rows=rows) for rows in (1, 7, 8192)]
    assert len(set(hashes)) == 1
    assert hash_of(run__seed=8) != hashes[0]


@pytest.mark.req("P33")
@pytest.mark.parametrize("strategy", [SMA, BRACKET])
def test_batch_and_streaming_indicators_decide_alike(
    reference: dict[str, str], strategy: str
) -> None:
    assert hash_of(strategy, indicators__mode="streaming") == reference[strategy]


@pytest.mark.parametrize("kind", ["csv", "one_csv", "parquet", "arrow"])
def test_the_file_format_does_not_matter(
    reference: dict[str, str], tmp_path: Path, kind: str
) -> None:
    frames = {file.stem: pl.read_parquet(file) for file in sorted(DATA.glob("*.parquet"))}
    if kind == "one_csv":
        rows = [frame.with_columns(pl.lit(name).alias("symbol")) for name, frame in frames.items()]
        pl.concat(rows).sort("date", "symbol").write_csv(tmp_path / "all.csv")
    for name, frame in frames.items():
        if kind == "csv":
            frame.write_csv(tmp_path / f"{name}.csv")
        elif kind == "parquet":
            frame.write_parquet(tmp_path / f"{name}.parquet", row_group_size=500)
        elif kind == "arrow":
            frame.write_ipc(tmp_path / f"{name}.arrow")
    assert hash_of(data=str(tmp_path)) == reference[SMA]


@pytest.mark.parametrize(
    "change",
    [
        {"strategy__fast": 21},
        {"costs__commission_bps": 5.1},
        {"fill__timing": "next_tick"},
        {"account__cash": 100_001.0},
        {"orders__time_in_force": "DAY"},
        {"data__adjust": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_matters_changes_the_hash(reference: dict[str, str], change: dict[str, Any]) -> None:
    assert hash_of(**change) != reference[SMA]


def test_what_does_not_decide_does_not_change_the_hash(reference: dict[str, str]) -> None:
    assert hash_of(report__html=False, orders__keep_closed=3) == reference[SMA]
