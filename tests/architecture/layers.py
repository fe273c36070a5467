"""Where a module stands in the layers contract of pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine", "actors", "adapters")
# Packages that only hold others: their __init__ re-exports, and stands in no layer.
HOLDERS = frozenset({"engine", "engine.runtime"})


def declared_layers(pyproject: Path = ROOT / "pyproject.toml") -> frozenset[str]:
    """Give every module that the layers contract names."""
    tool = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]
    contracts = tool["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return frozenset(item.strip(" ()") for layer in layers for item in layer.split("|"))


def modules(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Give (dotted name, file) of every module of the three packages."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def unplaced(names: Iterable[str], layers: frozenset[str]) -> list[str]:
    """Give the modules that are neither in a layer nor below one."""

    def is_placed(name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:end]) in layers for end in range(1, len(parts) + 1))

    return [name for name in names if name not in HOLDERS and not is_placed(name)]
