"""Profiles: TOML, environment and ``--set``, merged into frozen structs.

Layers, later ones win: the shipped profile, the user's file (``--profile FILE``), environment
variables ``TETRAD_SECTION__KEY``, ``--set section.key=value``. A key that no struct knows is
refused with a suggestion, and so is a value of the wrong type or out of range.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from engine.domain.costs import CostsConfig
from engine.domain.matching import FillConfig
from engine.domain.orders import TimeInForce
from engine.domain.risk import RiskLimits
from engine.errors import ConfigError

__all__ = ["Config", "DataConfig", "load_config", "parse_settings", "profile_base"]

ENVIRONMENT_PREFIX = "TETRAD_"


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which market data, and how to read it.

    Attributes:
        paths: files or folders.
        symbols: symbols to use, in this order; all when empty.
        start: first moment, ISO date or time, inclusive.
        end: last moment, ISO date or time; a date counts to its end.
        on_bad_data: ``fail`` on the first bad row, or ``drop`` and list them.
        adjust: scale prices by the adjusted-close column.
        bar_label: whether a bar's timestamp is its ``open`` or its ``close``.
        interval: length of a bar such as ``1d``; inferred when None.
        calendar: trading calendar of the instruments.
        price_decimals: digits of prices; inferred when None.
        quantity_decimals: digits of quantities; inferred when None.
        tick_size: price step; one unit of the last digit when None.
        columns: names of columns that are not recognised, such as ``open = "first"``.
    """

    paths: list[str] = []
    symbols: list[str] = []
    start: str | None = None
    end: str | None = None
    on_bad_data: Literal["fail", "drop"] = "fail"
    adjust: bool = False
    bar_label: Literal["open", "close"] = "open"
    interval: str | None = None
    calendar: str = "24/7"
    price_decimals: Annotated[int, Meta(ge=0, le=9)] | None = None
    quantity_decimals: Annotated[int, Meta(ge=0, le=8)] | None = None
    tick_size: Annotated[float, Meta(gt=0)] | None = None
    columns: dict[str, str] = {}


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The account a run trades.

    Attributes:
        cash: opening cash, in currency.
        currency: ISO code.
    """

    cash: Annotated[float, Meta(gt=0, le=10_000_000_000)] = 100_000.0
    currency: Annotated[str, Meta(pattern="^[A-Z]{3,5}$")] = "USD"


class OrdersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that leave something unsaid.

    Attributes:
        time_in_force: of orders that name none.
        keep_closed: closed orders the router remembers, for late and repeated reports.
    """

    time_in_force: TimeInForce = TimeInForce.GTC
    keep_closed: Annotated[int, Meta(ge=0)] = 10_000


class IndicatorsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How indicators are computed; the values are the same to the bit.

    Attributes:
        mode: ``batch`` holds one float per bar and output in memory and is fastest;
            ``streaming`` is what live does and needs no such memory.
    """

    mode: Literal["batch", "streaming"] = "batch"


class SupervisionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when something fails.

    Attributes:
        strategy: ``stop`` ends the run; ``quarantine`` silences that one strategy, cancels its
            orders and goes on.
    """

    strategy: Literal["stop", "quarantine"] = "stop"


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run itself.

    Attributes:
        seed: permutes market events of equal time; None keeps the order of the symbols.
        chunk_rows: market events read at a time.
    """

    seed: int | None = None
    chunk_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 8192


class ReportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The output folder.

    Attributes:
        html: write ``report.html``.
    """

    html: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a run; sections are described by their own structs.

    Attributes:
        profile: name of the shipped profile this one started from.
        strategy: parameter values of the strategy, by name.
    """

    profile: str
    strategy: dict[str, Any] = {}
    data: DataConfig = DataConfig()
    account: AccountConfig = AccountConfig()
    orders: OrdersConfig = OrdersConfig()
    fill: FillConfig = FillConfig()
    costs: CostsConfig = CostsConfig()
    risk: RiskLimits = RiskLimits()
    indicators: IndicatorsConfig = IndicatorsConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    run: RunConfig = RunConfig()
    report: ReportConfig = ReportConfig()


def load_config(
    profile: str,
    *,
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """Merge the layers of a profile and check the result.

    Args:
        profile: name of a shipped profile, such as ``backtest``.
        file: the user's profile, TOML.
        environment: variables to look for ``TETRAD_SECTION__KEY`` in.
        settings: dotted key -> value; text is converted to the setting's type.

    Raises:
        ConfigError: naming the key, the layer it came from and what is allowed.
    """
    layers: list[tuple[str, dict[str, Any]]] = [(f"profile {profile}", _shipped(profile))]
    if file is not None:
        layers.append((str(file), _read(Path(file))))
    layers.append(("the environment", _from_environment(environment or {})))
    layers.append(("--set", _nested(settings or {})))
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        _check_keys(Config, layer, origin, "")
        _merge(merged, layer)
    try:
        return msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), merged)) from error


def profile_base(profile: str) -> str:
    """Give the shipped profile that a name or a TOML file starts from.

    Raises:
        ConfigError: there is no such profile or file.
    """
    if profile.endswith(".toml"):
        return str(_read(Path(profile)).get("profile", "backtest"))
    return str(_shipped(profile)["profile"])


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
                f"--set {pair!r}: write it as KEY=VALUE, such as costs.commission_bps=10"
            )
        settings[key.strip()] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _shipped(profile: str) -> dict[str, Any]:
    folder = resources.files("engine") / "profiles"
    found = folder / f"{profile}.toml"
    if not found.is_file():
        names = sorted(p.name.removesuffix(".toml") for p in folder.iterdir())
        raise ConfigError(f"no profile {profile!r}; there is {', '.join(names)}")
    return tomllib.loads(found.read_text())


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise ConfigError(f"profile file {file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"profile file {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"profile file {file} is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings = {}
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            settings[key] = _value(text)
    return _nested(settings)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {key}: {section} is a setting, not a section")
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
            close = difflib.get_close_matches(f"{prefix}{key}", all_keys(), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known = ", ".join(prefix + name for name in hints)
            raise ConfigError(f"{origin}: unknown setting {prefix + key!r}{hint} (known: {known})")
        section = hints[key]
        if isinstance(section, type) and issubclass(section, msgspec.Struct):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: {prefix}{key} is a section; set {prefix}{key}.NAME")
            _check_keys(section, value, origin, f"{prefix}{key}.")


def all_keys() -> list[str]:
    """List every setting by its dotted name."""
    keys: list[str] = []
    for name, hint in get_type_hints(Config).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            keys += [f"{name}.{field.name}" for field in msgspec.structs.fields(hint)]
        else:
            keys.append(name)
    return keys


def _explain(message: str, merged: Mapping[str, Any]) -> str:
    """Turn msgspec's message (``Expected `float` ... - at `$.risk.x```) into one of ours."""
    match = re.fullmatch(r"(.*) - at `\$\.?(.*)`", message)
    if match is None:
        return message
    rule, key = match.groups()
    value: Any = merged
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return f"setting {key} = {value!r}: {rule[0].lower()}{rule[1:]}"
