"""Which files hold the data, and whether they are what their names say."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import DataError

FileFormat = Literal["parquet", "csv", "ipc"]

FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
}
_PARQUET_MAGIC = b"PAR1"
_IPC_MAGIC = b"ARROW1"
_GZIP_MAGIC = b"\x1f\x8b"
_KNOWN = ", ".join(FORMATS)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file to read.

    Attributes:
        path: where it is.
        name: the path as the user gave it (a folder's files: below that), for messages.
        stem: its name without the ending; the symbol when the file has no symbol column.
        format: how to read it.
        compressed: whether it is gzip around the format.
    """

    path: Path
    name: str
    stem: str
    format: FileFormat
    compressed: bool


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[DataFile]:
    """List the data files behind ``paths``, each once, folders searched recursively and sorted.

    Hidden files and folders, and files of a folder with another ending, are passed over.

    Raises:
        DataError: a path does not exist, a folder holds no data file, an ending is unknown, or
            a file is not what its ending says.
    """
    given: Sequence[str | os.PathLike[str]]
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise DataError("(no path)", None, "no_files", "no data path was given; name a file")
    found: dict[Path, DataFile] = {}
    for item in given:
        for file in _expand(Path(item)):
            found.setdefault(file.path.resolve(), file)
    for file in found.values():
        _verify_format(file)
    return list(found.values())


def sha256_of(path: Path) -> str:
    """Give the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _expand(path: Path) -> list[DataFile]:
    if path.is_dir():
        inside = (file for file in path.rglob("*") if not _is_hidden(file.relative_to(path)))
        files = [file for path in sorted(inside) if path.is_file() and (file := _classify(path))]
        if not files:
            raise DataError(
                str(path), None, "no_files", f"the folder holds no data file ({_KNOWN})"
            )
        return files
    if not path.exists():
        raise DataError(str(path), None, "not_found", "no such file or folder; check the path")
    file = _classify(path)
    if file is None:
        raise DataError(
            str(path), None, "format", f"unknown ending {path.suffix!r}; use one of {_KNOWN}"
        )
    return [file]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _classify(path: Path) -> DataFile | None:
    name = path.name.lower()
    # The longest ending first: .csv.gz is not a .gz of something.
    for ending in sorted(FORMATS, key=len, reverse=True):
        if name.endswith(ending):
            stem = path.name[: -len(ending)]
            return DataFile(path, str(path), stem, FORMATS[ending], ending.endswith(".gz"))
    return None


def _verify_format(file: DataFile) -> None:
    try:
        with file.path.open("rb") as stream:
            head = stream.read(4096)
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4))
            tail = stream.read(4)
    except OSError as error:
        raise DataError(
            file.name, None, "unreadable", f"cannot be read: {error.strerror}"
        ) from error
    if not head:
        raise DataError(file.name, None, "empty", "the file is empty; remove it or write it anew")
    actual = _recognise(head)
    expected = "gzip" if file.compressed else file.format
    if actual != expected:
        raise DataError(
            file.name,
            None,
            "format",
            f"the ending says {expected}, the content is {actual}; rename the file or convert it",
        )
    if actual == "parquet" and tail != _PARQUET_MAGIC:
        raise DataError(
            file.name, None, "format", "the Parquet file is cut short; write or copy it anew"
        )


def _recognise(head: bytes) -> str:
    if head.startswith(_PARQUET_MAGIC):
        return "parquet"
    if head.startswith(_IPC_MAGIC):
        return "ipc"
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    if b"\0" in head:
        return "binary"
    return "csv"
