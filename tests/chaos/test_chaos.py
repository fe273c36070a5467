"""A small piece of ``make chaos``: one round of a fixed seed, with faults of every process."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.faults import POINTS
from tests.chaos.faults import FAULTS, crash_points, draw_schedule
from tests.chaos.market import write_market
from tests.chaos.round import SPEED, Round, engine_of
from tests.chaos.world import Database, OrderSystem, World

SEED = "make test:1"
STEPS = 7
BUSY_BARS = 150


def test_a_seed_gives_one_schedule() -> None:
    first, again, other = (draw_schedule(random.Random(seed), 50) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {step.fault for step in draw_schedule(random.Random(1), 2_000)} == set(FAULTS)


def test_every_point_at_which_an_engine_can_die_is_asked_of_it() -> None:
    assert {point.partition(":")[0] for point in crash_points()} == set(POINTS)


@pytest.mark.req("P1", "P2", "P3", "P9")
@pytest.mark.req("P12", "P18", "P37", "P41")
def test_a_run_comes_through_what_is_done_to_it(tmp_path: Path) -> None:
    data = write_market(tmp_path / "market", 3_000)
    database = Database(tmp_path / "database")
    oms = OrderSystem(tmp_path, data, SPEED)
    try:
        engine = engine_of(tmp_path, data, "small", database, oms, BUSY_BARS)
        world = World(tmp_path, database, oms, engine, "small")
        played = Round(world, SEED, STEPS, restarts=2)
        outcome = played.run()
    finally:
        oms.close()
        database.close()
    assert not outcome.findings, "\n".join(map(str, (*played.schedule, *outcome.findings)))
    assert outcome.sizes["orders"] > 50
    assert outcome.kills.total() >= 4
    assert outcome.checks
