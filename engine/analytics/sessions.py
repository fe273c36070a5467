"""Trading days of whole columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.domain.calendars import DAY_NS, Calendar

__all__ = ["days"]


def days(ts: NDArray[np.int64], calendar: Calendar) -> NDArray[np.int64]:
    """Give ``calendar.day`` of every instant.

    Args:
        ts: UTC nanoseconds, int64, in any order.
        calendar: whose trading days.

    Returns:
        Days from 1970-01-01, int64, as long as ``ts``.

    Raises:
        ConfigError: an instant outside the years the calendar knows.
    """
    if calendar.name == "24/7" or not len(ts):
        return ts // DAY_NS
    sessions = calendar.sessions(int(ts.min()), int(ts.max()))
    ends = np.array([session.end for session in sessions], dtype=np.int64)
    numbers = np.array([session.day for session in sessions], dtype=np.int64)
    return numbers[np.searchsorted(ends, ts, side="right")]
