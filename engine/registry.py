"""Find a strategy class by ``path/to/file.py:ClassName`` or by a registered name; make one."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import StrategyError, StrategyLoadError, TetradError
from engine.strategy.base import Strategy

__all__ = ["absolute_reference", "code_hash", "load_strategy", "new_strategy"]

ENTRY_POINT_GROUP = "tetrad.strategies"

HOOKS: Mapping[str, int] = {
    "on_start": 0,
    "on_bar": 1,
    "on_trade": 1,
    "on_quote": 1,
    "on_signal": 1,
    "on_order": 1,
    "on_fill": 1,
    "on_timer": 1,
    "on_stop": 0,
}
"""The hooks and how many arguments each is called with."""


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
        fault = "is a folder" if file.is_dir() else "does not exist"
        raise StrategyLoadError(f"strategy file {path} {fault}")
    module = _import(file)
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module.__name__
    }
    listed = ", ".join(found) or "none"
    if not name:
        if not found:
            raise StrategyLoadError(
                f"{path} holds no strategy; write a class that subclasses engine.Strategy"
            )
        if len(found) != 1:
            raise StrategyLoadError(f"{path} holds {listed}; name one: {path}:ClassName")
        return next(iter(found.values()))
    if name in found:
        return found[name]
    if name in vars(module):
        raise StrategyLoadError(f"{path}:{name} is not a subclass of engine.Strategy")
    close = difflib.get_close_matches(name, found, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise StrategyLoadError(f"{path} has no class {name}{hint} (it has: {listed})")


def absolute_reference(reference: str) -> str:
    """Give a reference that means the same strategy from any directory."""
    path, colon, name = reference, "", ""
    if not path.endswith(".py"):
        path, colon, name = reference.rpartition(":")
    return f"{Path(path).absolute()}{colon}{name}" if path.endswith(".py") else reference


def new_strategy(cls: type[Strategy], parameters: Mapping[str, Any]) -> Strategy:
    """Make an instance with the given parameter values; the user's ``__init__`` may run.

    Raises:
        InputError: a parameter or a hook of the class is unusable.
        StrategyError: its ``__init__`` raised.
    """
    _require_hooks(cls)
    try:
        strategy = cls(**parameters)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | TetradError):
            raise
        if isinstance(error, AttributeError) and error.name in ("_desk", "_studies"):
            raise StrategyLoadError(
                f"{cls.__name__}.__init__ runs before there is a market: read, declare and trade "
                "in on_start or a later hook"
            ) from error
        kind = type(error).__name__
        text = "".join(traceback.format_exception(type(error), error, _users(error)))
        raise StrategyError(
            cls.__name__, "__init__", "its parameters", f"{kind}: {error}", text
        ) from error
    if not hasattr(strategy, "_parameters"):
        raise StrategyLoadError(
            f"{cls.__name__}.__init__ does not call super().__init__(**parameters); call it, or "
            "do without an __init__ and prepare in on_start"
        )
    return strategy


def _users(error: BaseException) -> Any:
    """Give the part of a traceback that is below this file."""
    start = error.__traceback__
    return start.tb_next if start is not None and start.tb_next is not None else start


def _require_hooks(cls: type[Strategy]) -> None:
    history = cls.history
    if type(history) is not int or history < 0:
        raise StrategyLoadError(
            f"{cls.__name__}.history = {history!r}: it must be a number of bars, 0 or more"
        )
    for name, count in HOOKS.items():
        _require_plain(f"{cls.__name__}.{name}", inspect.getattr_static(cls, name), count)


def _require_plain(name: str, hook: Any, count: int) -> None:
    """See that a hook is something that a plain call with ``count`` arguments runs."""
    if not inspect.isfunction(hook):
        if not callable(hook) and not isinstance(hook, staticmethod | classmethod):
            raise StrategyLoadError(f"{name} = {hook!r}: the name is a hook's; choose another")
        return
    lazy = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    if any(is_kind(hook) for is_kind in lazy):
        raise StrategyLoadError(
            f"{name} is async or yields, so that calling it does nothing; make it a plain function"
        )
    try:
        inspect.signature(hook).bind(*[None] * (1 + count))
    except TypeError:
        takes = "self and one more argument" if count else "self alone"
        raise StrategyLoadError(f"{name} must take {takes}: that is how it is called") from None


def _registered(name: str) -> type[Strategy]:
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in registered:
        close = difflib.get_close_matches(name, registered, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        path, _, last = name.rpartition(":")
        file = f"{path or name}.py"
        if not hint and Path(file).is_file():
            hint = f"; did you mean {file}{':' + last if path else ''}?"
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
    path = str(file.absolute())
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return f"line {lines[-1]}: " if lines else ""


def code_hash(cls: type[Strategy]) -> str:
    """Give the SHA-256 of the file that defines a strategy class, in hex."""
    module = sys.modules[cls.__module__]
    file = getattr(module, "__file__", None)
    if file is None:
        return hashlib.sha256(cls.__qualname__.encode()).hexdigest()
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
