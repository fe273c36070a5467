"""The link to an Order Management System over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from adapters.grpc.channel import Endpoint
from adapters.grpc.extended import ExtendedDialect
from adapters.grpc.plain import PlainDialect, request_id
from adapters.grpc.services import EXTENDED, PLAIN
from adapters.grpc.session import GrpcSession
from engine.domain.events import BadAnswer
from engine.domain.instruments import Instrument
from engine.link.dialect import OrderTable
from engine.link.link import Link
from engine.sections import OmsGrpcConfig

__all__ = ["GrpcVenueLink"]


class GrpcVenueLink(Link):
    """A :class:`~engine.ports.VenueLink` over gRPC.

    It speaks ``tetrad.oms.v1.OrderLink`` where the peer offers it, else ``order.OrderService``.

    Args:
        config: section ``oms_grpc``.
        instruments: what can be traded, by symbol; an order in anything else is rejected here.
        keep_closed: how many ended orders stay known, for late and repeated answers.
        on_bad_answer: called from the link's own thread with every answer that cannot be used;
            it must not raise.
        now: gives the time, UTC nanoseconds; for what no venue has stamped.
        client: our name at the venue, the same after a restart: it then takes nothing more of an
            earlier connection, so what it says it has never had will not arrive late.

    Raises:
        ConfigError: a file of ``oms_grpc.tls`` cannot be used.
    """

    def __init__(
        self,
        config: OmsGrpcConfig,
        *,
        instruments: Mapping[str, Instrument],
        keep_closed: int,
        on_bad_answer: Callable[[BadAnswer], None],
        now: Callable[[], int],
        client: str = "",
    ) -> None:
        endpoint = Endpoint(config)
        table = OrderTable(keep_closed, request_id)
        super().__init__(
            partial(GrpcSession, endpoint, client=client),
            {
                PLAIN.name: PlainDialect(table, config.reduce_only),
                EXTENDED.name: ExtendedDialect(table),
            },
            table,
            target=endpoint.target,
            timeout_s=config.timeout,
            retry=config.retry,
            instruments=instruments,
            on_bad_answer=on_bad_answer,
            now=now,
        )
