"""Matching of simulated orders with market data: pure, exact, the same in every mode.

:mod:`.working` holds the order types, :mod:`.book` one symbol's orders and what binds them,
:mod:`.venue` what the books of a venue share, :mod:`.policies` and :mod:`.path` what a bar, trade
or quote does to the orders. The rules are in docs/fills.md.
"""

from engine.domain.matching.book import Book, Event
from engine.domain.matching.policies import BAR_POLICIES, BarPolicy, on_quote, on_trade
from engine.domain.matching.venue import FillConfig, Registry
from engine.domain.matching.working import NEVER, Reason, Working

__all__ = [
    "BAR_POLICIES",
    "NEVER",
    "BarPolicy",
    "Book",
    "Event",
    "FillConfig",
    "Reason",
    "Registry",
    "Working",
    "on_quote",
    "on_trade",
]
