"""The composition root: a profile becomes actors, routes and a runtime.

Modes differ only here and in the profile: which actors carry the edges, what the clock is and
where orders go. Nobody else sees both actors and adapters.
"""

from __future__ import annotations

from engine.wiring.core import (
    CONTROLLER,
    DESK,
    GATE,
    KIND_TYPES,
    RECORDER,
    build_core,
    build_oms,
    build_risk_core,
    host_name,
    latch_store,
    new_record,
    oms_state,
    open_history,
    open_oms_server,
    routes,
)

__all__ = [
    "CONTROLLER",
    "DESK",
    "GATE",
    "KIND_TYPES",
    "RECORDER",
    "build_core",
    "build_oms",
    "build_risk_core",
    "host_name",
    "latch_store",
    "new_record",
    "oms_state",
    "open_history",
    "open_oms_server",
    "routes",
]
