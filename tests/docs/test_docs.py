"""The documentation is true: its commands and code run, its blocks are current, its links lead on.

Commands run in a folder of links to the repository, so that what they write stays out of it. A
fence after ``<!-- not run: REASON -->`` is not run, but the targets of make it names must exist;
one after ``<!-- file: NAME -->`` is written to that file for the commands that follow.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import polars as pl
import pytest

from engine import Strategy
from engine.cli import main
from engine.cli_risk import risk
from engine.domain.latch import Hold, TradingLatch, TradingState
from engine.domain.risk import DenyCode
from engine.research import BacktestResult, backtest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "make chaos",
    "make test",
    "make bench",
    "make bench-live",
    "make bench-peers",
    "engine oms --data examples/data --port 50051",  # tests/cli runs it
    # tests/postgres/test_gateway_command.py runs these two, and takes them from the page.
    "engine gateway serve --data examples/data/GOOG.parquet --set store.folder=gateway-data",
    "engine run examples/strategies/sma_cross.py --profile paper \\",
    "    --data examples/data/GOOG.parquet --set venue.kind=http --set feed.speed=86400",
    # tests/feeds/test_compose.py holds compose.yaml against the settings.
    "docker compose up --detach --wait postgres redis kafka",
    "docker compose run --rm topics",
    "engine doctor --services",  # tests/feeds/test_doctor.py runs it
    # tests/postgres/test_alpaca_run.py runs it, and takes it from the page.
    "    --data examples/data/GOOG.parquet --set venue.kind=alpaca --set feed.speed=86400",
    "engine db migrate --role engine",  # tests/postgres/test_privileges.py runs it
    # tests/feeds/test_live.py runs this one, and takes it from the page.
    "engine run examples/strategies/sma_cross.py --profile paper --services --symbols IBM \\",
    "    --set data.price_decimals=9",
    # tests/feeds runs this one, and takes it from the page.
    "    --data examples/data/IBM.parquet --set publish.kind=kafka",
    # tests/feeds runs these two, and takes them from the page.
    "engine run examples/strategies/sma_cross.py --profile paper --symbols IBM \\",
    "    --set feed.kind=redis --set data.price_decimals=9",
    # tests/feeds/test_executions.py runs these two, and takes them from the page.
    "engine run allocation --profile paper --set run.name=worker --set run.executions=kafka \\",
    '    --set feed.kind=kafka --set data.symbols=\'["AAPL", "MSFT", "GOOGL"]\'',
    "engine run examples/strategies/sma_cross.py --profile paper --set run.name=worker \\",
    "    --set run.executions=redis --set feed.kind=redis --symbols AAPL,IBM",
    "engine publish --to redis --data examples/data/IBM.parquet --set data.adjust=true",
}
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[a-z ]+): (?P<said>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MAKE = re.compile(r"^make (\S+)", re.MULTILINE)
# What a run says of itself rather than of its result: its hash, and how fast it was.
PASSING = re.compile(r"^  run hash .*$", re.MULTILINE)


class Fence(NamedTuple):
    """One fenced block and the comment before it."""

    page: Path
    line: int
    kind: str
    text: str
    mark: str
    said: str


def fences(page: Path) -> Iterator[Fence]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        mark, said = match["mark"] or "", match["said"] or ""
        yield Fence(page, line, match["kind"], match["text"], mark, said)


def cells(page: str, section: str, column: str) -> list[str]:
    """Give one column of the first table of a section, without the code marks."""
    whole = "\n" + ROOT.joinpath("docs", page).read_text("utf-8")
    text = whole.split(f"\n{section}\n", 1)[1]
    rows = [line for line in text.splitlines() if line.startswith(("|", "#"))]
    table: list[list[str]] = []
    for row in rows:
        if row.startswith("#"):
            break
        table.append([cell.strip().strip("`") for cell in row[1:-1].split("|")])
    at = table[0].index(column)
    return [row[at] for row in table[2:]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that looks like the repository; what is written there stays there."""
    for path in ROOT.iterdir():
        if path.name not in {"demo-out", "bench-out", "tetrad-data", ".git"}:
            tmp_path.joinpath(path.name).symlink_to(path)
    return tmp_path


