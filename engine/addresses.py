"""Addresses of servers as people write them: what is wrong with one, and what nobody may read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

__all__ = ["SECRET", "host_fault", "masked", "servers_fault", "shown", "url_fault"]

SECRET = re.compile(
    r"password|passwd|secret|token|key\.pem|jaas|oauthbearer\.config", re.IGNORECASE
)
"""What the name of a setting holds whose value is nobody's business."""

_NAMED = r"(?i)((?:password|passwd|secret|token)[\w.]*['\"]?\s*[=:]\s*)"
_HOST = re.compile(r"[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)*\.?")
_PORT = "the port is no number from 1 to 65,535"
_PORT_MAX = 65_535
_NO_HOST = "no host can be read from it; an IPv6 address stands in brackets"
_PLACE = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:.*)?")


def shown(value: Any, name: str = "") -> str:
    """Give the value of a setting as a message may quote it.

    Args:
        value: what was given.
        name: the setting's name; that of a secret hides all of it.
    """
    if SECRET.search(name):
        return "'***'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shown(v, str(key))}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(shown(each) for each in value) + "]"
    return repr(masked(value) if isinstance(value, str) else value)


def masked(text: str) -> str:
    """Hide what a password may be in an address: also in one that is not well-formed.

    Where a port should be and no number is, a password may be that lost the ``@HOST`` behind it.
    """
    end = r"[^&]*" if "://" in text else r"\S*"
    text = re.sub(_NAMED + rf"('(?:[^'\\]|\\.)*'|{end})", r"\1***", text)
    text = re.sub(r"(?s)://.*@", "://***@", text, count=1)
    if "://" not in text:
        text = re.sub(r"(?s)^([\w.-]+=)?[^@]*:.*@", r"\1***@", text)
    return re.sub(
        r"(://(?:[^/?#:\[\],]*|\[[^\]]*\])):(?!\d{0,5}(?:[/?#,]|$))[^/?#,]+", r"\1:***", text
    )


def url_fault(url: str) -> str | None:
    """Say what is wrong with the URL of a server; None when nothing is."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "there is a blank in it"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return _NO_HOST
    if not _PLACE.fullmatch(parts.netloc.rpartition("@")[2]):
        return _NO_HOST
    if parts.scheme == "unix":
        return None if parts.path.strip("/") else "there is no path in it"
    try:
        port = parts.port
    except ValueError:
        return _PORT
    if port == 0:
        return _PORT
    return host_fault(host or "")


def host_fault(host: str) -> str | None:
    """Say what is wrong with a name or an address; None when nothing is."""
    if not host:
        return "there is no host in it"
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError:
            return "its host is no name and no address"
        return None
    return None if _HOST.fullmatch(host) else "its host is no name and no address"


def servers_fault(servers: str) -> str | None:
    """Say what is wrong with a list of ``host:port`` with commas between; None when nothing is."""
    for each in servers.split(","):
        server = each.strip()
        said = re.fullmatch(
            r"(?:(?:SASL_)?(?:PLAINTEXT|SSL)://)?(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?",
            server,
        )
        if said is None:
            return "it is no list of HOST:PORT with commas between"
        fault = host_fault(said["name"] if said["v6"] is None else said["v6"])
        if fault is not None:
            return fault
        port = said["port"]
        if port is not None and not (
            re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= _PORT_MAX
        ):
            return _PORT
    return None
