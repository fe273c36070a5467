"""How a run hears of strategies that are to begin and to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from engine.config import Config
from engine.errors import EngineHaltedError
from engine.ports import RunHeader
from engine.runtime.hosting import CellSpec
from engine.runtime.inputs import Told
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.wiring.executions import LISTENER, build_listener, new_heard, open_listening

__all__ = ["Listening"]

CLOSE_S = 10.0


class Listening:
    """Listens for one run; where its one execution begins with it, to nobody.

    Args:
        config: the resolved profile.
        header: the run.
    """

    def __init__(self, config: Config, header: RunHeader) -> None:
        self._config = config
        self._header = header
        self._heard = new_heard(config)
        self._is_silent = header.executions == "one"

    def recall(self, entered: Any) -> None:
        """Take in what entered the run before a restart."""
        if not self._is_silent:
            self._heard.recall(entered.message if isinstance(entered, Told) else entered)

    def cells(self) -> Sequence[CellSpec]:
        """Make the cell that messages come through."""
        if self._is_silent:
            return ()
        return (build_listener(self._config, self._header, self._heard),)

    @contextmanager
    def hearing(self, runtime: PykkaRuntime) -> Iterator[None]:
        """Listen while the block lasts.

        Raises:
            InputError: what is to be listened to is not there.
            UnavailableError: the broker does not answer.
        """
        if self._is_silent:
            yield
            return

        def report(message: Any) -> None:
            with suppress(EngineHaltedError):  # nobody is left to hear it
                runtime.tell(LISTENER, message)

        feed = open_listening(self._config, self._header, self._heard)
        try:
            feed.open(self._heard.positions, report)
            yield
        finally:
            feed.close(timeout_s=CLOSE_S)
