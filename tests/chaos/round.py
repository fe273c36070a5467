"""One round: a run from its beginning to its end, through a schedule of faults."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.chaos.faults import ENDING, FAULTS, Step, draw_schedule, wait_s
from tests.chaos.judge import Finding, judge, unapproved
from tests.chaos.market import end_of
from tests.chaos.record import read_books, read_oms, read_orders
from tests.chaos.world import Database, Engine, OrderSystem, World

STRATEGY = Path(__file__).parent / "strategies" / "dense.py"
BARS_A_SECOND = 60
SPEED = 60 * BARS_A_SECOND
QUIET_BARS = 60
CONVERGE_S = 60.0
STOP_S = 10.0
NOTICE_S = 5.0
LINK_S = 3.0
LOST, STARTING = "VENUE_DOWN", "VENUE_DOWN: STARTING"
POLL_S = 0.05
GO_ON, STOPPED, TERMINATED, DONE = 75, 143, -15, 0
HELD_BY_ANOTHER = "is at work in another engine"


@dataclass(slots=True)
class Outcome:
    """What came of a round.

    Attributes:
        findings: what is wrong.
        injected: faults done, by kind.
        kills: processes killed, by which; ``engine.crash`` are those at named points.
        points: crash points that were died at, with their hits.
        recoveries: seconds from the start of a process to its having recovered.
        noticed: seconds until a silent peer was noticed, by fault.
        stops: seconds that a SIGTERM took.
        exits: exit codes of the engine.
        sizes: orders sent, sent again, executions, batches.
        checks: how often the approvals were checked between two lives.
    """

    findings: list[Finding] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    noticed: dict[str, list[float]] = field(default_factory=dict)
    stops: list[float] = field(default_factory=list)
    exits: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    checks: int = 0


def engine_of(folder: Path, data: Path, run_name: str, database: Database, oms: OrderSystem,
              busy_bars: int) -> Engine:  # fmt: skip
    """Give the engine of a round."""
    settings = {
        "run.name": run_name, "venue.kind": "grpc", "oms_grpc.host": "127.0.0.1",
        "oms_grpc.port": oms.proxy.port, "oms_grpc.timeout": 1.0,
        "oms_grpc.retry.backoff_ms": 50, "feed.speed": SPEED, "store.timeout": 1.0,
        "data.end": end_of(busy_bars + QUIET_BARS), "strategy.busy_bars": busy_bars,
        # Ages are in the time of the data, of which an hour is a second here.
        "risk.intent_ttl": 2.0 * SPEED, "risk.max_repeated_orders": '"unlimited"',
        "risk.self_trade_prevention": "false",
    }  # fmt: skip
    command = [str(STRATEGY), "--profile", "paper", "--data", str(data)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return Engine(folder, command, database.url)


class Round:
    """A run under faults: first safety, then, all healed, it must come to its end.

    Args:
        world: what it runs in.
        seed: of its schedule.
        steps: how many faults.
        restarts: how often the finished run is opened again.
    """

    def __init__(self, world: World, seed: str, steps: int, restarts: int) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._restarts = restarts
        self._crash = ""
        self._is_over = False
        self._stopping = False
        self._armed = ""
        self._listings = 0
        self.schedule = draw_schedule(self._draw, steps)
        # How it ends: as it is, or killed at its very end.
        self.ending = self._draw.choice(["", *(f"{point}:1" for point in ENDING)])
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run it to its end; give what came of it."""
        engine = self._world.engine
        try:
            engine.start()
            for step in self.schedule:
                if not self._keep_running():
                    break
                self._take(step)
                if self.outcome.findings:
                    break
            self._world.heal()
            if not self.outcome.findings and self._converge():
                self._judge()
        finally:
            engine.kill()
            self._world.heal()
        return self.outcome

    # Lives of the engine.

    def _keep_running(self) -> bool:
        """See that the engine runs, starting it again where it has ended; False at the end."""
        engine = self._world.engine
        if engine.code is None:
            return True
        engine.wait_over(STOP_S)
        self._note_end()
        if self._is_over or self.outcome.findings:
            return False
        self._check_approvals()
        self._start()
        return True

    def _start(self) -> None:
        self._crash, crash = "", self._crash
        self._armed = crash
        self._stopping = False
        self._listings = self._world.oms.listings()
        self._world.engine.start(crash)

    def _note_end(self) -> None:
        """Note how the engine has ended, and whether it may."""
        engine, outcome = self._world.engine, self.outcome
        code, last = engine.code, engine.said.last
        outcome.exits[str(code)] += 1
        if code == DONE:
            self._is_over = True
        elif code == -signal.SIGKILL:
            if self._armed:
                outcome.kills["engine.crash"] += 1
                outcome.points[self._armed] += 1
        elif code == 2 and HELD_BY_ANOTHER in last:
            outcome.sizes["refused_starts"] += 1
        elif code != GO_ON and not (self._stopping and code in (STOPPED, TERMINATED)):
            outcome.findings.append(("exit", f"the engine ended with code {code}: {last}"))

    def _check_approvals(self) -> None:
        """While no engine runs: nothing is at the venue that is not approved in the database."""
        world = self._world
        asked = read_oms(world.oms.state)
        try:
            with world.database.connect() as connection:
                orders = read_orders(connection, world.run_name)
        except psycopg.Error:
            return
        self.outcome.checks += 1
        self.outcome.findings += [(kind, f"before a restart: {what}")
                                  for kind, what in unapproved(asked, orders)]  # fmt: skip

    # Faults.

    def _take(self, step: Step) -> None:
        """Let the engine run for a while, then do a fault, hold it and undo it."""
        world, engine, outcome = self._world, self._world.engine, self.outcome
        going = None if step.from_start else engine.wait_going(CONVERGE_S)
        if going is not None:
            outcome.recoveries.append(going)
        if engine.wait_over(step.wait_s) and not self._keep_running():
            return
        if FAULTS[step.fault].silent == "venue down" and not self._is_linked():
            going = None  # there is nothing to lose yet
        outcome.injected[step.fault] += 1
        fault, began = FAULTS[step.fault], time.monotonic()
        killed_by_us = step.fault == "engine.kill" and engine.code is None
        if killed_by_us:
            self._armed = ""
            outcome.kills["engine"] += 1
        elif step.fault.endswith(".kill") and not step.fault.startswith("engine"):
            outcome.kills[step.fault.split(".")[0]] += 1
        self._crash = step.crash
        is_running = engine.code is None
        fault.do(world)
        if step.fault == "engine.term" and is_running:
            self._await_stop(began)
        self._hold(step, going, began)
        if step.then_kill and engine.code is None:
            self._armed = ""
            outcome.kills["engine"] += 1
            engine.kill()
            self._note_end()
            self._start()  # it has to cope with a world that is not healed yet
            engine.wait_over(step.wait_s)
        world.heal()

    def _is_linked(self) -> bool:
        """Wait until the engine has found the order system, after every loss it told of.

        It asks what is working whenever it has. False when it does not find it.
        """
        limit = time.monotonic() + LINK_S
        engine, oms = self._world.engine, self._world.oms
        while time.monotonic() < limit and not engine.wait_over(POLL_S):
            lost = sum(LOST in line and STARTING not in line for _, line in engine.said.lines)
            if oms.listings() - self._listings > lost:
                return True
        return False

    def _await_stop(self, began: float) -> None:
        self._stopping = True
        if not self._world.engine.wait_over(STOP_S):
            self.outcome.findings.append(("stop", f"SIGTERM took more than {STOP_S:g} s"))
        self.outcome.stops.append(time.monotonic() - began)

    def _hold(self, step: Step, going: float | None, began: float) -> None:
        """Let a fault last; note when one that nobody tells of is noticed."""
        engine, silent = self._world.engine, FAULTS[step.fault].silent
        if not silent or going is None:
            if engine.code is None:
                engine.wait_over(step.hold_s)
            else:
                wait_s(step.hold_s)
            return
        limit = max(step.hold_s, NOTICE_S) if "half_open" in step.fault else step.hold_s
        if silent == "engine ends":
            ended = engine.wait_over(limit) and engine.code == GO_ON
            noticed = time.monotonic() if ended else None
        else:
            noticed = engine.said.wait(LOST, limit, since=began)
        if noticed is not None:
            self.outcome.noticed.setdefault(step.fault, []).append(noticed - began)
        elif limit >= NOTICE_S and engine.code is None:
            self.outcome.findings.append(
                ("unnoticed", f"{step.fault} was not noticed within {limit:.1f} s")
            )

    # The end.

    def _converge(self) -> bool:
        """All is healed: the run must come to its end within a deadline."""
        engine, limit = self._world.engine, time.monotonic() + CONVERGE_S
        if self.ending and not self._is_over and engine.code is None:
            engine.kill()
            self._armed = ""
            self.outcome.kills["engine"] += 1
        self._crash = self.ending
        while not self._is_over:
            if not engine.wait_over(max(0.0, limit - time.monotonic())):
                self.outcome.findings.append(
                    ("converge", f"not at its end {CONVERGE_S:g} s after all was healed")
                )
                return False
            if not self._keep_running() and not self._is_over:
                return False
        return not self.outcome.findings

    def _judge(self) -> None:
        world, outcome = self._world, self.outcome
        world.oms.kill()  # nothing fills any more, so both sides tell of the same moment
        world.upset(world.oms.start_again)
        asked = read_oms(world.oms.state)
        with world.database.connect() as connection:
            books = read_books(connection, world.run_name)
        outcome.findings += judge(asked, books)
        outcome.sizes["orders"] += len(asked)
        outcome.sizes["sent_again"] += sum(1 for each in asked.values() if each.denied)
        outcome.sizes["executions"] += len(books.fills)
        outcome.sizes["batches"] += books.journal[0]
        if not outcome.findings:
            self._open_again(books.journal)

    def _open_again(self, before: tuple[int, str]) -> None:
        """A run that is complete changes nothing however often it is opened."""
        world, outcome = self._world, self.outcome
        world.heal()
        for number in range(1, self._restarts + 1):
            world.engine.start()
            going = world.engine.wait_going(CONVERGE_S)
            if going is not None:
                outcome.recoveries.append(going)
            if not world.engine.wait_over(CONVERGE_S) or world.engine.code != DONE:
                outcome.findings.append(
                    ("recovery", f"opened again: {world.engine.code}, {world.engine.said.last}")
                )
                return
            with world.database.connect() as connection:
                after = read_books(connection, world.run_name).journal
            if after != before:
                outcome.findings.append(
                    ("recovery", f"opening it a {number}. time made of {before} {after}")
                )
                return
