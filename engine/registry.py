"""Find a strategy class by ``path/to/file.py:ClassName`` or by a registered name."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from engine.errors import StrategyLoadError
from engine.strategy.base import Strategy

__all__ = ["code_hash", "load_strategy"]

ENTRY_POINT_GROUP = "tetrad.strategies"


def load_strategy(reference: str) -> type[Strategy]:
    """Import a strategy class.

    Args:
        reference: ``path/to/file.py:ClassName``; the class may be left out when the file holds
            just one strategy; or a name registered under the entry point group
            ``tetrad.strategies``.

    Raises:
        StrategyLoadError: the file or class does not exist, does not import, or is no Strategy.
    """
    path, name = reference, ""
    if not path.endswith(".py"):
        path, _, name = reference.rpartition(":")
    if not path.endswith(".py"):
        return _registered(reference)
    file = Path(path)
    if not file.is_file():
        raise StrategyLoadError(f"strategy file {path} does not exist")
    module = _import(file)
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module.__name__
    }
    if not name:
        if len(found) != 1:
            listed = ", ".join(found) or "none"
            raise StrategyLoadError(f"{path} holds {listed}; name one: {path}:ClassName")
        return next(iter(found.values()))
    if name in found:
        return found[name]
    if name in vars(module):
        raise StrategyLoadError(f"{path}:{name} is not a subclass of engine.Strategy")
    close = difflib.get_close_matches(name, found, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    listed = ", ".join(found) or "none"
    raise StrategyLoadError(f"{path} has no class {name}{hint} (it has: {listed})")


def _registered(name: str) -> type[Strategy]:
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in registered:
        close = difflib.get_close_matches(name, registered, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise StrategyLoadError(
            f"no strategy is registered as {name!r}{hint}; "
            "give path/to/file.py:ClassName or a registered name"
        )
    loaded = registered[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Strategy)):
        raise StrategyLoadError(f"what is registered as {name!r} is not a Strategy")
    return loaded


def _import(file: Path) -> ModuleType:
    # The name carries the path's hash: two files of one name must not share a module, and
    # pickling by name must find the right one.
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    name = f"tetrad_strategy_{file.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StrategyLoadError(f"{file} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise StrategyLoadError(
            f"strategy file {file} does not import: {_where(error, file)}"
            f"{type(error).__name__}: {error}"
        ) from error
    return module


def _where(error: BaseException, file: Path) -> str:
    """Name the line of the file itself that an error came through, however deep it arose."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f"line {lines[-1]}: " if lines else ""


def code_hash(cls: type[Strategy]) -> str:
    """Give the SHA-256 of the file that defines a strategy class, in hex."""
    module = sys.modules[cls.__module__]
    file = getattr(module, "__file__", None)
    if file is None:
        return hashlib.sha256(cls.__qualname__.encode()).hexdigest()
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
