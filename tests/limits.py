"""The shipped limits, and others made from them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from engine.domain.risk import RiskLimits

SHIPPED: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent.parent / "engine" / "limits.toml").read_text()
)["risk"]


def limits(**changes: Any) -> RiskLimits:
    """Give the shipped limits with some changed; ``per_strategy`` may name some of its own."""
    each = {**SHIPPED["per_strategy"], **changes.pop("per_strategy", {})}
    return msgspec.convert({**SHIPPED, **changes, "per_strategy": each}, RiskLimits)


UNLIMITED: dict[str, Any] = {
    name: "unlimited"
    for name, value in SHIPPED.items()
    if (name.startswith(("max_", "min_", "price_")) or name.endswith("_margin"))
    and value != "unlimited"
}
"""What turns every limit off that the shipped file sets."""
