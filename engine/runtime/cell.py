"""A cell: actors that share one thread, one queue and one rule of order.

A cell knows nothing of threads. :mod:`engine.runtime.sim_runtime` drives one from data files in
virtual time; :mod:`engine.runtime.pykka_runtime` gives each its own thread and joins them with
``tell``. See :mod:`engine.runtime.actor` for the rule of order.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from engine.domain.market import Bar, Quote, Trade
from engine.errors import InvariantError
from engine.runtime.actor import Actor, Handler

__all__ = ["Cell", "Lane", "Outlet", "Routes"]

MARKET_TYPES: tuple[type, ...] = (Bar, Trade, Quote)
NEVER = 2**63 - 1

Routes = Mapping[type, Sequence[str]]
"""Message type -> names of the actors that receive it when published, in order.

A name may be that of a group: it stands for the actors that are in it at the time."""

Outlet = Callable[[str, Any], None]
"""Carries a message to an actor outside the cell: ``(actor name, message)``."""


class Lane:
    """One symbol's way through a cell: who receives its market events, and the latest one.

    ``handlers`` is replaced, never changed in place, so a loop over it is safe while an actor
    comes or goes. It is compiled per (type, symbol): no lookup by type on the hot path.
    """

    __slots__ = ("_fixed", "_watching", "handlers", "last", "symbol")

    def __init__(self, symbol: str, fixed: tuple[Handler, ...]) -> None:
        self.symbol = symbol
        self.last: Any = None
        self._fixed = fixed
        self._watching: tuple[Handler, ...] = ()
        self.handlers = fixed

    def watch(self, handler: Handler) -> None:
        """Put a handler ahead of the fixed ones, behind those already watching."""
        if not self._watching:
            self._watching = (handler,)
            self.handlers = (handler, *self._fixed)
        elif handler not in self._watching:
            self._watching = (*self._watching, handler)
            self.handlers = self._watching + self._fixed

    def fix(self, fixed: tuple[Handler, ...]) -> None:
        """Take other handlers for the fixed ones."""
        self._fixed = fixed
        self.handlers = self._watching + fixed

    def unwatch(self, handler: Handler) -> None:
        """Take a handler out; unknown handlers are ignored."""
        if self._watching == (handler,):
            self._watching = ()
            self.handlers = self._fixed
        elif handler in self._watching:
            self._watching = tuple(h for h in self._watching if h != handler)
            self.handlers = self._watching + self._fixed


class CellContext:
    """The :class:`~engine.runtime.actor.Context` of one actor in one cell."""

    __slots__ = ("_actor", "_cell", "_watched", "lane", "last", "publish", "send")

    def __init__(self, cell: Cell, actor: Actor) -> None:
        self._cell = cell
        self._actor = actor
        self._watched: dict[str, tuple[Lane, Handler]] = {}
        # Bound once: an actor's publish is then one call, not two.
        self.publish = cell.publish
        self.send = cell.send
        self.last = cell.last
        self.lane = cell.lane

    # Current time of the cell, UTC nanoseconds; a getter in C, because everybody asks.
    now = property(attrgetter("_cell.now"))

    def set_timer(self, ts: int, message: Any) -> int:
        """Deliver ``message`` to this actor at ``ts``; give the timer's number."""
        return self._cell.set_timer(self._actor.name, ts, message)

    def cancel_timer(self, timer: int) -> None:
        """Forget a timer; unknown numbers are ignored."""
        self._cell.cancel_timer(timer)

    def watch(self, symbol: str) -> None:
        """Receive a symbol's market events ahead of the fixed destinations."""
        lane, handler = self._watched.get(symbol) or self._place(symbol)
        lane.watch(handler)

    def unwatch(self, symbol: str) -> None:
        """Stop receiving a symbol's market events."""
        lane, handler = self._watched.get(symbol) or self._place(symbol)
        lane.unwatch(handler)

    def admit(self, actor: Actor) -> None:
        """Let an actor into the group that this one leads, and start it."""
        self._cell.admit(self._group(), actor)

    def dismiss(self, actor: str) -> None:
        """Take an actor out of the group that this one leads."""
        self._cell.dismiss(self._group(), actor)

    def _group(self) -> str:
        group = self._actor.leads
        if group is None:
            raise InvariantError(f"{self._actor.name} leads no group of actors")
        return group

    def _place(self, symbol: str) -> tuple[Lane, Handler]:
        cell = self._cell
        place = cell.lane(symbol), cell.market_handler(self._actor, symbol)
        self._watched[symbol] = place
        return place


