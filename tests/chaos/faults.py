"""What can be done to a run, and a schedule of it drawn from a seed."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psycopg

from engine.faults import POINTS
from tests.chaos.world import World

ENDING = ("session.ended", "session.completed")
"""Points that only a run at its end comes by."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        do: does it, and tells the world how it is undone.
        weight: how often it is drawn.
        hold_s: shortest and longest time until it is undone.
        silent: what must notice it by itself, ``engine ends`` or ``venue down``, if anything.
    """

    do: Callable[[World], None]
    weight: int
    hold_s: tuple[float, float] = (0.0, 0.0)
    silent: str = ""


def _kill(world: World) -> None:
    world.engine.kill()


def _terminate(world: World) -> None:
    world.engine.signal(signal.SIGTERM)


def _freeze(world: World) -> None:
    world.engine.signal(signal.SIGSTOP)
    world.upset(partial(world.engine.signal, signal.SIGCONT))


def _kill_database(world: World) -> None:
    world.database.kill()
    world.upset(world.database.start_again)


def _freeze_database(world: World) -> None:
    world.database.signal(signal.SIGSTOP)
    world.upset(partial(world.database.signal, signal.SIGCONT))


def _end_sessions(world: World) -> None:
    with world.database.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'tetrad'"
        )


def _lock_table(world: World) -> None:
    connection = world.database.connect()
    world.upset(connection.close)
    connection.execute("SET lock_timeout = '500ms'")
    try:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE strategy_worker.journal IN EXCLUSIVE MODE")
    except psycopg.errors.LockNotAvailable:
        connection.execute("ROLLBACK")


def _slow_database(world: World) -> None:
    world.database.proxy.delay_s = 0.05


def _crawling_database(world: World) -> None:
    world.database.proxy.delay_s = 1.5


def _kill_oms(world: World) -> None:
    world.oms.kill()
    world.upset(world.oms.start_again)


def _freeze_oms(world: World) -> None:
    world.oms.signal(signal.SIGSTOP)
    world.upset(partial(world.oms.signal, signal.SIGCONT))


def _slow_oms(world: World) -> None:
    world.oms.proxy.delay_s = 0.1


def _late_oms(world: World) -> None:
    world.oms.proxy.delay_s = 2.0  # beyond oms_grpc.timeout


def _refuse_oms(world: World) -> None:
    world.oms.proxy.refuses = True
    world.oms.proxy.reset()


FAULTS: dict[str, Fault] = {
    "engine.kill": Fault(_kill, 40),
    "engine.term": Fault(_terminate, 6),
    "engine.freeze": Fault(_freeze, 4, (0.3, 2.5)),
    "postgres.kill": Fault(_kill_database, 5, (0.1, 0.5)),
    "postgres.freeze": Fault(_freeze_database, 2, (0.3, 4.0), "engine ends"),
    "postgres.half_open": Fault(lambda w: w.database.proxy.pause(), 3, (4.0, 6.0), "engine ends"),
    "postgres.blackhole": Fault(lambda w: w.database.proxy.blackhole(), 2, (0.3, 3.0)),
    "postgres.slow": Fault(_slow_database, 3, (0.5, 1.5)),
    "postgres.crawling": Fault(_crawling_database, 2, (1.0, 4.0)),
    "postgres.reset": Fault(lambda w: w.database.proxy.reset(), 4),
    "postgres.terminated": Fault(_end_sessions, 4),
    "postgres.locked": Fault(_lock_table, 2, (0.3, 2.0)),
    "oms.kill": Fault(_kill_oms, 6, (0.0, 0.5)),
    "oms.freeze": Fault(_freeze_oms, 2, (0.3, 3.5)),
    "oms.half_open": Fault(lambda w: w.oms.proxy.pause(), 3, (4.0, 5.5), "venue down"),
    "oms.blackhole": Fault(lambda w: w.oms.proxy.blackhole(), 2, (0.3, 3.0)),
    "oms.lost_replies": Fault(lambda w: w.oms.proxy.lose_replies(), 6, (0.2, 1.2)),
    "oms.reset": Fault(lambda w: w.oms.proxy.reset(), 6),
    "oms.refused": Fault(_refuse_oms, 3, (0.2, 1.0)),
    "oms.slow": Fault(_slow_oms, 3, (0.3, 1.0)),
    "oms.late": Fault(_late_oms, 3, (0.5, 2.5)),
    "oms.corrupt": Fault(lambda w: w.oms.proxy.corrupt(), 3, (0.2, 0.8)),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of a schedule.

    Attributes:
        wait_s: how long the engine runs before it.
        from_start: count that from the start of the process, not from its having recovered.
        fault: which.
        hold_s: how long it lasts.
        then_kill: kill the engine too before it is undone.
        crash: where the next engine is to die by itself, as ``point:hit``; empty for nowhere.
    """

    wait_s: float
    from_start: bool
    fault: str
    hold_s: float
    then_kill: bool
    crash: str

    def __str__(self) -> str:
        since = "start" if self.from_start else "recovery"
        more = f", held {self.hold_s:.2f} s" if self.hold_s else ""
        more += ", engine killed" if self.then_kill else ""
        more += f", then dies at {self.crash}" if self.crash else ""
        return f"{self.wait_s:.2f} s after {since}: {self.fault}{more}"


def crash_points() -> list[str]:
    """Give every point with the hits that are asked of it; a start comes by its own ones once."""
    return [
        f"{point}:{hit}"
        for point in POINTS
        for hit in ((1,) if point.startswith("session.") else (1, 2, 3))
    ]


def draw_schedule(draw: random.Random, steps: int) -> list[Step]:
    """Draw so many steps."""
    names = list(FAULTS)
    weights = [FAULTS[name].weight for name in names]
    points = [point for point in crash_points() if not point.startswith(ENDING)]
    schedule = []
    for _ in range(steps):
        name = draw.choices(names, weights)[0]
        low, high = FAULTS[name].hold_s
        from_start = draw.random() < 0.2
        schedule.append(
            Step(
                wait_s=draw.uniform(0.0, 1.2) if from_start else draw.uniform(0.0, 0.7),
                from_start=from_start,
                fault=name,
                hold_s=draw.uniform(low, high),
                then_kill=not name.startswith("engine.") and draw.random() < 0.4,
                crash=draw.choice(points) if draw.random() < 0.5 else "",
            )
        )
    return schedule


def wait_s(seconds: float) -> None:
    """Let so much time go by."""
    threading.Event().wait(seconds)
