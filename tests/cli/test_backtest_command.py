"""The backtest command, in the hands of somebody who gets everything wrong."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.rig import HEADER, Bench, bar_rows, bar_text, command, hook, process

SUMMARY = {
    "strategy", "symbols", "start", "end", "bars", "orders", "fills", "trades", "denied",
    "initial_cash", "final_equity", "total_return", "cagr", "sharpe_ratio", "sortino_ratio",
    "max_drawdown", "win_rate", "profit_factor", "total_costs", "run_hash", "elapsed_s",
}  # fmt: skip
FOLDER = {
    "summary.json", "orders.parquet", "fills.parquet", "trades.parquet", "instances.parquet",
    "equity.parquet", "verdicts.parquet", "manifest.json", "report.html",
}  # fmt: skip


# What a good run leaves.


def test_a_run_leaves_a_whole_folder_and_says_where(bench: Bench) -> None:
    out = bench.folder / "out"
    called = bench.backtest("--out", out)
    assert (called.code, called.err) == (0, "")
    assert {entry.name for entry in out.iterdir()} >= FOLDER
    summary = json.loads((out / "summary.json").read_text())
    assert summary.keys() >= SUMMARY
    assert (summary["symbols"], summary["bars"], summary["denied"]) == (["A"], 12, 1)
    assert f"written to        {out}/" in called.out
    assert pl.read_parquet(out / "orders.parquet").height == summary["orders"]
    # What was denied is counted and explained, on the screen and in the report.
    assert "denied 1 x ORDER_VALUE_ABOVE_MAX: The order is worth more than" in called.out
    assert "The order is worth more than" in (out / "report.html").read_text()


def test_json_prints_the_summary_and_nothing_else(bench: Bench) -> None:
    noisy = bench.write(
        "noisy.py",
        "from engine import Strategy\nprint('importing')\n"
        "class Noisy(Strategy):\n    def on_bar(self, bar):\n        print('a bar')\n",
    )
    called = bench.backtest("--json", strategy=noisy)
    assert called.code == 0
    assert json.loads(called.out).keys() >= SUMMARY
    assert "importing" in called.err
    assert "a bar" in called.err


def test_run_is_backtest_by_its_profile(bench: Bench) -> None:
    one = json.loads(bench.backtest("--json").out)
    arguments = [bench.strategy, "--profile", "backtest", "--data", bench.data, "--json"]
    other = json.loads(bench.call("run", *arguments).out)
    assert one["run_hash"] == other["run_hash"]


# Usage.

USAGE = [
    ([], 0, ""),
    (["--help"], 0, ""),
    (["--version"], 0, ""),
    (["backtest", "--help"], 0, ""),
    (["run", "--help"], 0, ""),
    (["backtest"], 2, "STRATEGY"),
    (["backtset"], 2, 'Did you mean "backtest"?'),
    (["--frob"], 2, "--frob"),
    (["backtest", "x.py", "--dta", "y"], 2, "Did you mean --data?"),
    (["backtest", "trader.py"], 2, "no market data: give --data PATH"),
    (["backtest", "trader.py", "--data"], 2, "no market data: give --data PATH"),
    (["run"], 2, "--profile"),
    (["run", "--profile", "backtest"], 2, "name a strategy"),
    (["run", "x.py", "--profile", "backtset"], 2, "no profile 'backtset'"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), USAGE)
def test_usage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(bench.folder)
    called = bench.call(*arguments)
    assert called.code == code
    if code:
        assert words in called.message
        assert called.out == ""
    else:
        assert called.out


OPTIONS = [
    (["--cash", "abc"], '--cash: unable to convert "abc"'),
    (["--cash", "-5"], "account.cash = -5.0"),
    (["--cash", "0"], "account.cash = 0.0"),
    (["--cash", "1e-9"], "account.cash = 1e-09"),
    (["--cash", "nan"], "account.cash = nan: not a finite number"),
    (["--cash", "1e300"], "account.cash = 1e+300"),
    (["--from", "yesterday"], "'yesterday' is not a time; write 2024-01-31"),
    (["--to", "2024-02-30"], "'2024-02-30' is not a time"),
    (["--from", "2024-01-05", "--to", "2024-01-04"], "is not before end"),
    (["--from", "2030-01-01"], "no row from 2030-01-01"),
    (["--symbols", ",,"], "--symbols ',,' names no symbol"),
    (["--symbols", ""], "--symbols '' names no symbol"),
    (["--symbols", "B"], "symbol 'B' is not in the data"),
    (["--on-bad-data", "ignore"], "data.on_bad_data = 'ignore': one of fail, drop"),
    (["--set", "x"], "--set 'x': write it as KEY=VALUE"),
    (["--set", "x=1"], "unknown setting 'x'"),
    (["--set", "risk.max_postion_size=1"], "did you mean 'risk.max_position_size'?"),
    (["--set", "risk.max_position_size=2"], "risk.max_position_size = 2"),
    (["--set", "costs.commission_bps=-1"], "costs.commission_bps = -1"),
    (["--set", "fill.timing=nxet_open"], "one of next_open, next_tick, intrabar_path"),
    (["--set", "fill.latency_ms=-1"], "fill.latency_ms = -1"),
    (["--set", "fill.volume_limit=2"], "fill.volume_limit = 2"),
    (["--set", "strategy.fsat=3"], "did you mean 'fast'?"),
    (["--set", "strategy.fast=ten"], "strategy.fast = 'ten': Trader.fast takes int"),
    (["--set", "strategy.fast=1.5"], "strategy.fast = 1.5: Trader.fast takes int"),
    (["--set", "strategy.fast=0"], "Trader.fast must lie in [1, 100]"),
    (["--set", "run.chunk_rows=0"], "run.chunk_rows = 0"),
    (["--set", "run.seed=abc"], "run.seed = 'abc'"),
    (["--set", "data.calendar=XNYZ"], "did you mean 'XNYS'?"),
    (["--set", "data.interval=banana"], "interval 'banana' is not a bar length"),
    (["--set", "data=3"], "data is a setting, not a section"),
    (["--profile", "/no/such.toml"], "/no/such.toml does not exist"),
    (["--profile", "/.toml"], "profile file /.toml does not exist"),
    (
        ["--profile", "mine.conf"],
        "no profile 'mine.conf'; there is backtest, live, paper, services, or name a file",
    ),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=lambda value: str(value)[:40])
def test_a_bad_option_is_one_message(bench: Bench, options: list[str], words: str) -> None:
    called = bench.backtest(*options, "--out", bench.folder / "out")
    assert (called.code, called.out) == (2, "")
    assert words in called.message
    assert len(called.err.splitlines()) == 1
    assert not (bench.folder / "out").exists()


GOOD_OPTIONS = [
    ["--symbols", " A ,"],
    ["--set", "run.seed=7"],
    ["--set", "fill.latency_ms=250", "--set", "fill.volume_limit=0.01"],
    ["--set", "data.calendar=XNYS"],
    ["--from", "2024-01-03", "--to", "2024-01-09"],
    ["--set", "report.html=false"],
]


@pytest.mark.parametrize("options", GOOD_OPTIONS, ids=str)
def test_a_good_option_is_taken(bench: Bench, options: list[str]) -> None:
    assert bench.backtest(*options, "--out", bench.folder / "out").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = [", "is not TOML"),
        ("[riks]\nx = 1\n", "did you mean 'risk'?"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_bad_profile_is_named(bench: Bench, text: str | bytes, words: str) -> None:
    file = bench.write("mine.toml", text)
    called = bench.backtest("--profile", file)
    assert called.code == 2
    assert words in called.message
    assert str(file) in called.message


# Data.


def swapped() -> str:
    rows = bar_rows()
    rows[4], rows[5] = rows[5], rows[4]
    return HEADER + "".join(f"{row}\n" for row in rows)


BAD_ROWS = [
    (swapped(), 6, "sorted"),
    (bar_text((5, "2024-01-04,100,102,98,101,1000")), 5, "duplicate"),
    (bar_text((5, "2024-01-05T00:00:00Z,100,102,98,101,1000")), 5, "naive_aware"),
    (bar_text((5, "2024-01-05,100,102,98,NaN,1000")), 5, "missing_value"),
    (bar_text((5, "2024-01-05,100,102,98,,1000")), 5, "missing_value"),
    (bar_text((5, "2024-01-05,100,102,98,abc,1000")), 5, "missing_value"),
    (bar_text((5, "2024-01-05,100,97,98,101,1000")), 5, "high_not_below_low"),
    (bar_text((5, "2024-01-05,100,102,-98,101,1000")), 5, "positive_price"),
    (bar_text((5, "2024-01-05,100,102,98,101,-1")), 5, "volume_not_negative"),
    (bar_text((5, "soon,100,102,98,101,1000")), 5, "timestamp"),
    (bar_text((5, "2024-01-05,100,102,98,101,1000,7,7")), 5, "fields"),
]


@pytest.mark.parametrize(("text", "row", "rule"), BAD_ROWS, ids=[rule for *_, rule in BAD_ROWS])
def test_a_bad_row_is_named_by_file_row_and_rule(
    bench: Bench, text: str, row: int, rule: str
) -> None:
    file = bench.write("B.csv", text)
    called = bench.backtest(data=file)
    assert called.code == 2
    assert called.message.startswith(f"engine: {file}, row {row}: ")
    assert called.message.endswith(f"[{rule}]")


DROPPABLE = [bad for bad in BAD_ROWS if bad[2] not in ("naive_aware", "fields")]


@pytest.mark.parametrize(("text", "row", "rule"), DROPPABLE, ids=[rule for *_, rule in DROPPABLE])
def test_dropped_rows_are_counted_and_listed(bench: Bench, text: str, row: int, rule: str) -> None:
    file = bench.write("B.csv", text)
    out = bench.folder / "out"
    called = bench.backtest("--on-bad-data", "drop", "--out", out, data=file)
    assert called.code == 0
    assert "dropped           1 bad row:" in called.out
    assert f"{file}, row {row}: " in called.out
    assert f"[{rule}]" in called.out
    assert pl.read_parquet(out / "dropped.parquet")["row"].to_list() == [row]


BAD_FILES: list[tuple[str, str | bytes | None, str]] = [
    ("B.csv", HEADER, "[empty]"),
    ("B.csv", "", "[empty]"),
    ("B.parquet", b"", "[empty]"),
    ("B.parquet", "hello", "the ending says parquet"),
    ("B.csv", b"PAR1\0\0\0\0", "the ending says csv"),
    ("B.feather", "x" * 100, "[format]"),
    ("B.csv.gz", "not zipped", "[format]"),
    ("B.txt", "x", "unknown ending '.txt'"),
    ("B.csv", None, "no such file or folder"),
    ("B.csv", "open,high,low,close,volume\n1,1,1,1,1\n", "no timestamp column"),
    ("B.csv", "date,open,high,low,volume\n2024-01-01,1,1,1,1\n", "a bar file needs close"),
    ("B.csv", HEADER + bar_rows()[0] + "\n", "--set data.interval=1d"),
    ("B.csv", HEADER + "1677-01-01,1,1,1,1,1\n1677-01-02,1,1,1,1,1\n", "[timestamp]"),
    ("B.csv", HEADER + "2263-01-01,1,1,1,1,1\n2263-01-02,1,1,1,1,1\n", "1678 to 2261"),
    ("B.csv", HEADER + "2024-01-01,1e-12,1e-12,1e-12,1e-12,1\n"
     "2024-01-02,1,1,1,1,1\n", "[too_small]"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES)
def test_a_bad_file_is_named(
    bench: Bench, name: str, content: str | bytes | None, words: str
) -> None:
    file = bench.folder / name if content is None else bench.write(name, content)
    called = bench.backtest(data=file)
    assert called.code == 2
    assert str(file) in called.message
    assert words in called.message


def ticks(kind: str) -> str:
    rows = []
    for i in range(60):
        at = f"2024-01-02T10:00:{i:02d}Z"
        px = 100 + i % 7 / 4
        rows.append(f"{at},{px},5" if kind == "trade" else f"{at},{px},{px + 0.25},5,5")
    names = "price,size" if kind == "trade" else "bid,ask,bid_size,ask_size"
    return f"timestamp,{names}\n" + "".join(f"{row}\n" for row in rows)


TICKER = """
from engine import Strategy

