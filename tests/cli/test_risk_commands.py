"""The risk commands, as a person runs them: explain, replay, fuzz, and limits files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from engine.domain.money import MAX_UNITS
from engine.domain.risk import DenyCode
from engine.research import backtest
from engine.research.frames import SHOWN_AMOUNTS
from tests.cli.rig import Bench, Called, call

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


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The files of the run, to be spoiled."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in run.iterdir():
        folder.joinpath(file.name).write_bytes(file.read_bytes())
    return folder


def rewrite(file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(file)).write_parquet(file)


def explain(run: Path, order_id: str, *more: str) -> Called:
    return call("risk", "explain", "--out", str(run), order_id, *more)


@pytest.mark.req("P1", "R88")
@pytest.mark.parametrize("approved", [True, False])
def test_a_verdict_is_explained_and_agrees(run: Path, approved: bool) -> None:
    row = verdicts(run).filter(approved=approved).row(3, named=True)
    told = explain(run, row["order_id"])
    assert told.code == 0
    said = "APPROVED" if approved else f"DENIED {row['code']}"
    assert f"stored verdict: {said}, recomputed: {said}: equal" in told.out
    assert told.out.count("FAILED") == (0 if approved else 1)
    for code in ("TRADING_HALTED", "POSITION_SIZE", "STRATEGY_LOSING_STREAK"):
        assert code in told.out
    (found,) = json.loads(explain(run, row["order_id"], "--json").out)
    assert found["equal"] is True
    assert found["stored"] == row["code"]
    measured = {check["code"]: check for check in found["checks"]}
    assert list(measured) == list(DenyCode)
    assert measured["TRADING_HALTED"] == {"code": "TRADING_HALTED", "result": "passed"}
    failed = [code for code, check in measured.items() if check["result"] == "FAILED"]
    assert failed == ([] if approved else [row["code"]])
    assert measured["TOTAL_EXPOSURE"]["value"] == pytest.approx(row["exposure_after"])
    assert measured["TOTAL_EXPOSURE"]["limit"] == 40_000.0


def test_every_stored_verdict_of_the_run_agrees(run: Path) -> None:
    from engine.research.risk_audit import explain as explained

    for order_id in verdicts(run)["order_id"].unique().sort().to_list()[:200]:
        assert all(each.agrees for each in explained(run, order_id))


def test_every_check_is_told_in_a_unit_for_people(run: Path) -> None:
    out = explain(run, verdicts(run).filter("approved")["order_id"][0]).out
    for words in ("604,800 s", " orders ", " % ", "40,000.00 USD", "100,000.00 USD", "no limit"):
        assert words in out
    assert "e+" not in out


@pytest.mark.req("P1")
@pytest.mark.parametrize("column", ["exposure_after", "order_value"])
def test_a_tampered_input_is_noticed(copy: Path, column: str) -> None:
    raising = pl.col("position_after") > pl.col("position_before")
    order_id = verdicts(copy).filter("approved", raising)["order_id"][2]
    much = pl.when(pl.col("order_id") == order_id).then(10**18).otherwise(pl.col(column))
    rewrite(copy / "check_inputs.parquet", lambda f: f.with_columns(much.alias(column)))
    told = explain(copy, order_id)
    assert told.code == 1
    assert "DIFFERENT" in told.out
    assert json.loads(explain(copy, order_id, "--json").out)[0]["equal"] is False


@pytest.mark.req("P1")
def test_a_tampered_verdict_is_noticed(copy: Path) -> None:
    denied = verdicts(copy).filter(~pl.col("approved"))["order_id"][0]
    this = pl.col("order_id") == denied
    rewrite(copy / "verdicts.parquet", lambda f: f.with_columns(approved=this | pl.col("approved")))
    told = explain(copy, denied)
    assert (told.code, "approved, but with the code of DENIED" in told.out) == (1, True)
    no_code = pl.when(~this).then("code").alias("code")
    rewrite(copy / "verdicts.parquet", lambda f: f.with_columns(no_code))
    assert explain(copy, denied).code == 1
    # An approval without what it looked at is none.
    nothing = [pl.when(~this).then(name).alias(name) for name in inputs_of(copy)]
    rewrite(copy / "check_inputs.parquet", lambda f: f.with_columns(nothing))
    unshown = [pl.when(~this).then(name).alias(name) for name in SHOWN_AMOUNTS]
    rewrite(copy / "verdicts.parquet", lambda f: f.with_columns(unshown))
    told = explain(copy, denied)
    assert (told.code, "its inputs are missing: DIFFERENT" in told.out) == (1, True)


def inputs_of(run: Path) -> list[str]:
    return pl.read_parquet(run / "check_inputs.parquet").drop("order_id").columns


def test_both_verdicts_on_a_duplicate_are_explained(copy: Path) -> None:
    order_id = verdicts(copy).filter("approved")["order_id"][1]
    this = pl.col("order_id") == order_id
    code = pl.lit("DUPLICATE_ORDER_ID").alias("code")
    again: dict[str, Any] = {
        "orders": pl.lit("DENIED").alias("status"),
        "verdicts": [
            code,
            pl.lit(False).alias("approved"),
            *(pl.lit(None, pl.Float64).alias(name) for name in SHOWN_AMOUNTS),
        ],
        "check_inputs": [pl.lit(None, pl.Int64).alias(name) for name in inputs_of(copy)],
    }
    for name, columns in again.items():
        file = copy / f"{name}.parquet"
        frame = pl.read_parquet(file)
        pl.concat([frame, frame.filter(this).with_columns(columns)]).write_parquet(file)
    told = explain(copy, order_id)
    assert (told.code, told.out.count("stored verdict: ")) == (0, 2)
    assert "recomputed: DENIED DUPLICATE_ORDER_ID: equal" in told.out
    assert "a check that needs no price had failed before" in told.out
    second = json.loads(explain(copy, order_id, "--json").out)[1]
    result = {check["code"]: check["result"] for check in second["checks"]}
    assert (second["measured"], result["DUPLICATE_ORDER_ID"]) == (False, "FAILED")
    assert result["PARENT_DENIED"] == result["LEVERAGE"] == "not reached"
    # The first verdict meets the first of the new run: the second is one order that was not sent.
    found = json.loads(call("risk", "replay", "--out", copy, "--json").out)
    assert (found["denied"], found["admitted"]) == ([], [])
    assert (found["only_before"], found["only_after"]) == (1, 0)


def test_an_order_beyond_what_is_recorded_is_explained(bench: Bench) -> None:
    strategy = bench.write("huge.py", HUGE)
    out = bench.folder / "out"
    unlimited = ("max_order_size", "max_total_exposure", "max_leverage", "max_position_size")
    settings = [word for name in unlimited for word in ("--set", f"risk.{name}=unlimited")]
    assert bench.backtest(*settings, "--out", out, strategy=strategy).code == 0
    assert MAX_UNITS in pl.read_parquet(out / "check_inputs.parquet")["order_value"]
    for order_id in verdicts(out)["order_id"]:
        assert explain(out, order_id).code == 0


HUGE = """
from engine import Strategy


