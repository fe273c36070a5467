"""Parameters: the typed class attributes of a strategy.

``fast: int = 10`` declares a parameter; ``fast: int = param(10, low=2, high=100)`` declares one
with a range that values are checked against and sweeps run over. Values from profiles and the
command line are converted to the annotated type or refused with the parameter's name.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, get_origin, get_type_hints

import msgspec

from engine.errors import ConfigError

__all__ = ["Param", "param", "parameters_of", "resolve"]


class Param(msgspec.Struct, frozen=True):
    """Default and range of one parameter; ``low``, ``high`` and ``step`` may be None."""

    default: Any
    low: Any = None
    high: Any = None
    step: Any = None


def param(default: Any, *, low: Any = None, high: Any = None, step: Any = None) -> Any:
    """Declare a parameter with a range, both ends included."""
    return Param(default, low, high, step)


def parameters_of(cls: type, base: type) -> dict[str, tuple[Any, Param]]:
    """List the parameters a strategy class declares: name -> (type, Param).

    Args:
        cls: the strategy class.
        base: the class whose own attributes do not count (``Strategy``).

    Raises:
        ConfigError: an annotation cannot be resolved, a parameter has no default or hides
            something that every strategy has.
    """
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise ConfigError(f"{cls.__name__}: a parameter's type is unknown: {error}") from error
    own = get_type_hints(base)
    found: dict[str, tuple[Any, Param]] = {}
    for name, kind in hints.items():
        if name.startswith("_") or get_origin(kind) is ClassVar or name in own:
            continue
        if hasattr(base, name):
            raise ConfigError(
                f"{cls.__name__}.{name} hides {base.__name__}.{name}; give the parameter another "
                "name"
            )
        if not hasattr(cls, name):
            raise ConfigError(f"{cls.__name__}.{name} has no default value; give it one")
        default = getattr(cls, name)
        found[name] = (kind, default if isinstance(default, Param) else Param(default))
    return found


def resolve(cls: type, base: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn given values into the full set of parameter values, checked and converted.

    Raises:
        ConfigError: an unknown name (with a suggestion), a value of the wrong type or out of
            range.
    """
    declared = parameters_of(cls, base)
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known = ", ".join(declared) or "none"
            raise ConfigError(f"{cls.__name__} has no parameter {name!r}{hint} (it has: {known})")
    return {
        name: _value(cls, name, kind, spec, given.get(name, spec.default))
        for name, (kind, spec) in declared.items()
    }


def _value(cls: type, name: str, kind: Any, spec: Param, raw: Any) -> Any:
    if kind is str and type(raw) is int:
        raw = str(raw)  # a symbol such as 600519 looks like a number on the command line
    try:
        value = msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"strategy.{name} = {raw!r}: {cls.__name__}.{name} takes {_type_name(kind)} ({error})"
        ) from error
    try:
        msgspec.to_builtins(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{cls.__name__}.{name} = {value!r} cannot be written to the results; a parameter is a "
            "number, text, a choice or a list of these"
        ) from error
    above = spec.low is None or value >= spec.low
    below = spec.high is None or value <= spec.high
    if not (above and below):  # NaN is neither
        raise ConfigError(
            f"strategy.{name} = {value!r}: {cls.__name__}.{name} must lie in "
            f"[{'-inf' if spec.low is None else spec.low}, "
            f"{'inf' if spec.high is None else spec.high}]"
        )
    return value


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
