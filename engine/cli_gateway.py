"""The commands of the gateway."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from engine.cli_oms import (
    Data,
    Host,
    Port,
    Settings,
    Speed,
    State,
    serve_until_stopped,
)

if TYPE_CHECKING:
    from engine.config import Config

__all__ = ["gateway"]

gateway = App(name="gateway", help="Serve a gateway that takes orders over HTTP, and set it up.")

StoreProfile = Annotated[
    str, Parameter(name="--profile", help="A shipped profile (paper), or a TOML file over one.")
]
Certificate = Annotated[
    Path | None, Parameter(help="PEM file of a certificate; the gateway then encrypts.")
]
Key = Annotated[Path | None, Parameter(help="PEM file of the certificate's key.")]


@gateway.command
def serve(
    *,
    data: Data,
    host: Host = "127.0.0.1",
    port: Port = 3000,
    speed: Speed = None,
    state: State = None,
    certificate: Certificate = None,
    key: Key = None,
    profile: StoreProfile = "paper",
    settings: Settings = None,
) -> int:
    """Take orders over HTTP and fill them from market data files, until stopped.

    Who may order what is in the database of DATABASE_URL or store.url, else in the engine's own in
    store.folder. With GATEWAY_TOKEN or gateway.token, clients must show it.
    """
    from engine.errors import ConfigError
    from engine.gateway import Gateway
    from engine.oms import default_speed
    from engine.wiring import oms_state, open_history
    from engine.wiring.gateway import open_gateway_book, open_gateway_server

    if (certificate is None) != (key is None):
        raise ConfigError("--certificate and --key go together: give both, or neither")
    config = _config(profile, settings, {"data.paths": [str(path) for path in data]})
    history = open_history(config)
    pace = default_speed(history) if speed is None else speed
    kept = None if state is None else oms_state(state)
    with open_gateway_book(config, history.instruments) as book:
        edge = partial(
            open_gateway_server,
            history.instruments,
            book,
            token=config.gateway.token,
            certificate=None if certificate is None else str(certificate),
            key=None if key is None else str(key),
        )
        system = Gateway(config, history, edge, book, speed=pace, state=kept)
        serve_until_stopped(system, host, port, kept, history, pace)
    return 0


@gateway.command
def user(
    name: str,
    *,
    balance: Annotated[str, Parameter(help="Virtual balance in currency, such as 100000.")],
    profile: StoreProfile = "paper",
    settings: Settings = None,
) -> int:
    """Make a user with a balance, or give one that is there another balance."""
    from engine.errors import ConfigError
    from engine.wiring.gateway import add_gateway_user

    try:
        amount = Decimal(balance)
    except InvalidOperation:
        raise ConfigError(f"--balance {balance!r} is not a number such as 100000") from None
    if not amount.is_finite() or not 0 <= amount <= 10**12:
        raise ConfigError(f"--balance {balance} is not from 0 to 1,000,000,000,000")
    add_gateway_user(_config(profile, settings), name, amount)
    print(f"user {name} has {amount:,f}")
    return 0


@gateway.command
def session(
    name: str,
    *,
    user: Annotated[str, Parameter(help="Whose it is.")] = "",
    strategy: Annotated[str, Parameter(help="Strategy it is for; its own name by default.")] = "",
    stop: Annotated[bool, Parameter(negative=(), help="Let it order nothing more.")] = False,
    profile: StoreProfile = "paper",
    settings: Settings = None,
) -> int:
    """Start a session, under which a strategy of a user may order, or stop it."""
    from engine.errors import ConfigError
    from engine.wiring.gateway import add_gateway_session, stop_gateway_session

    config = _config(profile, settings)
    if stop:
        stop_gateway_session(config, name)
        print(f"session {name} is stopped")
        return 0
    if not user:
        raise ConfigError("--user NAME is missing: whose session it is")
    add_gateway_session(config, name, user, strategy or name)
    print(f"session {name} of user {user} is running")
    return 0


def _config(
    profile: str, settings: list[str] | None, more: dict[str, object] | None = None
) -> Config:
    from engine.config import load_config, parse_settings

    changes = {**parse_settings(settings or []), **(more or {})}
    return load_config(profile, environment=os.environ, settings=changes)
