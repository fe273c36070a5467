"""What an examination of a peer or of a setting has found, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

__all__ = ["Finding", "Level", "exit_code", "fine", "problem", "silence", "warning"]

_WRONG = 2
_SILENT = 75


class Level(StrEnum):
    """How much a finding matters: not at all, some day, or a run cannot work."""

    OK = "OK"
    WARNING = "WARNING"
    PROBLEM = "PROBLEM"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        level: how much it matters.
        what: what was looked at, such as ``PostgreSQL version``.
        found: what it is.
        advice: what to do; empty when nothing needs to be done.
        is_silent: a peer does not answer: the settings may well be right.
    """

    level: Level
    what: str
    found: str
    advice: str = ""
    is_silent: bool = False


def fine(what: str, found: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(Level.OK, what, found)


def warning(what: str, found: str, advice: str) -> Finding:
    """Say that something works and is not as it should be."""
    return Finding(Level.WARNING, what, found, advice)


def problem(what: str, found: str, advice: str) -> Finding:
    """Say that a run cannot work with this."""
    return Finding(Level.PROBLEM, what, found, advice)


def silence(what: str, found: str, advice: str) -> Finding:
    """Say that a peer does not answer."""
    return Finding(Level.PROBLEM, what, found, advice, is_silent=True)


def exit_code(findings: Iterable[Finding]) -> int:
    """Give the exit code: 0 without a problem, 75 when peers are silent, 2 when more is wrong.

    What waiting does not mend comes before what it may.
    """
    problems = [each for each in findings if each.level is Level.PROBLEM]
    if not problems:
        return 0
    return _SILENT if all(each.is_silent for each in problems) else _WRONG
