"""Strategies that cannot be found, cannot be used or fail on the way."""

from __future__ import annotations

import pytest

from engine import research
from engine.errors import InputError
from tests.cli.rig import Bench, hook

REFERENCES = [
    ("no.py", "strategy file no.py does not exist"),
    ("no.py:X", "strategy file no.py does not exist"),
    (".", "no strategy is registered as '.'"),
    ("sma", "no strategy is registered as 'sma'; give path/to/file.py:ClassName"),
    ("{folder}/trader.py:Tradr", "did you mean Trader?"),
    ("{folder}/trader.py:Bar", "is not a subclass of engine.Strategy"),
    ("{folder}/trader:Trader", "did you mean {folder}/trader.py:Trader?"),
    ("{folder}/folder.py", "is a folder"),
]


@pytest.mark.parametrize(("reference", "words"), REFERENCES)
def test_a_reference_that_leads_nowhere(bench: Bench, reference: str, words: str) -> None:
    (bench.folder / "folder.py").mkdir()
    called = bench.backtest(strategy=reference.format(folder=bench.folder))
    assert (called.code, called.out) == (2, "")
    assert words.format(folder=bench.folder) in called.message
    assert len(called.err.splitlines()) == 1


INIT_THAT_BUYS = """
class X(Strategy):
    def __init__(self, **k):
        super().__init__(**k)
        self.buy("A", 1)
"""

UNUSABLE = [
    ("class X(:\n", "SyntaxError"),
    ("import nosuchmodule\n", "line 1: ModuleNotFoundError"),
    ("import sys; sys.exit(0)\n", "SystemExit"),
    ("", "holds no strategy"),
    ("class A(Strategy): pass\nclass B(Strategy): pass", "holds A, B; name one"),
    ("class X(Strategy):\n    async def on_bar(self, bar): ...", "X.on_bar is async"),
    ("class X(Strategy):\n    def on_bar(self, bar): yield", "X.on_bar is async or yields"),
    ("class X(Strategy):\n    def on_bar(self): ...", "must take self and one more argument"),
    ("class X(Strategy):\n    def on_start(self, x): ...", "must take self alone"),
    ("class X(Strategy):\n    on_bar = 3", "X.on_bar = 3"),
    ("class X(Strategy):\n    history = -1", "X.history = -1"),
    ("class X(Strategy):\n    fast: int", "X.fast has no default value"),
    ("class X(Strategy):\n    cash: int = 3", "X.cash hides Strategy.cash"),
    ("class X(Strategy):\n    x: object = object()", "cannot be written to the results"),
    ("class X(Strategy):\n    x: int = 'abc'", "X.x takes int"),
    ("class X(Strategy):\n    def __init__(self, **k): pass", "does not call super().__init__"),
    (INIT_THAT_BUYS, "runs before there is a market"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), UNUSABLE)
def test_a_strategy_that_cannot_be_used(bench: Bench, text: str, words: str) -> None:
    head = "" if text.startswith(("import", "class X(:")) else "from engine import Strategy\n"
    called = bench.backtest(strategy=bench.write("x.py", head + text))
    assert (called.code, called.out) == (2, "")
    assert words in called.message


