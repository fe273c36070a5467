"""Executions, as the account's activities tell them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from adapters.alpaca.client import Client, NoReplyError, Reply
from adapters.alpaca.wire import FillSaid, Named, before, decode, items

__all__ = ["Activities"]

_PATH = "/v2/account/activities/FILL"
_PAGE = 100  # the most that there is in one
_PAGES_MAX = 100

Bad = Callable[[str, str, bytes], None]
"""Takes an answer of no use: its code, a sentence, the bytes."""


class Activities:
    """Reads on from the last execution that was read, and back when something is missing.

    They outlive a connection. Any thread may use them.

    Args:
        orders_max: of how many orders executions are kept; those read first are forgotten first,
            and read again when they are missed.
    """

    def __init__(self, orders_max: int) -> None:
        self._orders_max = orders_max
        self._lock = threading.Lock()
        self._fills: dict[str, dict[str, FillSaid]] = {}
        self._since: str | None = None
        self._last: str | None = None
        self._news: set[str] = set()
        self._is_wrong = False

    def begin(self, since: str) -> None:
        """Read from a moment on, unless there is one already."""
        if self._since is None:
            self._since = since

    def of(self, order_ids: Iterable[str]) -> tuple[FillSaid, ...]:
        """Give what was read of orders, in order."""
        with self._lock:
            return tuple(
                fill for order_id in order_ids for fill in self._fills.get(order_id, {}).values()
            )

    def news(self) -> list[str]:
        """Name the orders that executions were read of since :meth:`told`."""
        with self._lock:
            return sorted(self._news)

    def told(self, order_id: str) -> None:
        """Take an order off the news."""
        with self._lock:
            self._news.discard(order_id)

    def read_on(self, client: Client, bad: Bad, *, timeout_s: float) -> None:
        """Read what is new.

        Raises:
            NoReplyError: the broker did not answer in time.
        """
        with self._lock:
            for last in self._pages(client, bad, self._since, self._last, timeout_s):
                self._last = last

    def read_back(self, client: Client, bad: Bad, since: str | None, *, timeout_s: float) -> None:
        """Read once more all there is from a second before a moment on.

        Raises:
            NoReplyError: the broker did not answer in time.
        """
        with self._lock:
            for _ in self._pages(client, bad, before(since), None, timeout_s):
                pass

    def _pages(
        self, client: Client, bad: Bad, since: str | None, last: str | None, timeout_s: float
    ) -> Iterator[str | None]:
        """Read pages; give the id that each ends with."""
        deadline = time.monotonic() + timeout_s
        for _ in range(_PAGES_MAX):
            params = {"direction": "asc", "page_size": str(_PAGE)}
            if since is not None:
                params["after"] = since
            if last is not None:
                params["page_token"] = last
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise NoReplyError("NO_ANSWER: the activities have no end", is_lost=False)
            reply = client.ask(_PATH, params, timeout_s=left_s)
            page = self._page(reply, bad)
            for raw in page:
                last = self._take(raw, bad) or last
            yield last
            if len(page) < _PAGE:
                return

    def _page(self, reply: Reply, bad: Bad) -> list[msgspec.Raw]:
        """Split a page; one that is of no use is empty, and told when the one before was not."""
        try:
            page = items(reply.body) if reply.status == 200 else None
            code, detail = f"HTTP_{reply.status}", f"GET {_PATH} was answered so"
        except (msgspec.DecodeError, RecursionError) as error:
            page, code, detail = None, "UNPARSABLE", f"not a list of activities: {error}"
        if page is None and not self._is_wrong:
            bad(code, detail, reply.body)
        self._is_wrong = page is None
        return page or []

    def _take(self, raw: msgspec.Raw, bad: Bad) -> str | None:
        """Keep what an item of a page says; give its id, if it has one."""
        try:
            fill: FillSaid = decode(FillSaid, raw)
        except msgspec.DecodeError as error:
            bad("UNPARSABLE", f"not an execution: {error}", bytes(raw))
        else:
            if self._keep(fill):
                self._news.add(fill.order_id)
            return fill.id
        try:
            named: Named = decode(Named, raw)
        except msgspec.DecodeError:
            return None
        return named.id

    def _keep(self, fill: FillSaid) -> bool:
        """Keep an execution; False when it is known as it is."""
        fills = self._fills.setdefault(fill.order_id, {})
        if fills.get(fill.id) == fill:
            return False
        fills[fill.id] = fill
        if len(self._fills) > self._orders_max:
            del self._fills[next(iter(self._fills))]
        return True
