"""What is wrong with a batch, row by row: the slow path behind the quick checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from adapters.files.batch import NO_SYMBOL, NO_TIME, Batch, Selection
from adapters.files.checks import Bools, Violation, exceeds_decimals, find_violations
from adapters.files.layout import PRICES, VALUES
from adapters.files.series import SeriesScan
from adapters.files.timestamps import format_ns
from engine.errors import DataError

_HINTS = {
    "timestamp": "write ISO-8601, a date or integer epoch time of the years 1678 to 2261",
    "missing_symbol": "fill in the symbol",
    "sorted": "sort the rows by symbol and time",
    "duplicate": "keep one of the rows",
    "overlap": "correct the time, state the bar length with --set data.interval=1d",
    "adjusted_close": "fill in the adjusted close",
    "price_decimals": "raise data.price_decimals or leave it out",
    "quantity_decimals": "raise data.quantity_decimals or leave it out",
}


def diagnose(
    raw: Batch,
    batch: Batch,
    selection: Selection,
    series: Sequence[SeriesScan],
    step_of: Callable[[int], int],
) -> list[Violation]:
    """List every broken rule of a batch with its rows, in the order the rules are reported.

    Args:
        raw: the batch before prices were adjusted.
        batch: the batch.
        selection: what is asked for.
        series: what came before it, by code.
        step_of: the least distance between two rows of a series, ns.
    """
    found = [
        Violation(
            "timestamp", batch.ts == NO_TIME, lambda _: "the timestamp is missing or unreadable"
        )
    ]
    if not isinstance(batch.codes, int):
        found.append(
            Violation("missing_symbol", batch.codes == NO_SYMBOL, lambda _: "the symbol is missing")
        )
    found += find_violations(selection.kind, raw.values)
    if raw.adj_close is not None:
        adj_close = raw.adj_close
        found.append(
            Violation(
                "adjusted_close",
                ~((adj_close > 0) & (adj_close < np.inf)),
                lambda at: f"the adjusted close {adj_close[at]:.15g} is not above zero",
            )
        )
        found += find_violations(selection.kind, batch.values)
    found += digit_violations(batch, selection)
    bad = np.logical_or.reduce([violation.bad for violation in found])
    found += _order_violations(batch, bad, series, step_of)
    return [violation for violation in found if violation.bad.any()]


def digit_violations(batch: Batch, selection: Selection) -> list[Violation]:
    """List rows with more digits than were stated to be allowed."""
    found = []
    names, prices = VALUES[selection.kind], PRICES[selection.kind]
    stated = (selection.price_decimals, selection.quantity_decimals)
    values = batch.values
    if batch.raw_volume is not None:
        values = [*values[:prices], batch.raw_volume]
    for i, (name, column) in enumerate(zip(names, values, strict=True)):
        digits = stated[i >= prices]
        if digits is None or not (bad := exceeds_decimals(column, digits)).any():
            continue

        def describe(at: int, n: str = name, c: object = column, d: int = digits) -> str:
            return f"{n} {float(c[at])!r} has more than {d} digits"  # type: ignore[index]

        found.append(Violation(("price_decimals", "quantity_decimals")[i >= prices], bad, describe))
    return found


def _order_violations(
    batch: Batch,
    bad: Bools,
    series: Sequence[SeriesScan],
    step_of: Callable[[int], int],
) -> list[Violation]:
    """Compare each good row with the last one kept of its series, in the order of the file."""
    rules = {rule: np.zeros(batch.ts.size, np.bool_) for rule in ("sorted", "duplicate", "overlap")}
    before: dict[int, tuple[int, str]] = {}
    last: dict[int, tuple[int, str]] = {}
    codes = batch.codes
    per_row = [codes] * batch.ts.size if isinstance(codes, int) else codes.tolist()
    file = batch.source.name
    for code in set(per_row) - {NO_SYMBOL}:
        scan = series[code]
        if scan.rows:
            name, row = scan.last_place
            where = f"row {row + 1}" if name == file else f"row {row + 1} of {name}"
            last[code] = (scan.ts_last, where)
    for at, (code, ts, is_bad) in enumerate(
        zip(per_row, batch.ts.tolist(), bad.tolist(), strict=True)
    ):
        if is_bad:
            continue
        previous = last.get(code)
        if previous is not None and ts - previous[0] < step_of(code):
            gap = ts - previous[0]
            rule = "sorted" if gap < 0 else "overlap" if gap else "duplicate"
            rules[rule][at] = True
            before[at] = previous
        else:
            last[code] = (ts, f"row {batch.row(at) + 1}")

    def describe(at: int) -> str:
        code, ts = per_row[at], int(batch.ts[at])
        then, where = before[at]
        symbol = series[code].symbol
        if ts < then:
            return f"{symbol} at {format_ns(ts)} is earlier than {format_ns(then)} in {where}"
        if ts == then:
            return f"{symbol} at {format_ns(ts)} was already in {where}"
        return (
            f"{symbol} at {format_ns(ts)} is within the bar of {format_ns(then)} in {where}, "
            f"bars being {step_of(code) / 1e9:.15g} s long"
        )

    return [Violation(rule, mask, describe) for rule, mask in rules.items()]


def raise_first(batch: Batch, found: Sequence[Violation]) -> NoReturn:
    """Report the first bad row of a batch.

    Raises:
        DataError: always.
    """
    first = min(found, key=lambda violation: int(violation.bad.argmax()))
    at = int(first.bad.argmax())
    refuse_mixed_zones(batch, first, at)
    text = first.describe(at)
    role = {"timestamp": "ts", "missing_value": text.split(" ", 1)[0]}.get(first.rule)
    if role is not None:
        text += f" ({batch.source.raw_text(batch.row(at), role)})"
    hint = _HINTS.get(first.rule, "correct the row")
    raise DataError(
        batch.source.name,
        batch.row(at) + 1,
        first.rule,
        f"{text}; {hint}, or leave such rows out with --on-bad-data drop",
    )


def refuse_mixed_zones(batch: Batch, violation: Violation, at: int) -> None:
    """Raise if a timestamp cannot be read because only some carry an offset.

    Raises:
        DataError: so it is; dropping rows would hide half the data.
    """
    row = batch.row(at)
    if violation.rule == "timestamp" and batch.source.mixes_zones(row):
        text = batch.source.raw_text(row, "ts")
        raise DataError(
            batch.source.name,
            row + 1,
            "naive_aware",
            f"timestamp {text} after timestamps that are {batch.source.reading.zone}; give every "
            "row an offset, or none (then times are UTC)",
        )
