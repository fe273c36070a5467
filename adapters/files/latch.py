"""The trading state in a file of its own: it needs no database to stop the engine.

The file is written aside, synced and renamed, and its folder is synced, so after a power cut
there is the old state or the new one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.domain.latch import Hold
from engine.errors import ConfigError

__all__ = ["FileLatchStore"]


class FileLatchStore:
    """Keeps the trading state in a JSON file.

    Args:
        path: the file; its folder is made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Hold]:
        """Give what was held when it was last saved; nothing when it never was.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Hold])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the trading state in {self._path} cannot be read: {error}; nothing trades until "
                "it can: mend the file, or remove it if nothing is to be halted"
            ) from error

    def save(self, holds: Mapping[str, Hold]) -> None:
        """Keep this state; it is on the disk when the call returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(f".{self._path.name}.partial")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(dict(holds)))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
