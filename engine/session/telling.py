"""What a run tells whoever started it, as it happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from engine.domain.events import RiskEvent, Severity
from engine.ports import RunRecord, RunStore

__all__ = ["Crier", "Going", "KeptJournal"]

_STOP_TIMEOUT_S = 30.0


class Going(NamedTuple):
    """Told when a run begins or goes on.

    Attributes:
        name: the run.
        recovered: market events of it that are there already, out of ``total``.
        total: market events in all; None while more may come.
        completed: whether it had ended, so that there is nothing left to do.
    """

    name: str
    recovered: int
    total: int | None
    completed: bool


class KeptJournal:
    """The record of this process; what the history brings about again is not new to anybody."""

    def __init__(self, record: RunRecord, store: RunStore, alarm: Callable[[Any], None]) -> None:
        self._record = record
        self._store = store
        self._alarm = alarm
        self.recalling = False

    def write(self, events: Sequence[Any]) -> None:
        """Keep events; tell the alarms among those that are new."""
        self._record.write(events)
        if self.recalling:
            self._store.recall(events)
            return
        for event in events:
            if type(event) is RiskEvent and event.severity is not Severity.INFO:
                self._alarm(event)


class Crier:
    """Tells of alarms in a thread of its own: whoever listens must not hold up the core."""

    def __init__(self, tell: Callable[[RiskEvent], None] | None) -> None:
        self._tell = tell
        self._alarms: SimpleQueue[RiskEvent | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._cry, name="alarms", daemon=True)

    def alarm(self, event: RiskEvent) -> None:
        """Tell of an event soon."""
        if self._tell is not None:
            self._alarms.put(event)

    def __enter__(self) -> Crier:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._alarms.put(None)
        self._thread.join(_STOP_TIMEOUT_S)

    def _cry(self) -> None:
        while (event := self._alarms.get()) is not None:
            if self._tell is not None:
                self._tell(event)