BUY = "self.buy(bar.symbol, 10)"
THIRD = "if bar.seq == 2: "
FAILURES: list[tuple[str, str, str]] = [
    (hook("on_start(self)", "1 / 0"), "on_start on the start", "ZeroDivisionError"),
    (hook("on_bar", THIRD + "1 / 0"), "on_bar on bar 3 of A (ended 2024-01-04", "ZeroDiv"),
    (hook("on_fill(self, fill)", "1 / 0", BUY), "on_fill on OrderFilled", "ZeroDiv"),
    (hook("on_order(self, order)", "1 / 0", BUY), "on_order on", "ZeroDiv"),
    (hook("on_stop(self)", "1 / 0"), "on_stop", "ZeroDiv"),
    (hook("on_start(self)", "self.schedule('t', 'day')")
     + "    def on_timer(self, name): 1 / 0\n", "on_timer on timer 't'", "ZeroDiv"),
    (hook("__init__(self, **k)", "1 / 0"), "__init__", "ZeroDiv"),
    (hook("__init__(self, **k)", "sys.exit(0)"), "__init__", "SystemExit"),
    (hook("on_bar", THIRD + "sys.exit(0)"), "on_bar on bar 3", "SystemExit"),
    (hook("on_bar", "self.on_bar(bar)"), "on_bar on bar 1", "RecursionError"),
    (hook("on_bar", "raise ValueError('\\ud800')"), "on_bar on bar 1", "ValueError"),
    (hook("on_bar", "bar.close = 3"), "on_bar on bar 1", "immutable"),
    (hook("on_bar", "self.buy(bar.symbol, float('nan'))"), "on_bar", "not a finite number"),
    (hook("on_bar", "self.buy(bar.symbol, 0.5)"), "on_bar", "more than 0 digits"),
    (hook("on_bar", "self.buy(bar.symbol, 10**30)"), "on_bar", "is too large"),
    (hook("on_bar", "self.buy('B', 1)"), "on_bar", "no symbol 'B' in this run"),
    (hook("on_bar", "self.price('B')"), "on_bar", "no symbol 'B' in this run"),
    (hook("on_bar", "self.buy(bar.symbol, 1, limit=-3)"), "on_bar", "finite and positive"),
    (hook("on_bar", "self.buy(bar.symbol, 1, tif='NOW')"), "on_bar", "unknown time in force"),
    (hook("on_bar", "self.buy(bar.symbol, 1, tag=5)"), "on_bar", "a tag is text"),
    (hook("on_bar", "self.buy(bar.symbol, 1, good_till=1.5)"), "on_bar", "UTC nanoseconds"),
    (hook("on_bar", "self.buy(bar.symbol, 1, after='x')"), "on_bar", "not 'x'"),
    (hook("on_bar", "self.signal(bar.symbol, x=object())"), "on_bar", "signal extra x"),
    (hook("on_bar", "self.target_percent(bar.symbol, 1e300)"), "on_bar", "share of equity"),
    (hook("on_bar", "self.use(ta.SMA(3))"), "on_bar", "belongs in on_start"),
    (hook("on_start(self)", "self.use(None)"), "on_start", "such as ta.SMA(10)"),
    (hook("on_start(self)", "self.use(ta.SAM(3))"), "on_start", "did you mean"),
    (hook("on_start(self)", "self.use(ta.SMA(3)).value"), "on_start", "before its first bar"),
    (hook("on_start(self)", "self.aggregate('banana')"), "on_start", "is no bar length"),
    (hook("on_start(self)", "self.set_timer('t', 'soon')"), "on_start", "not 'soon'"),
    (hook("on_start(self)", "self.h = self.use(ta.SMA(3))", "self.h[1]"), "on_bar", "past"),
    (hook("on_start(self)", "self.h = self.use(ta.SMA(3))", "self.h[-99]"), "on_bar", "past"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "words"), FAILURES)
def test_a_failing_strategy_is_shown_with_its_traceback_and_its_bar(
    bench: Bench, text: str, where: str, words: str
) -> None:
    file = bench.write("x.py", text)
    called = bench.backtest("--out", bench.folder / "out", strategy=file)
    assert (called.code, called.out) == (1, "")
    assert "Traceback (most recent call last)" in called.err
    assert f'File "{file}"' in called.err
    assert f"strategy X failed in {where}" in called.message
    assert words in called.message
    assert not (bench.folder / "out").exists()
    assert not list(bench.folder.glob(".out*"))


HARMLESS = [
    (hook("on_bar", "pass"), "orders            0, 0 fills, 0 denied"),
    (hook("on_bar", THIRD + "self.buy(bar.symbol, -5)"), "QUANTITY_PRECISION"),
    (hook("on_bar", THIRD + "self.buy(bar.symbol, 0)"), "QUANTITY_PRECISION"),
    (hook("on_bar", THIRD + "self.buy(bar.symbol, 10**15)"), "ORDER_VALUE_ABOVE_MAX"),
    (hook("on_start(self)", "self.buy('A', 5)"), "NO_REFERENCE_PRICE"),
    (hook("on_stop(self)", "self.buy('A', 5)"), "orders            1, 0 fills, 0 denied"),
    (hook("on_bar", "print('hello')"), "hello"),
]


@pytest.mark.parametrize(("text", "words"), HARMLESS)
def test_what_only_looks_like_a_failure(bench: Bench, text: str, words: str) -> None:
    called = bench.backtest(strategy=bench.write("x.py", text))
    assert (called.code, called.err) == (0, "")
    assert words in called.out


def test_the_library_raises_what_the_command_tells(bench: Bench) -> None:
    with pytest.raises(InputError, match="no parameter 'fsat'"):
        research.backtest(str(bench.strategy), bench.data, settings={"strategy.fsat": 3})
    with pytest.raises(InputError, match="symbol 'B' is not in the data"):
        research.backtest(str(bench.strategy), bench.data, symbols="B")
