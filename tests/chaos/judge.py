"""The judge: holds what the order system had and did against what the engine keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal

from engine.domain.events import OrderAccepted, OrderFilled, OrderReplaced
from tests.chaos.record import Asked, Books, Kept

# What the engine itself ends without the venue ever having had the order.
NEVER_LEFT = frozenset({"CANCELED", "DENIED"})
OPEN = frozenset({"ACCEPTED", "PARTIALLY_FILLED", "PENDING_CANCEL", "PENDING_REPLACE", "UNKNOWN"})

Finding = tuple[str, str]
"""Which count it belongs to, and what is wrong."""


def unapproved(asked: Mapping[str, Asked], orders: Mapping[str, Kept]) -> Iterator[Finding]:
    """Find orders that left without a committed approval of just that body."""
    for order_id, each in asked.items():
        kept = orders.get(order_id)
        if kept is None:
            yield "unapproved", f"{order_id} was sent and the database has no approval of it"
        elif not kept.is_approved:
            yield "unapproved", f"{order_id} was sent and the gate had denied it"
        elif each.differs or not _same_body(each, kept):
            yield "unapproved", f"{order_id} was sent as {each.order}, approved as {kept}"


def _same_body(asked: Asked, kept: Kept) -> bool:
    order = asked.order
    same = (order.symbol, order.side, order.order_type, order.time_in_force, order.reduce_only) == (
        kept.symbol, kept.side, kept.order_type, kept.time_in_force, kept.reduce_only,
    )  # fmt: skip
    if asked.of(OrderReplaced):
        return same  # its row tells of the replacement
    sizes = (order.order_qty, order.limit_px, order.stop_px)
    return same and sizes == (kept.quantity, kept.price, kept.stop_price)


def doubled(asked: Mapping[str, Asked]) -> Iterator[Finding]:
    """Find orders that were sent again though the venue had them, or filled beyond their size."""
    for order_id, each in asked.items():
        if each.arrivals > 1:  # who forgets nothing denies nothing that it has had
            yield "doubled", f"{order_id} arrived {each.arrivals} times"
        if len(each.of(OrderAccepted)) > 1:
            yield "doubled", f"{order_id} was accepted more than once"
        sizes = [each.order.order_qty, *(r.order_qty for r in each.of(OrderReplaced))]
        if sum(abs(fill.signed_qty) for fill in each.of(OrderFilled)) > max(sizes):
            yield "doubled", f"{order_id} filled beyond its quantity"


def lost(asked: Mapping[str, Asked], orders: Mapping[str, Kept]) -> Iterator[Finding]:
    """Find orders of whose end the two sides tell differently."""
    for order_id, kept in orders.items():
        each = asked.get(order_id)
        if each is None:
            if kept.status not in NEVER_LEFT:
                yield "lost", f"{order_id} is {kept.status} and the venue has never had it"
            continue
        ours = "OPEN" if kept.status in OPEN else kept.status
        if ours not in each.statuses:
            theirs = " or ".join(sorted(each.statuses))
            yield "lost", f"{order_id} is {kept.status} ({kept.reason}) here, {theirs} at the venue"


def executions(asked: Mapping[str, Asked], books: Books) -> Iterator[Finding]:
    """Find executions that are missing, booked twice, other than they were, or never were."""
    theirs = {
        fill.exec_id: (order_id, fill.signed_qty, fill.last_px)
        for order_id, each in asked.items()
        for fill in each.of(OrderFilled)
    }
    due = set().union(*(each.due for each in asked.values()))
    for exec_id in due - books.fills.keys():
        yield "missing", f"execution {exec_id} of {theirs[exec_id]} is not in the books"
    for exec_id in books.fills.keys() - theirs.keys():
        yield "invented", f"execution {exec_id} of {books.fills[exec_id]} never was"
    for exec_id in books.fills.keys() & theirs.keys():
        if books.fills[exec_id] != theirs[exec_id]:
            yield (
                "invented",
                f"execution {exec_id} was {theirs[exec_id]}, booked {books.fills[exec_id]}",
            )
    if books.fill_rows != len(books.fills):
        yield "booked_twice", f"{books.fill_rows} rows of {len(books.fills)} executions"


def positions(asked: Mapping[str, Asked], books: Books) -> Iterator[Finding]:
    """Find positions that the venue's executions do not add up to."""
    held: Counter[str] = Counter()
    for each in asked.values():
        for fill in each.of(OrderFilled):
            if fill.exec_id in each.due or fill.exec_id in books.fills:
                held[fill.symbol] += fill.signed_qty
    theirs = {symbol: Decimal(quantity) for symbol, quantity in held.items() if quantity}
    if theirs != books.positions:
        yield "positions", f"{books.positions} here, {theirs} at the venue"


def journal(books: Books) -> Iterator[Finding]:
    """Find a journal that is not what was written, and a run that is not complete."""
    if books.broken is not None:
        yield "journal", f"batch {books.broken} is not what was written"
    if books.status != "COMPLETED":
        yield "journal", f"the run is {books.status}"


def judge(asked: Mapping[str, Asked], books: Books) -> list[Finding]:
    """Give everything that is wrong after a run has come to its end."""
    return [
        *unapproved(asked, books.orders),
        *doubled(asked),
        *lost(asked, books.orders),
        *executions(asked, books),
        *positions(asked, books),
        *journal(books),
    ]
