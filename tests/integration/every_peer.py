"""Every implementation of VenueLink, by the peer it talks to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.integration.alpaca import AlpacaPeer
from tests.integration.http_peer import HttpPeer
from tests.integration.peers import ExtendedPeer, Peer, PlainPeer

PEERS: Mapping[str, Callable[[], Peer]] = {
    "order.OrderService": PlainPeer,
    "tetrad.oms.v1.OrderLink": ExtendedPeer,
    "gateway with links": HttpPeer,
    "Alpaca": AlpacaPeer,
}
