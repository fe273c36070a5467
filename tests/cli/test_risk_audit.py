"""What a replay leaves alone, and what in the files of a run contradicts the rest of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.rig import Bench

LOSS = ("--set", "risk.max_drawdown=0.0001")


def finished(bench: Bench, *options: Any, name: str = "out") -> Path:
    """Run the strategy of the bench; give the folder of the run."""
    out = bench.folder / name
    called = bench.backtest("--set", "report.html=false", *options, "--out", out)
    assert called.code == 0, called.err
    return out


def replayed(bench: Bench, out: Path, *options: Any) -> dict[str, Any]:
    called = bench.call("risk", "replay", "--out", out, *options, "--json")
    assert called.code == 0, called.err
    return dict(json.loads(called.out))


# The trading state.


@pytest.mark.req("P16")
def test_a_replay_neither_reads_nor_writes_the_trading_state(bench: Bench) -> None:
    latch = bench.folder / "latch.json"
    out = finished(bench, *LOSS, "--set", f"run.latch={latch}")
    assert json.loads((out / "manifest.json").read_text())["held"] == {}
    kept = latch.read_bytes()
    assert b"DRAWDOWN" in kept
    # What that run has halted at its end does not stop its replay at the beginning.
    assert replayed(bench, out)["no_difference"] is True
    assert replayed(bench, out, "--set", "risk.max_drawdown=unlimited")["admitted"]
    assert latch.read_bytes() == kept
    # Nor does a replay that halts halt anything but itself.
    loose = finished(bench, "--set", f"run.latch={bench.folder / 'other.json'}", name="loose")
    assert replayed(bench, loose, *LOSS)["denied"]
    assert not (bench.folder / "other.json").exists()
    assert latch.read_bytes() == kept


@pytest.mark.req("P16")
def test_a_run_that_began_halted_is_replayed_halted(bench: Bench) -> None:
    latch = ("--set", f"run.latch={bench.folder / 'latch.json'}")
    finished(bench, *LOSS, *latch)
    again = finished(bench, *LOSS, *latch, name="again")
    held = json.loads((again / "manifest.json").read_text())["held"]
    assert held[""][1:3] == ["HALTED", "DRAWDOWN"]
    assert set(pl.read_parquet(again / "verdicts.parquet")["code"]) == {"TRADING_HALTED"}
    (bench.folder / "latch.json").unlink()  # an operator has resumed since
    assert replayed(bench, again)["no_difference"] is True


# Two codes.


def test_an_order_that_is_denied_for_another_reason_is_told(bench: Bench) -> None:
    out = finished(bench, "--set", "risk.max_order_size=900")
    told = bench.call("risk", "replay", "--out", out, "--set", "risk.max_order_quantity=5")
    assert "denied otherwise  " in told.out
    assert ", ORDER_VALUE_ABOVE_MAX -> ORDER_QUANTITY_ABOVE_MAX\n" in told.out
    found = replayed(bench, out, "--set", "risk.max_order_quantity=5")
    assert (found["denied"], found["admitted"]) == ([], [])
    assert {(o["old"], o["new"]) for o in found["recoded"]} == {
        ("ORDER_VALUE_ABOVE_MAX", "ORDER_QUANTITY_ABOVE_MAX")
    }
    told = bench.call("risk", "replay", "--out", out, "--set", "risk.max_order_size=unlimited")
    assert ", ORDER_VALUE_ABOVE_MAX -> APPROVED\n" in told.out


def test_a_newly_denied_order_is_told_with_both_codes(bench: Bench) -> None:
    told = bench.call(
        "risk", "replay", "--out", finished(bench), "--set", "risk.max_order_size=900"
    )
    assert ", APPROVED -> ORDER_VALUE_ABOVE_MAX\n" in told.out


# Files that were changed without changing a verdict.


@pytest.mark.req("P1", "P16")
def test_limits_that_are_not_those_of_the_run_are_noticed(bench: Bench) -> None:
    out = finished(bench)
    order_id = pl.read_parquet(out / "verdicts.parquet").filter("approved")["order_id"][0]
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["profile"]["risk"]["max_order_size"] = 99_999.0
    (out / "manifest.json").write_text(json.dumps(manifest))
    told = bench.call("risk", "explain", "--out", out, order_id)
    assert (told.code, "DIFFERENT" in told.out) == (1, True)
    assert "fault             the limits in manifest.json are not those" in told.out
    (found,) = json.loads(bench.call("risk", "explain", "--out", out, order_id, "--json").out)
    assert (found["equal"], found["stored"], found["recomputed"]) == (False, None, None)
    assert len(found["faults"]) == 1
    refused = bench.call("risk", "replay", "--out", out)
    assert (refused.code, "have changed since the run" in refused.message) == (2, True)


@pytest.mark.req("P1")
@pytest.mark.parametrize(
    ("file", "column", "value"),
    [
        ("verdicts", "order_value", 1.0),
        ("verdicts", "exposure_after", None),
        ("verdicts", "day_start_equity", 100_001.0),
        ("check_inputs", "equity", 10**14),
        ("check_inputs", "position_before", 1),
    ],
)
def test_an_amount_that_is_shown_otherwise_than_it_was_judged_is_noticed(
    bench: Bench, file: str, column: str, value: float | None
) -> None:
    out = finished(bench)
    path = out / f"{file}.parquet"
    frame = pl.read_parquet(path)
    order_id = frame["order_id"][0]
    changed = pl.when(pl.col("order_id") == order_id).then(value).otherwise(column).alias(column)
    frame.with_columns(changed.cast(frame.schema[column])).write_parquet(path)
    told = bench.call("risk", "explain", "--out", out, order_id)
    assert (told.code, "DIFFERENT" in told.out) == (1, True)
    assert f"fault             {column} is " in told.out
    assert bench.call("risk", "explain", "--out", out, frame["order_id"][-1]).code == 0
