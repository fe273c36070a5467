"""Whether an Order Management System takes orders over gRPC, and which services it offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import grpc

from adapters.grpc.channel import Endpoint
from adapters.grpc.pb.tetrad.oms.v1 import oms_pb2
from adapters.grpc.services import EXTENDED, PLAIN, ServiceName
from engine.domain.findings import Finding, fine, problem, silence, warning
from engine.errors import ConfigError
from engine.sections import OmsGrpcConfig

__all__ = ["examine"]

NAME = "OMS over gRPC"
_NO_METHOD = f"/{EXTENDED.name}/Probe"
_QUIET_S = 0.5
_SILENT = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
_CLOSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def examine(config: OmsGrpcConfig) -> Iterator[Finding]:
    """Look at a system; no order is sent, and each call has ``oms_grpc.timeout``."""
    try:
        endpoint = Endpoint(config)
    except ConfigError as error:
        found, _, advice = str(error).rpartition(": ")
        yield problem(NAME, found, advice)
        return
    # A name that no session has: an engine at work keeps its link.
    hello = oms_pb2.Request(hello=oms_pb2.Hello()).SerializeToString()
    with closing(endpoint.connect(pings=False)) as channel:
        try:
            extended = _offers(channel, EXTENDED, [hello], config.timeout)
            yield fine(NAME, f"answers at {endpoint.target}")
            yield _encryption(config)
            if extended:
                yield fine(f"{NAME} service", f"{EXTENDED.name}: cancels, replacements, queries")
            elif _offers_plain(channel, config.timeout):
                yield _plain_alone(config)
            else:
                yield problem(
                    f"{NAME} service",
                    f"neither {EXTENDED.name} nor {PLAIN.name}",
                    "correct oms_grpc.host and oms_grpc.port: this is another server",
                )
        except grpc.RpcError as error:
            yield _failed(endpoint.target, config, error)


def _offers(
    channel: grpc.Channel, service: ServiceName, requests: list[bytes], timeout_s: float
) -> bool:
    """Open the stream of a service and let go of it; False when the system has none."""
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(service.path)
    call = stream(iter(requests), timeout=timeout_s)
    try:
        next(call, None)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return False
        raise
    finally:
        call.cancel()
    return True


def _offers_plain(channel: grpc.Channel, timeout_s: float) -> bool:
    """Look for the plain service, which has nothing to say to one who orders nothing."""
    try:
        return _offers(channel, PLAIN, [], min(timeout_s, _QUIET_S))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    # It keeps the stream, or it has fallen silent: a method that nobody has tells which.
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_NO_METHOD)
    try:
        method(b"", timeout=timeout_s)
    except grpc.RpcError as error:
        if error.code() in _SILENT:
            raise
    return True


def _plain_alone(config: OmsGrpcConfig) -> Finding:
    what, found = f"{NAME} service", f"{PLAIN.name} alone: no cancels, replacements or queries"
    if config.reduce_only == "plain":
        return fine(what, found)
    return warning(
        what,
        f"{found}, and reduce-only orders are refused",
        "set oms_grpc.reduce_only = plain if guards are to close positions there",
    )


def _encryption(config: OmsGrpcConfig) -> Finding:
    if config.tls.enabled:
        return fine(f"{NAME} encryption", "TLS")
    if config.host in {"localhost", "127.0.0.1", "::1"}:
        return fine(f"{NAME} encryption", "none, and the system is on this machine")
    return warning(f"{NAME} encryption", "none", "set oms_grpc.tls.enabled = true")


def _failed(target: str, config: OmsGrpcConfig, error: grpc.RpcError) -> Finding:
    words = " ".join(str(error.details()).split())[:300]
    found = f"{error.code().name}: {words}"
    if error.code() in _CLOSED:
        return problem(NAME, f"refuses us at {target}: {found}", "correct oms_grpc.tls.client_*")
    if config.tls.enabled and any(
        each in words for each in ("SSL", "ertificate", "andshake", "erification")
    ):
        return problem(
            NAME,
            f"TLS with {target} fails: {found}",
            "correct oms_grpc.tls: root_certificate and server_name must fit its certificate",
        )
    if error.code() in _SILENT:
        return silence(
            NAME,
            f"does not answer at {target} within {config.timeout:g} s: {found}",
            "start it, or correct oms_grpc.host, port and tls.enabled",
        )
    return problem(NAME, f"fails at {target}: {found}", "look at the log of the system")
