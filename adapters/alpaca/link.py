"""The link to a broker in Alpaca's REST shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from adapters.alpaca.activities import Activities
from adapters.alpaca.book import Book
from adapters.alpaca.dialect import AlpacaDialect, Names
from adapters.alpaca.endpoint import Endpoint
from adapters.alpaca.session import SERVICE, AlpacaSession
from engine.domain.events import BadAnswer
from engine.domain.instruments import Instrument
from engine.link.dialect import OrderTable
from engine.link.link import Link
from engine.sections import AlpacaConfig

__all__ = ["AlpacaVenueLink"]

_STRANGERS_MAX = 1_000


class AlpacaVenueLink(Link):
    """A :class:`~engine.ports.VenueLink` to a broker over HTTP in Alpaca's REST shape.

    Executions and ends come by looking, every ``alpaca.poll_ms`` while orders are open.

    Args:
        config: section ``alpaca``.
        environment: where the credentials are, ``APCA_API_KEY_ID`` and ``APCA_API_SECRET_KEY``.
        instruments: what can be traded, by symbol; an order in anything else is rejected here.
        keep_closed: how many ended orders stay known, for late and repeated answers.
        on_bad_answer: called from the link's own thread with every answer that cannot be used;
            it must not raise.
        now: gives the time, UTC nanoseconds; for what no venue has stamped.
        client: the run's name, which its client order ids begin with: two runs over the same data
            give their orders the same ids, and an account takes each once.

    Raises:
        ConfigError: it may be for real money and ``alpaca.live`` is not set, the credentials are
            missing or would go unencrypted.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        *,
        environment: Mapping[str, str],
        instruments: Mapping[str, Instrument],
        keep_closed: int,
        on_bad_answer: Callable[[BadAnswer], None],
        now: Callable[[], int],
        client: str = "",
    ) -> None:
        endpoint = Endpoint(config, environment)
        names = Names(client)
        table = OrderTable(keep_closed, names.wire_id)
        book = Book(keep_closed)
        activities = Activities(keep_closed + _STRANGERS_MAX)
        super().__init__(
            partial(AlpacaSession, endpoint, book, activities),
            {SERVICE: AlpacaDialect(table, names, config.reduce_only)},
            table,
            target=endpoint.target,
            timeout_s=config.timeout,
            retry=config.retry,
            instruments=instruments,
            on_bad_answer=on_bad_answer,
            now=now,
        )
