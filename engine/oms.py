"""The reference exchange: the simulated venue behind real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from engine.config import Config
from engine.domain.clients import ClientGone, ClientRequest, FromClient
from engine.domain.market import MarketEvent
from engine.domain.orders import Order
from engine.errors import ConfigError, EngineHaltedError
from engine.oms_ports import OmsEdge, OmsState
from engine.ports import MarketHistory
from engine.runtime.clock import EventClock, ReplayClock
from engine.runtime.hosting import CellSpec
from engine.runtime.inputs import Input, Told
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.sim_runtime import EVENTS_OF
from engine.runtime.supervision import Role
from engine.wiring import DESK, KIND_TYPES, build_oms

__all__ = ["ReferenceOms"]

Ask = Callable[[FromClient | ClientGone], None]

_NS = 1_000_000_000
_CAPACITY = 100_000
_DEADLINE_S = 5.0
_REPLAY_S = 3_600.0
"""Handling what an earlier life was asked again is part of starting."""


def default_speed(history: MarketHistory) -> float:
    """Give the speed at which the shortest bar takes a second; real time for trades and quotes."""
    if not history.interval_ns:
        return 1.0
    return min(history.interval_ns.values()) / _NS


class ReferenceOms:
    """Takes orders of clients and fills them by the rules of docs/fills.md from market data files.

    Time is that of the data: it starts at the first bar's open and moves at a multiple of real
    time; orders are stamped with it when they arrive.

    Args:
        config: sections ``fill``, ``costs`` and ``orders`` are used.
        history: the market data.
        edge: makes the side that clients talk to, of what carries a request to the desk; the
            answers go to the session that it names. That raises ``EngineHaltedError`` when the
            desk or the venue has failed, or is not started.
        speed: seconds of data in a real second, above zero; None lets time move with the data
            alone, which is fed as fast as it comes.
        state: keeps what it was asked, so that it goes on where it was; None forgets at the end.
        keep: takes what is reported on orders, before anybody is told.
    """

    def __init__(
        self,
        config: Config,
        history: MarketHistory,
        edge: Callable[[Ask], OmsEdge],
        *,
        speed: float | None,
        state: OmsState | None = None,
        keep: Callable[[Any], None] | None = None,
    ) -> None:
        self._history = history
        self._state = state
        self._header = _header(config, history)
        self._edge = edge(self._ask)
        first = min(_opens(history))
        kind = KIND_TYPES[history.kind]
        overflow: dict[type, Overflow] = {
            kind: Overflow.WAIT,
            FromClient: Overflow.HALT,
            ClientGone: Overflow.HALT,
        }
        self._clock = EventClock(first) if speed is None else ReplayClock(first, speed)
        kept: dict[str, Any] = {}
        if state is not None:
            kept = {"tap": state.keep, "history": lambda: self._again(state)}
        self._runtime = PykkaRuntime(
            [
                CellSpec(
                    name="oms",
                    role=Role.CORE,
                    actors=lambda: build_oms(
                        config,
                        history.instruments,
                        self._edge.deliver,
                        _both(None if state is None else state.report, keep),
                    ),
                    mailbox=MailboxRules(
                        capacity=_CAPACITY,
                        deadline_s=_DEADLINE_S,
                        overflow=overflow,
                        urgent=frozenset(),
                    ),
                    restart=None,
                    **kept,
                )
            ],
            {kind: [DESK]},
            clock=self._clock,
            dead_letters_max=100,
        )

    def _ask(self, message: FromClient | ClientGone) -> None:
        self._runtime.tell(DESK, message)

    def ask(self, session: int, request: ClientRequest) -> None:
        """Put a request before the desk; what it has to say to it is delivered on return.

        Raises:
            EngineHaltedError: the desk or the venue has failed, or does not answer.
        """
        try:
            self._runtime.ask(DESK, FromClient(session, request), timeout_s=_DEADLINE_S)
        except TimeoutError as error:
            raise EngineHaltedError(str(error)) from error

    def start(self) -> None:
        """Start the desk and the venue, as they were; the data stands still, nobody is served.

        Raises:
            ConfigError: the state cannot be gone on with.
        """
        if self._state is not None:
            self._state.open(self._header)
        try:
            self._runtime.start(timeout_s=_REPLAY_S if self._state is not None else _DEADLINE_S)
        except EngineHaltedError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, ConfigError):
                cause = cause.__cause__
            raise cause or error from None
        if self._state is not None and self._state.ts and isinstance(self._clock, ReplayClock):
            self._clock.go_on(self._state.ts)

    def serve(self, host: str, port: int) -> int:
        """Take orders from now on; give the port.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        return self._edge.start(host, port)

    def run(
        self, let_through: Callable[[Iterator[MarketEvent]], Iterator[MarketEvent]] = iter
    ) -> int:
        """Feed the data at its pace from where it was; give how many events there were to feed.

        Args:
            let_through: gives the events on, when it likes.

        Raises:
            EngineHaltedError: the desk or the venue failed.
        """
        done = 0 if self._state is None else self._state.events
        return self._runtime.feed(let_through(islice(self._events(), done, None)))

    def wait(self, timeout_s: float) -> None:
        """Go on serving for so many seconds.

        Raises:
            EngineHaltedError: the desk or the venue failed.
        """
        if self._runtime.wait_ended(timeout_s):
            self.stop()  # only then is everything known
            raise EngineHaltedError(str(self._runtime.failures[-1]))

    def stop(self) -> None:
        """Stop taking orders, then the desk and the venue; within ten seconds. May be repeated."""
        self._edge.stop(timeout_s=_DEADLINE_S)
        # A system that is kept only leaves off, as a killed one does: its orders work on.
        self._runtime.stop(timeout_s=_DEADLINE_S, closing=self._state is None)
        if self._state is not None:
            self._state.close()

    def _again(self, state: OmsState) -> Iterator[Input]:
        for entered in state.history(self._events()):
            if isinstance(entered, Told) and isinstance(entered.message, FromClient):
                request = entered.message.request
                if isinstance(request, Order):
                    self._edge.recall(request)
            yield entered

    def _events(self) -> Iterator[MarketEvent]:
        make = EVENTS_OF[self._history.kind]
        for frame in self._history.chunks():
            yield from make(frame.to_dict(as_series=False), self._history.instruments)


def _both(
    first: Callable[[Any], None] | None, second: Callable[[Any], None] | None
) -> Callable[[Any], None] | None:
    """Give what takes an event to both; None when there is neither."""
    if first is None or second is None:
        return first or second

    def both(event: Any) -> None:
        first(event)
        second(event)

    return both


def _opens(history: MarketHistory) -> Iterator[int]:
    yield history.ts_first
    if history.kind == "bar":
        yield int(next(history.chunks(1))["ts_open"][0])


def _header(config: Config, history: MarketHistory) -> dict[str, Any]:
    """Give what decides what comes of a request; a state goes on under nothing else."""
    return {
        "data": history.data_hash,
        "fill": msgspec.to_builtins(config.fill),
        "costs": msgspec.to_builtins(config.costs),
        "keep_closed": config.orders.keep_closed,
    }