def run(command: str, folder: Path) -> str:
    # The set-up is up to date, for this test runs in it: do not look again.
    command = re.sub(r"\bmake (?=demo)", "make -o .venv/.runtime-installed ", command)
    venv = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{venv}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, place: Path) -> None:
    shown = ""
    for fence in fences(page):
        where = f"{page.name}:{fence.line}"
        if fence.mark == "file":
            place.joinpath(fence.said).write_text(fence.text, encoding="utf-8")
        elif fence.mark == "not run":
            assert set(fence.text.splitlines()) <= NOT_RUN, where
            for target in MAKE.findall(fence.text):
                subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
        elif fence.kind == "sh":
            shown = run(fence.text, place)
        elif fence.kind == "text" and fence.mark == "output of":
            assert PASSING.sub("", fence.text.strip("\n")) in PASSING.sub("", shown), where


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    names: dict[str, Any] = module.__dict__
    for fence in fences(page):
        if fence.mark == "file":
            place.joinpath(fence.said).write_text(fence.text, encoding="utf-8")
        if fence.kind != "python":
            continue
        before = dict(names)
        code = compile("\n" * fence.line + fence.text, str(page), "exec")
        exec(code, names)
        for name, value in names.items():
            if before.get(name) is not value and is_strategy(value):
                try_out(value)


def is_strategy(value: Any) -> bool:
    """Tell whether something is a strategy of the page itself."""
    return (
        isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == "documented"
    )


def try_out(strategy: type[Strategy]) -> None:
    """Carry a documented strategy through two years of two symbols."""
    backtest(
        strategy,
        ROOT / "examples" / "data",
        symbols=["IBM", "MSFT"],
        start="2010-01-01",
        end="2011-12-31",
        settings={"data.adjust": True},
    )


def test_generated_blocks_are_current() -> None:
    generate = load(ROOT / "docs" / "generate.py")
    stale = [page.name for page in PAGES if generate.filled(page.read_text("utf-8"))
             != page.read_text("utf-8")]  # fmt: skip
    assert not stale, f"{stale}: run python docs/generate.py"
    used = {name for page in PAGES for _, name, _ in generate.BLOCK.findall(page.read_text())}
    assert used == set(generate.BLOCKS)


def test_every_option_explains_itself() -> None:
    rows = load(ROOT / "docs" / "generate.py").options().splitlines()[2:]
    assert len(rows) == 12
    assert not [row for row in rows if row.endswith("|  |")]


GOOD = "def on_start(self): pass"
EXITS = [
    (0, GOOD, []),
    (1, "def on_bar(self, bar): 1 / 0", []),
    (2, GOOD, ["--set", "risk.nothing=1"]),
    (2, GOOD, ["--nothing"]),
    (130, "def on_bar(self, bar): raise KeyboardInterrupt", []),
]


@pytest.mark.parametrize(("code", "hook", "options"), EXITS)
def test_exit_codes(code: int, hook: str, options: list[str], tmp_path: Path) -> None:
    assert str(code) in {row.split(" ")[1] for row in PAGES[0].read_text("utf-8").split("\n|")}
    file = tmp_path / "own.py"
    file.write_text(f"from engine import Strategy\nclass Own(Strategy):\n    {hook}\n")
    data, out = str(ROOT / "examples" / "data" / "FB.parquet"), tmp_path / "out"
    with pytest.raises(SystemExit) as exit_of:
        main(["backtest", str(file), "--data", data, "--out", str(out), *options])
    assert exit_of.value.code == code
    assert out.exists() == (code == 0)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    readme = PAGES[0].read_text("utf-8")
    missing = [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme]
    assert not missing


