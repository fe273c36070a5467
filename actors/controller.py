"""The controller: decides what becomes of the run when something fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.domain.events import StrategyFailed
from engine.runtime.actor import Actor, Handler


class Controller(Actor):
    """Applies the supervision policy of the profile to failed strategies.

    Args:
        name: actor name.
        stop_run: ends the run after the event being handled; None goes on without the
            failed strategy, which its host has quarantined.
    """

    def __init__(self, name: str, *, stop_run: Callable[[], None] | None) -> None:
        super().__init__(name)
        self._stop_run = stop_run

    def handlers(self) -> Mapping[type, Handler]:
        """Handle failures."""
        return {StrategyFailed: self.on_strategy_failed}

    def on_strategy_failed(self, failed: StrategyFailed) -> None:
        """Stop the run when the policy says so."""
        if self._stop_run is not None:
            self._stop_run()
