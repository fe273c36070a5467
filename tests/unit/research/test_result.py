from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import Bar, Strategy
from engine.errors import ConfigError, StrategyError
from engine.research.backtest import backtest
from engine.research.result import BacktestResult

FRAMES = ("orders", "fills", "trades", "instances", "equity", "verdicts")


class Few(Strategy):
    """Two round trips, and an order no account could pay."""

    quantity: int = 5

    def on_start(self) -> None:
        self.bar_count = 0

    def on_bar(self, bar: Bar) -> None:
        self.bar_count += 1
        if self.bar_count % 4 == 1:
            self.buy(bar.symbol, self.quantity, tag="in")
        elif self.bar_count % 4 == 3:
            self.close(bar.symbol)
        if self.bar_count == 2:
            self.buy(bar.symbol, 10**15)
            self.signal(bar.symbol, score=0.5, why="because")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "A.csv"
    rows = [f"2024-01-{d:02d},{100 + d},{102 + d},{99 + d},{101 + d},1000" for d in range(1, 9)]
    file.write_text("date,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return file


def run(data: Path, strategy: Any = Few, **more: Any) -> BacktestResult:
    return backtest(strategy, data, settings={"report.html": False}, **more)


def test_a_saved_result_is_whole_and_reads_back(data: Path, tmp_path: Path) -> None:
    result = run(data)
    folder = result.save(tmp_path / "deep" / "out")
    assert folder == tmp_path / "deep" / "out"
    for name in FRAMES:
        assert pl.read_parquet(folder / f"{name}.parquet").equals(getattr(result, name))
    summary = json.loads((folder / "summary.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert summary["run_hash"] == manifest["run_hash"] == result.run_hash
    assert (summary["orders"], summary["fills"], summary["denied"]) == (5, 4, 1)
    assert manifest["profile"]["risk"]["max_order_size"] == 100_000.0
    assert pl.read_parquet(folder / "signals.parquet").height == 1
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]


def test_an_order_beyond_all_measure_is_denied_and_the_run_goes_on(data: Path) -> None:
    result = run(data)
    denied = result.verdicts.filter(pl.col("approved").not_())
    assert denied["code"].to_list() == ["ORDER_VALUE_ABOVE_MAX"]
    assert denied["detail"][0].endswith("limit 100,000.00.")


@pytest.mark.parametrize(
    ("strategy", "settings", "detail"),
    [
        ({"quantity": 2_000}, {}, "Measured 204,000.00, limit 100,000.00."),
        ({"quantity": 400}, {}, "Measured 40.80 %, limit 30.00 %."),
        ({"quantity": 5}, {"risk.min_order_size": 510.001}, "Measured 510.0000, limit 510.0010."),
        ({"quantity": 5}, {"risk.max_leverage": 0.005099}, "Measured 0.5100 %, limit 0.5099 %."),
        ({"quantity": -5}, {"risk.short_selling": False}, "risk.short_selling is false."),
    ],
)
def test_a_denial_says_what_was_measured(
    data: Path, strategy: Any, settings: dict[str, Any], detail: str
) -> None:
    class Once(Strategy):
        quantity: int = 1

        def on_bar(self, bar: Bar) -> None:
            if bar.seq == 0:
                order = self.buy if self.quantity > 0 else self.sell
                order(bar.symbol, abs(self.quantity))

    changes = settings | {f"strategy.{name}": value for name, value in strategy.items()}
    result = backtest(Once, data, settings={"report.html": False, **changes})
    assert result.verdicts["detail"][0].endswith(detail)


def test_saving_replaces_an_earlier_result(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(data, out=out)
    (out / "signals.parquet").rename(out / "dropped.parquet")
    changed = {"strategy.quantity": 6, "report.html": False}
    second = backtest(Few, data, settings=changed, out=out)
    assert first.run_hash != second.run_hash
    assert json.loads((out / "manifest.json").read_text())["run_hash"] == second.run_hash
    assert not (out / "dropped.parquet").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["notes.txt"], "holds notes.txt"),
        (["manifest.json"], "holds no earlier result"),
        (["manifest.json", "index.js"], "holds index.js"),
        ([*(f"{name}.parquet" for name in FRAMES), "manifest.json", "summary.json",
          "statistics.json", "thesis.docx"], "holds thesis.docx"),
    ],
)  # fmt: skip
def test_a_folder_of_somebody_else_is_refused_before_the_run(
    data: Path, tmp_path: Path, files: list[str], words: str
) -> None:
    for name in files:
        (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=words):
        run(data, Never, out=tmp_path)
    with pytest.raises(ConfigError, match=words):
        run(data).save(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(files)
    assert all((tmp_path / name).read_text() == "mine" for name in files)


class Never(Strategy):
    def on_start(self) -> None:
        raise AssertionError("it ran")


def test_a_file_is_no_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        run(data, out=tmp_path / "out")


def test_the_current_folder_may_be_the_target(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(data).save(".")
    assert (tmp_path / "here" / "manifest.json").is_file()


def test_a_save_that_fails_leaves_the_earlier_result(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(data, out=out)
    second = run(data)
    second.summary["broken"] = object()
    with pytest.raises(TypeError):
        second.save(out)
    assert json.loads((out / "manifest.json").read_text())["run_hash"] == first.run_hash
    second.summary.pop("broken")
    second.save(out)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("hook", ["on_start", "on_bar", "on_fill", "on_stop"])
def test_a_failing_strategy_ends_the_run_with_its_own_words(data: Path, hook: str) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(
        StrategyError, match=f"failed in {hook} on .*: ZeroDivisionError: mine"
    ) as e:
        run(data, type("Failing", (Few,), {hook: fail}))
    assert "in fail" in e.value.traceback


def test_a_quarantined_strategy_leaves_a_result(data: Path) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError("mine")

    failing = type("Failing", (Few,), {"on_fill": fail})
    result = backtest(failing, data, settings={"supervision.strategy": "quarantine"})
    assert result.summary["fills"] == 1


def test_replacements_that_were_refused_are_counted(data: Path) -> None:
    class Greedy(Strategy):
        def on_bar(self, bar: Bar) -> None:
            if bar.seq == 0:
                self.order = self.buy(bar.symbol, 10, limit=50.0)
            else:
                self.replace(self.order, quantity=10_000)

    (note,) = run(data, Greedy).notes
    assert note == "7 replacements of orders were refused: ORDER_VALUE_ABOVE_MAX 7"


def test_bars_are_never_cut_into_shorter_ones(data: Path) -> None:
    class Hourly(Strategy):
        every: str = "1h"

        def on_start(self) -> None:
            self.aggregate(self.every)

    with pytest.raises(StrategyError, match=r"aggregate\('1h'\) cannot make shorter .* 86400 s"):
        run(data, Hourly)
    for every in ("24h", "1d", "1w", "count:1"):
        backtest(Hourly, data, settings={"report.html": False, "strategy.every": every})