class Huge(Strategy):
    def on_bar(self, bar):
        if bar.seq == 3:
            self.buy(bar.symbol, 10**17)
        if bar.seq == 4:
            self.sell(bar.symbol, 10**17)
"""


SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: f.joinpath("orders.parquet").unlink(), "has no orders.parquet"),
    (lambda f: f.joinpath("manifest.json").write_text("{}"), "manifest.json cannot be used"),
    (lambda f: f.joinpath("manifest.json").write_text("[1"), "manifest.json cannot be used"),
    (lambda f: f.joinpath("manifest.json").write_bytes(b"\xff"), "manifest.json cannot be used"),
    (lambda f: f.joinpath("orders.parquet").write_text("x"), "orders.parquet cannot be read"),
    (lambda f: rewrite(f / "orders.parquet", lambda x: x.drop("side")), "column side is missing"),
    (
        lambda f: rewrite(f / "check_inputs.parquet", lambda x: x.cast({"equity": pl.Float64})),
        "column equity is Float64, not Int64",
    ),
    (
        lambda f: rewrite(f / "check_inputs.parquet", lambda x: x.tail(1)),
        "does not belong to the verdicts beside it",
    ),
    (
        lambda f: rewrite(f / "verdicts.parquet", lambda x: x.with_columns(code=pl.lit("NO"))),
        "'NO' of order",
    ),
    (
        lambda f: rewrite(
            f / "check_inputs.parquet", lambda x: x.with_columns(equity=pl.lit(None, pl.Int64))
        ),
        "equity of order",
    ),
]


@pytest.mark.parametrize(("spoil", "says"), SPOILED, ids=[says for _, says in SPOILED])
def test_what_is_no_run_is_told(copy: Path, spoil: Callable[[Path], object], says: str) -> None:
    order_id = verdicts(copy).filter("approved")["order_id"][0]
    spoil(copy)
    told = explain(copy, order_id)
    assert told.code == 2, told
    assert says in told.err
    assert told.err.count("\n") == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    for command in (("explain", "X:Y:1:1"), ("replay",)):
        told = call("risk", *command, "--out", tmp_path / "none")
        assert (told.code, "is not the folder of a run" in told.err) == (2, True)


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
    assert told.out.count(json.loads((run / "summary.json").read_text())["run_hash"][:16]) == 2
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
        ("risk.max_order_size=-1", "risk.max_order_size = -1: write a number from 0"),
        ("risk.symbols.AAPL.max_size=1", "unknown setting 'risk.symbols.AAPL.max_size'"),
        ("risk.symbols.AAPL=1", "risk.symbols.AAPL is a section"),
        ("risk=1", "a replay changes limits only"),
        ("risk.max_order_size", "write it as KEY=VALUE"),
    ],
)
def test_a_replay_refuses_what_is_no_limit(run: Path, setting: str, says: str) -> None:
    told = call("risk", "replay", "--out", str(run), "--set", setting)
    assert told.code == 2
    assert says in told.err


def test_a_replay_takes_limits_of_single_symbols(run: Path) -> None:
    settings = ("--set", "risk.symbols.IBM.max_order_size=500", "--set", "risk.locates.IBM=0")
    found = json.loads(call("risk", "replay", "--out", run, *settings, "--json").out)
    assert {order["symbol"] for order in found["denied"]} >= {"IBM"}
    told = call("risk", "replay", "--out", run, *settings[:2])
    assert f"newly denied      {len(found['denied'])}" in told.out


@pytest.mark.req("P16")
def test_a_replay_takes_a_whole_limits_file(run: Path, tmp_path: Path) -> None:
    shipped = (ROOT / "engine" / "limits.toml").read_text()
    file = tmp_path / "limits.toml"
    file.write_text(shipped.replace("min_order_size = 100.0", "min_order_size = 50_000.0"))
    told = call("risk", "replay", "--out", run, "--limits", file)
    assert (told.code, "ORDER_VALUE_BELOW_MIN" in told.out) == (0, True), told.err
    assert "    and " in told.out
    assert told.out.count(", ORDER_VALUE_BELOW_MIN") <= 20
    file.write_text(shipped.replace("min_order_size = 100.0\n", ""))
    told = call("risk", "replay", "--out", run, "--limits", file)
    assert (told.code, "risk.min_order_size is missing" in told.err) == (2, True)


def test_a_replay_refuses_another_strategy(bench: Bench) -> None:
    out = bench.folder / "out"
    assert bench.backtest("--out", out).code == 0
    code = bench.strategy.read_text()
    bench.strategy.write_text(code + "\nraise SystemExit('imported')\n")
    told = bench.call("risk", "replay", "--out", out)
    assert (told.code, "has changed since the run" in told.message) == (2, True)
    assert "imported" not in told.err
    bench.strategy.unlink()
    told = bench.call("risk", "replay", "--out", out)
    assert (told.code, "does not exist" in told.message) == (2, True)


def test_a_replay_refuses_other_data(bench: Bench) -> None:
    out = bench.folder / "out"
    assert bench.backtest("--out", out).code == 0
    bench.data.write_text(bench.data.read_text().replace("1000\n", "1001\n", 1))
    told = bench.call("risk", "replay", "--out", out)
    assert (told.code, "the market data of the run" in told.message) == (2, True)
    bench.data.unlink()
    told = bench.call("risk", "replay", "--out", out)
    assert (told.code, "no such file or folder" in told.message) == (2, True)


def test_a_replay_needs_a_strategy_by_name(bench: Bench) -> None:
    from engine.registry import load_strategy

    out = bench.folder / "lib"
    backtest(load_strategy(str(bench.strategy)), bench.data, out=out)
    assert json.loads((out / "manifest.json").read_text())["strategy"]["reference"] is None
    told = bench.call("risk", "replay", "--out", out)
    assert (told.code, "made from a class in memory" in told.message) == (2, True)


@pytest.mark.req("P16")
def test_a_run_can_be_made_again_from_anywhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(bench.folder)
    settings = ("--set", "strategy.fast=4", "--cash", "50000", "--to", "2024-01-09")
    assert bench.call("backtest", "trader.py", "--data", "A.csv", *settings, "--out", "o").code == 0
    manifest = json.loads((bench.folder / "o" / "manifest.json").read_text())
    risk = msgspec.json.encode(manifest["profile"]["risk"], order="deterministic")
    assert manifest["limits_sha256"] == hashlib.sha256(risk).hexdigest()
    assert manifest["strategy"]["reference"] == str(bench.strategy)
    assert manifest["data"]["paths"] == [str(bench.data)]
    (instrument,) = manifest["data"]["instruments"]
    assert (instrument["symbol"], instrument["currency"], instrument["sector"]) == (
        "A",
        "USD",
        None,
    )
    assert instrument.keys() >= {
        "price_decimals", "quantity_decimals", "tick_size", "lot_size", "multiplier", "calendar",
    }  # fmt: skip
    monkeypatch.chdir("/")
    monkeypatch.setenv("TETRAD_RISK__MAX_ORDER_SIZE", "1000")  # of the run it was not
    told = bench.call("risk", "replay", "--out", bench.folder / "o")
    assert (told.code, "no difference" in told.out) == (0, True), told.err


@pytest.mark.req("R98")
def test_halts_and_warnings_are_told_on_screen(tmp_path: Path) -> None:
    done = call("backtest", STRATEGY, "--data", *DATA, *SETTINGS)
    assert "risk events" in done.out
    assert "CRITICAL" in done.out
    # Counted by severity and type; the first of each CRITICAL type is described.
    lines = [line.strip() for line in done.out.splitlines()]
    (stops,) = [line for line in lines if line.startswith("CRITICAL ") and "STOP_LOSS" in line]
    said = (
        r"CRITICAL \d+ x STOP_LOSS: 20\d\d-\d\d-\d\d \d\d:\d\d \w+ at [\d.]+ has reached the stop"
    )
    assert re.match(said, stops)
    (warned,) = [line for line in lines if line.startswith("WARNING ")]
    assert re.fullmatch(r"WARNING \d+ x DAILY_LOSS", warned)
    quiet = call("backtest", STRATEGY, "--data", *DATA, "--to", "2000-03-20")
    assert "risk events" not in quiet.out


def test_a_denied_order_is_no_event_on_screen(bench: Bench) -> None:
    called = bench.backtest()
    assert "denied 1 x" in called.out
    assert "risk events" not in called.out


def test_a_limits_file_is_whole_or_refused(bench: Bench) -> None:
    shipped = (ROOT / "engine" / "limits.toml").read_text()
    file = bench.write(
        "limits.toml", shipped.replace("max_order_size = 100_000.0", "max_order_size = 500.0")
    )
    run = ("run", bench.strategy, "--profile", "backtest", "--data", bench.data)
    for command in (("backtest", bench.strategy, "--data", bench.data), run):
        done = bench.call(*command, "--limits", file)
        assert (done.code, "ORDER_VALUE_ABOVE_MAX" in done.out) == (0, True)
        assert "limit 500.00" in done.out
    for name in ("max_order_size", "max_drawdown", "per_strategy.max_exposure"):
        lines = shipped.splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(f"{name.rpartition('.')[2]} = ")]
        file.write_text("".join(kept))
        for command in (("backtest", bench.strategy, "--data", bench.data), run):
            refused = bench.call(*command, "--limits", file)
            assert refused.code == 2
            assert f"risk.{name} is missing" in refused.message


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ('risk.restricted_symbols=["B", "A"]', "risk.restricted_symbols"),
        ("risk.symbols.B.price_collar=0.2", "risk.symbols"),
        ("risk.locates={B=5}", "risk.locates"),
    ],
)
def test_a_symbol_that_the_run_does_not_have_is_noted(
    bench: Bench, setting: str, name: str
) -> None:
    done = bench.backtest("--set", setting)
    assert f"note              {name} names B, which this run does not have" in done.out


@pytest.mark.req("P10")
def test_the_shipped_limits_withstand_an_attack(tmp_path: Path) -> None:
    told = call(
        "risk",
        "fuzz",
        "--profile",
        "backtest",
        "--examples",
        "40",
        "--seed",
        "3",
        "--out",
        str(tmp_path / "c"),
    )
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
    # Which invariant notices first is for the tests of the attack itself.
    (broken,) = [line for line in told.out.splitlines() if line.startswith("  BROKEN: ")]
    again = call("risk", "fuzz", "--again", str(case))
    assert (again.code, broken in again.out) == (1, True)
    monkeypatch.undo()
    mended = call("risk", "fuzz", "--again", str(case))
    assert (mended.code, "nothing broke" in mended.out) == (0, True)
