"""Profiles: TOML, environment and ``--set``, merged into frozen structs.

Layers, later ones win: the limits file (``--limits FILE``, else the shipped one), the shipped
profile, the user's file (``--profile FILE``), environment variables ``TETRAD_SECTION__KEY``,
``--set section.key=value``. A key that no struct knows is refused with a suggestion, and so is a
value of the wrong type or out of range. A limits file is whole or refused: a limit nobody wrote is
a limit nobody has.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from engine.addresses import masked
from engine.allowed import allowed, explain, inside, is_leaf, is_section
from engine.errors import ConfigError
from engine.sections import Config

__all__ = ["Config", "load_config", "parse_settings", "profile_base"]

ENVIRONMENT_PREFIX = "TETRAD_"
ALIASES = {
    "DATABASE_URL": "store.url",
    "DB_PASSWORD": "store.password",
    "ENVIRONMENT": "safety.environment",
    "GATEWAY_TOKEN": "gateway.token",
    "GATEWAY_URL": "gateway.url",
    "REDIS_PASSWORD": "redis.password",
    "REDIS_URL": "redis.url",
}
"""Environment variables that mean a setting under a name of their own."""


def load_config(
    profile: str | Path,
    *,
    limits: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """Merge the layers of a profile and check the result.

    Args:
        profile: name of a shipped profile, such as ``backtest``, or a TOML file over the one it
            names as its ``profile``.
        limits: the user's limits file, TOML; the shipped one when None.
        environment: variables to look for ``TETRAD_SECTION__KEY`` in.
        settings: dotted key -> value; text is converted to the setting's type.

    Raises:
        ConfigError: naming the key, the layer it came from and what is allowed.
    """
    layers = [_limits(limits), *_profile(str(profile))]
    layers.append(("the environment", _from_environment(environment or {})))
    layers.append(("--set", _nested(settings or {})))
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        _check_keys(Config, layer, origin, "")
        _merge(merged, layer)
    _refuse_infinity(merged, "")
    try:
        return msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(explain(str(error), merged, Config)) from error


def _limits(file: str | Path | None) -> tuple[str, dict[str, Any]]:
    """Read a limits file and see that it leaves none out."""
    if file is None:
        text = (resources.files("engine") / "limits.toml").read_text()
        return "the shipped limits", tomllib.loads(text)
    origin = f"limits file {file}"
    layer = _read(Path(file), origin)
    _check_keys(Config, layer, origin, "")
    foreign = sorted(set(layer) - {"risk"})
    if foreign:
        raise ConfigError(
            f"{origin}: holds [{foreign[0]}]; only [risk] belongs there, the rest in --profile FILE"
        )
    for key in all_keys():
        path = key.split(".")
        if path[0] == "risk" and key not in _OPTIONAL_LIMITS and _missing(layer, path):
            raise ConfigError(f"{origin}: {key} is missing; {allowed(_hint_of(path))}")
    return origin, layer


_OPTIONAL_LIMITS = frozenset({"risk.symbols"})


def _missing(section: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(section, Mapping) or part not in section:
            return True
        section = section[part]
    return False


def _profile(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Read a shipped profile, or a file and the shipped one that it starts from."""
    if not name.endswith(".toml"):
        return [(f"profile {name}", _shipped(name))]
    layer = _read(Path(name))
    base = str(layer.get("profile", "backtest"))
    return [(f"profile {base}", _shipped(base)), (name, layer)]


