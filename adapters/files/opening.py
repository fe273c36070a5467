"""From paths to a validated dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Literal

from adapters.files.assembly import InstrumentOptions, build_dataset, require_known
from adapters.files.batch import Selection
from adapters.files.dataset import Dataset
from adapters.files.layout import BarLabel, Kind
from adapters.files.paths import DataFile, find_files, sha256_of
from adapters.files.scan import Scan
from adapters.files.series import PRICE_DECIMALS_MAX, QUANTITY_DECIMALS_MAX
from adapters.files.source import Source, open_source
from adapters.files.timestamps import format_ns, parse_instant, parse_interval
from engine.errors import ConfigError, DataError

PathLike = str | os.PathLike[str]
Instant = str | int | date | None

_OPENING_THREADS = 4


def open_dataset(
    paths: PathLike | Iterable[PathLike],
    *,
    symbols: Sequence[str] | None = None,
    start: Instant = None,
    end: Instant = None,
    on_bad_data: Literal["fail", "drop"] = "fail",
    adjust: bool = False,
    bar_label: BarLabel = "open",
    interval: str | int | None = None,
    calendar: str = "24/7",
    currency: str = "USD",
    price_decimals: int | None = None,
    quantity_decimals: int | None = None,
    tick_size: float | str | Decimal | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Open market data files for replay, checking every row first.

    Reads Parquet, CSV (also gzipped) and Arrow IPC or Feather files, or folders of them. A file
    holds one symbol (named in a symbol column, else by the file's stem) or many, sorted by time
    or by symbol and time; a symbol may continue from file to file. Which columns exist decides
    whether rows are bars, trades or quotes; names are matched in any usual spelling. Times
    without a zone are UTC.

    Prices become integers with the fewest digits (0 to 9) that hold every price of the symbol
    exactly, quantities likewise (0 to 8); numbers with more digits are rounded half to even, and
    ``Dataset.notes`` says so. Files are streamed: memory does not grow with their size, though
    data of many symbols beyond a million rows uses the temporary folder.

    Splits and dividends are applied to prices by ``adjust``; announcing them to positions, as
    messages of their own kind beside the market events, is what a corporate actions file would
    add to the dataset later.

    Args:
        paths: a file, a folder, or several.
        symbols: which to read, in the order that breaks ties in time; all, sorted, if None.
        start: first time of interest: ISO-8601 text, date, datetime or UTC nanoseconds. Bars that
            open (trades and quotes that happen) earlier are left out.
        end: likewise the time to stop before; a date without a time includes that day.
        on_bad_data: "fail" raises on the first bad row, "drop" leaves bad rows out and lists them
            in ``Dataset.dropped``.
        adjust: scale open, high, low and close by adjusted close over close, rounded to 6
            decimals, and divide volume by it, rounded half to even to the digits of the raw
            volumes, so that shares stay whole.
        bar_label: which end of a bar its timestamp is.
        interval: length of a bar, such as "1d", "1h", "5m"; per symbol the smallest common step
            between bars if None.
        calendar: trading calendar of the instruments.
        currency: of the instruments, unless a currency column names it.
        price_decimals: digits of prices, 0 to 9, instead of inferring them.
        quantity_decimals: digits of quantities, 0 to 8, instead of inferring them.
        tick_size: smallest price step; one unit of the last digit if None.
        columns: role to column name where names are unusual, such as ``{"open": "first"}``; roles
            are ts, symbol, open, high, low, close, volume, adj_close, price, size, bid, ask,
            bid_size, ask_size and currency.

    Raises:
        DataError: a file or row is unusable; names the file, the 1-based row and the rule.
        UnknownSymbolError: a wanted symbol is not in the data.
        ConfigError: an argument is not usable.
    """
    _require_choice("on_bad_data", on_bad_data, ("fail", "drop"))
    _require_choice("bar_label", bar_label, ("open", "close"))
    _require_digits("price_decimals", price_decimals, PRICE_DECIMALS_MAX)
    _require_digits("quantity_decimals", quantity_decimals, QUANTITY_DECIMALS_MAX)
    first, last = parse_instant("start", start), parse_instant("end", end, end=True)
    if first is not None and last is not None and first >= last:
        raise ConfigError(f"start {format_ns(first)} is not before end {format_ns(last)}")
    wanted = None if symbols is None else list(dict.fromkeys(symbols))
    if wanted is not None and not wanted:
        raise ConfigError("symbols is empty; name at least one, or leave it out for all")
    sources = _open_sources(find_files(paths), wanted, columns, bar_label, adjust)
    kind = _common_kind(sources)
    known_step = None if interval is None else parse_interval(interval)
    selection = Selection(
        kind=kind,
        symbols=None if wanted is None else frozenset(wanted),
        start=first,
        end=last,
        drop=on_bad_data == "drop",
        bar_label=bar_label,
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
        step=(known_step or 1) if kind == "bar" else 0,
    )
    with ThreadPoolExecutor(1) as pool:
        hashes = [(source.name, pool.submit(sha256_of, source.file.path)) for source in sources]
        scan, intervals = _scan(sources, selection, known_step)
        return build_dataset(
            sources,
            scan,
            selection,
            wanted,
            intervals,
            hashes,
            InstrumentOptions(calendar, currency, tick_size),
        )


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is unknown; use {' or '.join(choices)}")


