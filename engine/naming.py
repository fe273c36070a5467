"""Ids that are pure functions of names: the same run gives the same ones."""

from __future__ import annotations

import uuid

__all__ = ["execution_id"]

NAMESPACE = uuid.UUID("5c5bb1b4-8b39-5b0a-9a53-0f8c7f0f5b11")


def execution_id(run_name: str, strategy_id: str, occasion: str = "") -> str:
    """Give the id of a strategy's execution in a run: a UUID of version 5.

    Args:
        run_name: the run.
        strategy_id: id of the strategy in the run.
        occasion: what tells this execution from others of the strategy; empty for the one that
            begins and ends with the run.
    """
    names = [run_name, strategy_id, *([occasion] if occasion else [])]
    return str(uuid.uuid5(NAMESPACE, "\n".join(names)))
