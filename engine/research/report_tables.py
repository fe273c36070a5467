"""The tables of a report: numbers in, escaped HTML out."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from engine.domain.risk import DenyCode

TRADES_LISTED_MAX = 1_000
DENIALS_SHOWN_MAX = 5
DAY_NS = 86_400_000_000_000
NONE = '<span class="none" title="not defined for this run">&ndash;</span>'

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def text(value: object) -> str:
    """Escape anything for use in HTML, attribute values included."""
    return html.escape(str(value))


def percent(value: float | None, digits: int = 2) -> str:
    """Render a fraction in per cent; None as a dash."""
    return NONE if value is None else f"{100 * value:,.{digits}f}\u202f%"


def signed_percent(value: float | None, digits: int = 2) -> str:
    """Render a fraction in per cent with its sign and the colour of a gain or loss."""
    return NONE if value is None else _colored(f"{100 * value:+,.{digits}f}\u202f%", value)


def number(value: float | None, digits: int = 2) -> str:
    """Render a number with thousands separators; None as a dash."""
    return NONE if value is None else f"{value:,.{digits}f}"


def signed_money(value: float | None) -> str:
    """Render an amount with its sign and the colour of a gain or loss."""
    return NONE if value is None else _colored(f"{value:+,.2f}", value)


def price(value: float | None) -> str:
    """Render a price with as many digits as it needs, two at least."""
    if value is None or not math.isfinite(value):
        return NONE
    digits = f"{value:,.8f}".rstrip("0")
    whole, _, fraction = digits.partition(".")
    return f"{whole}.{fraction:0<2}" if len(fraction) < 5 else f"{value:,.4f}"


def span(ns: int) -> str:
    """Render a duration by its largest unit.

    >>> span(90 * 60 * 10**9), span(36 * 3600 * 10**9), span(500)
    ('1.5 h', '1.5 d', '0 s')
    """
    seconds = ns / 10**9
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:,.3f}".rstrip("0").removesuffix(".") + " s"


def moment(ts: int | None) -> str:
    """Render UTC nanoseconds to the second; midnight as the date alone; None as a dash."""
    if ts is None:
        return NONE
    when = datetime.fromtimestamp(ts // 10**9, tz=UTC)
    return f"{when:%Y-%m-%d}" if ts % DAY_NS == 0 else f"{when:%Y-%m-%d %H:%M:%S}"


def pairs(rows: Iterable[tuple[str, str]], kind: str = "") -> str:
    """Lay out names and values (HTML both) as a table of two columns.

    Kinds: ``narrow`` for short values, ``wide`` for hashes and lists, or what the place allows.
    """
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="kv {kind}"><tbody>{body}</tbody></table>'


def table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows of HTML cells under (title, class) heads.

    Classes: ``n`` numbers to the right, ``t`` never wrapped, ``prose`` wide, or none.
    """
    kinds = [f' class="{kind}"' if kind else "" for _, kind in heads]
    head = "".join(
        f'<th scope="col"{kind}>{text(name)}</th>'
        for (name, _), kind in zip(heads, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def flat(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """Flatten nested mappings to dotted names."""
    if isinstance(value, Mapping) and value:
        return [
            pair
            for key, item in value.items()
            for pair in flat(item, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, value)]


def setting(value: object) -> str:
    """Render one configured value."""
    if value is None:
        return '<span class="none">not set</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.10g}"
    if isinstance(value, list | tuple):
        return text(", ".join(map(str, value))) if value else '<span class="none">none</span>'
    if isinstance(value, Mapping):
        return '<span class="none">none</span>'
    return text(value)


def settings(values: Mapping[str, Any], nothing: str) -> str:
    """Render nested settings as dotted names and values."""
    if not values:
        return f'<p class="note">{nothing}</p>'
    return pairs(((text(name), setting(value)) for name, value in flat(values)), "wide")


def heat_map(monthly: Sequence[Mapping[str, Any]], yearly: Sequence[Mapping[str, Any]]) -> str:
    """Lay out monthly returns, a row per year, the year's own and the benchmark's at the end."""
    if not monthly:
        return '<p class="note">No month has data.</p>'
    by_month = {(row["year"], row["month"]): row["return"] for row in monthly}
    strongest = max((abs(value) for value in by_month.values() if value is not None), default=0)
    names = [*_MONTHS, "Year", "B&amp;H"]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", *names))
    lines = []
    for row in yearly:
        months = [
            _heat_cell(by_month.get((row["year"], month)), strongest) for month in range(1, 13)
        ]
        year, other = (
            f'<td class="sum">{_month_percent(row["return"])}</td>',
            f"<td>{_month_percent(row['benchmark'])}</td>",
        )
        lines.append(f'<tr><th scope="row">{row["year"]}</th>{"".join(months)}{year}{other}</tr>')
    return (
        f'<div class="scroll"><table class="heat"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def trade_table(trades: pl.DataFrame) -> str:
    """List the first :data:`TRADES_LISTED_MAX` trades, sortable by every column."""
    if trades.is_empty():
        return '<p class="note">The run made no trades.</p>'
    listed = trades.head(TRADES_LISTED_MAX)
    has_strategies = trades["strategy_id"].n_unique() > 1
    has_tags = listed["entry_tag"].null_count() < len(listed)
    heads = ["Entry", "Exit", "Symbol", "Side", "Quantity", "Entry price", "Exit price", "P&L",
             "Return", "Commission", "Held"]  # fmt: skip
    heads += ["Strategy"] * has_strategies + ["Tag"] * has_tags
    numeric = {"Quantity", "Entry price", "Exit price", "P&L", "Return", "Commission", "Held"}
    head = "".join(
        f'<th scope="col"{" class=n" if name in numeric else ""}>'
        f'<button type="button">{text(name)}</button></th>'
        for name in heads
    )
    names = ("entry_ts", "exit_ts", "symbol", "side", "quantity", "entry_price", "exit_price",
             "pnl", "return", "commission", "duration_ns", "strategy_id", "entry_tag")  # fmt: skip
    lines = [
        _trade_row(row, has_strategies=has_strategies, has_tags=has_tags)
        for row in listed.select(names).iter_rows()
    ]
    note = ""
    if len(trades) > len(listed):
        note = (
            f'<p class="note">The first {len(listed):,} of {len(trades):,} trades, in order of '
            "entry; all of them are in the run's output folder.</p>"
        )
    return (
        f'<div class="scroll tall" tabindex="0"><table class="sortable"><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div>{note}"
    )


def verdict_table(verdicts: pl.DataFrame) -> str:
    """Count the verdicts by deny code, and show the first denied orders."""
    if verdicts.is_empty():
        return '<p class="note">No order reached the gate.</p>'
    total = len(verdicts)
    denied = verdicts.filter(~pl.col("approved"))
    summary = (
        f"<p>{total:,} orders were checked: <b>{total - len(denied):,} approved</b>, "
        f"<b>{len(denied):,} denied</b>.</p>"
    )
    if denied.is_empty():
        return summary
    counts = denied["code"].value_counts(sort=True).sort("count", "code", descending=[True, False])
    codes = table(
        [("Code", ""), ("Denied", "n"), ("Share", "n"), ("Meaning", "prose")],
        (
            (f'<span class="tag deny">{text(code)}</span>', f"{count:,}",
             percent(count / total, 1), text(_meaning(code)))
            for code, count in counts.iter_rows()
        ),
    )  # fmt: skip
    columns = ["ts", "order_id", "code", *(["detail"] if "detail" in denied.columns else [])]
    first = table(
        [("Time", "t"), ("Order", ""), ("Code", "t"), ("Detail", "prose")][: len(columns)],
        (
            (moment(ts), f"<code>{text(order)}</code>", text(code), *(text(d or "") for d in rest))
            for ts, order, code, *rest in denied.head(DENIALS_SHOWN_MAX).select(columns).iter_rows()
        ),
    )
    title = "The denied orders" if len(denied) <= DENIALS_SHOWN_MAX else "The first denied orders"
    return f"{summary}{codes}<h3>{title}</h3>{first}"


RISK_EVENTS_SHOWN_MAX = 200


def risk_event_table(events: pl.DataFrame) -> str:
    """Show the warnings and halts of a run; its denied orders are in the verdicts."""
    if not events.is_empty():
        events = events.remove(action_taken="ORDER_DENIED")
    if events.is_empty():
        return '<h3>Risk events</h3><p class="note">No limit came near.</p>'
    rows = events.head(RISK_EVENTS_SHOWN_MAX)
    shown = table(
        [("Time", "t"), ("Severity", ""), ("Rule", "t"), ("Strategy", ""), ("Symbol", ""),
         ("Value", "n"), ("Limit", "n"), ("Action", ""), ("What was measured", "prose")],
        map(_risk_event_row, rows.iter_rows(named=True)),
    )  # fmt: skip
    kinds = dict(events["severity"].value_counts().iter_rows())
    named = [*(name for name in ("CRITICAL", "WARNING", "INFO") if name in kinds)]
    told = ", ".join(f"<b>{kinds[name]:,} {name}</b>" for name in named)
    lead = f"<p>{told}.</p>" if told else ""
    count = f"The first {len(rows):,} of {len(events):,}." if len(events) > len(rows) else ""
    note = f'<p class="note">{count}</p>' if count else ""
    return f"<h3>Risk events</h3>{lead}{shown}{note}"


def _risk_event_row(row: Mapping[str, Any]) -> list[str]:
    # An event that measured nothing (trading goes on again) has no limit and the value zero.
    value = row["value"] if row["value"] or row["limit"] is not None else None
    return [
        moment(row["ts"]),
        *(text(row[name] or "") for name in ("severity", "event_type", "strategy_id", "symbol")),
        price(value),
        price(row["limit"]),
        text(row["action_taken"]),
        text(row["description"]),
    ]


def order_tables(orders: pl.DataFrame, fills: pl.DataFrame, figures: Mapping[str, Any]) -> str:
    """Summarise orders by status and type, fills by liquidity and pricing, and what they cost."""
    traded = figures.get("traded_value") or 0.0
    costs = [
        ("Traded value", number(traded)),
        *(
            (name, f"{number(figures.get(key))} <span class=none>({_bps(figures, key)})</span>")
            for name, key in (
                ("Commission", "commission"),
                ("Slippage", "slippage"),
                ("Together", "total_costs"),
            )
        ),
        ("Turnover, per year", number(figures.get("turnover"), 1)),
    ]
    parts = [
        ("Orders by status", _counts(orders, "status")),
        ("Orders by type", _counts(orders, "order_type")),
        ("Fills by liquidity", _counts(fills, "liquidity")),
        ("Fills priced by", _counts(fills, "priced_by")),
        ("Costs", pairs(costs)),
    ]
    blocks = (f"<div><h3>{title}</h3>{body}</div>" for title, body in parts)
    return f'<div class="columns">{"".join(blocks)}</div>'


def _trade_row(row: tuple[Any, ...], *, has_strategies: bool, has_tags: bool) -> str:
    (entry, leave, symbol, side, quantity, price_in, price_out, pnl, gained, commission, held,
     strategy, tag) = row  # fmt: skip
    out = '<span class="tag open">open</span>' if leave is None else moment(leave)
    extra = f'<td class="t">{text(strategy)}</td>' if has_strategies else ""
    if has_tags:
        extra += f'<td class=cut title="{text(tag or "")}">{text(tag or "")}</td>'
    return (
        f'<tr><td class=t data-v="{entry}">{moment(entry)}</td>'
        f'<td class=t data-v="{"" if leave is None else leave}">{out}</td>'
        f"<td class=t>{text(symbol)}</td><td>{text(side.title())}</td>"
        f'<td class=n data-v="{quantity}">{quantity:,.10g}</td>'
        f'<td class=n data-v="{price_in}">{price(price_in)}</td>'
        f'<td class=n data-v="{price_out}">{price(price_out)}</td>'
        f'<td class=n data-v="{pnl}">{signed_money(pnl)}</td>'
        f'<td class=n data-v="{"" if gained is None else gained}">{signed_percent(gained)}</td>'
        f'<td class=n data-v="{commission}">{commission:,.2f}</td>'
        f'<td class=n data-v="{held}">{span(held)}</td>{extra}</tr>'
    )


def _heat_cell(value: float | None, strongest: float) -> str:
    if value is None:
        return "<td></td>"
    if not value:
        return "<td>0.0</td>"
    # A faint tint for the smallest, so that the sign shows even there.
    strength = 6 + round(44 * min(abs(value) / strongest, 1))
    kind = "up" if value > 0 else "down"
    return f'<td class="{kind}" style="--a:{strength}%">{100 * value:+.1f}</td>'


def _month_percent(value: float | None) -> str:
    return NONE if value is None else _colored(f"{100 * value:+,.1f}", value)


def _counts(frame: pl.DataFrame, column: str) -> str:
    if frame.is_empty() or column not in frame.columns:
        return '<p class="note">Nothing to count.</p>'
    counts = frame[column].value_counts().sort("count", column, descending=[True, False])
    return pairs((text(name), f"{count:,}") for name, count in counts.iter_rows())


def _bps(figures: Mapping[str, Any], key: str) -> str:
    traded, cost = figures.get("traded_value"), figures.get(key)
    if not traded or cost is None:
        return "&ndash; bp"
    return f"{1e4 * cost / traded:,.1f}&nbsp;bp"


def _meaning(code: object) -> str:
    known = DenyCode.__members__.get(str(code))
    return known.meaning if known is not None else ""


def _colored(shown: str, value: float) -> str:
    if value == 0:
        return shown
    return f'<span class="{"gain" if value > 0 else "loss"}">{shown}</span>'