def profile_base(profile: str) -> str:
    """Give the shipped profile that a name or a TOML file starts from.

    Raises:
        ConfigError: there is no such profile or file.
    """
    return str(_profile(profile)[0][1]["profile"])


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` arguments.

    A value is read as TOML (``10``, ``true``, ``["A", "B"]``) and taken as text when it is not.

    Raises:
        ConfigError: an argument without ``=`` or with an empty key.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.strip():
            raise ConfigError(
                f"--set {masked(pair)!r}: write it as KEY=VALUE, such as costs.commission_bps=10"
            )
        settings[key.strip()] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    try:
        return _plain(tomllib.loads(f"v = {text}")["v"])
    except tomllib.TOMLDecodeError:
        return text


def _plain(value: Any) -> Any:
    """Give TOML's dates and times as the text they were written as."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def _shipped(profile: str) -> dict[str, Any]:
    folder = resources.files("engine") / "profiles"
    found = folder / f"{profile}.toml"
    if not found.is_file():
        names = sorted(p.name.removesuffix(".toml") for p in folder.iterdir())
        raise ConfigError(
            f"no profile {masked(profile)!r}; there is {', '.join(names)}, or name a file that "
            "ends in .toml"
        )
    return tomllib.loads(found.read_text())


def _read(file: Path, origin: str = "") -> dict[str, Any]:
    name = origin or f"profile file {file}"
    try:
        return dict(_plain(tomllib.loads(file.read_text())))
    except FileNotFoundError:
        raise ConfigError(f"{name} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings = {}
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            settings[key] = _value(text)
    given = {key: environment[name] for name, key in ALIASES.items() if environment.get(name)}
    return _nested({**given, **settings})


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise ConfigError(
                    f"--set {masked(key)}: {masked(section)} is a setting, not a section"
                )
        node[leaf] = value
    return tree


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _check_keys(kind: Any, layer: Mapping[str, Any], origin: str, prefix: str) -> None:
    hints = get_type_hints(kind)
    for key, value in layer.items():
        if key not in hints:
            hint = _suggestion(prefix, key, hints)
            known = ", ".join(prefix + name for name in hints)
            # The address of a server may have been written in place of a name.
            name = masked(prefix + key)
            raise ConfigError(f"{origin}: unknown setting {name!r}{hint} (known: {known})")
        section = hints[key]
        if is_section(section):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: {prefix}{key} is a section; set {prefix}{key}.NAME")
            _check_keys(section, value, origin, f"{prefix}{key}.")
        entry = inside(section, dict)
        if is_section(entry) and isinstance(value, Mapping):
            for symbol, own in value.items():
                name = f"{prefix}{key}.{symbol}"
                if not isinstance(own, Mapping):
                    raise ConfigError(f"{origin}: {name} is a section; set {name}.NAME")
                _check_keys(entry, own, origin, f"{name}.")


def _suggestion(prefix: str, key: str, section: Iterable[str]) -> str:
    """Name the setting that was meant: of this name elsewhere, or nearly so, here first."""
    keys = all_keys()
    names = [*keys, *dict.fromkeys(name.partition(".")[0] for name in keys)]
    close = (
        [name for name in keys if name.rpartition(".")[2] == key]
        or [prefix + name for name in difflib.get_close_matches(key, section, n=1)]
        or difflib.get_close_matches(prefix + key, names, n=1)
    )
    return f"; did you mean {close[0]!r}?" if close else ""


def all_keys() -> list[str]:
    """List every setting by its dotted name."""
    return list(_keys_of(Config, ""))


def _hint_of(path: Iterable[str]) -> Any:
    hint: Any = Config
    for part in path:
        hint = get_type_hints(hint, include_extras=True)[part]
    return hint


def _keys_of(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _keys_of(hint, f"{prefix}{name}.")
        else:
            yield prefix + name


def _refuse_infinity(layer: Mapping[str, Any], prefix: str, kind: Any = Config) -> None:
    hints: Mapping[str, Any] = {}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
    for key, value in layer.items():
        hint = hints.get(key, inside(kind, dict))
        if hint in (Any, dict[str, Any]):
            continue  # a strategy's parameters are its own affair; a table may not be there
        if isinstance(value, Mapping):
            _refuse_infinity(value, f"{prefix}{key}.", hint)
        elif isinstance(value, float) and not math.isfinite(value) and is_leaf(hint):
            raise ConfigError(
                f"setting {prefix}{key} = {value!r}: not a finite number; {allowed(hint)}"
            )
