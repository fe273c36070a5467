"""Which column of a file plays which role, by its name in any usual spelling."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from engine.errors import ConfigError, DataError

Kind = Literal["bar", "trade", "quote"]
BarLabel = Literal["open", "close"]

VALUES: dict[Kind, tuple[str, ...]] = {
    "bar": ("open", "high", "low", "close", "volume"),
    "trade": ("price", "size"),
    "quote": ("bid", "ask", "bid_size", "ask_size"),
}
"""The number columns of each kind: prices first."""

PRICES: dict[Kind, int] = {"bar": 4, "trade": 1, "quote": 2}
"""How many of them are prices; the rest are quantities."""

# Spellings in lower case without punctuation, the preferred first.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "open": ("open", "o", "openpx", "openprice"),
    "high": ("high", "h", "highpx", "highprice"),
    "low": ("low", "l", "lowpx", "lowprice"),
    "close": ("close", "c", "closepx", "closeprice"),
    "volume": ("volume", "vol", "v", "qty", "size", "quantity", "volumeqty"),
    "price": ("price", "px", "last", "lastpx", "lastprice", "tradeprice"),
    "size": ("size", "qty", "quantity", "volume", "vol", "lastsize", "lastqty", "tradesize"),
    "bid": ("bid", "bidpx", "bidprice"),
    "ask": ("ask", "askpx", "askprice", "offer"),
    "bid_size": ("bidsize", "bidqty", "bidvolume", "bidsz"),
    "ask_size": ("asksize", "askqty", "askvolume", "asksz", "offersize"),
    "symbol": ("symbol", "ticker", "sym", "instrument"),
    "adj_close": ("adjclose", "adjustedclose", "closeadj", "adjcloseprice"),
    "currency": ("currency", "ccy"),
}
_TS_COMMON = ("ts", "timestamp", "datetime", "time", "date")
# What pandas calls an index that was written without a name.
_TS_LAST = ("index", "indexlevel0", "unnamed0", "")
_TS_OPEN = ("tsopen", "opentime")
_TS_CLOSE = ("tsclose", "closetime", "tsevent")


@dataclass(frozen=True, slots=True)
class Layout:
    """The roles of one file's columns.

    Attributes:
        kind: what its rows are.
        ts: the timestamp column.
        values: role to column, in the order of ``VALUES[kind]``.
        symbol: the symbol column, None when the file's name gives the symbol.
        adj_close: the adjusted close; None unless it was asked for.
        currency: the currency column, if any.
    """

    kind: Kind
    ts: str
    values: dict[str, str]
    symbol: str | None
    adj_close: str | None
    currency: str | None


def find_layout(
    file: str,
    names: Sequence[str],
    columns: Mapping[str, str] | None,
    bar_label: BarLabel,
    adjust: bool,
) -> Layout:
    """Assign roles to columns; what ``columns`` says explicitly wins.

    Raises:
        ConfigError: ``columns`` names an unknown role.
        DataError: a column is missing, or two fit one role equally well.
    """
    explicit = _explicit_roles(columns)
    for role, name in explicit.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise _missing(file, f"no column {name!r} for {role}{hint}", names)
    kind = _kind(file, names, explicit)
    values: dict[str, str] = {}
    for role in VALUES[kind]:
        found = explicit.get(role) or _match(file, names, role, _SPELLINGS[role])
        if found is not None:
            values[role] = found
    absent = [role for role in VALUES[kind] if role not in values]
    if absent:
        raise _missing(file, f"a {kind} file needs {', '.join(absent)}", names)
    ts = explicit.get("ts") or _match(file, names, "ts", _ts_spellings(kind, bar_label))
    if ts is None:
        raise _missing(file, "no timestamp column (ts, timestamp, time, date, ...)", names)
    rest = {
        role: explicit.get(role) or _match(file, names, role, _SPELLINGS[role])
        for role in ("symbol", "adj_close", "currency")
    }
    if not adjust:
        rest["adj_close"] = None
    elif kind != "bar" or rest["adj_close"] is None:
        raise _missing(file, "adjusting prices needs bars with an adjusted close", names)
    return Layout(kind, ts, values, **rest)


def _explicit_roles(columns: Mapping[str, str] | None) -> dict[str, str]:
    roles = {"ts", *_SPELLINGS}
    for role in columns or {}:
        if role not in roles:
            close = difflib.get_close_matches(role, sorted(roles), 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"columns: unknown role {role!r}; {hint}use {sorted(roles)}")
    return dict(columns or {})


def _ts_spellings(kind: Kind, bar_label: BarLabel) -> tuple[str, ...]:
    if kind != "bar":
        return ("tsevent", *_TS_COMMON, *_TS_LAST)
    # Never the other end of the bar: it would shift every bar by its length.
    return (*(_TS_OPEN if bar_label == "open" else _TS_CLOSE), *_TS_COMMON, *_TS_LAST)


def _kind(file: str, names: Sequence[str], explicit: Mapping[str, str]) -> Kind:
    for kind in ("trade", "quote", "bar"):
        own = set(VALUES[kind]) - {"volume", "size"}
        if own & explicit.keys():
            return kind

    def has(role: str) -> bool:
        return _match(file, names, role, _SPELLINGS[role]) is not None

    if any(map(has, ("open", "high", "low"))):
        return "bar"
    if has("bid") or has("ask"):
        return "quote"
    if has("price"):
        return "trade"
    if has("close"):
        return "bar"
    raise _missing(file, "neither bars (open, high, low, close), trades nor quotes", names)


def _match(file: str, names: Sequence[str], role: str, spellings: tuple[str, ...]) -> str | None:
    by_spelling: dict[str, list[str]] = {}
    for name in names:
        by_spelling.setdefault(_plain(name), []).append(name)
    for spelling in spellings:
        candidates = by_spelling.get(spelling, [])
        if len(candidates) > 1:
            raise DataError(
                file,
                None,
                "ambiguous_column",
                f"{' and '.join(map(repr, candidates))} could both be {role}; "
                f"choose one with --set data.columns.{role}=NAME",
            )
        if candidates:
            return candidates[0]
    return None


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _missing(file: str, what: str, names: Sequence[str]) -> DataError:
    listed = ", ".join(repr(name) for name in names) or "no columns"
    return DataError(
        file,
        None,
        "missing_column",
        f"{what}; found {listed}. Map other names, such as with --set data.columns.open=first",
    )
