"""The risk commands: explain a verdict, replay a run under other limits, attack the limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from engine.domain.risk import DenyCode
    from engine.research.fuzz import Failure
    from engine.research.risk_audit import Explanation, Replay

__all__ = ["printable", "risk"]

risk = App(name="risk", help="Explain verdicts, replay a run under other limits, attack limits.")

Folder = Annotated[Path, Parameter(name="--out", help="Folder of a finished run.")]
OrderId = Annotated[str, Parameter(help="Client order id, as in orders.parquet.")]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON only.")
]
Limits = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="risk.NAME=VALUE; may be repeated."),
]
LimitsFile = Annotated[
    Path | None,
    Parameter(name="--limits", help="A whole limits file (TOML) in place of the run's."),
]
ProfileName = Annotated[
    str, Parameter(name="--profile", help="A shipped profile (backtest), or a TOML file over one.")
]
Examples = Annotated[int, Parameter(help="Sequences to try at most.", validator=Number(gte=1))]
Seed = Annotated[int, Parameter(help="Gives the same sequences again.")]
CaseFile = Annotated[Path, Parameter(name="--out", help="Where a sequence that breaks goes.")]
Again = Annotated[Path | None, Parameter(name="--again", help="Run one written sequence again.")]
SHOWN_ORDERS = 20


def printable(text: str) -> str:
    """Escape what would steer the terminal instead of showing on it: symbols come from files."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@risk.command
def explain(order_id: OrderId, /, *, out: Folder, json: Json = False) -> int:
    """Work out the verdict on an order anew from a run's files, and compare it to the stored one.

    Exits with 1 when the two differ.
    """
    from engine.research.risk_audit import explain as run

    found = run(out, order_id)
    if json:
        _print_json([_plain(each) for each in found])
    else:
        for each in found:
            _print_explanation(each)
    return 0 if all(each.agrees for each in found) else 1


def _print_explanation(each: Explanation) -> None:
    _say("order", f"{each.order['order_id']}: {_ordered(each.order)}")
    _say("sent", f"{each.order['ts_init']:%Y-%m-%d %H:%M:%S} UTC, now {each.order['status']}")
    print(f"  {'check':<25}{'value':>22} {'limit':>22} {'headroom':>22}  result")
    for code, check in each.checks:
        numbers = () if check is None else (check.value, check.limit, check.headroom)
        shown = " ".join(f"{_number(code, number, each.currency):>22}" for number in numbers)
        print(f"  {code.name:<25}{shown:<68}  {each.result(code)}")
    if not each.is_measured:
        print("  nothing was measured: a check that needs no price had failed before")
    if each.stored is not None:
        _say("reason", each.stored.meaning)
    stored, recomputed = _verdict(each.stored), _verdict(each.recomputed)
    if each.approved != (each.stored is None):
        stored = f"{'approved' if each.approved else 'denied'}, but with the code of {stored}"
    if not each.is_measured and each.recomputed is None:
        recomputed = "nothing, its inputs are missing"
    same = "equal" if each.agrees else "DIFFERENT: the files are not those that the run wrote"
    for fault in each.faults:
        _say("fault", fault)
    _say("verdict", f"stored verdict: {stored}, recomputed: {recomputed}: {same}")


def _say(name: str, text: str) -> None:
    print(printable(f"  {name:<18}{text}"))


def _ordered(order: Mapping[str, Any]) -> str:
    """Say what was ordered: ``BUY 5,285 AAPL LIMIT at 3.5``."""
    limit, stop = order["limit_price"], order["stop_price"]
    prices = [f" at {_exact(limit)}"] if limit is not None else []
    prices += [f" from {_exact(stop)}"] if stop is not None else []
    amount = _exact(order["quantity"])
    return f"{order['side']} {amount} {order['symbol']} {order['order_type']}{''.join(prices)}"


def _exact(number: float) -> str:
    """Write a number without an exponent and without needless zeros."""
    text = f"{number:,.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


_SUFFIXES = {"seconds": " s", "orders": " orders", "units": " units", "trades": " trades"}


def _number(code: DenyCode, number: float | None, currency: str) -> str:
    from engine.domain.risk import SPEC_OF

    if number is None:
        return ""
    unit = SPEC_OF[code].unit
    if unit == "share":
        return f"{100 * number:,.4f} %"
    if unit == "currency":
        return f"{number:,.2f} {currency}"
    return f"{_exact(number)}{_SUFFIXES.get(unit, '')}"


def _verdict(code: DenyCode | None) -> str:
    return "APPROVED" if code is None else f"DENIED {code.name}"


