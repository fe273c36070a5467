"""Limits and verdicts: what the risk gate asks of every order, as pure functions of numbers.

A verdict keeps what the checks looked at. The list of checks, each with its input, limit and
headroom, is a function of those inputs and the limits (:func:`checks`), so it is recomputed
rather than stored and can be audited offline. Limits are inclusive (decision D11).
"""

from engine.domain.risk.bounds import NO_LIMIT, PPM, Bounds, SymbolBounds, bounds, symbol_bounds
from engine.domain.risk.catalog import CATALOG, SPEC_OF, Check, CheckSpec, check_of, checks
from engine.domain.risk.codes import DenyCode
from engine.domain.risk.limits import RiskLimits, StrategyLimits, SymbolLimits, Unlimited
from engine.domain.risk.verdict import CheckInputs, Verdict, judge, loss_limit, recordable

__all__ = [
    "CATALOG",
    "NO_LIMIT",
    "PPM",
    "SPEC_OF",
    "Bounds",
    "Check",
    "CheckInputs",
    "CheckSpec",
    "DenyCode",
    "RiskLimits",
    "StrategyLimits",
    "SymbolBounds",
    "SymbolLimits",
    "Unlimited",
    "Verdict",
    "bounds",
    "check_of",
    "checks",
    "judge",
    "loss_limit",
    "recordable",
    "symbol_bounds",
]
