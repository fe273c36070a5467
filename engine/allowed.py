"""What a setting may be, in words made from its type, for messages about one that is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from engine.addresses import shown

__all__ = ["allowed", "explain", "inside", "is_leaf", "is_section"]


def explain(message: str, settings: Mapping[str, Any], kind: type[msgspec.Struct]) -> str:
    """Turn msgspec's message (``Expected `float` ... - at `$.risk.x```) into one of ours."""
    match = re.fullmatch(r"(.*) - at `\$\.?(.*)`", message)
    if match is None:
        return message
    rule, place = match.groups()
    keys, value, hint = _offender(re.findall(r"[^.\[\]]+|\.\.\.", place), settings, kind)
    key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(keys))
    if isinstance(value, Mapping) and not rule.startswith("Expected"):
        return f"setting {key}.{rule}"  # of settings that contradict each other
    if rule.startswith("Expected `object`") and not is_leaf(hint):
        return f"setting {key} = {shown(value, key)}: a section, not a setting; set {key}.NAME"
    return f"setting {key} = {shown(value, key)}: {allowed(hint)}"


def _offender(parts: list[str], value: Any, hint: Any) -> tuple[list[str], Any, Any]:
    """Follow msgspec's path, such as ``risk.symbols[...].price_collar``, to a key and its type.

    msgspec does not say which entry of a table it refused: it is the first that is refused alone.
    """
    if not parts:
        return [], value, hint
    part, *rest = parts
    if isinstance(value, list):
        inner = inside(hint, list)
        return _joined(part, _offender(rest, value[int(part)], inner))
    inner = inside(hint, dict)
    if part != "...":
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            inner = get_type_hints(hint, include_extras=True)[part]
        return _joined(part, _offender(rest, value[part], inner))
    for name, entry in value.items():
        try:
            msgspec.convert(entry, inner, strict=False)
        except msgspec.ValidationError:
            return _joined(str(name), _offender(rest, entry, inner))
    return ["..."], value, hint


def _joined(part: str, found: tuple[list[str], Any, Any]) -> tuple[list[str], Any, Any]:
    keys, value, hint = found
    return [part, *keys], value, hint


def inside(hint: Any, kind: type) -> Any:
    """Give what a list or a table holds."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is kind:
            return get_args(part)[-1]
    return Any


def is_leaf(hint: Any) -> bool:
    """Say whether a setting that may be a table may be something else as well."""
    return not (hint == dict[str, Any] or is_section(inside(hint, dict)))


def is_section(hint: Any) -> bool:
    """Say whether a setting holds others."""
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def allowed(hint: Any) -> str:
    """Say what a setting may be: ``write a number from 0 to 1, or "unlimited"``."""
    words = _words_of(hint)
    if words:
        return f"one of {', '.join(words)}"
    return f"write {', or '.join(_forms(hint))}"


def _words_of(hint: Any) -> list[str]:
    """List the words that are all a setting may be."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    return list(get_args(hint)) if get_origin(hint) is Literal else []


_NUMBERS = {float: "a number", int: "a whole number"}
_KINDS = {str: "text", bool: "true or false"}


def _forms(hint: Any) -> list[str]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return [f"{form}{_range(args[1])}" for form in _forms(args[0])]
    if origin is Literal:
        return [f'"{word}"' for word in args]
    if origin is list:
        return ['a list, such as ["AAPL", "MSFT"]']
    if origin is dict:
        inner = " or ".join(_forms(args[1]))
        return [f"a table of names, each with {inner}"]
    if origin is not None:  # a union
        return [form for part in args if part is not type(None) for form in _forms(part)]
    return [_NUMBERS.get(hint) or _KINDS.get(hint) or "another value"]


def _range(meta: Meta) -> str:
    least, most = meta.ge, meta.le
    if meta.pattern is not None:
        return f" that matches {meta.pattern}"
    if least is not None and most is not None:
        return f" from {least:,.15g} to {most:,.15g}"
    signs = (("above", meta.gt), ("at least", least), ("at most", most), ("below", meta.lt))
    return " " + " and ".join(f"{word} {x:,.15g}" for word, x in signs if x is not None)
