"""The risk commands, as a person runs them: explain, replay, fuzz, and limits files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from engine.research import backtest
from tests.cli.rig import Called, call

ROOT = Path(__file__).parents[2]
STRATEGY = str(ROOT / "examples" / "strategies" / "sma_cross.py") + ":SmaCross"
DATA = [str(ROOT / "examples" / "data" / f"{symbol}.parquet") for symbol in ("AAPL", "IBM")]
SETTINGS = ("--set", "data.adjust=true", "--set", "risk.stop_loss_pct=0.08")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in which some orders are denied and a stop loss closes."""
    out = tmp_path_factory.mktemp("risk") / "run"
    limit = ("--set", "risk.max_total_exposure=40000")
    done = call("backtest", STRATEGY, "--data", *DATA, *SETTINGS, *limit, "--out", str(out))
    assert done.code == 0, done.err
    return out


def verdicts(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "verdicts.parquet")


def explain(run: Path, order_id: str, *more: str) -> Called:
    return call("risk", "explain", "--out", str(run), order_id, *more)


@pytest.mark.req("P1", "R88")
@pytest.mark.parametrize("approved", [True, False])
def test_a_verdict_is_explained_and_agrees(run: Path, approved: bool) -> None:
    row = verdicts(run).filter(approved=approved).row(3, named=True)
    told = explain(run, row["order_id"])
    assert told.code == 0
    said = "APPROVED" if approved else f"DENIED {row['code']}"
    assert f"stored {said}, recomputed {said}: equal" in told.out
    assert told.out.count("FAILED") == (0 if approved else 1)
    for code in ("TRADING_HALTED", "POSITION_SIZE", "STRATEGY_LOSING_STREAK"):
        assert code in told.out
    (found,) = json.loads(explain(run, row["order_id"], "--json").out)
    assert found["equal"] is True
    assert found["stored"] == row["code"]
    measured = {check["code"]: check for check in found["checks"]}
    assert measured["TOTAL_EXPOSURE"]["value"] == pytest.approx(row["exposure_after"])
    assert measured["TOTAL_EXPOSURE"]["limit"] == 40_000.0


def test_every_stored_verdict_of_the_run_agrees(run: Path) -> None:
    from engine.research.risk_audit import explain as explained

    for order_id in verdicts(run)["order_id"].unique().sort().to_list()[:200]:
        assert all(each.agrees for each in explained(run, order_id))


@pytest.mark.req("P1")
@pytest.mark.parametrize("column", ["exposure_after", "order_value"])
def test_a_tampered_input_is_noticed(run: Path, column: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in run.iterdir():
        folder.joinpath(file.name).write_bytes(file.read_bytes())
    raising = pl.col("position_after") > pl.col("position_before")
    order_id = verdicts(run).filter("approved", raising)["order_id"][2]
    inputs = pl.read_parquet(folder / "check_inputs.parquet")
    much = pl.when(pl.col("order_id") == order_id).then(10**18).otherwise(pl.col(column))
    inputs.with_columns(much.alias(column)).write_parquet(folder / "check_inputs.parquet")
    told = explain(folder, order_id)
    assert told.code == 1
    assert "DIFFERENT" in told.out


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f: None, "has no orders.parquet"),
        (lambda f: f.joinpath("manifest.json").write_text("{}"), "manifest.json cannot be used"),
        (lambda f: f.joinpath("orders.parquet").write_text("x"), "orders.parquet cannot be read"),
    ],
)
def test_what_is_no_run_is_told(run: Path, make: object, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    if says != "has no orders.parquet":
        for file in run.iterdir():
            folder.joinpath(file.name).write_bytes(file.read_bytes())
    make(folder)  # type: ignore[operator]
    told = explain(folder, "SmaCross:IBM:113:1")
    assert told.code == 2
    assert says in told.err
    assert told.err.count("\n") == 1


def test_an_unknown_order_is_told_with_those_that_come_near(run: Path) -> None:
    known = verdicts(run)["order_id"][0]
    told = explain(run, known[:-1] + "9")
    assert told.code == 2
    assert f"did you mean {known}" in told.err


@pytest.mark.req("P16", "P33")
def test_a_replay_without_a_change_makes_the_same_events(run: Path) -> None:
    told = call("risk", "replay", "--out", str(run))
    assert told.code == 0, told.err
    assert "no difference" in told.out
    found = json.loads(call("risk", "replay", "--out", str(run), "--json").out)
    assert found["no_difference"] is True
    assert found["before"] == found["after"]
    assert (found["denied"], found["only_before"], found["only_after"]) == ([], 0, 0)


@pytest.mark.req("P16", "R93")
@pytest.mark.parametrize("limit", [30_000, 15_000])
def test_a_tighter_limit_never_lets_more_through(run: Path, limit: int) -> None:
    told = call(
        "risk", "replay", "--out", str(run), "--set", f"risk.max_total_exposure={limit}", "--json"
    )
    found = json.loads(told.out)
    assert found["after"]["peak_exposure"] <= limit < found["before"]["peak_exposure"] <= 40_000
    assert found["denied"]
    assert {order["code"] for order in found["denied"]} <= {"TOTAL_EXPOSURE", "TRADING_HALTED"}


def test_a_looser_limit_admits(run: Path) -> None:
    told = call("risk", "replay", "--out", str(run), "--set", "risk.max_total_exposure=unlimited")
    assert "newly admitted" in told.out
    assert "no difference" not in told.out


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.adjust=false", "a replay changes limits only"),
        ("risk.max_exposure=1", "unknown setting 'risk.max_exposure'; did you mean"),
        ("risk.max_order_size=-1", "max_order_size"),
        ("risk.max_order_size", "write it as KEY=VALUE"),
    ],
)
def test_a_replay_refuses_what_is_no_limit(run: Path, setting: str, says: str) -> None:
    told = call("risk", "replay", "--out", str(run), "--set", setting)
    assert told.code == 2
    assert says in told.err


