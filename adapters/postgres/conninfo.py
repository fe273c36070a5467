"""Connection strings of PostgreSQL: what they say, without connecting."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.errors import ConfigError

__all__ = ["is_encrypted", "secrets_of", "with_password"]

_FORM = "write it as postgresql://user@host:5432/database, special characters of a password as %XX"
_DIGITS = re.compile(r"[0-9]{1,5}")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def is_encrypted(conninfo: str) -> bool:
    """Tell whether nobody on the way can read or pretend: verify-full, or a socket of this machine.

    Raises:
        ConfigError: it is no connection string.
    """
    said = _parts(conninfo)
    host = str(said.get("host") or "")
    return said.get("sslmode") == "verify-full" or host.startswith(("/", "@"))


def with_password(conninfo: str, password: str | None) -> str:
    """Give a connection string with a password, where it has none of its own.

    Raises:
        ConfigError: it is no connection string.
    """
    said = _parts(conninfo)
    if password is None or said.get("password"):
        return conninfo
    return make_conninfo(conninfo, password=password)


def secrets_of(conninfo: str) -> tuple[list[str], frozenset[str]]:
    """Give what nobody may be shown of a connection string, and what everybody may.

    Raises:
        ConfigError: it is no connection string.
    """
    said = {name: str(value) for name, value in _parts(conninfo).items() if value}
    secret = [said.pop(name) for name in ("password", "sslpassword") if name in said]
    return secret, frozenset(said.values())


def _parts(conninfo: str) -> dict[str, object]:
    try:
        said: dict[str, object] = dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise ConfigError(f"store.url (DATABASE_URL) is no connection string: {_FORM}") from None
    # Libpq finds these out when it connects, and then in words that hold what was written.
    ports = str(said.get("port") or "").split(",")
    if not all(
        each == "" or (_DIGITS.fullmatch(each) and 0 < int(each) < 65_536) for each in ports
    ):
        raise ConfigError(
            f"store.url (DATABASE_URL): the port is no number from 1 to 65,535: {_FORM}"
        )
    mode = str(said.get("sslmode") or "prefer")
    if mode not in _SSL_MODES:
        raise ConfigError(
            f"store.url (DATABASE_URL): sslmode is none of {', '.join(_SSL_MODES)}: correct it"
        )
    return said
