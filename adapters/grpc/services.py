"""Both services by name, taken from the descriptors; requests and answers travel as bytes.

The bytes are parsed where they are handled: an answer that is none must become a dead letter, not
the end of the stream.
"""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor

from adapters.grpc.pb import order_pb2
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2

__all__ = ["EXTENDED", "PLAIN", "ServiceName"]


class ServiceName:
    """The one streaming method of a service.

    Attributes:
        name: full name of the service.
        method: the method within it.
    """

    def __init__(self, file: FileDescriptor) -> None:
        (service,) = file.services_by_name.values()
        self.name: str = service.full_name
        self.method: str = service.methods[0].name

    @property
    def path(self) -> str:
        """What is called, as it stands in the HTTP/2 request."""
        return f"/{self.name}/{self.method}"


PLAIN = ServiceName(order_pb2.DESCRIPTOR)
"""``order.OrderService``: the contract that every Order Management System serves."""

EXTENDED = ServiceName(oms_pb2.DESCRIPTOR)
"""``tetrad.oms.v1.OrderLink``: what the other lacks."""
