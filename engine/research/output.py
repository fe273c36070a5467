"""The output folder of a run: it has its name only while it is complete.

A run writes ``.NAME.partial`` beside the folder and renames it at the end; an earlier result is
moved to ``.NAME.old`` first and deleted last. Whatever kills the run, and whenever, a folder
called NAME is a whole one, and the next run clears what was left of this one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from engine.errors import ConfigError

__all__ = ["FILES", "check_folder", "new_folder"]

FILES = frozenset(
    (
        *(
            f"{name}.parquet"
            for name in (
                "orders", "fills", "trades", "instances", "equity", "verdicts", "check_inputs",
                "signals", "risk_events", "dropped",
            )
        ),
        "summary.json", "statistics.json", "manifest.json", "report.html",
    )
)  # fmt: skip
"""What a run may write; a folder that holds anything else is never replaced."""

_ALWAYS = frozenset(("manifest.json", "summary.json", "statistics.json", "fills.parquet"))
_NAME_BYTES_MAX = 240  # of the 255 that file systems allow, less ``.`` and ``.partial``


def check_folder(folder: str | Path) -> Path:
    """Find out, before a run, whether its results can go to a folder.

    Returns:
        The folder as an absolute path without links, which no change of directory moves.

    Raises:
        ConfigError: it is a file or a place that cannot be written to, or it exists and holds
            something other than an earlier result.
    """
    try:
        target = Path(os.path.realpath(folder))
        _require_free(folder, target)
        _require_writable(folder, target)
    except (OSError, ValueError) as error:
        raise _unusable(folder, error) from error
    return target


def _require_free(folder: str | Path, target: Path) -> None:
    if not target.name:
        raise ConfigError(f"--out {folder} is no folder that can be written; name a new one")
    if len(os.fsencode(target.name)) > _NAME_BYTES_MAX:
        raise ConfigError(f"--out: the name {target.name[:40]}... is too long; shorten it")
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"--out {folder} is a file; name a folder")
    found = {entry.name for entry in target.iterdir()}
    foreign = sorted(found - FILES)
    if found and (foreign or not found >= _ALWAYS):
        held = f"holds {foreign[0]}" if foreign else "holds no earlier result"
        raise ConfigError(f"--out {folder} exists and {held}; name a new folder or empty it")


def _require_writable(folder: str | Path, target: Path) -> None:
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ConfigError(f"--out {folder}: {parent} is a file; name a folder below a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {folder}: {parent} may not be written to; name another folder")


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Give a folder to write to, which takes its real name when the block ends well.

    Args:
        folder: the real name; an earlier result of that name is replaced.

    Raises:
        ConfigError: the folder cannot be used or written, such as on a full disk.
    """
    target = check_folder(folder)
    partial = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    try:
        if old.exists() and not target.exists():
            old.rename(target)  # a run was killed between the two renames below
        for leftover in (partial, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unusable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # nothing is left of it after a good end


def _unusable(folder: str | Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return ConfigError(
        f"--out {str(folder)!r} cannot be written: {reason}; nothing was left there, name another "
        "folder or make room"
    )