def test_the_paths_of_the_readme_exist() -> None:
    section = PAGES[0].read_text("utf-8").split("\n## Where things are\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]


# What a run writes.


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return backtest(
        str(ROOT / "examples/strategies/sma_cross.py:SmaCross"),
        ROOT / "examples" / "data",
        settings={"data.adjust": True},
    )


FRAMES = ("orders", "fills", "trades", "instances", "equity", "verdicts", "check_inputs",
          "signals", "risk_events", "dropped")  # fmt: skip
TYPES = {pl.String: "text", pl.Float64: "number", pl.Int64: "integer", pl.Boolean: "boolean"}


@pytest.mark.parametrize("name", FRAMES)
def test_columns_are_documented(name: str, result: BacktestResult) -> None:
    schema = getattr(result, name).schema
    section = f"## `{name}.parquet`"
    documented = dict(
        zip(
            cells("outputs.md", section, "column"),
            cells("outputs.md", section, "type"),
            strict=True,
        )
    )
    assert documented == {
        column: "time" if isinstance(kind, pl.Datetime) else TYPES[type(kind)]
        for column, kind in schema.items()
    }


def test_files_are_documented(result: BacktestResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out")
    written = {path.name for path in folder.iterdir()}
    listed = set(cells("outputs.md", "# The output folder", "file"))
    sometimes = {"signals.parquet", "risk_events.parquet", "dropped.parquet"}
    assert listed - sometimes <= written <= listed


@pytest.mark.parametrize("name", ["summary", "manifest"])
def test_json_keys_are_documented(name: str, result: BacktestResult) -> None:
    assert cells("outputs.md", f"## `{name}.json`", "key") == list(getattr(result, name))


def test_every_check_of_the_gate_is_proven_by_a_marked_test() -> None:
    proven = load(ROOT / "docs" / "generate.py").check_proofs()
    codes = {code.name for code in DenyCode}
    assert set(proven) == codes, f"without a test: {codes - set(proven)}"


def test_the_table_of_checks_is_whole_and_in_order() -> None:
    columns = {
        name: cells("risk.md", "## The checks", name)
        for name in ("code", "denies when", "what is compared", "adds up over",
                     "limit as shipped", "exempt", "proven by")
    }  # fmt: skip
    assert columns["code"] == [code.value for code in DenyCode]
    assert not [name for name, column in columns.items() if not all(column)]
    for proven in columns["proven by"]:
        for test in proven.split("<br>"):
            path, _, name = test.strip("`").partition("::")
            assert f"def {name}(" in ROOT.joinpath(path).read_text("utf-8")


HOLDS = [
    (TradingState.HALTED, "", "TRADING_HALTED"),
    (TradingState.REDUCING, "", "TRADING_REDUCING"),
    (TradingState.HALTED, "S", "STRATEGY_HALTED"),
    (TradingState.REDUCING, "S", "STRATEGY_REDUCING"),
]


@pytest.mark.parametrize(("state", "held", "code"), HOLDS)
def test_what_a_trading_state_exempts_is_documented(
    state: TradingState, held: str, code: str
) -> None:
    latch = TradingLatch({held: Hold(state, "WHY", "manual", 0)})
    assert latch.refusal("S", reduce_only=False, closing=False) == code
    passes = latch.refusal("S", reduce_only=True, closing=False) is None
    assert latch.refusal("S", reduce_only=True, closing=True) is None
    exempt = dict(zip(cells("risk.md", "## The checks", "code"),
                      cells("risk.md", "## The checks", "exempt"), strict=True))  # fmt: skip
    assert exempt[code] == ("reduce-only orders" if passes else "the engine's closings")


def test_the_options_of_the_risk_commands_are_documented() -> None:
    page = ROOT.joinpath("docs", "risk.md").read_text("utf-8")
    for name in ("explain", "replay", "fuzz"):
        command = risk[name]
        assert f"engine risk {name}" in page
        given = {option for argument in command.assemble_argument_collection()
                 for option in argument.names if option.startswith("--")}  # fmt: skip
        assert not [option for option in given if f"`{option}" not in page], name


def test_every_figure_is_documented(result: BacktestResult) -> None:
    documented: list[str] = []
    for section in ("## The run", "## Returns and risk", "## Trades", "## Costs and exposure"):
        documented += cells("statistics.md", section, "figure")
    own = [name for name in result.statistics if not name.startswith("benchmark_")]
    assert sorted(documented) == sorted(own)
    curve = cells("statistics.md", "## Returns and risk", "figure")[:7]
    others = {name for name in result.statistics if name.startswith("benchmark_")}
    assert others == {f"benchmark_{name}" for name in (*curve, "return")}


def rules_in_the_code() -> set[str]:
    """Collect the short names of rules that the file adapter gives to DataError and Violation."""
    found: set[str] = set()
    place = {"DataError": 2, "Violation": 0, "_told": 0, "_shown": 0}
    for file in sorted((ROOT / "adapters" / "files").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = place.get(node.func.id)
                if at is not None and len(node.args) > at:
                    found |= constants(node.args[at])
    return found


def constants(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.JoinedStr):  # open_within_range, close_within_range
        tail = node.values[-1]
        assert isinstance(tail, ast.Constant)
        return {f"open{tail.value}", f"close{tail.value}"}
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Tuple):
        return {str(ast.literal_eval(item)) for item in node.value.elts}
    return set()


def test_every_rule_of_the_data_is_documented() -> None:
    rows = cells("data.md", "## Rules of rows", "rule")
    files = cells("data.md", "## Rules of files", "rule")
    ordering = {"sorted", "duplicate", "overlap"}
    assert set(rows) | set(files) == rules_in_the_code() | ordering


def test_the_hooks_and_actions_are_documented() -> None:
    page = ROOT.joinpath("docs", "strategies.md").read_text("utf-8")
    public = [name for name in vars(Strategy) if not name.startswith("_") and name != "attach"]
    assert not [name for name in public if not re.search(rf"`(self\.)?{name}\b", page)]
