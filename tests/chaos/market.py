"""Market data for chaos: a small walk of prices, the same for every run."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

SYMBOLS = ("AAA", "BBB")
BEGIN = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def write_market(folder: Path, bars: int) -> Path:
    """Write so many minute bars of each symbol; give the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, symbol in enumerate(SYMBOLS):
        draw = random.Random(number)
        lines, px = ["timestamp,open,high,low,close,volume"], 10_000
        for count in range(bars):
            opened, px = px, min(max(px + draw.randint(-30, 30), 9_000), 11_000)
            low, high = sorted((opened, px))
            cells = [f"{each / 100:.2f}" for each in (opened, high + 5, low - 5, px)]
            at = (BEGIN + count * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
            lines.append(f"{at},{','.join(cells)},100000")
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def end_of(bars: int) -> str:
    """Give the moment after which so many bars of each symbol have gone by."""
    return (BEGIN + (bars - 1) * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