class Cell:
    """Actors, their compiled routes, the queue between them and their timers.

    Args:
        name: name of the cell.
        actors: the actors that live here.
        routes: type -> actor names, over the whole engine; names that are not local go to
            ``outlet``.
        outlet: carries messages to other cells; None when there are none.
        on_timer_change: called with the earliest deadline whenever it changes (real-time
            runtimes arm a clock with it).
        absorbs: what an actor may deal with itself. In the main thread not the user's Ctrl-C.

    Attributes:
        failed: name of the actor whose failure it did not deal with, and the message; None
            before that.
    """

    def __init__(
        self,
        name: str,
        actors: Sequence[Actor],
        routes: Routes,
        *,
        outlet: Outlet | None = None,
        on_timer_change: Callable[[int], None] | None = None,
        absorbs: tuple[type[BaseException], ...] = (Exception, SystemExit),
    ) -> None:
        self.name = name
        self.now = 0
        self.actors = {actor.name: actor for actor in actors}
        self.queue: deque[tuple[tuple[Handler, ...], Any]] = deque()
        self.deadline = NEVER
        self._outlet = outlet
        self._on_timer_change = on_timer_change
        self._absorbs = absorbs
        self.failed: tuple[str, Any] | None = None
        self._routes = routes
        self._groups: dict[str, list[str]] = {
            actor.leads: [] for actor in actors if actor.leads is not None
        }
        self._lanes: dict[str, Lane] = {}
        self._timers: list[tuple[int, int, tuple[Handler, ...], Any]] = []
        self._timer_count = 0
        self._dead_timers: set[int] = set()
        self._owners: dict[int, Actor] = {}
        self._local = {actor.name: dict(actor.handlers()) for actor in actors}
        self._direct = {
            name: {kind: (handler,) for kind, handler in table.items()}
            for name, table in self._local.items()
        }
        self._published = {kind: self._compile(kind, names) for kind, names in routes.items()}
        for actor in actors:
            actor.bind(CellContext(self, actor))

    def _compile(self, kind: type, names: Sequence[str]) -> tuple[Handler, ...]:
        return tuple(self._handler(name, kind) for name in self._members(names))

    def _members(self, names: Iterable[str]) -> Iterator[str]:
        """Give names of actors for names of actors and groups."""
        for name in names:
            yield from self._groups.get(name, (name,))

    def admit(self, group: str, actor: Actor) -> None:
        """Let an actor into a group, and start it."""
        if actor.name in self.actors:
            raise InvariantError(f"{actor.name} is in cell {self.name} already")
        name, table = actor.name, dict(actor.handlers())
        self.actors[name] = actor
        self._local[name] = table
        self._direct[name] = {kind: (handler,) for kind, handler in table.items()}
        actor.bind(CellContext(self, actor))
        # Before anything is routed to it: what it receives may depend on how it started.
        self._run_hook(actor.on_start)
        self._groups[group].append(name)
        self._route_group(group)

    def dismiss(self, group: str, name: str) -> None:
        """Take an actor out of a group; what is queued for it by now still reaches it."""
        self._groups[group].remove(name)
        actor = self.actors.pop(name)
        del self._local[name], self._direct[name]
        self._route_group(group)
        self._owners = {key: owner for key, owner in self._owners.items() if owner is not actor}

    def _route_group(self, group: str) -> None:
        """Compile anew what is routed to a group. What is being delivered goes on as it was."""
        for kind, names in self._routes.items():
            if group in names:
                self._published[kind] = self._compile(kind, names)
        for symbol, lane in self._lanes.items():
            lane.fix(self._fixed_handlers(symbol))

    def _handler(self, name: str, kind: type) -> Handler:
        table = self._local.get(name)
        if table is None:
            outlet = self._outlet
            if outlet is None:
                raise InvariantError(f"{kind.__name__} is routed to {name!r}, which is in no cell")
            return _Outbound(outlet, name)
        if kind not in table:
            raise InvariantError(f"{kind.__name__} is routed to {name!r}, which cannot handle it")
        return table[kind]

    def market_handler(self, actor: Actor, symbol: str) -> Handler:
        """Give the handler of one actor for one symbol's market events.

        An actor may offer ``market_handler(symbol)`` to receive a function made for the symbol;
        otherwise the events go to its handler of their type.
        """
        made = getattr(actor, "market_handler", None)
        if made is not None:
            handler: Handler = made(symbol)
            self._owners[id(handler)] = actor
            return handler
        table = self._local[actor.name]
        kinds = [kind for kind in MARKET_TYPES if kind in table]
        if len(kinds) == 1:
            return table[kinds[0]]
        return _ByType(actor, {kind: table[kind] for kind in kinds})

    def lane(self, symbol: str) -> Lane:
        """Give the lane of a symbol, making it on first use."""
        lane = self._lanes.get(symbol)
        if lane is None:
            lane = self._lanes[symbol] = Lane(symbol, self._fixed_handlers(symbol))
        return lane

    def _fixed_handlers(self, symbol: str) -> tuple[Handler, ...]:
        names: dict[str, None] = {}
        for kind in MARKET_TYPES:
            names.update(dict.fromkeys(self._members(self._routes.get(kind, ()))))
        handlers: list[Handler] = []
        for name in names:
            actor = self.actors.get(name)
            if actor is None:
                outlet = self._outlet
                if outlet is None:
                    raise InvariantError(f"market events are routed to {name!r}, in no cell")
                handlers.append(_Outbound(outlet, name))
            elif symbol in getattr(actor, "symbols", (symbol,)):
                handlers.append(self.market_handler(actor, symbol))
        return tuple(handlers)

    def last(self, symbol: str) -> Any:
        """Give the latest market event of a symbol, or None."""
        lane = self._lanes.get(symbol)
        return None if lane is None else lane.last

    def publish(self, message: Any) -> None:
        """Queue a message for everyone routed to its type."""
        self.queue.append((self._published[type(message)], message))

    def send(self, actor: str, message: Any) -> None:
        """Queue a message for one actor, here or in another cell."""
        table = self._direct.get(actor)
        if table is None:
            if self._outlet is None:
                raise InvariantError(f"{type(message).__name__} sent to {actor!r}, in no cell")
            self._outlet(actor, message)
            return
        self.queue.append((table[type(message)], message))

    def drain(self) -> None:
        """Handle everything queued, first in, first out, with what that causes."""
        queue = self.queue
        popleft = queue.popleft
        while queue:
            handlers, message = popleft()
            for handler in handlers:
                try:
                    handler(message)
                except BaseException as error:
                    if not self.absorbed(handler, message, error):
                        raise

    def absorbed(self, handler: Callable[..., None], message: Any, error: BaseException) -> bool:
        """Ask the actor whose handler raised whether it can deal with that."""
        owner = self._owners.get(id(handler)) or getattr(handler, "__self__", None)
        actor = owner if isinstance(owner, Actor) else None
        if actor is None or not isinstance(error, self._absorbs):
            dealt_with = False
        else:
            dealt_with = actor.on_failure(message, error)
        if dealt_with:
            return True
        self.failed = (self.name if actor is None else actor.name, message)
        return False

    def call(self, handler: Handler, message: Any) -> None:
        """Run one handler, under the same care, and settle what it causes."""
        try:
            handler(message)
        except BaseException as error:
            if not self.absorbed(handler, message, error):
                raise
        if self.queue:
            self.drain()

    def deliver_market(self, event: Any) -> None:
        """Let one market event in: destination by destination, settling in between."""
        lane = self.lane(event.symbol)
        lane.last = event
        for handler in lane.handlers:
            self.call(handler, event)

    def deliver(self, actor: str, message: Any) -> None:
        """Hand one message from outside to one actor and settle what it causes."""
        self.call(self._local[actor][type(message)], message)

    def set_timer(self, actor: str, ts: int, message: Any) -> int:
        """Queue a message for a local actor at a time; give the timer's number."""
        self._timer_count += 1
        handlers = (self._local[actor][type(message)],)
        heapq.heappush(self._timers, (ts, self._timer_count, handlers, message))
        self._deadline_changed()
        return self._timer_count

    def cancel_timer(self, timer: int) -> None:
        """Forget a timer."""
        self._dead_timers.add(timer)

    def _deadline_changed(self) -> None:
        deadline = self._timers[0][0] if self._timers else NEVER
        if deadline != self.deadline:
            self.deadline = deadline
            if self._on_timer_change is not None:
                self._on_timer_change(deadline)

    def fire_timers(self, before: int) -> None:
        """Run every timer with a deadline earlier than ``before``, in order, in virtual time."""
        timers = self._timers
        while timers and timers[0][0] < before:
            ts, number, handlers, message = heapq.heappop(timers)
            self._deadline_changed()
            if number in self._dead_timers:
                self._dead_timers.discard(number)
                continue
            if ts > self.now:
                self.now = ts
            for handler in handlers:
                self.call(handler, message)

    def start(self) -> None:
        """Run every actor's ``on_start`` in order and settle it."""
        self._each("on_start")

    def stop(self) -> None:
        """Run every actor's ``on_stop`` in order and settle it."""
        self._each("on_stop")

    def end_batch(self) -> None:
        """Tell every actor that a batch of input has been handled, and handle what that causes."""
        for actor in self.actors.values():
            actor.on_batch()
        if self.queue:
            self.drain()

    def _each(self, hook: str) -> None:
        for actor in tuple(self.actors.values()):
            self._run_hook(getattr(actor, hook))
            self.drain()

    def _run_hook(self, hook: Callable[[], None]) -> None:
        try:
            hook()
        except BaseException as error:
            if not self.absorbed(hook, None, error):
                raise

    def bind_symbols(self, symbols: Iterable[str]) -> None:
        """Make the lanes of all symbols now rather than at their first event."""
        for symbol in symbols:
            self.lane(symbol)


class _Outbound:
    """A handler that carries messages to an actor in another cell."""

    __slots__ = ("_actor", "_outlet")

    def __init__(self, outlet: Outlet, actor: str) -> None:
        self._outlet = outlet
        self._actor = actor

    def __call__(self, message: Any) -> None:
        self._outlet(self._actor, message)


class _ByType:
    """A handler that chooses by the event's type; equal when its table is."""

    __slots__ = ("__self__", "table")

    def __init__(self, actor: Actor, table: dict[type, Handler]) -> None:
        self.__self__ = actor  # as a bound method has it: whom to ask about a failure
        self.table = table

    def __call__(self, event: Any) -> None:
        self.table[type(event)](event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByType) and self.table == other.table

    def __hash__(self) -> int:
        return hash(tuple(self.table))
