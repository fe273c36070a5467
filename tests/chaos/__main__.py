"""Break everything around the engine, and the engine, for half an hour: ``make chaos``.

The real engine, a real PostgreSQL and the reference order system run as processes, with a proxy
between each two, under random schedules of kills, pauses and bad connections. After each round
all is healed, the run must come to its end, and the order system's record is held against the
engine's database. Anything that disagrees is printed with what makes it again, its logs are kept,
and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
import traceback
from itertools import count
from pathlib import Path

import msgspec

from tests.chaos.market import write_market
from tests.chaos.round import SPEED, Outcome, Round, engine_of
from tests.chaos.score import Score, lines
from tests.chaos.world import Database, OrderSystem, World

STEPS = 12
BUSY_BARS = 420
# The order system's time goes on while the engine is down: its data must last.
OMS_BARS = 12_000
TEN_RESTARTS_EVERY = 10


class Chaos:
    """Rounds, one after another in each lane, until the time is up or there were kills enough.

    Args:
        arguments: of the command line.
        folder: where everything lies.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._limit = time.monotonic() + arguments.minutes * 60
        self._numbers = count(arguments.first_round)
        self._lock = threading.Lock()
        self._broken: list[str] = []
        self.score = Score()
        self.market = write_market(folder / "market", OMS_BARS)

    def _next_number(self) -> int | None:
        """Give the number of the next round, None when it is enough."""
        asked = self._arguments
        with self._lock:
            if time.monotonic() > self._limit or (asked.kills and self.score.kills >= asked.kills):
                return None
            number = next(self._numbers)
            if asked.rounds and number >= asked.first_round + asked.rounds:
                return None
            return number

    def lane(self, name: int) -> None:
        """Run rounds in a world of one's own."""
        database = Database(self._folder / f"lane{name}")
        try:
            while (number := self._next_number()) is not None:
                self._round(number, database)
        except Exception:  # noqa: BLE001 - whatever it is, it must not pass for a success
            with self._lock:
                self._broken.append(traceback.format_exc())
        finally:
            database.close()

    def _round(self, number: int, database: Database) -> None:
        folder = self._folder / f"round{number}"
        folder.mkdir()
        oms = OrderSystem(folder, self.market, SPEED)
        try:
            run_name = f"round-{number}"
            engine = engine_of(folder, self.market, run_name, database, oms, BUSY_BARS)
            world = World(folder, database, oms, engine, run_name)
            restarts = 10 if number % TEN_RESTARTS_EVERY == 0 else 1
            seed = f"{self._arguments.seed}:{number}"
            played = Round(world, seed, self._arguments.steps, restarts)
            try:
                outcome = played.run()
            except Exception as error:  # noqa: BLE001 - told as a failure of the round
                outcome = played.outcome
                outcome.findings.append(("harness", f"{type(error).__name__}: {error}"))
                (folder / "harness.log").write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            oms.close()
        self._tell(number, played, outcome, folder)

    def _tell(self, number: int, played: Round, outcome: Outcome, folder: Path) -> None:
        with self._lock:
            self.score.add(outcome)
            kills, seconds = self.score.kills, self._limit - time.monotonic()
            wrong = f", {len(outcome.findings)} WRONG" if outcome.findings else ""
            print(
                f"  round {number}: {outcome.injected.total()} faults, "
                f"{outcome.sizes['orders']} orders{wrong}; {kills} kills, "
                f"{max(0.0, seconds):.0f} s left",
                flush=True,
            )
            if not outcome.findings:
                shutil.rmtree(folder)
                return
            asked = self._arguments
            again = f"--seed {asked.seed} --first-round {number} --rounds 1 --steps {asked.steps}"
            said = [
                f"round {number} of seed {asked.seed}; make it again with",
                f"  python -m tests.chaos {again}",
                "schedule:",
                *(f"  {step}" for step in played.schedule),
                f"  the end: {played.ending or 'as it comes'}",
                "wrong:",
                *(f"  {kind}: {what}" for kind, what in outcome.findings[:20]),
                f"logs: {folder}",
            ]
            (folder / "findings.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
            print("\n".join(said), flush=True)

    def run(self) -> int:
        """Run every lane to its end; give the exit code."""
        lanes = [
            threading.Thread(target=self.lane, args=(number,))
            for number in range(self._arguments.lanes)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        for trace in self._broken:
            print(trace, flush=True)
        table = self.score.table(self._arguments.seed)
        print("\n".join(lines(table)), flush=True)
        self._arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(table)))
        print(f"  written to        {self._arguments.json}", flush=True)
        return 1 if self.score.violations or self._broken else 0


def main() -> int:
    """Run the command line; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--kills", type=int, default=0, help="end after so many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the schedules (1)")
    parser.add_argument("--rounds", type=int, default=0, help="end after so many rounds")
    parser.add_argument("--first-round", type=int, default=0, help="number of the first round (0)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"faults a round ({STEPS})")
    parser.add_argument("--lanes", type=int, default=min(2, os.cpu_count() or 1),
                        help="rounds at one time (one for each core, two at most)")  # fmt: skip
    parser.add_argument("--json", type=Path, default=Path("chaos.json"), help="the figures")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tetrad-chaos-"))
    print(f"  logs of what goes wrong are kept in {folder}", flush=True)
    chaos = Chaos(arguments, folder)
    code = chaos.run()
    if not code:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
