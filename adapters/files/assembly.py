"""From a finished scan to a dataset: instruments, scales, hashes and notes."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal, InvalidOperation

import polars as pl

from adapters.files.batch import Selection
from adapters.files.dataset import Dataset, Series
from adapters.files.scan import SERIES_MAX, Scan
from adapters.files.series import (
    PRICE_DECIMALS_MAX,
    QUANTITY_DECIMALS_MAX,
    Scale,
    SeriesScan,
)
from adapters.files.source import Source
from adapters.files.timestamps import MAX_NS, format_ns
from engine.domain.instruments import Instrument
from engine.domain.money import MAX_UNITS, to_units
from engine.errors import ConfigError, DataError, UnknownSymbolError

_EXACT_UNITS_MAX = 2**53


class InstrumentOptions:
    """What the files do not say about an instrument."""

    def __init__(
        self, calendar: str, currency: str, tick_size: float | str | Decimal | None
    ) -> None:
        self.calendar = calendar
        self.currency = currency
        self.tick_size: Decimal | None = None
        if tick_size is not None:
            text = repr(tick_size) if isinstance(tick_size, float) else str(tick_size)
            try:
                tick = Decimal(text).normalize()
            except InvalidOperation:
                tick = Decimal(0)
            if not tick.is_finite() or tick <= 0 or self._digits(tick) > PRICE_DECIMALS_MAX:
                raise ConfigError(
                    f"tick_size {tick_size!r} is not a price step; write one such as 0.01 "
                    f"with at most {PRICE_DECIMALS_MAX} digits after the point"
                )
            self.tick_size = tick

    @staticmethod
    def _digits(tick: Decimal) -> int:
        exponent = tick.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0

    def tick_digits(self) -> int:
        """Digits after the point that the tick needs."""
        return 0 if self.tick_size is None else self._digits(self.tick_size)


def build_dataset(
    sources: Sequence[Source],
    scan: Scan,
    selection: Selection,
    wanted: Sequence[str] | None,
    intervals: Mapping[str, int],
    hashes: Sequence[tuple[str, Future[str]]],
    options: InstrumentOptions,
) -> Dataset:
    """Turn what a scan found into a dataset.

    Args:
        sources: the files that were read.
        scan: the finished scan.
        selection: what it was asked for.
        wanted: symbols in the order asked for, None for all in alphabetical order.
        intervals: symbol to bar length, ns; empty for trades and quotes.
        hashes: file names and the hashes of their bytes, as they become known.
        options: what the files do not say.

    Raises:
        DataError: nothing is left to replay, or a number does not fit 64 bits.
        UnknownSymbolError: a wanted symbol was not met.
        ConfigError: the tick size does not fit the stated digits.
    """
    if wanted is not None:
        require_known(wanted, scan.seen)
    code_of = {series.symbol: code for code, series in enumerate(scan.series) if series.rows}
    _require_rows(sources, scan, selection, wanted, code_of)
    order = sorted(code_of) if wanted is None else list(wanted)
    digests = hashlib.sha256()
    for symbol in sorted(code_of):
        found = scan.series[code_of[symbol]]
        length = intervals.get(symbol, 0)
        opened = found.ts_first - (length if selection.bar_label == "close" else 0)
        digests.update(found.digest(opened, length))
    series = [
        _series(scan, code_of[symbol], selection, intervals.get(symbol, 0), options)
        for symbol in order
    ]
    notes = [note for symbol in order for note in _rounding_notes(scan.series[code_of[symbol]])]
    shift = {item.code: item.interval_ns if selection.bar_label == "open" else 0 for item in series}
    for item in series:
        _require_end(scan.series[item.code], shift[item.code])
    counts = dict(scan.dropped.counts)
    if counts:
        listed = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))
        notes.append(f"{sum(counts.values())} bad rows were left out: {listed}")
    return Dataset(
        kind=selection.kind,
        bar_label=selection.bar_label,
        series=series,
        store=scan.store,
        ts_range=(
            min(scan.series[item.code].ts_first + shift[item.code] for item in series),
            max(scan.series[item.code].ts_last + shift[item.code] for item in series),
        ),
        files=[(name, future.result()) for name, future in hashes],
        data_hash=digests.hexdigest(),
        notes=notes,
        dropped=pl.DataFrame(
            scan.dropped.rows,
            schema={"file": pl.String, "row": pl.Int64, "rule": pl.String, "detail": pl.String},
            orient="row",
        ),
        dropped_counts=counts,
    )


def _require_rows(
    sources: Sequence[Source],
    scan: Scan,
    selection: Selection,
    wanted: Sequence[str] | None,
    code_of: Mapping[str, int],
) -> None:
    absent = [symbol for symbol in wanted or () if symbol not in code_of]
    if code_of and not absent:
        if len(code_of) > SERIES_MAX:
            raise DataError(
                sources[0].name,
                None,
                "too_many_symbols",
                f"{len(code_of)} symbols, at most {SERIES_MAX}; choose some with symbols",
            )
        return
    of = f" of {', '.join(absent)}" if absent else ""
    name = (
        sources[0].name if len(sources) == 1 else f"{sources[0].name} and {len(sources) - 1} more"
    )
    if scan.ts_seen is not None:
        low, high = scan.ts_seen
        begin = "the start" if selection.start is None else format_ns(selection.start)
        stop = "the end" if selection.end is None else format_ns(selection.end)
        raise DataError(
            name,
            None,
            "range",
            f"no row{of} from {begin} to {stop}; the data covers {format_ns(low)} to "
            f"{format_ns(high)}",
        )
    raise DataError(
        name,
        None,
        "empty",
        f"no row{of} is left after {sum(scan.dropped.counts.values())} were "
        "dropped; look at the data with --on-bad-data fail",
    )


def _series(
    scan: Scan, code: int, selection: Selection, interval_ns: int, options: InstrumentOptions
) -> Series:
    found, tick, stated = scan.series[code], options.tick_size, selection.price_decimals
    if stated is not None and options.tick_digits() > stated:
        raise ConfigError(f"tick_size {tick} has more than price_decimals {stated} digits")
    digits = max(found.prices.decimals if stated is None else stated, options.tick_digits())
    quantity_digits = selection.quantity_decimals
    if quantity_digits is None:
        quantity_digits = found.quantities.decimals
    _require_fit(found.symbol, "price", found.prices, digits)
    _require_fit(found.symbol, "quantity", found.quantities, quantity_digits)
    return Series(
        instrument=Instrument(
            symbol=found.symbol,
            price_decimals=digits,
            quantity_decimals=quantity_digits,
            tick_size=1 if tick is None else to_units(tick, digits),
            currency=next(iter(scan.currencies), options.currency),
            calendar=options.calendar,
        ),
        code=code,
        rows=found.rows,
        interval_ns=interval_ns,
        prices_exact=_is_exact(found.prices, digits),
        quantities_exact=not found.is_adjusted and _is_exact(found.quantities, quantity_digits),
    )


def _require_end(found: SeriesScan, shift: int) -> None:
    if found.ts_last + shift > MAX_NS:
        file, row = found.last_place
        raise DataError(
            file,
            row + 1,
            "timestamp",
            f"the bar of {found.symbol} at {format_ns(found.ts_last)} ends after what 64 bits of "
            "nanoseconds can count (2262-04-11); correct the time",
        )


def _rounding_notes(found: SeriesScan) -> list[str]:
    scales = (
        ("prices", found.prices, PRICE_DECIMALS_MAX),
        ("quantities", found.quantities, QUANTITY_DECIMALS_MAX),
    )
    return [
        f"{found.symbol}: {scale.inexact} {what} have more than {limit} digits after the point "
        f"and are rounded to {limit}, half to even"
        for what, scale, limit in scales
        if scale.inexact
    ]


def _is_exact(scale: Scale, digits: int) -> bool:
    in_reach = scale.largest[0] * 10.0**digits < _EXACT_UNITS_MAX
    return in_reach and digits >= scale.decimals and not scale.inexact


def _require_fit(symbol: str, what: str, scale: Scale, digits: int) -> None:
    value, (file, row) = scale.largest
    if value * 10.0**digits >= MAX_UNITS:
        raise DataError(
            file,
            row + 1,
            "too_large",
            f"{what} {value:.15g} of {symbol}, counted in units of {10.0**-digits:g}, exceeds 64 "
            "bits; round the data to fewer digits",
        )
    value, (file, row) = scale.smallest
    if what == "price" and round(value * 10.0**digits) < 1:
        raise DataError(
            file,
            row + 1,
            "too_small",
            f"price {value:.15g} of {symbol} is zero in {digits} digits after the point; "
            "quote it per thousand, or drop the row from the file",
        )


def require_known(wanted: Sequence[str], known: set[str]) -> None:
    """Check that every wanted symbol is known.

    Raises:
        UnknownSymbolError: one is not; names the most similar ones.
    """
    for symbol in wanted:
        if symbol in known:
            continue
        folded = {name.casefold(): name for name in sorted(known)}
        close = [
            folded[name] for name in difflib.get_close_matches(symbol.casefold(), folded, 3, 0.5)
        ]
        hint = f"did you mean {' or '.join(close)}?" if close else _listing(sorted(known))
        raise UnknownSymbolError(f"symbol {symbol!r} is not in the data; {hint}")


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"it has {', '.join(names[:10])}{more}"
