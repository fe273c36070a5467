"""The scoreboard of a run of chaos: what was done to the engine and what came of it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.chaos.faults import FAULTS, crash_points
from tests.chaos.round import Outcome

COUNTS = (
    ("unapproved", "orders sent without a committed approval"),
    ("lost", "orders lost"),
    ("doubled", "orders doubled"),
    ("missing", "executions missing in the books"),
    ("booked_twice", "executions booked twice"),
    ("invented", "executions that never were"),
    ("positions", "runs whose positions disagree"),
    ("journal", "runs whose journal is damaged"),
    ("recovery", "runs that a restart changed"),
    ("exit", "ends that may not be"),
    ("stop", "stops that took too long"),
    ("unnoticed", "silent peers that nobody noticed"),
    ("converge", "runs that did not come to their end"),
    ("harness", "rounds that failed outside the engine"),
)


class Score:
    """Adds outcomes up; the caller sees to it that one thread at a time does."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._rounds = 0
        self._findings: Counter[str] = Counter()
        self._injected: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._kills: Counter[str] = Counter()
        self._points: Counter[str] = Counter()
        self._exits: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._recoveries: list[float] = []
        self._stops: list[float] = []
        self._noticed: dict[str, list[float]] = {}
        self._checks = 0

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return self._kills.total()

    @property
    def violations(self) -> int:
        """How much is wrong."""
        return self._findings.total()

    def add(self, outcome: Outcome) -> None:
        """Take in what came of a round."""
        self._rounds += 1
        self._findings.update(kind for kind, _ in outcome.findings)
        self._injected += outcome.injected
        if outcome.findings:
            self._failed += outcome.injected
        self._kills += outcome.kills
        self._points += outcome.points
        self._exits += outcome.exits
        self._sizes += outcome.sizes
        self._recoveries += outcome.recoveries
        self._stops += outcome.stops
        self._checks += outcome.checks
        for fault, seconds in outcome.noticed.items():
            self._noticed.setdefault(fault, []).extend(seconds)

    def table(self, seed: int) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {
            "seed": seed,
            "seconds": round(time.monotonic() - self._began, 1),
            "rounds": self._rounds,
            "kills": {"all": self.kills, **dict(sorted(self._kills.items()))},
            "faults": {
                name: {
                    "injected": self._injected[name],
                    "survived": self._injected[name] - self._failed[name],
                }
                for name in FAULTS
            },
            "crash_points": {
                "covered": sum(1 for point in crash_points() if self._points[point]),
                "total": len(crash_points()),
                "hits": {point: self._points[point] for point in crash_points()},
            },
            "orders": {
                "sent": self._sizes["orders"],
                "sent_again_after_a_denial": self._sizes["sent_again"],
                "executions": self._sizes["executions"],
                "batches": self._sizes["batches"],
                "approvals_checked_between_lives": self._checks,
            },
            "violations": {kind: self._findings[kind] for kind, _ in COUNTS},
            "recovery_s": _spread(self._recoveries),
            "sigterm_s": _spread(self._stops),
            "noticed_s": {name: _spread(each) for name, each in sorted(self._noticed.items())},
            "exit_codes": dict(sorted(self._exits.items())),
            "refused_starts": self._sizes["refused_starts"],
        }


def _spread(seconds: Iterable[float]) -> dict[str, float | int]:
    values = sorted(seconds)
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "p50": round(statistics.median(values), 3),
        "max": round(values[-1], 3),
    }


def lines(table: dict[str, Any]) -> list[str]:
    """Render the scoreboard for people."""
    faults, points, orders = table["faults"], table["crash_points"], table["orders"]
    injected = sum(each["injected"] for each in faults.values())
    survived = sum(each["survived"] for each in faults.values())
    kills = ", ".join(f"{n} {name}" for name, n in table["kills"].items() if name != "all")
    out = [
        f"  seed {table['seed']}, {table['rounds']} rounds in {table['seconds']:g} s",
        f"  faults            {injected} injected, {survived} survived",
        f"  kills             {table['kills']['all']} ({kills})",
        f"  crash points      {points['covered']} of {points['total']} covered",
        (
            f"  orders            {orders['sent']} sent, {orders['executions']} executions; "
            f"{orders['sent_again_after_a_denial']} sent once more, never had before"
        ),
        (
            f"  approvals         checked {orders['approvals_checked_between_lives']} times "
            "between two lives"
        ),
    ]
    out += [
        f"  {name.removesuffix('_s'):17} {_said(table[name])}"
        for name in ("recovery_s", "sigterm_s")
    ]
    out += [f"  noticed {name:18} {_said(each)}" for name, each in table["noticed_s"].items()]
    out.append("  injected / survived by kind")
    out += [
        f"    {name:22} {each['injected']:5} / {each['survived']}" for name, each in faults.items()
    ]
    out.append("  violations")
    out += [f"    {said:44} {table['violations'][kind]}" for kind, said in COUNTS]
    return out


def _said(spread: dict[str, float | int]) -> str:
    if not spread["count"]:
        return "never"
    return f"{spread['count']} x, p50 {spread['p50']:.2f} s, max {spread['max']:.2f} s"
