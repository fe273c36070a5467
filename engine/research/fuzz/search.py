"""The search for a sequence that breaks an invariant, and the shortest one that does."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import NoSuchExample

from engine.domain.risk import RiskLimits
from engine.errors import ConfigError, InvariantError
from engine.research.fuzz.doubts import WATCHED_INVARIANTS
from engine.research.fuzz.invariants import BrokenInvariantError
from engine.research.fuzz.steps import Step, sequences
from engine.research.fuzz.watched import WatchedWorld

__all__ = ["Case", "Failure", "FuzzResult", "fuzz", "read_case", "replay"]

STEPS_MIN, STEPS_MAX = 15, 50


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence that can be run again: what ``engine risk fuzz`` writes.

    Attributes:
        limits: the limits under attack.
        steps: what is done, in order.
    """

    limits: RiskLimits
    steps: list[Step]


@dataclass(frozen=True)
class Failure:
    """A sequence that broke an invariant.

    Attributes:
        steps: the sequence, the shortest that was found.
        name: name of the invariant, or of the exception that the engine raised.
        sentence: what must hold.
        detail: what was found instead.
    """

    steps: list[Step]
    name: str
    sentence: str
    detail: str


@dataclass(frozen=True)
class FuzzResult:
    """What a search has found.

    Attributes:
        examples: sequences that were run, those of shrinking included.
        steps: steps of all of them.
        failure: None when nothing broke.
    """

    examples: int
    steps: int
    failure: Failure | None


def replay(limits: RiskLimits, steps: list[Step]) -> Failure | None:
    """Run one sequence; give what it broke, None when nothing."""
    world = WatchedWorld(limits)
    for number, step in enumerate(steps, start=1):
        before = len(world.events)
        try:
            world.run(step)
            for invariant in WATCHED_INVARIANTS:
                invariant(world, before)
        except BrokenInvariantError as broken:
            return Failure(steps[:number], broken.name, broken.sentence, broken.detail)
        # Whatever the engine raises is a finding, also what nobody foresaw.
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
                TypeError, ValueError, ConfigError, InvariantError) as error:  # fmt: skip
            name = type(error).__name__
            return Failure(steps[:number], name, "The engine raises nothing.", f"{name}: {error}")
    return None


def fuzz(limits: RiskLimits, *, examples: int, seed: int, simplest: bool = True) -> FuzzResult:
    """Attack a limits file with random sequences.

    Args:
        limits: the limits file.
        examples: how many sequences to try at most.
        seed: gives the same sequences again.
        simplest: make the numbers of a sequence that breaks something as small as they can be
            too, which takes many more runs than leaving steps out.

    Returns:
        What was tried, and the shortest sequence found that breaks an invariant, if any does.
    """
    counts = [0, 0]

    def breaks(steps: list[Step]) -> bool:
        counts[0] += 1
        counts[1] += len(steps)
        return replay(limits, steps) is not None

    quiet = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if simplest else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    try:
        shortest = hypothesis.find(
            sequences(STEPS_MIN, STEPS_MAX), breaks, settings=quiet, random=random.Random(seed)
        )
    except NoSuchExample:
        return FuzzResult(counts[0], counts[1], None)
    return FuzzResult(counts[0], counts[1], _shortened(limits, shortest))


def _shortened(limits: RiskLimits, steps: list[Step]) -> Failure | None:
    """Leave out every step without which the same thing breaks: the search kept a least length."""
    failure = replay(limits, steps)
    at = 0
    while failure is not None and at < len(failure.steps):
        fewer = replay(limits, failure.steps[:at] + failure.steps[at + 1 :])
        if fewer is not None and fewer.name == failure.name:
            failure = fewer
        else:
            at += 1
    return failure


def read_case(path: Path) -> Case:
    """Read a sequence that a search has written.

    Raises:
        ConfigError: the file is not there or is no such sequence.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Case)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no sequence of engine risk fuzz: {error}") from error
