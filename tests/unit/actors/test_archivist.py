"""The archivist: nothing leaves before what decided it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from actors.archivist import Archivist
from actors.outbox import REQUESTS, Outbox
from engine.domain.commands import (
    CancelOrder,
    OrderMassStatusRequest,
    OrderStatusRequest,
    ReplaceOrder,
)
from engine.domain.orders import Order, OrderType, Side
from engine.errors import StoreError
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from engine.runtime.inputs import Batch, Ticked

FIRST, SECOND = Batch((Ticked(1),), ()), Batch((Ticked(2),), ())
ORDER = Order("O", "S", "X", Side.BUY, OrderType.MARKET, 1, 0)
CANCEL = CancelOrder("O", "S", 0)


class Shelf:
    """Where batches are kept; it fails when it is told to."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.full = False

    def commit(self, batches: Sequence[Batch]) -> None:
        if self.full:
            raise StoreError("full")
        self.log.append(tuple(batches))


class Venue(Actor):
    """Notes what reaches it, in one log with what is kept."""

    def __init__(self, log: list[Any], name: str = "venue") -> None:
        super().__init__(name)
        self.log = log
        self.got: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(REQUESTS, self.on_request)

    def on_request(self, request: Any) -> None:
        self.log.append(request)
        self.got.append(request)


class Rig:
    def __init__(self, venue: str | None = "venue") -> None:
        self.log: list[Any] = []
        self.shelf = Shelf(self.log)
        store: Any = self.shelf
        outboxes = [] if venue is None else [Outbox("outbox", gateway=venue)]
        archivist = Archivist("archivist", store=store, outboxes=[each.name for each in outboxes])
        self.cell = Cell("c", [archivist, *outboxes, Venue(self.log)], {})

    def tell(self, *messages: Any) -> list[Any]:
        """Deliver messages, end the batch, and give what has been kept and sent so far."""
        for message in messages:
            self.cell.deliver("archivist" if type(message) is Batch else "outbox", message)
        self.cell.end_batch()
        return self.log


@pytest.mark.req("P1")
def test_a_request_leaves_when_the_batch_behind_it_is_kept() -> None:
    rig = Rig()
    assert rig.tell(ORDER) == []
    assert rig.tell(FIRST) == [(FIRST,), ORDER]


def test_what_waits_is_kept_at_once_and_leaves_in_its_order() -> None:
    asked = OrderMassStatusRequest()
    log = Rig().tell(asked, FIRST, ORDER, CANCEL, SECOND)
    assert log == [(FIRST, SECOND), asked, ORDER, CANCEL]


def test_a_request_of_a_batch_that_has_not_come_yet_waits() -> None:
    rig = Rig()
    assert rig.tell(ORDER, FIRST, CANCEL) == [(FIRST,), ORDER]
    assert rig.tell(SECOND)[2:] == [(SECOND,), CANCEL]


@pytest.mark.req("P41")
def test_nothing_leaves_when_nothing_can_be_kept() -> None:
    rig = Rig()
    rig.shelf.full = True
    with pytest.raises(StoreError):
        rig.tell(ORDER, FIRST)
    assert rig.log == []


@pytest.mark.parametrize(
    "request_",
    [ORDER, CANCEL, ReplaceOrder("O", "S", 0), OrderStatusRequest(ORDER, ())],
    ids=lambda each: type(each).__name__,
)
def test_every_kind_of_request_leaves(request_: Any) -> None:
    assert Rig().tell(request_, FIRST) == [(FIRST,), request_]


def test_without_a_venue_outside_batches_are_kept_all_the_same() -> None:
    assert Rig(venue=None).tell(FIRST) == [(FIRST,)]


def test_every_venue_has_its_own_outbox_and_the_kept_batch_opens_all() -> None:
    log: list[Any] = []
    store: Any = Shelf(log)
    outboxes = [Outbox(f"outbox.{each}", gateway=each) for each in "ab"]
    archivist = Archivist("archivist", store=store, outboxes=[each.name for each in outboxes])
    venues = [Venue(log, name) for name in "ab"]
    cell = Cell("c", [archivist, *outboxes, *venues], {})
    cell.deliver("outbox.b", CANCEL)
    cell.deliver("outbox.a", ORDER)
    cell.deliver("archivist", FIRST)
    cell.deliver("outbox.a", CANCEL)
    cell.end_batch()
    assert log == [(FIRST,), ORDER, CANCEL]
    assert [venue.got for venue in venues] == [[ORDER], [CANCEL]]
    cell.deliver("archivist", SECOND)
    cell.end_batch()
    assert [venue.got for venue in venues] == [[ORDER, CANCEL], [CANCEL]]
