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
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from engine.allowed import allowed, explain, inside, is_leaf
from engine.domain.costs import CostsConfig
from engine.domain.matching import FillConfig
from engine.domain.orders import TimeInForce
from engine.domain.risk import RiskLimits, SymbolLimits
from engine.errors import ConfigError

__all__ = [
    "Config",
    "DataConfig",
    "OmsGrpcConfig",
    "TlsConfig",
    "load_config",
    "parse_settings",
    "profile_base",
]

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

    cash: Annotated[float, Meta(ge=0.01, le=10_000_000_000)] = 100_000.0
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
        chunk_rows: market events read at a time; a few thousand stay in the processor's cache.
        latch: file that keeps the trading state, so that what was halted stays halted when the
            engine starts again; None starts ACTIVE.
    """

    seed: int | None = None
    chunk_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 2048
    latch: str | None = None


class ReportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The output folder.

    Attributes:
        html: write ``report.html``.
    """

    html: bool = True


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a lost connection is tried again. Orders are never sent again.

    Attributes:
        max_attempts: attempts in a row after which every further failure is reported; it goes on
            all the same.
        backoff_ms: milliseconds from one attempt to the next, doubled each time up to 10,000.
    """

    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 3
    backoff_ms: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption of a connection; certificates and keys are PEM files.

    Attributes:
        enabled: encrypt, and refuse a peer whose certificate does not hold.
        root_certificate: who may have signed the peer's certificate; the system's list when None.
        client_certificate: what we show the peer; goes with ``client_key``.
        client_key: private key of that certificate.
        server_name: name the peer's certificate must have; the host when None.
    """

    enabled: bool = False
    root_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    server_name: str | None = None


class OmsGrpcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Order Management System that orders go to over gRPC; a backtest has none.

    Attributes:
        host: name or address.
        port: TCP port.
        timeout: seconds to the first answer to one request, and to a connection; an order
            without one is unknown, never rejected, and is not sent again.
        reduce_only: what becomes of a reduce-only order where the system offers
            ``order.OrderService`` alone: ``refuse`` it as VENUE_LACKS_REDUCE_ONLY, or send it
            ``plain``, trusting the gate, which approves none that could open a position.
    """

    host: Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]+$")] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 50_051
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    reduce_only: Literal["refuse", "plain"] = "refuse"
    retry: RetryConfig = RetryConfig()
    tls: TlsConfig = TlsConfig()


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a run; sections are described by their own structs.

    Attributes:
        profile: name of the shipped profile this one started from.
        strategy: parameter values of the strategy, by name.
    """

    profile: str
    risk: RiskLimits
    strategy: dict[str, Any] = {}
    data: DataConfig = DataConfig()
    account: AccountConfig = AccountConfig()
    orders: OrdersConfig = OrdersConfig()
    fill: FillConfig = FillConfig()
    costs: CostsConfig = CostsConfig()
    indicators: IndicatorsConfig = IndicatorsConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    run: RunConfig = RunConfig()
    report: ReportConfig = ReportConfig()
    oms_grpc: OmsGrpcConfig = OmsGrpcConfig()


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
                f"--set {pair!r}: write it as KEY=VALUE, such as costs.commission_bps=10"
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
            f"no profile {profile!r}; there is {', '.join(names)}, or name a file ending in .toml"
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
            hint = _suggestion(prefix, key, hints)
            known = ", ".join(prefix + name for name in hints)
            raise ConfigError(f"{origin}: unknown setting {prefix + key!r}{hint} (known: {known})")
        section = hints[key]
        if isinstance(section, type) and issubclass(section, msgspec.Struct):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: {prefix}{key} is a section; set {prefix}{key}.NAME")
            _check_keys(section, value, origin, f"{prefix}{key}.")
        if prefix + key == "risk.symbols" and isinstance(value, Mapping):
            for symbol, own in value.items():
                name = f"risk.symbols.{symbol}"
                if not isinstance(own, Mapping):
                    raise ConfigError(f"{origin}: {name} is a section; set {name}.NAME")
                _check_keys(SymbolLimits, own, origin, f"{name}.")


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