class Ticker(Strategy):
    def act(self, event):
        if not self.position(event.symbol) and not self.orders:
            self.buy(event.symbol, 3)
        elif event.seq % 5 == 0:
            self.close(event.symbol)
    on_trade = act
    on_quote = act
"""


def scaled(factor: float, digits: int) -> str:
    rows = []
    for row in bar_rows():
        day, *prices, volume = row.split(",")
        texts = [f"{float(px) * factor:.{digits}f}" for px in prices]
        rows.append(",".join([day, *texts, volume]))
    return HEADER + "".join(f"{row}\n" for row in rows)


def session(day: str, hour: int) -> list[str]:
    return [f"{day}T{hour + i}:30:00Z,10,11,9,10,100" for i in range(6)]


ODD_DATA: list[tuple[str, str, list[str]]] = [
    ("T.csv", ticks("trade"), ["--set", "fill.timing=next_tick"]),
    ("Q.csv", ticks("quote"), ["--set", "fill.timing=next_tick"]),
    ("HUGE.csv", scaled(1e10, 2), []),
    ("TINY.csv", scaled(1e-9, 9), []),
    ("ONE.csv", HEADER + bar_rows()[0] + "\n", ["--set", "data.interval=1d"]),
    ("Zürich 日経 <b>.csv", bar_text(), []),
    (f"{'L' * 200}.csv", bar_text(), []),
    ("MANY.csv", "symbol," + HEADER + "".join(f"{'S' * 2000},{row}\n" for row in bar_rows()), []),
    ("ESC.csv", "symbol," + HEADER + "".join(f"\x1b[2J,{row}\n" for row in bar_rows()), []),
    ("LATE.csv", HEADER + "2261-12-30,1,1,1,1,1\n2261-12-31,1,1,1,1,1\n", []),
    ("DST.csv", HEADER + "\n".join(session("2024-03-08", 14) + session("2024-03-11", 13)) + "\n",
     ["--set", "data.calendar=XNYS"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options"), ODD_DATA, ids=[name[:9] for name, *_ in ODD_DATA]
)
def test_odd_data_runs_through_to_the_report(
    bench: Bench, name: str, content: str, options: list[str]
) -> None:
    file = bench.write(name, content)
    ticker = bench.write("ticker.py", TICKER)
    strategy = ticker if name in ("T.csv", "Q.csv") else bench.strategy
    out = bench.folder / "out"
    called = bench.backtest(*options, "--out", out, strategy=strategy, data=file)
    assert (called.code, called.err) == (0, "")
    assert {entry.name for entry in out.iterdir()} >= FOLDER
    assert "\x1b" not in called.out
    assert max(map(len, called.out.splitlines())) < 400
    if strategy is ticker:
        assert json.loads((out / "summary.json").read_text())["fills"] > 5


def test_hundreds_of_symbols_are_summed_up(bench: Bench) -> None:
    for i in range(300):
        bench.write(f"many/S{i:03d}.csv", bar_text())
    called = bench.backtest(data=bench.folder / "many")
    assert called.code == 0
    assert "S007 and 292 more" in called.out


# Where results go.


def test_no_result_goes_where_it_should_not(bench: Bench) -> None:
    bench.write("file", "mine")
    bench.write("foreign/precious.txt", "mine")
    bench.write("web/manifest.json", "{}")
    (bench.folder / "dangling").symlink_to(bench.folder / "nowhere")
    refused = {
        "file": "is a file",
        "file/below": "is a file",
        "foreign": "holds precious.txt",
        "web": "holds no earlier result",
        "n" * 250: "too long",
        "n" * 300: "too long",
    }
    for name, words in refused.items():
        called = bench.backtest("--out", bench.folder / name)
        assert (called.code, called.out) == (2, ""), name
        assert words in called.message
    for place, words in (("/proc/x", "cannot be written"), ("/", "/"), ("a\0b", "null")):
        called = bench.backtest("--out", place)
        assert called.code == 2
        assert words in called.message
    assert (bench.folder / "foreign" / "precious.txt").read_text() == "mine"
    assert not list(bench.folder.glob(".*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_refused(bench: Bench) -> None:
    closed = bench.folder / "closed"
    closed.mkdir(mode=0o500)
    called = bench.backtest("--out", closed / "out")
    assert (called.code, called.out) == (2, "")
    assert "may not be written to" in called.message


def test_links_are_followed_and_a_strategy_may_change_the_directory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    (bench.folder / "link").symlink_to(bench.folder / "real")
    roaming = bench.write(
        "roaming.py",
        "import os\nfrom engine import Strategy\n"
        "class Roaming(Strategy):\n    def on_start(self):\n        os.chdir('/')\n",
    )
    assert bench.backtest("--out", "link", strategy=roaming).code == 0
    assert (bench.folder / "real" / "manifest.json").is_file()
    assert (bench.folder / "link").is_symlink()


# Whole processes.


def test_a_process_tells_its_end_by_its_exit_code(bench: Bench) -> None:
    good = process("backtest", bench.strategy, "--data", bench.data)
    assert (good.code, good.err) == (0, ""), "a pipe gets no progress bar"
    failing = bench.write("x.py", hook("on_bar", "1 / 0"))
    failed = process("backtest", failing, "--data", bench.data)
    assert (failed.code, failed.out) == (1, "")
    assert "engine/" not in failed.err.replace(str(bench.folder), "")
    wrong = process("backtest", bench.strategy, "--data", bench.folder / "no.csv")
    assert (wrong.code, wrong.out) == (2, "")
    assert len(wrong.err.splitlines()) == 1


def test_a_terminal_gets_a_progress_bar(bench: Bench) -> None:
    arguments = command("backtest", bench.strategy, "--data", bench.data)
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        drawn = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
    assert "events" in drawn
    assert "run hash" in done.stdout.decode()


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


def close_stdout() -> None:
    os.close(1)


def test_a_full_disk_leaves_nothing(bench: Bench) -> None:
    out = bench.folder / "out"
    called = process(
        "backtest", bench.strategy, "--data", bench.data, "--out", out, preexec_fn=limit_files
    )
    assert (called.code, called.out) == (2, "")
    assert "cannot be written: File too large" in called.message
    assert not list(bench.folder.glob("*out*"))


OUTPUTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("/dev/full", {}, 2, "No space left"),
    ("/dev/null", {"preexec_fn": close_stdout}, 0, ""),
    ("/dev/null", {"env": {**os.environ, "PYTHONIOENCODING": "ascii"}}, 0, ""),
]


@pytest.mark.parametrize(
    ("output", "options", "code", "words"), OUTPUTS, ids=["full", "closed", "ascii"]
)
def test_an_output_that_cannot_take_it(
    bench: Bench, output: str, options: dict[str, Any], code: int, words: str
) -> None:
    data = bench.write("日経.csv", bar_text())
    with Path(output).open("w") as stdout:
        done = subprocess.run(
            command("backtest", bench.strategy, "--data", data),
            stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False, **options,
        )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
