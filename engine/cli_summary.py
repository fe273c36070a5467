"""What a run came to, in lines for people."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli_risk import printable

if TYPE_CHECKING:
    from engine.domain.events import RiskEvent
    from engine.research.result import BacktestResult
    from engine.session import Going

__all__ = ["alarm_line", "going_lines", "summary_lines"]


def going_lines(going: Going) -> list[str]:
    """Tell of a run that begins or goes on."""
    if going.completed:
        return [f"run {going.name} is complete; this is what came of it"]
    if going.recovered:
        of = "" if going.total is None else f" of {going.total:,}"
        at = f"{going.recovered:,}{of} market events"
        return [f"run {going.name} goes on: {at} are behind it"]
    return [f"run {going.name} begins; stop it whenever you like, it goes on from there"]


def alarm_line(event: RiskEvent) -> str:
    """Tell of a risk event: when in the time of the run, how bad, what."""
    at = dt.datetime.fromtimestamp(event.ts_event // 10**9, dt.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} {event.severity} {event.event_type}: {event.description}"


def summary_lines(result: BacktestResult, out: Path | None) -> list[str]:
    """Render a result for people: headline figures, denials, what was dropped and written."""
    s = result.summary
    closed = result.statistics["trades"]

    def percent(key: str) -> str:
        return "n/a" if s[key] is None else f"{100 * s[key]:.2f} %"

    def number(key: str) -> str:
        return "n/a" if s[key] is None else f"{s[key]:,.2f}"

    rows = [
        ("strategy", f"{s['strategy']} on {_listed(s['symbols'])}"),
        ("period", f"{s['start'][:10]} to {s['end'][:10]}, {_count(s['bars'], result.data.kind)}"),
        ("final equity", f"{number('final_equity')} from {number('initial_cash')}"),
        ("total return", f"{percent('total_return')} (buy and hold {percent('benchmark_return')})"),
        ("CAGR", percent("cagr")),
        ("Sharpe / Sortino", f"{number('sharpe_ratio')} / {number('sortino_ratio')}"),
        ("max drawdown", percent("max_drawdown")),
        ("trades", f"{closed:,} closed, {percent('win_rate')} won; {s['trades'] - closed:,} open"),
        ("profit factor", number("profit_factor")),
        ("costs", number("total_costs")),
        ("orders", f"{s['orders']:,}, {_count(s['fills'], 'fill')}, {s['denied']:,} denied"),
    ]
    lines = [f"  {name:<18}{value}" for name, value in rows]
    lines += _denials(result)
    lines += _risk_events(result)
    lines += [f"  note              {note}" for note in result.notes]
    if len(result.dropped):
        count = sum(result.data.dropped_counts.values())
        shown = result.dropped.head(10)
        of = f", the first {len(shown)} of them" if count > len(shown) else ""
        lines.append(f"  dropped           {_count(count, 'bad row')}{of}:")
        lines += [
            f"    {row['file']}, row {row['row']}: {row['detail']} [{row['rule']}]"
            for row in shown.iter_rows(named=True)
        ]
    rate = s["bars"] / s["elapsed_s"] if s["elapsed_s"] else 0.0
    lines.append(
        f"  run hash          {s['run_hash'][:16]}  ({s['elapsed_s']:.2f} s, {rate:,.0f}/s)"
    )
    if out is not None:
        page = result.manifest["profile"]["report"]["html"]
        lines.append(f"  written to        {out}/{f'  (open {out}/report.html)' if page else ''}")
    return [printable(line) for line in lines]


def _listed(symbols: list[str]) -> str:
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in symbols[:8]]
    more = f" and {len(symbols) - 8:,} more" if len(symbols) > 8 else ""
    return ", ".join(names) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _denials(result: BacktestResult) -> list[str]:
    counts = result.verdicts["code"].drop_nulls().value_counts(sort=True)
    lines = []
    for row in counts.iter_rows(named=True):
        first = result.verdicts.filter(code=row["code"]).head(1)
        lines.append(f"    denied {row['count']:,} x {row['code']}: {first['detail'][0]}")
    return lines


def _risk_events(result: BacktestResult) -> list[str]:
    """Count the warnings and halts of a run by type, and tell of the first halt of each.

    Denied orders are told of by their codes.
    """
    events = result.risk_events.remove(severity="INFO")
    if events.is_empty():
        return []
    rows = list(events.iter_rows(named=True))
    severities = Counter(row["severity"] for row in rows)
    told = ", ".join(f"{severities[s]:,} {s}" for s in ("CRITICAL", "WARNING") if severities[s])
    kinds = Counter((row["severity"], row["event_type"]) for row in rows)
    first = {(row["severity"], row["event_type"]): row for row in reversed(rows)}
    lines = [f"  risk events       {told}"]
    for kind in sorted(kinds, key=lambda each: each[0]):  # CRITICAL first
        severity, event_type = kind
        line = f"    {severity} {kinds[kind]:,} x {event_type}"
        if severity == "CRITICAL":
            line += f": {first[kind]['ts']:%Y-%m-%d %H:%M} {first[kind]['description']}"
        lines.append(line)
    return lines
