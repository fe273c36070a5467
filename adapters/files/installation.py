"""Which Python this is, and whether the packages beside the engine are those that are locked."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from engine.domain.findings import Finding, fine, warning

__all__ = ["CHECKOUT", "examine_installation"]

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds the engine: a checkout, or where packages are installed."""

_ENGINE = "tetrad"
_LOCK = "requirements.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
_SHOWN = 5


def examine_installation(folder: Path = CHECKOUT) -> Iterator[Finding]:
    """Tell the Python version and, in a checkout, which required packages differ from the lock.

    Args:
        folder: where ``requirements.lock`` may be; without one there is nothing to compare.
    """
    yield fine("Python", f"{platform.python_version()} ({platform.python_implementation()})")
    try:
        text = (folder / _LOCK).read_text("utf-8")
        required = requires(_ENGINE) or []
    except (OSError, UnicodeDecodeError, PackageNotFoundError):
        return
    locked = _locked(text)
    names = [_plain(found[0]) for found in map(_NAME.match, required) if found is not None]
    known = [name for name in dict.fromkeys(names) if name in locked]
    other = [said for said in (_differs(name, locked[name]) for name in known) if said]
    if not known:
        return
    if not other:
        yield fine("Packages", f"{len(known)} that are required are those of {_LOCK}")
        return
    more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
    yield warning(
        "Packages",
        f"not those of {_LOCK}: {', '.join(other[:_SHOWN])}{more}",
        "make setup, or let pip install -r requirements.lock",
    )


def _locked(text: str) -> Mapping[str, frozenset[str]]:
    """Give the versions of a lock file: a package may have several, for other Pythons."""
    found: dict[str, frozenset[str]] = {}
    for name, pin in _PIN.findall(text):
        found[_plain(name)] = found.get(_plain(name), frozenset()) | {pin}
    return found


def _differs(name: str, pins: frozenset[str]) -> str | None:
    wanted = " or ".join(sorted(pins))
    try:
        present = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed ({wanted})"
    return None if present in pins else f"{name} {present} ({wanted})"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
