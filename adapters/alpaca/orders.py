"""Reading orders: one, its replacements, all that are open."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from adapters.alpaca.client import Client, Reply
from adapters.alpaca.wire import OrderSaid, before, decode, items, quantity, refusal_of

__all__ = [
    "BY_OUR_ID",
    "DONE",
    "ORDERS",
    "Orders",
    "SpoiledError",
    "filled_of",
    "path_of",
    "qty",
    "unclear",
]

ORDERS = "/v2/orders"
BY_OUR_ID = "/v2/orders:by_client_order_id"
DONE = frozenset({200, 201, 204})
_LIST_MAX = 500  # the most that there is in one answer
_LISTS_MAX = 20
_FORMS_MAX = 200
_ID_MAX = 200


class SpoiledError(Exception):
    """An answer that nobody can use; ``args`` are the code and a sentence."""


class Orders:
    """Reads orders; from several threads.

    Args:
        client: asks the broker.
        timeout_s: how long one answer may take, seconds.
        bad: takes an answer of no use: its code, a sentence, the bytes.
    """

    def __init__(
        self, client: Client, timeout_s: float, bad: Callable[[str, str, bytes], None]
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._bad = bad
        self._list_is_wrong = False

    def look_up(self, wire_id: str, timeout_s: float) -> OrderSaid | None:
        """Ask for an order by our id; None when the broker has never had it."""
        reply = self._client.ask(BY_OUR_ID, {"client_order_id": wire_id}, timeout_s=timeout_s)
        if reply.status == 404 and refusal_of(reply.body) is not None:
            return None
        if reply.status not in DONE:
            raise unclear("GET", BY_OUR_ID, reply)
        return self.ours(reply, wire_id)

    def get(self, order_id: str) -> OrderSaid:
        """Ask for an order by the broker's id."""
        path = path_of(order_id)
        reply = self._client.ask(path, timeout_s=self._timeout_s)
        if reply.status not in DONE:
            raise unclear("GET", path, reply)
        form = self.form(reply)
        if form.id != order_id:
            raise SpoiledError("UNKNOWN_ORDER", f"{path} was answered with {form.id[:50]!r}")
        return form

    def ours(self, reply: Reply, wire_id: str) -> OrderSaid:
        """Read the order that was asked for by our id."""
        form = self.form(reply)
        if form.client_order_id != wire_id:
            detail = f"asked for {wire_id!r}, answered with {form.client_order_id[:50]!r}"
            raise SpoiledError("UNKNOWN_ORDER", detail)
        return form

    def form(self, reply: Reply) -> OrderSaid:
        """Read an order."""
        try:
            form: OrderSaid = decode(OrderSaid, reply.body)
        except msgspec.DecodeError as error:
            raise SpoiledError("UNPARSABLE", f"not an order: {error}") from None
        return form

    def follow(self, chain: tuple[OrderSaid, ...]) -> tuple[OrderSaid, ...]:
        """Go on to the replacement of the last form, and so forth."""
        while chain[-1].status == "replaced" and chain[-1].replaced_by:
            following = chain[-1].replaced_by
            if len(chain) > _FORMS_MAX or any(form.id == following for form in chain):
                raise SpoiledError("BAD_CHAIN", f"{following[:50]!r} replaces itself")
            chain = (*chain, self.get(following))
        return chain

    def open(self) -> list[OrderSaid] | None:
        """List what is open; None when that cannot be read, which is told once."""
        found: dict[str, OrderSaid] = {}
        after: str | None = None
        for _ in range(_LISTS_MAX):
            params = {"status": "open", "limit": str(_LIST_MAX), "direction": "asc"}
            if after is not None:
                params["after"] = after
            reply = self._client.ask(ORDERS, params, timeout_s=self._timeout_s)
            try:
                if reply.status not in DONE:
                    raise unclear("GET", ORDERS, reply)
                page, size = self._in(reply.body)
            except SpoiledError as error:
                code, detail = error.args
                if not self._list_is_wrong:
                    self._bad(code, detail, reply.body)
                self._list_is_wrong = True
                return None
            news = [each for each in page if each.id not in found]
            found.update((each.id, each) for each in news)
            if size < _LIST_MAX or not news:
                break
            after = before(page[-1].submitted_at)
        self._list_is_wrong = False
        return list(found.values())

    def _in(self, body: bytes) -> tuple[list[OrderSaid], int]:
        """Read a page; give its orders, and how many there would be if all were readable."""
        try:
            page = items(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise SpoiledError("UNPARSABLE", f"not a list of orders: {error}") from None
        orders = []
        for raw in page:
            try:
                orders.append(decode(OrderSaid, raw))
            except msgspec.DecodeError as error:
                self._bad("UNPARSABLE", f"not an order: {error}", bytes(raw))
        return orders, len(page)


def path_of(order_id: str) -> str:
    """Give the path of an order, and of nothing else, whatever the id."""
    if not 0 < len(order_id) <= _ID_MAX or not order_id.strip("."):
        raise SpoiledError("BAD_ID", f"{order_id[:50]!r} is no id of an order")
    return f"{ORDERS}/{quote(order_id, safe='')}"


def unclear(method: str, path: str, reply: Reply) -> SpoiledError:
    """Make the error of an answer that leaves the outcome open."""
    words = refusal_of(reply.body) or reply.body[:200].decode(errors="replace")
    return SpoiledError(f"HTTP_{reply.status}", f"{method} {path} was answered with: {words}")


def qty(text: str | None) -> int:
    """Read a quantity of an order, in units of ``10 ** -QTY_DECIMALS``."""
    try:
        return quantity(text)
    except ValueError as error:
        raise SpoiledError("BAD_QUANTITY", str(error)) from None


def filled_of(chain: tuple[OrderSaid, ...]) -> int:
    """Add up what all forms of an order have filled."""
    return sum(qty(form.filled_qty) for form in chain)
