"""Whether market data files can be read and the trading state can be kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.files.latch import FileLatchStore
from adapters.files.paths import find_files
from engine.domain.findings import Finding, fine, problem, warning
from engine.errors import ConfigError, DataError

__all__ = ["examine_data", "examine_latch"]


def examine_data(paths: Sequence[str]) -> Iterator[Finding]:
    """See that the files are there and are what their names say; rows are not read."""
    what = "Market data"
    if not paths:
        yield fine(what, "the profile names no files; a run is given them with --data")
    for path in paths:
        try:
            files = find_files(path)
        except (DataError, OSError) as error:
            yield problem(what, str(error), "correct data.paths, or give others with --data")
        else:
            size = sum(file.path.stat().st_size for file in files)
            yield fine(what, f"{path}: {len(files)} files, {size:,} bytes")


def examine_latch(path: Path) -> Iterator[Finding]:
    """See that the trading state can be read and written, and tell what it holds."""
    what = "Trading state"
    try:
        holds = FileLatchStore(path).load()
    except ConfigError as error:
        found, _, advice = str(error).rpartition(": ")
        yield problem(what, found, advice)
        return
    folder = next(each for each in path.absolute().parents if each.exists())
    try:
        # Tried, not asked for: what the permissions say is not all that can be in the way.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        yield problem(
            what,
            f"{path} cannot be written: {error.strerror or error}",
            f"let this user write in {folder}, or give another file with run.latch",
        )
        return
    if not holds:
        yield fine(what, f"{path} can be written; nothing is held")
    for name, hold in sorted(holds.items()):
        whose = f"strategy {name}" if name else "the account"
        advice = "it ends with the trading day" if hold.reset == "next_day" else "engine resume"
        yield warning(what, f"{whose} is {hold.state} since {hold.reason}", advice)
