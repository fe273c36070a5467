"""What the books of one simulated venue have in common: its settings, orders and numbers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from engine.domain.matching.working import Group, Working

__all__ = ["FillConfig", "Registry"]


class FillConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When and how much the simulated venue fills; the rules are in docs/fills.md.

    Attributes:
        timing: what a bar does to orders that arrived before it: ``next_open`` fills at its
            open and, for resting prices, inside its range; ``next_tick`` sees only its close;
            ``intrabar_path`` walks open, nearer extreme, other extreme, close.
        latency_ms: milliseconds from the event that caused an order, cancel or replacement to
            its arrival at the venue.
        volume_limit: largest share of a datum's volume that the orders of one side may take;
            0 for no limit.
    """

    timing: Literal["next_open", "next_tick", "intrabar_path"] = "next_open"
    latency_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    volume_limit: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class Registry:
    """What the books of one venue share.

    Attributes:
        orders: working orders by client order id.
        groups: groups with working orders, by (strategy, group id).
        arrivals: accepted orders so far; executions: fills so far. Both number the venue's ids.
    """

    __slots__ = ("arrivals", "executions", "groups", "name", "orders")

    def __init__(self, name: str) -> None:
        self.name = name
        self.orders: dict[str, Working] = {}
        self.groups: dict[tuple[str, str], Group] = {}
        self.arrivals = 0
        self.executions = 0
