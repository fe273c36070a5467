"""Named points at which a test can kill the process, to prove that nothing is lost there.

``TETRAD_CRASH=store.committed:2`` kills it with SIGKILL when it reaches that point the second
time, and ``store.committed:2:SIGSTOP`` freezes it there. Without the variable a point is one
comparison.
"""

from __future__ import annotations

import os
import signal

__all__ = ["POINTS", "point"]

POINTS = (
    "session.opened",
    "session.recovered",
    "store.before_commit",
    "store.in_transaction",
    "store.committed",
    "outbox.kept",
    "outbox.before_send",
    "outbox.sent",
    "publication.sent",
    "publication.acknowledged",
    "session.ended",
    "session.completed",
)
"""Every point, in the order a run comes by them."""

_at, _count, _signal, *_ = *os.environ.get("TETRAD_CRASH", "").split(":"), "", ""
_left = int(_count) if _count.isdigit() else 1


def point(name: str) -> None:
    """Die here when the environment asks for it."""
    global _left  # noqa: PLW0603 - one process dies once
    if name == _at:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.Signals[_signal or "SIGKILL"])
