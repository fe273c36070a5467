"""What it takes to do a request, and to find out what has become of the orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from adapters.alpaca.activities import Activities
from adapters.alpaca.book import Book, Watched
from adapters.alpaca.calls import Call, Found, Listed, Missing, Refused, Spoiled
from adapters.alpaca.client import Client, NoReplyError, Reply
from adapters.alpaca.endpoint import Endpoint
from adapters.alpaca.orders import (
    DONE,
    ORDERS,
    Orders,
    SpoiledError,
    filled_of,
    path_of,
    qty,
    unclear,
)
from adapters.alpaca.wire import (
    QTY_DECIMALS,
    FillSaid,
    OrderSaid,
    base_id,
    quantity,
    refusal_of,
)
from engine.domain.money import format_units

__all__ = ["Desk"]

_DEFINITE = frozenset({400, 403, 404, 422})
_FAILED = frozenset({"rejected", "canceled", "expired"})
_NOT_UNIQUE = "client_order_id must be unique"
_LINGER_S = 60.0  # late executions are looked for so long after the last order has ended
_PART = 0.8  # of the time to answer a query in; the link gives it up after that
_SOON_S = 0.25
_TOLD_MAX = 1_000


class Desk:
    """Carries requests out and looks at what is open; from several threads.

    Args:
        client: asks the broker.
        endpoint: how long that may take.
        book: the watched orders.
        activities: their executions.
        say: takes what was found out, and the bytes it was read from.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        book: Book,
        activities: Activities,
        say: Callable[[object, bytes], None],
    ) -> None:
        self._client = client
        self._timeout_s = endpoint.timeout_s
        self._again_s = max(endpoint.poll_s, _SOON_S)
        self._book = book
        self._activities = activities
        self._say = say
        self._orders = Orders(client, endpoint.timeout_s, self._bad)
        self._strangers: set[str] = set()
        self._told: set[int] = set()  # parts of answers
        self._lock = threading.Lock()
        self._looking = threading.Lock()  # by one thread at a time
        self._carry: Mapping[str, Callable[[Call, Watched], None]] = {
            "order": self._post,
            "cancel": self._cancel,
            "replace": self._replace,
            "query": self._query,
        }

    def carry(self, call: Call) -> None:
        """Carry a request out and say what came of it.

        Raises:
            NoReplyError: nothing came back; nobody knows.
        """
        if call.about == "list":
            self._list()
            return
        watched = self._book.watch(call.wire_id)
        watched.is_busy = True
        try:
            self._carry[call.about](call, watched)
        except SpoiledError as error:
            self._spoil(watched, *error.args, again=True)
        finally:
            watched.is_busy = False

    # Requests.

    def _post(self, call: Call, watched: Watched) -> None:
        watched.posted_at = time.monotonic()
        watched.cancel_asked = False
        body = msgspec.json.encode(call.fields)
        reply = self._client.tell("POST", ORDERS, body=body, timeout_s=self._timeout_s)
        if reply.status < 500:  # behind an error of the server it may still be on its way
            watched.posted_at = None
        if reply.status in DONE:
            form = self._orders.ours(reply, call.wire_id)
            self._found(watched, self._orders.follow((form,)))
            return
        reason = _refusal(reply)
        if reason is None:
            raise unclear("POST", ORDERS, reply)
        if reply.status == 422 and _NOT_UNIQUE in reason.lower():  # so it is there
            found = self._orders.look_up(call.wire_id, self._timeout_s)
            if found is None:
                raise SpoiledError("UNKNOWN_ORDER", f"{reason}, and there is no such order")
            self._found(watched, self._orders.follow((found,)))
            return
        self._book.forget(watched)
        self._say(Refused("order", call.wire_id, reason), reply.body)

    def _cancel(self, call: Call, watched: Watched) -> None:
        if not self._know(watched):
            self._say(Refused("cancel", call.wire_id, "the broker has no such order"), b"")
            return
        watched.cancel_asked = True
        for _ in range(2):
            order_id = watched.chain[-1].id
            path = path_of(order_id)
            reply = self._client.tell("DELETE", path, timeout_s=self._timeout_s)
            if reply.status in DONE:
                self._refresh(watched)
                return
            reason = _refusal(reply)
            if reason is None:
                raise unclear("DELETE", path, reply)
            self._refresh(watched)
            if watched.chain[-1].id == order_id:  # else it was replaced meanwhile
                watched.cancel_asked = False
                self._say(Refused("cancel", call.wire_id, reason), reply.body)
                return

    def _replace(self, call: Call, watched: Watched) -> None:
        if not self._know(watched):
            self._say(Refused("replace", call.wire_id, "the broker has no such order"), b"")
            return
        self._refresh(watched)
        last = watched.chain[-1]
        filled = filled_of(watched.chain)
        total = call.fields.get("qty")
        fields = dict(call.fields)
        if total is not None or qty(last.filled_qty):
            # What the broker wants is still to be filled; it would take the old total otherwise.
            whole = filled - qty(last.filled_qty) + qty(last.qty)
            left = (whole if total is None else quantity(total)) - filled
            if left <= 0:
                self._say(Refused("replace", call.wire_id, "nothing would be left of it"), b"")
                return
            fields["qty"] = format_units(left, QTY_DECIMALS)
        path = path_of(last.id)
        body = msgspec.json.encode(fields)
        reply = self._client.tell("PATCH", path, body=body, timeout_s=self._timeout_s)
        if reply.status in DONE:
            watched.replacing = self._orders.form(reply).id
            self._refresh(watched)
            return
        reason = _refusal(reply)
        if reason is None:
            raise unclear("PATCH", path, reply)
        self._refresh(watched)
        self._say(Refused("replace", call.wire_id, reason), reply.body)

    def _query(self, call: Call, watched: Watched) -> None:
        """Ask by our id; "never had" is believed when nothing of ours can still be on its way."""
        deadline = time.monotonic() + _PART * self._timeout_s
        found = self._orders.look_up(call.wire_id, _PART * self._timeout_s)
        if found is None and watched.posted_at is not None:
            settled_s = watched.posted_at + 2 * self._timeout_s - time.monotonic()
            if settled_s > deadline - time.monotonic():
                return  # without an answer; it will be asked again
            if settled_s > 0 and self._client.wait(settled_s):
                return
            found = self._orders.look_up(call.wire_id, self._timeout_s)
        if found is None:
            self._book.forget(watched)
            self._say(Missing(call.wire_id), b"")
        else:
            self._found(watched, self._orders.follow((found,)), deadline)

    def _list(self) -> None:
        """Say what is open, after all that had become of the orders by then.

        Without an answer where executions are still missing: the answer would say that they are
        all here.
        """
        deadline = time.monotonic() + _PART * self._timeout_s
        while (listed := self._look(lists=True)) is not None:
            if all(each.short_since is None for each in self._book.live()):
                self._say(Listed(tuple(dict.fromkeys(map(self._name_of, listed)))), b"")
                return
            if time.monotonic() + self._again_s > deadline or self._client.wait(self._again_s):
                return

    def _name_of(self, form: OrderSaid) -> str:
        watched = self._book.find(form.id)
        return base_id(form.client_order_id) if watched is None else watched.wire_id

    # Looking.

    def look(self) -> None:
        """Look at the orders that are open, and for executions of those that have just ended.

        Raises:
            NoReplyError: nothing came back.
        """
        self._look(lists=False)

    def _look(self, *, lists: bool) -> list[OrderSaid] | None:
        """Look; give what is open, None where that was not asked or cannot be read."""
        with self._looking:
            live = {each: each.version for each in self._book.live() if not each.is_busy}
            listed = self._orders.open() if live or lists else []
            if listed is None:
                return None
            by_id = {each.id: each for each in listed}
            by_our_id = {each.client_order_id: each for each in listed}
            for watched, version in live.items():
                if not watched.is_busy and watched.version == version:
                    self._look_at(watched, by_id, by_our_id)
            if lists or time.monotonic() - self._book.ended_at < _LINGER_S:
                self._read_on(self._timeout_s)
            self._tell_news()
            return listed

    def _look_at(
        self,
        watched: Watched,
        by_id: Mapping[str, OrderSaid],
        by_our_id: Mapping[str, OrderSaid],
    ) -> None:
        try:
            if not watched.chain:
                form = by_our_id.get(watched.wire_id)
                if form is not None:
                    self._found(watched, self._orders.follow((form,)))
                return
            form = by_id.get(watched.chain[-1].id)
            if form is None or watched.replacing is not None:
                self._refresh(watched)
            else:
                self._found(watched, self._orders.follow((*watched.chain[:-1], form)))
        except SpoiledError as error:
            self._spoil(watched, *error.args, again=False)
        except NoReplyError as error:
            if error.is_lost:
                raise  # else the others are to be looked at all the same

    def _tell_news(self) -> None:
        for order_id in self._activities.news():
            watched = self._book.find(order_id)
            try:
                if watched is None:
                    self._stranger(order_id)
                elif not watched.is_busy:
                    self._found(watched, watched.chain)
            except SpoiledError as error:
                if watched is not None:
                    self._spoil(watched, *error.args, again=False)
            self._activities.told(order_id)

    def _stranger(self, order_id: str) -> None:
        """See whether executions of an unknown id are of an order whose answer we have missed."""
        if order_id in self._strangers:
            return
        if any(not each.chain for each in self._book.live()):
            form = self._orders.get(order_id)
            watched = self._book.get(base_id(form.client_order_id))
            if watched is not None:
                if not watched.chain:
                    self._found(watched, self._orders.follow((form,)))
                return
        self._strangers.add(order_id)
        fills = self._activities.of([order_id])
        detail = f"executions of order {order_id[:50]!r}, which is no order of ours"
        self._say(Spoiled("", "UNKNOWN_ORDER", detail), msgspec.json.encode(fills))

    def _refresh(self, watched: Watched) -> None:
        """Look at one order, and at what has become of its replacement."""
        form = self._orders.get(watched.chain[-1].id)
        forms = len(watched.chain)
        chain = self._orders.follow((*watched.chain[:-1], form))
        if len(chain) > forms:
            watched.replacing = None
        elif watched.replacing is not None and form.status not in ("pending_replace", "replaced"):
            other = self._orders.get(watched.replacing)
            if other.status in _FAILED:
                watched.replacing = None
                reason = f"the replacement was {other.status}"
                self._say(Refused("replace", watched.wire_id, reason), msgspec.json.encode(other))
        self._found(watched, chain)

    def _found(
        self, watched: Watched, chain: tuple[OrderSaid, ...], asked_until: float | None = None
    ) -> None:
        """Say what there is of an order, once its executions are what it speaks of.

        Args:
            watched: the order.
            chain: its forms.
            asked_until: it answers a query, and until when the executions may be waited for.
        """
        self._book.note(watched, chain)
        wanted = filled_of(chain)
        fills, is_whole = self._executions(chain, wanted, asked_until)
        was_asked = asked_until is not None
        if is_whole:
            watched.short_since = None
        elif watched.short_since is None:
            watched.short_since = time.monotonic()
        waited_s = 0.0 if is_whole else time.monotonic() - (watched.short_since or 0.0)
        if not is_whole and not was_asked:
            if waited_s < self._timeout_s:
                return  # they come a moment later than the word that there are some
            if watched.told != (chain, fills, False):
                self._read_back(chain, self._timeout_s)
                fills, is_whole = self._executions(chain, wanted, asked_until)
        told = (chain, fills, is_whole)
        if was_asked or told != watched.told:
            found = Found(
                wire_id=watched.wire_id,
                chain=chain,
                fills=fills,
                is_whole=is_whole,
                is_replaced=len(chain) > (1 if was_asked else watched.told_forms),
                was_asked=was_asked,
                cancel_asked=watched.cancel_asked,
            )
            watched.told, watched.told_forms = told, len(chain)
            self._say(found, msgspec.json.encode((chain, fills)))
        self._book.settle(watched)

    def _executions(
        self, chain: tuple[OrderSaid, ...], wanted: int, asked_until: float | None
    ) -> tuple[tuple[FillSaid, ...], bool]:
        """Give the executions of an order, and whether they are all; reads on when they are not."""
        ids = [form.id for form in chain]
        fills = self._activities.of(ids)
        if _filled(fills) < wanted:
            self._read_on(self._timeout_s)
            fills = self._activities.of(ids)
        if asked_until is None or _filled(fills) >= wanted:
            return fills, _filled(fills) >= wanted
        self._read_back(chain, max(asked_until - time.monotonic(), _SOON_S))
        while _filled(fills := self._activities.of(ids)) < wanted:
            if time.monotonic() + self._again_s > asked_until or self._client.wait(self._again_s):
                break
            self._read_on(max(asked_until - time.monotonic(), _SOON_S))
        return fills, _filled(fills) >= wanted

    def _read_on(self, timeout_s: float) -> None:
        self._activities.read_on(self._client, self._bad, timeout_s=timeout_s)

    def _read_back(self, chain: tuple[OrderSaid, ...], timeout_s: float) -> None:
        since = chain[0].submitted_at or chain[0].created_at
        self._activities.read_back(self._client, self._bad, since, timeout_s=timeout_s)

    # Answers.

    def _know(self, watched: Watched) -> bool:
        """Find out the broker's id of an order; False when it has none."""
        if not watched.chain:
            found = self._orders.look_up(watched.wire_id, self._timeout_s)
            if found is None:
                if watched.posted_at is None:
                    self._book.forget(watched)
                return False
            self._book.note(watched, self._orders.follow((found,)))
        return True

    def _bad(self, code: str, detail: str, raw: bytes) -> None:
        """Tell of a part of an answer that is of no use, once: it may be in every list."""
        with self._lock:
            if len(self._told) > _TOLD_MAX:
                self._told.clear()
            is_news = code != "UNPARSABLE" or hash(raw) not in self._told
            self._told.add(hash(raw))
        if is_news:
            self._say(Spoiled("", code, detail), raw)

    def _spoil(self, watched: Watched, code: str, detail: str, *, again: bool) -> None:
        """Tell that an order's answer is of no use; what is only looked at, once."""
        if again or watched.told != (code, detail):
            self._say(Spoiled(watched.wire_id, code, detail), detail.encode())
        watched.told = (code, detail)


def _refusal(reply: Reply) -> str | None:
    """Give the words of a definite refusal; None when the outcome is open."""
    return refusal_of(reply.body) if reply.status in _DEFINITE else None


def _filled(fills: tuple[FillSaid, ...]) -> int:
    """Add executions up; one that cannot be read counts for nothing and is told by the dialect."""
    filled = 0
    for fill in fills:
        try:
            filled += quantity(fill.qty)
        except ValueError:
            continue
    return filled
