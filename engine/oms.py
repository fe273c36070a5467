"""The reference Order Management System: the simulated venue behind real sockets."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config import Config
from engine.domain.clients import ClientGone, FromClient
from engine.domain.market import MarketEvent
from engine.errors import EngineHaltedError
from engine.ports import MarketHistory
from engine.runtime.clock import ReplayClock
from engine.runtime.hosting import CellSpec
from engine.runtime.mailbox import MailboxRules, Overflow
from engine.runtime.pykka_runtime import PykkaRuntime
from engine.runtime.sim_runtime import EVENTS_OF
from engine.runtime.supervision import Role
from engine.wiring import DESK, KIND_TYPES, build_oms, open_oms_server

__all__ = ["ReferenceOms"]

_NS = 1_000_000_000
_CAPACITY = 100_000
_DEADLINE_S = 5.0


def default_speed(history: MarketHistory) -> float:
    """Give the speed at which the shortest bar takes a second; real time for trades and quotes."""
    if not history.interval_ns:
        return 1.0
    return min(history.interval_ns.values()) / _NS


class ReferenceOms:
    """Takes orders over gRPC and fills them by the rules of docs/fills.md from market data files.

    Time is that of the data: it starts at the first bar's open and moves at a multiple of real
    time; orders are stamped with it when they arrive.

    Args:
        config: sections ``fill``, ``costs`` and ``orders`` are used.
        history: the market data.
        speed: seconds of data in a real second, above zero.
        extended: offer ``tetrad.oms.v1.OrderLink`` beside ``order.OrderService``.
    """

    def __init__(
        self, config: Config, history: MarketHistory, *, speed: float, extended: bool
    ) -> None:
        self._history = history
        self._server = open_oms_server(history.instruments, self.ask, extended=extended)
        first = min(_opens(history))
        kind = KIND_TYPES[history.kind]
        overflow: dict[type, Overflow] = {
            kind: Overflow.WAIT,
            FromClient: Overflow.HALT,
            ClientGone: Overflow.HALT,
        }
        self._runtime = PykkaRuntime(
            [
                CellSpec(
                    name="oms",
                    role=Role.CORE,
                    actors=lambda: build_oms(config, history.instruments, self._server.deliver),
                    mailbox=MailboxRules(
                        capacity=_CAPACITY,
                        deadline_s=_DEADLINE_S,
                        overflow=overflow,
                        urgent=frozenset(),
                    ),
                    restart=None,
                )
            ],
            {kind: [DESK]},
            clock=ReplayClock(first, speed),
            dead_letters_max=100,
        )

    def ask(self, message: FromClient | ClientGone) -> None:
        """Put a request before the desk; the answer goes to the stream that it names.

        Raises:
            EngineHaltedError: the desk or the venue has failed, or it is not started.
        """
        self._runtime.tell(DESK, message)

    def start(self, host: str, port: int) -> int:
        """Take orders from now on; give the port.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        self._runtime.start(timeout_s=_DEADLINE_S)
        return self._server.start(host, port)

    def run(self) -> int:
        """Feed the data at its pace to its end; give how many events there were.

        Raises:
            EngineHaltedError: the desk or the venue failed.
        """
        return self._runtime.feed(self._events())

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
        self._server.stop(timeout_s=_DEADLINE_S)
        self._runtime.stop(timeout_s=_DEADLINE_S)

    def _events(self) -> Iterator[MarketEvent]:
        make = EVENTS_OF[self._history.kind]
        for frame in self._history.chunks():
            yield from make(frame.to_dict(as_series=False), self._history.instruments)


def _opens(history: MarketHistory) -> Iterator[int]:
    yield history.ts_first
    if history.kind == "bar":
        yield int(next(history.chunks(1))["ts_open"][0])
