"""The moves of an attack, as data: small numbers that any state can make sense of.

What a number names (which order, which symbol) is taken modulo what there is, so every sequence
can be run, a shorter one too, and a sequence is a file that can be run again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

__all__ = ["Step", "render", "sequences"]

STRATEGIES = ("S", "T")
SYMBOLS = ("A", "B", "C")
KINDS = ("market", "limit", "stop", "stop-limit", "trailing stop")
ENDS = ("canceled", "expired", "rejected")
STATES = ("ACTIVE", "REDUCING", "HALTED")


class Send(msgspec.Struct, frozen=True, tag="send"):
    """A strategy sends an order; ``offset`` is its price in tenths of a per cent from the last."""

    strategy: int
    symbol: int
    buys: bool
    kind: int
    size: int
    offset: int = 0
    reduce_only: bool = False
    again: bool = False


class Amend(msgspec.Struct, frozen=True, tag="amend"):
    """A strategy changes a working order."""

    which: int
    size: int
    offset: int


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """A strategy cancels an order."""

    which: int


class Accept(msgspec.Struct, frozen=True, tag="accept"):
    """The venue acknowledges an order."""

    which: int


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    """The venue fills part of an order, perhaps before its acknowledgement or after its end."""

    which: int
    size: int
    offset: int = 0
    twice: bool = False


class Overfill(msgspec.Struct, frozen=True, tag="overfill"):
    """The venue fills more of an order than there was."""

    which: int
    size: int


class Swap(msgspec.Struct, frozen=True, tag="swap"):
    """The venue reports two fills of an order the wrong way round."""

    which: int
    size: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """The venue ends an order."""

    which: int
    how: int


class Lose(msgspec.Struct, frozen=True, tag="lose"):
    """Nobody knows what became of an order."""

    which: int


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """The venue answers the oldest change of an order."""

    which: int
    confirms: bool


class Price(msgspec.Struct, frozen=True, tag="price"):
    """A price jumps; ``level`` is in tenths of a per cent of where it began."""

    symbol: int
    level: int


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """Time passes."""

    tenths: int


class NextDay(msgspec.Struct, frozen=True, tag="next_day"):
    """The trading day ends."""


class Operate(msgspec.Struct, frozen=True, tag="operate"):
    """An operator sets a trading state, of the account (0) or a strategy."""

    whose: int
    state: int


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """An operator throws the kill switch."""

    flatten: bool
    mid_order: bool = False


class Halt(msgspec.Struct, frozen=True, tag="halt"):
    """Trading in a symbol halts or goes on."""

    symbol: int
    on: bool


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """The gate is killed and takes up from its snapshot."""


Step = (
    Send | Amend | Cancel | Accept | Fill | Overfill | Swap | End | Lose | Answer | Price | Wait
    | NextDay | Operate | Kill | Halt | Restart
)  # fmt: skip


def sequences(shortest: int, longest: int) -> st.SearchStrategy[list[Step]]:
    """Give random sequences of so many steps.

    What is common in trading is common here; what ends an attack early (a halt, a price that
    loses everything) is rare, or nothing would happen behind it.
    """
    which, flag = st.integers(0, 9), st.booleans()
    size = _weighted((3, st.integers(1, 60)), (1, st.integers(1, 400)))
    offset = _weighted((3, st.integers(-20, 20)), (1, st.integers(-150, 150)))
    seldom = st.integers(0, 6).map(lambda n: n == 6)
    hardly = st.integers(0, 15).map(lambda n: n == 15)
    level = _weighted((14, st.integers(970, 1_030)), (1, st.integers(1, 1_500)))
    step = _weighted(
        (24, st.builds(Send, st.integers(0, 1), st.integers(0, 2), flag, st.integers(0, 4), size,
                       offset, reduce_only=seldom, again=hardly)),
        (16, st.builds(Fill, which, size, offset, twice=seldom)),
        (12, st.builds(Price, st.integers(0, 2), level)),
        (6, st.builds(Amend, which, size, offset)),
        (6, st.builds(Answer, which, flag)),
        (5, st.builds(Accept, which)),
        (4, st.builds(Cancel, which)),
        (4, st.builds(End, which, st.integers(0, 2))),
        (4, st.builds(Wait, st.integers(1, 30))),
        (4, st.builds(Operate, st.sampled_from((0, 0, 1, 2)), st.sampled_from((0, 0, 0, 1, 2)))),
        (2, st.builds(Lose, which)),
        (2, st.builds(Swap, which, size)),
        (2, st.just(Restart())),
        (1, st.builds(Overfill, which, st.integers(1, 50))),
        (1, st.just(NextDay())),
        (1, st.builds(Kill, flag, flag)),
        (2, st.builds(Halt, st.integers(0, 2), st.sampled_from((False, False, True)))),
    )  # fmt: skip
    return st.lists(step, min_size=shortest, max_size=longest)


def _weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Choose among strategies, each as often as its weight says."""
    spread = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.integers(0, len(spread) - 1).flatmap(spread.__getitem__)


def render(steps: list[Step]) -> list[str]:
    """Say a sequence in words, one line a step."""
    return [f"{number}. {_said(step)}" for number, step in enumerate(steps, start=1)]


def _said(step: Step) -> str:
    match step:
        case Send():
            way = "buys" if step.buys else "sells"
            price = "" if step.kind == 0 else f" at {step.offset / 10:+g} %"
            only = ", to reduce only" if step.reduce_only else ""
            again = ", with the id of an earlier order" if step.again else ""
            return (
                f"{STRATEGIES[step.strategy]} {way} {step.size} {SYMBOLS[step.symbol]}, "
                f"{KINDS[step.kind]}{price}{only}{again}"
            )
        case Amend():
            return f"order {step.which} is changed to {step.size} at {step.offset / 10:+g} %"
        case Cancel():
            return f"order {step.which} is to be canceled"
        case Accept():
            return f"the venue acknowledges order {step.which}"
        case Fill():
            twice = ", and says so twice" if step.twice else ""
            return f"the venue fills {step.size} of order {step.which}{twice}"
        case Overfill():
            return f"the venue fills order {step.which} and {step.size} more"
        case Swap():
            return f"the venue reports two fills of order {step.which} the wrong way round"
        case End():
            return f"the venue says that order {step.which} is {ENDS[step.how]}"
        case Lose():
            return f"nobody knows what became of order {step.which}"
        case Answer():
            return f"the venue {'confirms' if step.confirms else 'refuses'} a change of order " + (
                str(step.which)
            )
        case Price():
            return f"{SYMBOLS[step.symbol]} jumps to {step.level / 10:g} % of where it began"
        case Wait():
            return f"{step.tenths / 10:g} seconds pass"
        case NextDay():
            return "the trading day ends"
        case Operate():
            whose = ("the account", *STRATEGIES)[step.whose]
            return f"an operator makes {whose} {STATES[step.state]}"
        case Kill():
            mid = " while an order is on its way" if step.mid_order else ""
            return f"the kill switch is thrown{mid}{', to go flat' if step.flatten else ''}"
        case Halt():
            return f"trading in {SYMBOLS[step.symbol]} {'halts' if step.on else 'goes on'}"
        case Restart():
            return "the gate is killed and starts again from its snapshot"
