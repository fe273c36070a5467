"""The simulated runtime: time, ties, seeds, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Trade
from engine.runtime.cell import Cell
from engine.runtime.sim_runtime import Columns, SimRuntime, bar_events, trade_events
from tests.unit.runtime.rig import Alarm, Probe

INSTRUMENTS = tuple(Instrument(symbol=symbol) for symbol in "ABC")
Rows = list[tuple[int, int]]


def trades(rows: Rows) -> Columns:
    """Lay trades out as ``(time, series)``, in this order."""
    seqs = range(len(rows))
    return {
        "series": [series for _, series in rows],
        "seq": list(seqs),
        "ts_event": [ts for ts, _ in rows],
        "price": [100] * len(rows),
        "size": [1] * len(rows),
    }


def run(
    *chunks: Rows,
    act: Callable[[Probe, Any], Any] | None = None,
    seed: int | None = None,
    stop_at: int | None = None,
) -> Probe:
    runtime: SimRuntime

    def step(self: Probe, message: Any) -> None:
        if act is not None:
            act(self, message)
        if stop_at is not None and len(self.seen) == stop_at:
            self.ctx.publish(Alarm("stop"))

    probe = Probe(act=step)
    stopper = Probe("stopper", lambda self, message: runtime.stop())
    cell = Cell("core", [probe, stopper], {Trade: ["probe"], Alarm: ["stopper"]})
    runtime = SimRuntime(cell, INSTRUMENTS, trade_events, start_ts=5, seed=seed)
    runtime.run(trades(rows) for rows in chunks)
    return probe


def order(probe: Probe) -> list[tuple[int, str]]:
    return [(event.ts_event, event.symbol) for event in probe.seen if type(event) is Trade]


TIES: Rows = [(10, 0), (10, 1), (10, 2), (20, 0), (20, 1), (30, 2)]


def test_events_of_equal_time_come_in_the_order_of_the_series() -> None:
    assert order(run(TIES)) == [
        (10, "A"), (10, "B"), (10, "C"), (20, "A"), (20, "B"), (30, "C"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_permutes_equal_times_only_and_always_alike(seed: int) -> None:
    first, again = order(run(TIES, seed=seed)), order(run(TIES, seed=seed))
    assert first == again
    assert sorted(first) == order(run(TIES))
    assert [ts for ts, _ in first] == [10, 10, 10, 20, 20, 30]


def test_seeds_differ() -> None:
    assert len({tuple(order(run(TIES, seed=seed))) for seed in range(40)}) > 6


def test_timers_fire_between_events_and_after_those_of_their_own_time() -> None:
    def act(self: Probe, message: Any) -> None:
        if type(message) is Trade and message.ts_event == 10 and message.symbol == "A":
            for ts in (10, 15, 20, 30, 31):
                self.ctx.set_timer(ts, Alarm(str(ts)))

    probe = run(TIES[:3], TIES[3:], act=act)
    names = [m.name if isinstance(m, Alarm) else f"{m.symbol}{m.ts_event}" for m in probe.seen]
    assert names == ["A10", "B10", "C10", "10", "15", "A20", "B20", "20", "C30", "30"]
    assert probe.times == [10, 10, 10, 10, 15, 20, 20, 20, 30, 30]


def test_a_run_starts_at_its_time_and_tells_each_chunk_as_a_batch() -> None:
    starts: list[int] = []

    class Starter(Probe):
        def on_start(self) -> None:
            super().on_start()
            starts.append(self.ctx.now)

    probe = Starter("probe")
    cell = Cell("core", [probe], {Trade: ["probe"]})
    counts: list[int] = []
    chunks = [trades(TIES[:2]), trades(TIES[2:])]
    SimRuntime(cell, INSTRUMENTS, trade_events, start_ts=5).run(chunks, counts.append)
    assert starts == [5]
    assert counts == [2, 4]
    assert probe.batches == 3
    assert probe.life == ["start", "stop"]


def test_a_stop_ends_the_run_after_the_event_at_hand() -> None:
    probe = run(TIES[:4], TIES[4:], stop_at=2)
    assert len(probe.seen) == 2
    assert probe.life == ["start", "stop"]


@given(
    st.lists(st.tuples(st.integers(10, 14), st.integers(0, 2)), max_size=15).map(sorted),
    st.lists(st.integers(1, 5), min_size=15, max_size=15),
)
def test_how_rows_are_cut_into_chunks_changes_nothing(rows: Rows, sizes: list[int]) -> None:
    chunks: list[Rows] = []
    left = rows
    for size in sizes:
        chunks.append(left[:size])
        left = left[size:]
    assert order(run(*[chunk for chunk in chunks if chunk])) == order(run(rows))


def test_bars_carry_the_units_of_their_instrument() -> None:
    instruments = (
        Instrument(symbol="A", price_decimals=2),
        Instrument(symbol="B", price_decimals=4, quantity_decimals=3),
    )
    names = ("series", "seq", "ts_open", "ts_event", "open", "high", "low", "close", "volume")
    chunk = {name: [i, i] for i, name in enumerate(names)} | {"series": [0, 1]}
    assert list(bar_events(chunk, instruments)) == [
        Bar("A", 1, 2, 3, 4, 5, 6, 7, 8, 100, 1),
        Bar("B", 1, 2, 3, 4, 5, 6, 7, 8, 10_000, 1_000),
    ]
