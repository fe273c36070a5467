"""The risk commands: explain a verdict, replay a run under other limits, attack the limits."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from engine.domain.risk import Check, DenyCode, RiskLimits
    from engine.research.fuzz import Failure
    from engine.research.risk_audit import Explanation, Replay

__all__ = ["risk"]

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
Profile = Annotated[
    Path | None, Parameter(name="--profile", help="A TOML file of settings over the shipped ones.")
]
Examples = Annotated[int, Parameter(help="Sequences to try at most.", validator=Number(gte=1))]
Seed = Annotated[int, Parameter(help="Gives the same sequences again.")]
CaseFile = Annotated[Path, Parameter(name="--out", help="Where a sequence that breaks goes.")]
Again = Annotated[Path | None, Parameter(name="--again", help="Run one written sequence again.")]
SHOWN_ORDERS = 20


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
    order = each.order
    price = order["limit_price"] or order["stop_price"]
    at = "" if price is None else f" at {price:g}"
    print(
        f"  order             {order['order_id']}: {order['side']} {order['quantity']:g} "
        f"{order['symbol']} {order['order_type']}{at}"
    )
    print(f"  {'check':<26}{'value':>18}{'limit':>18}{'headroom':>18}  result")
    for code, check in each.checks:
        if check is None:
            failed = each.stored is code
            print(f"  {code.name:<26}{'':>54}  {'FAILED' if failed else 'passed'}")
            continue
        numbers = (check.value, check.limit, check.headroom)
        shown = "".join(f"{_number(code, number):>18}" for number in numbers)
        print(f"  {code.name:<26}{shown}  {_outcome(check)}")
    if not each.is_measured:
        print("  nothing was measured: a check that needs no price had failed before")
    same = "equal" if each.agrees else "DIFFERENT: the files are not those that the run wrote"
    print(f"  verdict           stored {_verdict(each.stored)}, recomputed "
          f"{_verdict(each.recomputed)}: {same}")  # fmt: skip


def _outcome(check: Check) -> str:
    if check.exempt:
        return "exempt"
    if not check.passed:
        return "FAILED"
    return "no limit" if check.limit is None else "passed"


def _number(code: DenyCode, number: float | None) -> str:
    from engine.domain.risk import SPEC_OF

    if number is None:
        return ""
    unit = SPEC_OF[code].unit
    if unit == "share":
        return f"{100 * number:,.4f} %"
    return f"{number:,.2f}" if unit in ("currency", "price", "seconds") else f"{number:,g}"


def _verdict(code: DenyCode | None) -> str:
    return "APPROVED" if code is None else f"DENIED {code.name}"


def _plain(each: Explanation) -> dict[str, Any]:
    import msgspec

    return {
        "order_id": each.order["order_id"],
        "stored": None if each.stored is None else each.stored.name,
        "recomputed": None if each.recomputed is None else each.recomputed.name,
        "equal": each.agrees,
        "checks": [
            {"code": code.name} if check is None else msgspec.to_builtins(check)
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
        found = run(out, settings=parse_settings(settings or []), limits=_limits(limits))
    if json:
        _print_json(_plain_replay(found))
    else:
        _print_replay(found)
    return 0


@risk.command
def fuzz(
    *,
    profile: Profile = None,
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
    chosen = load_config("backtest", file=profile, limits=limits, environment=os.environ).risk
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


def _limits(file: Path | None) -> RiskLimits | None:
    from engine.config import load_config

    return None if file is None else load_config("backtest", limits=file).risk


def _print_replay(found: Replay) -> None:
    print(f"  {'':<18}{'as it was':>18}{'replayed':>18}")
    for name, before in found.before.items():
        shown = "".join(f"{_figure(name, value):>18}" for value in (before, found.after[name]))
        print(f"  {name.replace('_', ' '):<18}{shown}")
    for what, orders in (("newly denied", found.denied), ("newly admitted", found.admitted)):
        if len(orders):
            print(f"  {what:<18}{len(orders):,}")
        for row in orders.head(SHOWN_ORDERS).iter_rows(named=True):
            print(f"    {row['order_id']}: {row['side']} {row['quantity']:g} {row['symbol']}, "
                  f"{row['code']}")  # fmt: skip
    if found.only_before or found.only_after:
        print(
            f"  other orders      {found.only_before:,} were not sent again, "
            f"{found.only_after:,} are new: the strategy reacted"
        )
    if found.same_hash:
        print("  no difference: both runs made the same events")


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
        "only_before": found.only_before,
        "only_after": found.only_after,
        "no_difference": found.same_hash,
    }


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
