"""Brings what is told of a run to where it is published, after it has been committed.

A thread of its own reads the messages from the store and hands them over, many at a time; when
they are acknowledged the store's cursor moves on. So a message may come twice (after a kill), is
never lost, and keeps its order. Nothing of this holds up trading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from engine import faults
from engine.config import Config
from engine.domain.events import RiskEvent, Severity
from engine.domain.publications import Publication
from engine.errors import StoreError
from engine.ports import EventPublisher, Outbox, Outcome, RunState, RunStore
from engine.runtime.clock import WallClock
from engine.wiring.publishing import open_event_publisher

__all__ = ["Courier", "publishing"]

WINDOW = 500
"""Messages on their way at once."""
LOOK_S = 0.5
"""How soon a message is found of which nobody was told."""
GATHER_S = 0.02
"""How long messages are gathered, so that few of them do not cost as much as many."""
POLL_S = 0.05
AGAIN_S = 1.0
"""Pause before something that has failed is tried again."""


@contextmanager
def publishing(
    config: Config, state: RunState, store: RunStore, alarm: Callable[[RiskEvent], None]
) -> Iterator[None]:
    """Publish what is told of a run while the block lasts; at its end wait for the rest.

    Raises:
        ConfigError: the settings of the publisher are refused.
    """
    publisher = open_event_publisher(config, state.header.name)
    if publisher is None:
        yield
        return
    kind, woken = config.publish.kind, threading.Event()
    courier = Courier(
        store.outbox(kind, woken.set),
        publisher,
        woken=woken,
        name=kind.capitalize(),
        timeout_s=config.kafka.timeout,
        alarm=alarm,
    )
    with courier:
        yield
        courier.finish(config.publish.wait)


class Courier:
    """Delivers the messages of one run; use it as a context.

    Args:
        outbox: the messages that are committed.
        publisher: where they go.
        woken: set by anybody when there may be more messages.
        name: what that is called, such as ``Kafka``.
        timeout_s: how long nothing may be acknowledged before that is told, seconds.
        alarm: told of a destination that takes nothing, that does again, and of what it refuses.
    """

    def __init__(
        self,
        outbox: Outbox,
        publisher: EventPublisher,
        *,
        woken: threading.Event,
        name: str,
        timeout_s: float,
        alarm: Callable[[RiskEvent], None],
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._name = name
        self._timeout_s = timeout_s
        self._alarm = alarm
        self._is_down = False
        self._next = 0
        self._woken = woken
        self._closing = threading.Event()
        self._is_last = self._is_done = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def finish(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged, or tell that it is not; nothing more will come."""
        self._is_last = True
        self._woken.set()
        self._thread.join(timeout_s)
        if not self._is_done:
            self._tell(
                "PUBLISH_LEFT",
                Severity.WARNING,
                f"{self._name} has not acknowledged all messages of the run: the rest is kept, "
                "start the run again to send it.",
            )

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._woken.set()
        self._thread.join(self._timeout_s)
        self._publisher.close()

    # The thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._next = self._outbox.open()
                self._deliver()
                break
            except StoreError:
                # The run itself ends over this; until then it is tried again.
                self._closing.wait(LOOK_S)
        self._outbox.close()

    def _deliver(self) -> None:
        while not self._closing.is_set():
            is_last = self._is_last  # before the look: what it does not find is not there
            self._woken.clear()
            window = self._outbox.waiting(self._next, WINDOW)
            if window:
                self._send(window)
                if len(window) < WINDOW and not is_last:
                    self._closing.wait(GATHER_S)
            elif is_last:
                self._is_done = True
                return
            else:
                self._woken.wait(LOOK_S)

    def _send(self, window: Sequence[Publication]) -> None:
        """Send messages until each is acknowledged or refused."""
        left = {message.sequence: message for message in window}
        alone = False
        while left and not self._closing.is_set():
            batch = list(left.values())[: 1 if alone else None]
            self._publisher.send(batch)
            faults.point("publication.sent")
            failed = self._await(batch, left)
            self._advance(window, left)
            if failed and all(each.never for each in failed):
                if alone:
                    self._refuse(left.pop(failed[0].sequence), failed[0].error or "")
                    self._advance(window, left)
                # One that is refused takes those with it that it was sent with.
                alone = True
            elif failed:
                self._down(failed[0].error or "")
                self._closing.wait(AGAIN_S)

    def _await(self, batch: Sequence[Publication], left: dict[int, Publication]) -> list[Outcome]:
        """Wait for the outcome of each; take what is acknowledged off ``left``, give the rest."""
        failed: list[Outcome] = []
        open_still = {message.sequence for message in batch}
        heard = time.monotonic()
        while open_still and not self._closing.is_set():
            found = self._publisher.outcomes(POLL_S)
            for outcome in found:
                open_still.discard(outcome.sequence)
                if outcome.error is None:
                    left.pop(outcome.sequence, None)
                else:
                    failed.append(outcome)
            if any(outcome.error is None for outcome in found):
                heard = time.monotonic()
                self._up()
            elif time.monotonic() - heard > self._timeout_s:
                self._down(self._publisher.trouble or "no answer")
        return failed

    def _advance(self, window: Sequence[Publication], left: dict[int, Publication]) -> None:
        faults.point("publication.acknowledged")
        following = min(left, default=window[-1].sequence + 1)
        if following > self._next:
            self._outbox.advance(following)
            self._next = following

    def _refuse(self, message: Publication, reason: str) -> None:
        self._outbox.refuse(message.sequence, reason)
        self._tell(
            "PUBLISH_REFUSED",
            Severity.WARNING,
            f"{self._name} refuses message {message.sequence} of {len(message.content):,} "
            f"characters for good: {reason}. It is passed over, and stays in the database.",
        )

    def _down(self, reason: str) -> None:
        if not self._is_down:
            self._is_down = True
            self._outbox.failing(reason)
            self._tell(
                "PUBLISH_DOWN",
                Severity.WARNING,
                f"{self._name} takes no messages: {reason}. They are kept, and sent when it does.",
            )

    def _up(self) -> None:
        if self._is_down:
            self._is_down = False
            self._tell("PUBLISH_BACK", Severity.INFO, f"{self._name} takes messages again.")

    def _tell(self, event_type: str, severity: Severity, description: str) -> None:
        self._alarm(
            RiskEvent(
                event_type=event_type,
                severity=severity,
                strategy_id=None,
                symbol=None,
                limit=None,
                value=0.0,
                action_taken="NONE",
                description=description,
                ts_event=WallClock().now(),
            )
        )
