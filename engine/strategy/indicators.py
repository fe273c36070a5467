"""Indicators as a strategy holds them: declared once, read by value and into the past.

A :class:`Source` is a series of bars per symbol: the data's own, or an aggregation of it. The
strategy declares what to compute on a source; the host evaluates it, in batch when the data is
known beforehand and streaming otherwise, and points the source's :class:`Frame` at the symbol
and row being handled. Reading costs two look-ups, whatever the number of indicators, and no row
after the current one can be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.domain.aggregation import parse_every
from engine.domain.market import Bar
from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.analytics.indicators import Indicator, IndicatorSpec, Plan

__all__ = ["Frame", "IndicatorHandle", "Source", "Studies"]


class _Nothing(Sequence[Sequence[float]]):
    """The columns of a source before its first event."""

    def __getitem__(self, at: Any) -> Any:
        raise IndexError(
            "an indicator has no value before its first bar; read it in on_bar, not in on_start"
        )

    def __len__(self) -> int:
        return 0


class Frame:
    """Where a source stands: the columns of one symbol and the current row."""

    __slots__ = ("columns", "index")

    def __init__(self) -> None:
        self.columns: Sequence[Sequence[float]] = _Nothing()
        self.index = -1


class IndicatorHandle:
    """One declared indicator.

    ``handle.value`` is the current value, NaN while it is not ready; ``handle[-1]`` the same
    and ``handle[-2]`` the one before. An indicator with several outputs reads as its first;
    the others are attributes by their TA-Lib names (``macd.macdsignal``).
    """

    __slots__ = ("_frame", "_output", "_slot", "_source", "spec")

    def __init__(self, source: Source, spec: Indicator, output: int, frame: Frame) -> None:
        self.spec = spec
        self._source = source
        self._output = output
        self._frame = frame
        self._slot = 0

    @property
    def value(self) -> float:
        """Current value of the symbol being handled."""
        frame = self._frame
        return frame.columns[self._slot][frame.index]

    def __getitem__(self, offset: int) -> float:
        frame = self._frame
        row = frame.index + offset + 1
        if offset >= 0 or row < 0:
            raise IndexError(
                f"an indicator is read from the present, [-1], into the past; "
                f"[{offset}] is not there"
            )
        return frame.columns[self._slot][row]

    @property
    def ready(self) -> bool:
        """True once the current value is a number."""
        frame = self._frame
        if frame.index < 0:
            return False
        value = frame.columns[self._slot][frame.index]
        return value == value  # NaN is the one number that differs from itself

    def of(self, symbol: str) -> IndicatorHandle:
        """Give the handle of one symbol, whichever symbol is being handled."""
        return self._source.handle_of(self.spec, self._output, symbol)

    def __getattr__(self, name: str) -> IndicatorHandle:
        spec = _whole(object.__getattribute__(self, "spec"))
        if name in spec.outputs:
            return self._source.handle(spec, spec.outputs.index(name))
        raise AttributeError(f"{spec} has no output {name!r} (it has: {', '.join(spec.outputs)})")

    def __repr__(self) -> str:
        return f"<{self.spec}>"


def _whole(spec: Indicator) -> IndicatorSpec:
    """Give the indicator of an output; an indicator is its own."""
    return cast("IndicatorSpec", getattr(spec, "spec", spec))


class Source:
    """One series of bars per symbol and the indicators declared on it.

    Args:
        every: how the data's bars are aggregated; None for the data's own bars.
        then: called with each completed aggregated bar.
    """

    def __init__(self, every: str | None = None, then: Callable[[Bar], None] | None = None) -> None:
        self.every = every
        self.then = then
        self.frame = Frame()
        self.frames: dict[str, Frame] = {}
        self.plan: Plan | None = None
        self._handles: dict[tuple[Indicator, int, str], IndicatorHandle] = {}

    def handle(self, spec: Indicator, output: int = 0) -> IndicatorHandle:
        """Give the handle of one output of a spec, for the symbol being handled."""
        return self._handle(spec, output, "", self.frame)

    def handle_of(self, spec: Indicator, output: int, symbol: str) -> IndicatorHandle:
        """Give the handle of one output for one symbol."""
        return self._handle(spec, output, symbol, self.frame_of(symbol))

    def frame_of(self, symbol: str) -> Frame:
        """Give the frame that stays with one symbol."""
        return self.frames.setdefault(symbol, Frame())

    def _handle(self, spec: Indicator, output: int, symbol: str, frame: Frame) -> IndicatorHandle:
        key = (spec, output, symbol)
        handle = self._handles.get(key)
        if handle is None:
            handle = self._handles[key] = IndicatorHandle(self, spec, output, frame)
            self._settle(handle)
        return handle

    def _settle(self, handle: IndicatorHandle) -> None:
        if self.plan is not None:
            handle._slot = self.plan.slot(handle.spec, handle._output)

    @property
    def specs(self) -> list[Indicator]:
        """The declared specs, without repetitions, in order."""
        return list(dict.fromkeys(handle.spec for handle in self._handles.values()))

    def build(self, calendar: str) -> None:
        """Fix the set of indicators; what is declared later must already be among them."""
        if not self._handles:
            return
        # Imported here: a strategy without indicators does not pay for TA-Lib.
        from engine.analytics.indicators import Plan

        self.plan = Plan(self.specs, calendar)
        for handle in self._handles.values():
            self._settle(handle)

    @property
    def lookback(self) -> int:
        """Rows before the first at which every indicator is ready."""
        return max((_whole(spec).lookback for spec in self.specs), default=0)

    def close(self) -> None:
        """Let go of the columns: in a replay they are as long as the data."""
        for frame in (self.frame, *self.frames.values()):
            frame.columns = ()


class Studies:
    """What one strategy declared in ``on_start``: sources, indicators and timers."""

    def __init__(
        self, set_timer: Callable[[str, int], None], schedule: Callable[[str, str], None]
    ) -> None:
        self.base = Source()
        self.aggregates: list[Source] = []
        self.set_timer = set_timer
        self.schedule = schedule
        self._closed = False

    def use(self, spec: Indicator, on: Source | None) -> IndicatorHandle:
        """Declare an indicator."""
        self._declare("use")
        if not hasattr(_whole(spec), "lookback"):
            raise ConfigError(f"self.use(...) takes an indicator such as ta.SMA(10), not {spec!r}")
        source = self.base if on is None else on
        return source.handle(spec)

    def aggregate(self, every: str, then: Callable[[Bar], None] | None) -> Source:
        """Declare an aggregation."""
        self._declare("aggregate")
        parse_every(every)
        source = Source(every, then)
        self.aggregates.append(source)
        return source

    def _declare(self, what: str) -> None:
        if self._closed:
            raise ConfigError(f"self.{what}(...) belongs in on_start, before the first event")

    def build(self, calendar: str) -> None:
        """Close the declarations and fix every source's indicators."""
        self._closed = True
        for source in (self.base, *self.aggregates):
            source.build(calendar)

    def close(self) -> None:
        """Let go of what the indicators hold; they can no longer be read."""
        for source in (self.base, *self.aggregates):
            source.close()
