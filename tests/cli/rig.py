"""What the tests of the command line share: data, strategies and ways to call it."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main

HEADER = "timestamp,open,high,low,close,volume\n"

TRADER = """
from engine import Bar, Strategy, param


class Trader(Strategy):
    fast: int = param(3, low=1, high=100)

    def on_bar(self, bar: Bar) -> None:
        if not self.position(bar.symbol):
            self.buy(bar.symbol, 10)
        elif bar.seq % self.fast == 0:
            self.close(bar.symbol)
        if bar.seq == 7:
            self.buy(bar.symbol, 1_000_000)
"""


def bar_rows(count: int = 12) -> list[str]:
    days = [f"2024-01-{day:02d}" for day in range(1, count + 1)]
    prices = [100 + (7 * i) % 5 for i in range(count)]
    return [
        f"{day},{px},{px + 2},{px - 2},{px + 1},1000" for day, px in zip(days, prices, strict=True)
    ]


def bar_text(*changes: tuple[int, str]) -> str:
    """Give a good file with some rows (1-based) replaced."""
    rows = bar_rows()
    for number, row in changes:
        rows[number - 1] = row
    return HEADER + "".join(f"{row}\n" for row in rows)


def hook(name: str, line: str, body: str = "pass") -> str:
    """Give a strategy with one hook (beside on_bar) of one line."""
    if name == "on_bar":
        body = line
    other = "" if name == "on_bar" else f"    def {name}: {line}\n"
    return (
        "import sys\nfrom engine import Strategy, ta\n\n\nclass X(Strategy):\n"
        f"    def on_bar(self, bar):\n        {body}\n{other}"
    )


@dataclass
class Called:
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line that says what is wrong."""
        lines = self.err.strip().splitlines()
        assert lines, f"nothing on stderr, exit code {self.code}"
        assert lines[-1].startswith("engine: "), self.err
        return lines[-1]


class Bench:
    """A folder with good data and a strategy, and the command line run in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.data = self.write("A.csv", bar_text())
        self.strategy = self.write("trader.py", TRADER)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content)
        return path

    def call(self, *arguments: Any) -> Called:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Called(ended.value.code, out, err)

    def backtest(self, *more: Any, strategy: Any = None, data: Any = None) -> Called:
        return self.call("backtest", strategy or self.strategy, "--data", data or self.data, *more)


def call(*arguments: Any) -> Called:
    """Run the command line in this process, where a fixture cannot reach: for whole modules."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return Called(ended.value.code, out.getvalue(), err.getvalue())


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "engine", *map(str, arguments)]


def process(*arguments: Any, **options: Any) -> Called:
    """Run the command line as a process of its own."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False, **options
    )
    return Called(done.returncode, done.stdout, done.stderr)
