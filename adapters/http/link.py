"""The link to a gateway over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from adapters.http.endpoint import Endpoint
from adapters.http.extended import ExtendedDialect
from adapters.http.plain import PlainDialect
from adapters.http.session import HTTP_LINK, HTTP_PLAIN, HttpSession
from engine.domain.events import BadAnswer
from engine.domain.instruments import Instrument
from engine.link.dialect import OrderTable
from engine.link.link import Link
from engine.sections import GatewayConfig

__all__ = ["HttpVenueLink"]


class HttpVenueLink(Link):
    """A :class:`~engine.ports.VenueLink` to a gateway.

    It opens a link where the gateway has such; else it is plain ``POST /internal/execute``, where
    an order whose outcome the gateway left open is sent again under the same ``Idempotency-Key``
    until ``gateway.timeout`` is over, and then unknown.

    Args:
        config: section ``gateway``.
        instruments: what can be traded, by symbol; an order in anything else is rejected here.
        keep_closed: how many ended orders stay known, for late and repeated answers.
        on_bad_answer: called from the link's own thread with every answer that cannot be used;
            it must not raise.
        now: gives the time, UTC nanoseconds; for what no venue has stamped.
        client: our name at the gateway, the same after a restart: it then takes nothing more of an
            earlier connection, so what it says it has never had will not arrive late.
        price_of: gives the latest price of a symbol in price units; for any thread.

    Raises:
        ConfigError: ``gateway.root_certificate`` cannot be used.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        instruments: Mapping[str, Instrument],
        keep_closed: int,
        on_bad_answer: Callable[[BadAnswer], None],
        now: Callable[[], int],
        client: str = "",
        price_of: Callable[[str], int | None],
    ) -> None:
        endpoint = Endpoint(config)
        table = OrderTable(keep_closed, str)
        super().__init__(
            partial(HttpSession, endpoint, client=client),
            {
                HTTP_PLAIN: PlainDialect(table, config.sessions, price_of, config.reduce_only),
                HTTP_LINK: ExtendedDialect(table, config.sessions, price_of),
            },
            table,
            target=endpoint.target,
            timeout_s=config.timeout,
            retry=config.retry,
            instruments=instruments,
            on_bad_answer=on_bad_answer,
            now=now,
        )
