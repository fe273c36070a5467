"""What a look at the surroundings of the engine has found."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Finding", "Level", "ok", "problem", "warning"]


class Level(StrEnum):
    """How bad it is."""

    OK = "OK"
    WARNING = "WARNING"
    PROBLEM = "PROBLEM"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        level: how bad it is.
        subject: what was looked at, such as ``postgresql``.
        found: what it is like; never a password.
        advice: what to do about it; empty when nothing is to be done.
        is_silent: whether it is that somebody does not answer.
    """

    level: Level
    subject: str
    found: str
    advice: str = ""
    is_silent: bool = False


def ok(subject: str, found: str) -> Finding:
    """Give a finding that is as it should be."""
    return Finding(Level.OK, subject, found)


def warning(subject: str, found: str, advice: str) -> Finding:
    """Give a finding with which the engine works, not as well as it could."""
    return Finding(Level.WARNING, subject, found, advice)


def problem(subject: str, found: str, advice: str, *, is_silent: bool = False) -> Finding:
    """Give a finding with which the engine does not work."""
    return Finding(Level.PROBLEM, subject, found, advice, is_silent)
