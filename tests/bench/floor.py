"""The floor: what the bare interpreter needs for the same bars and the same two averages."""

from __future__ import annotations

import time
from collections import deque

from engine.domain.market import Bar
from engine.ports import MarketHistory
from engine.research.backtest import columns_of
from engine.runtime.sim_runtime import bar_events

CHUNK_ROWS = 4096


class SmaCrossByHand:
    """Keeps the two averages in running sums and counts the orders it would send."""

    def __init__(self) -> None:
        self.fast_sum = self.slow_sum = 0.0
        self.fast: deque[int] = deque(maxlen=10)
        self.slow: deque[int] = deque(maxlen=30)
        self.above = False
        self.orders = 0

    def on_bar(self, bar: Bar) -> None:
        close = bar.close_px
        fast, slow = self.fast, self.slow
        if len(slow) == 30:
            self.fast_sum += close - fast[0]
            self.slow_sum += close - slow[0]
            fast.append(close)
            slow.append(close)
            above = self.fast_sum * 3 > self.slow_sum
            if above != self.above:
                self.above = above
                self.orders += 1
        else:
            if len(fast) == 10:
                self.fast_sum -= fast[0]
            self.fast_sum += close
            self.slow_sum += close
            fast.append(close)
            slow.append(close)


def floor_seconds(data: MarketHistory) -> float:
    """Give the CPU seconds of a bare loop over all bars of a single-symbol dataset."""
    on_bar = SmaCrossByHand().on_bar
    began = time.process_time()
    for frame in data.chunks(CHUNK_ROWS):
        chunk = columns_of(frame, alone=True)
        for bar in bar_events(chunk, data.instruments):
            on_bar(bar)
    return time.process_time() - began