def _require_digits(name: str, value: int | None, limit: int) -> None:
    if value is not None and not 0 <= value <= limit:
        raise ConfigError(f"{name} {value!r} is out of range; use 0 to {limit}")


def _open_sources(
    files: Sequence[DataFile],
    wanted: Sequence[str] | None,
    columns: Mapping[str, str] | None,
    bar_label: BarLabel,
    adjust: bool,
) -> list[Source]:
    with ThreadPoolExecutor(_OPENING_THREADS) as pool:
        sources = list(pool.map(lambda file: open_source(file, columns, bar_label, adjust), files))
    if wanted is not None and all(source.layout.symbol is None for source in sources):
        require_known(wanted, {source.file.stem for source in sources})
        sources = [source for source in sources if source.file.stem in wanted]
    zones = {source.reading.zone: source for source in sources}
    if {"naive", "aware"} <= zones.keys():
        raise DataError(
            zones["naive"].name,
            None,
            "naive_aware",
            f"its times have no zone, those of {zones['aware'].name} have one; give all files a "
            "zone, or none (then times are UTC)",
        )
    stems = Counter(source.file.stem for source in sources)
    if any(source.layout.symbol for source in sources) or max(stems.values()) > 1:
        # A symbol may continue from file to file: read them in the order of time.
        sources.sort(key=lambda source: (source.ts_first or 0, source.name))
    return sources


def _common_kind(sources: Sequence[Source]) -> Kind:
    kind = sources[0].layout.kind
    for source in sources:
        if source.layout.kind != kind:
            raise DataError(
                source.name,
                None,
                "kind",
                f"holds {source.layout.kind}s, {sources[0].name} holds {kind}s; "
                "replay one kind at a time",
            )
    return kind


def _scan(
    sources: Sequence[Source], selection: Selection, known_step: int | None
) -> tuple[Scan, dict[str, int]]:
    scan = Scan(sources, selection)
    scan.run()
    if selection.kind != "bar":
        return scan, {}
    if known_step is not None:
        return scan, {series.symbol: known_step for series in scan.series}
    intervals = _intervals(sources, scan)
    if any(
        series.rows > 1 and series.steps.smallest < intervals[series.symbol]
        for series in scan.series
    ):
        # Some bars are closer than a bar is long: read again, now knowing the length, to report
        # or drop them by row.
        scan = Scan(sources, replace(selection, steps=intervals))
        scan.run()
    return scan, intervals


def _intervals(sources: Sequence[Source], scan: Scan) -> dict[str, int]:
    found = {series.symbol: series.steps.interval() for series in scan.series if series.rows}
    lengths = {length for length in found.values() if length is not None}
    for series in scan.series:
        if series.rows and found[series.symbol] is None:
            if len(lengths) != 1:
                raise DataError(
                    series.last_place[0],
                    series.last_place[1] + 1,
                    "interval",
                    f"one bar of {series.symbol} does not tell how long it is; "
                    "state it, such as --set data.interval=1d",
                )
            found[series.symbol] = next(iter(lengths))
    return {symbol: length for symbol, length in found.items() if length is not None}