def _plain(each: Explanation) -> dict[str, Any]:
    import msgspec

    return {
        "order_id": each.order["order_id"],
        "order": dict(each.order),
        "approved": each.approved,
        "stored": None if each.stored is None else each.stored.name,
        "recomputed": None if each.recomputed is None else each.recomputed.name,
        "equal": each.agrees,
        "measured": each.is_measured,
        "faults": list(each.faults),
        "checks": [
            {
                "code": code.name,
                **({} if check is None else msgspec.to_builtins(check)),
                "result": each.result(code),
            }
            for code, check in each.checks
        ],
    }


@risk.command
def replay(
    *, out: Folder, settings: Limits = None, limits: LimitsFile = None, json: Json = False
) -> int:
    """Run a finished run again under other limits: what would have been denied, what earned."""
    from engine.config import parse_settings
    from engine.research.risk_audit import replay as run

    with redirect_stdout(sys.stderr):  # a strategy may print
        found = run(out, settings=parse_settings(settings or []), limits=limits)
    if json:
        _print_json(_plain_replay(found))
    else:
        _print_replay(found)
    return 0


@risk.command
def fuzz(
    *,
    profile: ProfileName = "backtest",
    limits: LimitsFile = None,
    examples: Examples = 1_000,
    seed: Seed = 0,
    out: CaseFile = Path("fuzz-case.json"),
    again: Again = None,
) -> int:
    """Attack limits with random sequences of orders, fills, prices, halts and restarts.

    Exits with 1 when a sequence breaks an invariant; the shortest is told in words and written to
    a file.
    """
    import msgspec

    from engine.config import load_config
    from engine.research import fuzz as module

    if again is not None:
        case = module.read_case(again)
        failure = module.replay(case.limits, case.steps)
        print(f"  {len(case.steps)} steps of {again}")
        _print_failure(failure)
        return 0 if failure is None else 1
    chosen = load_config(profile, limits=limits, environment=os.environ).risk
    found = module.fuzz(chosen, examples=examples, seed=seed)
    print(f"  {found.examples:,} sequences, {found.steps:,} steps, seed {seed}")
    _print_failure(found.failure)
    if found.failure is None:
        return 0
    case = module.Case(limits=chosen, steps=found.failure.steps)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(case), indent=2) + b"\n")
    print(f"  written to {out}; run it again with --again {out}")
    return 1


def _print_failure(failure: Failure | None) -> None:
    from engine.research.fuzz.steps import render

    if failure is None:
        print("  nothing broke")
        return
    print(f"  BROKEN: {failure.sentence}")
    print(f"  found instead: {failure.detail}")
    for line in render(failure.steps):
        print(f"    {line}")


def _print_replay(found: Replay) -> None:
    print(f"  {'':<18}{'as it was':>18}{'replayed':>18}")
    for name, before in found.before.items():
        shown = "".join(f"{_figure(name, value):>18}" for value in (before, found.after[name]))
        print(f"  {name.replace('_', ' '):<18}{shown}")
    print(f"  {'run hash':<18}" + "".join(f"{each[:16]:>18}" for each in found.run_hashes))
    changes = (
        ("newly denied", found.denied.with_columns(old=None, new="code")),
        ("newly admitted", found.admitted.with_columns(old="code", new=None)),
        ("denied otherwise", found.recoded),
    )
    for what, orders in changes:
        if len(orders):
            _say(what, f"{len(orders):,}")
        for row in orders.head(SHOWN_ORDERS).iter_rows(named=True):
            codes = " -> ".join(row[name] or "APPROVED" for name in ("old", "new"))
            what_for = f"{row['side']} {_exact(row['quantity'])} {row['symbol']}"
            print(printable(f"    {row['order_id']}: {what_for}, {codes}"))
        if len(orders) > SHOWN_ORDERS:
            print(f"    and {len(orders) - SHOWN_ORDERS:,} more")
    if found.only_before or found.only_after:
        _say(
            "other orders",
            f"{found.only_before:,} were not sent again, {found.only_after:,} are new: "
            "the strategy reacted",
        )
    if found.same_hash:
        print("  no difference: both runs made the same events, their run hashes are equal")
    elif found.same_limits:
        print("  the limits are the same and the events are not: another release made the run")


def _figure(name: str, value: Any) -> str:
    if value is None:
        return "n/a"
    if name in ("total_return", "max_drawdown"):
        return f"{100 * value:.2f} %"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _plain_replay(found: Replay) -> dict[str, Any]:
    return {
        "before": found.before,
        "after": found.after,
        "denied": found.denied.to_dicts(),
        "admitted": found.admitted.to_dicts(),
        "recoded": found.recoded.to_dicts(),
        "only_before": found.only_before,
        "only_after": found.only_after,
        "run_hashes": list(found.run_hashes),
        "no_difference": found.same_hash,
    }


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
