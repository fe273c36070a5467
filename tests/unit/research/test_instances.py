"""Instances (decision D6): one row per signal, or per entry intent of a strategy without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import Bar, Strategy
from engine.research.backtest import backtest

Act = Callable[[Strategy], object]
SETTINGS = {"report.html": False, "data.interval": "1d"}


def instances(tmp_path: Path, acts: Mapping[int, Act]) -> list[tuple[Any, ...]]:
    """Act at the end of some bars; opens are 100, 101, ..., closes one above."""

    def on_bar(self: Strategy, bar: Bar) -> None:
        if bar.seq in acts:
            acts[bar.seq](self)

    rows = [f"2024-01-{d + 1:02d},{100 + d},{102 + d},{99 + d},{101 + d},1000" for d in range(9)]
    file = tmp_path / "A.csv"
    file.write_text("date,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    frame = backtest(type("Acting", (Strategy,), {"on_bar": on_bar}), file, settings=SETTINGS)
    return frame.instances.select(
        (frame.instances["timestamp"].dt.day() - 2).alias("bar"),
        "action", "score", "entry_price", "exit_price", "open",
    ).rows()  # fmt: skip


@pytest.mark.req("D6")
@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        pytest.param(
            {0: lambda s: s.buy("A", 10), 2: lambda s: s.close("A")},
            [(0, "BUY", 1.0, 101.0, 103.0, False)],
            id="round trip",
        ),
        pytest.param(
            {0: lambda s: s.buy("A", 10), 2: lambda s: s.sell("A", 10)},
            [(0, "BUY", 1.0, 101.0, 103.0, False)],
            id="an exit that is not marked reduce-only",
        ),
        pytest.param(
            {0: lambda s: s.buy("A", 10), 2: lambda s: s.buy("A", 10)},
            [(0, "BUY", 1.0, 102.0, 109.0, True), (2, "BUY", 1.0, None, None, None)],
            id="enlarged",
        ),
        pytest.param(
            {0: lambda s: s.buy("A", 10), 2: lambda s: s.sell("A", 30)},
            [(0, "BUY", 1.0, 101.0, 103.0, False), (2, "SELL", 1.0, 103.0, 109.0, True)],
            id="flipped",
        ),
        pytest.param(
            {0: lambda s: s.buy("A", 10_000), 1: lambda s: s.buy("A", 10, limit=50.0)},
            [(0, "BUY", 1.0, None, None, None), (1, "BUY", 1.0, None, None, None)],
            id="denied, and never filled",
        ),
        pytest.param(
            {0: lambda s: s.bracket("A", 10, take_profit=104.0, stop_loss=90.0)},
            [(0, "BUY", 1.0, 101.0, 104.0, False)],
            id="bracket",
        ),
        pytest.param(
            {0: lambda s: s.sell("A", 10, limit=103.0, after=s.buy("A", 10))},
            [(0, "BUY", 1.0, 101.0, 103.0, False)],
            id="an exit that waits for its entry",
        ),
        pytest.param(
            {0: lambda s: (s.signal("A", score=2.0), s.buy("A", 10)), 2: lambda s: s.buy("A", 5)},
            [(0, None, 2.0, pytest.approx(101 + 2 / 3), 109.0, True)],
            id="signals speak for themselves",
        ),
        pytest.param({}, [], id="nothing"),
    ],
)
def test_instances(
    tmp_path: Path, acts: Mapping[int, Act], expected: list[tuple[Any, ...]]
) -> None:
    assert instances(tmp_path, acts) == expected