def test_a_replay_refuses_another_strategy_or_none(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = (ROOT / "examples" / "strategies" / "sma_cross.py").read_text()
    file.write_text(text)
    out = str(tmp_path / "out")
    assert call("backtest", str(file), "--data", *DATA, *SETTINGS, "--out", out).code == 0
    file.write_text(text + "\n# changed\n")
    told = call("risk", "replay", "--out", out)
    assert (told.code, "has changed since the run" in told.err) == (2, True)
    from engine.registry import load_strategy

    backtest(load_strategy(STRATEGY), DATA, settings={"data.adjust": True}, out=tmp_path / "lib")
    told = call("risk", "replay", "--out", str(tmp_path / "lib"))
    assert (told.code, "made from a class in memory" in told.err) == (2, True)


@pytest.mark.req("R98")
def test_halts_and_warnings_are_told_on_screen(tmp_path: Path) -> None:
    done = call("backtest", STRATEGY, "--data", *DATA, *SETTINGS)
    assert "risk events" in done.out
    assert "CRITICAL" in done.out
    assert "STOP_LOSS: " in done.out
    quiet = call("backtest", STRATEGY, "--data", *DATA, "--to", "2000-03-20")
    assert "risk events" not in quiet.out


def test_a_limits_file_is_whole_or_refused(tmp_path: Path) -> None:
    shipped = (ROOT / "engine" / "limits.toml").read_text()
    file = tmp_path / "limits.toml"
    file.write_text(shipped.replace("max_order_size = 100_000.0", "max_order_size = 5_000.0"))
    done = call("backtest", STRATEGY, "--data", *DATA, "--limits", str(file))
    assert "ORDER_VALUE_ABOVE_MAX" in done.out
    file.write_text(shipped.replace("max_order_size = 100_000.0\n", ""))
    refused = call("backtest", STRATEGY, "--data", *DATA, "--limits", str(file))
    assert refused.code == 2
    assert "risk.max_order_size is missing" in refused.err


def test_a_symbol_that_the_run_does_not_have_is_noted() -> None:
    done = call("backtest", STRATEGY, "--data", *DATA, "--set", 'risk.restricted_symbols=["IMB"]')
    assert "risk.restricted_symbols names IMB, which this run does not have" in done.out


@pytest.mark.req("P10")
def test_the_shipped_limits_withstand_an_attack(tmp_path: Path) -> None:
    told = call("risk", "fuzz", "--examples", "40", "--seed", "3", "--out", str(tmp_path / "c"))
    assert (told.code, "nothing broke" in told.out) == (0, True)
    assert "40 sequences" in told.out
    assert not (tmp_path / "c").exists()


def test_an_attack_that_breaks_something_is_told_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.domain.latch import TradingLatch

    monkeypatch.setattr(TradingLatch, "refusal", lambda *args, **kwargs: None)
    case = tmp_path / "case.json"
    told = call("risk", "fuzz", "--examples", "200", "--seed", "3", "--out", str(case))
    assert told.code == 1
    assert "BROKEN: Nothing leaves in HALTED" in told.out or "BROKEN: In HALTED" in told.out
    again = call("risk", "fuzz", "--again", str(case))
    assert again.code == 1
    assert "BROKEN" in again.out
    monkeypatch.undo()
    mended = call("risk", "fuzz", "--again", str(case))
    assert (mended.code, "nothing broke" in mended.out) == (0, True)
