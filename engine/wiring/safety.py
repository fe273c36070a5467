"""What a profile for real money has to have, asked of one before anything is connected."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.postgres.conninfo import is_encrypted
from engine.errors import ConfigError
from engine.sections import Config
from engine.wiring.venues import venue_routes

__all__ = ["lacking", "require_safe"]

_PRODUCTION = ("production", "prod", "")
"""What a place for real orders is called; an empty variable says nothing."""
_KAFKA_ENCRYPTED = ("SSL", "SASL_SSL")


def require_safe(config: Config) -> None:
    """Refuse a profile that lacks what its section ``safety`` asks for.

    Raises:
        ConfigError: naming every key, what it is and what to write.
    """
    missing = lacking(config)
    if missing:
        raise ConfigError(
            f"profile {config.profile!r} asks for safety that is not there: {'; '.join(missing)}"
        )


def lacking(config: Config) -> list[str]:
    """Give what a profile lacks of its section ``safety``: each what it is, a colon, what to do.

    Raises:
        ConfigError: ``store.url`` is no connection string.
    """
    found: list[str] = []
    if config.safety.connections == "encrypted":
        found += _unencrypted(config)
    if config.safety.market == "live":
        found += _not_live(config)
    return found


def _unencrypted(config: Config) -> Iterator[str]:
    allow = 'or accept it with safety.connections = "any"'
    if config.store.url is not None and not is_encrypted(config.store.url):
        yield f"store.url is not encrypted: add sslmode=verify-full, {allow}"
    brokers = (config.feed.kind, config.run.executions, config.publish.kind)
    venues = venue_routes(config).venues
    if "redis" in brokers and config.redis.url.startswith("redis://"):
        yield f"redis.url is not encrypted: write rediss://, {allow}"
    protocol = str(config.kafka.options.get("security.protocol", "PLAINTEXT")).upper()
    if "kafka" in brokers and protocol not in _KAFKA_ENCRYPTED:
        yield f'kafka.options "security.protocol" is {protocol}: set SSL or SASL_SSL, {allow}'
    if "grpc" in venues and not config.oms_grpc.tls.enabled:
        yield f"oms_grpc.tls.enabled is false: set it to true, {allow}"
    urls = {
        "http": ("gateway.url", config.gateway.url),
        "alpaca": ("alpaca.url", config.alpaca.url),
    }
    for venue, (name, url) in urls.items():
        if venue in venues and not url.startswith("https://"):
            yield f"{name} is not encrypted: write https://, {allow}"


def _not_live(config: Config) -> Iterator[str]:
    environment = config.safety.environment
    if environment is not None and environment.lower() not in _PRODUCTION:
        yield (
            f'safety.environment (ENVIRONMENT) is "{environment}": real orders leave from '
            '"production" only'
        )
    if config.feed.kind == "files":
        yield 'feed.kind is "files": set it to redis or kafka'
    if config.feed.time != "wall":
        yield 'feed.time is "data": set it to wall'
    if config.feed.silent_after is None:
        yield "feed.silent_after is not set: say after how many seconds a price is too old"
    if config.venue.kind == "simulated":
        yield 'venue.kind is "simulated": set it to grpc, http or alpaca'
    named = set(config.data.symbols) or set(config.instruments)
    unknown = sorted(named - set(config.instruments))
    if not named or unknown:
        missing = f"[instruments.{unknown[0]}]" if unknown else "[instruments.SYMBOL]"
        yield f"{missing} is missing: real orders need digits and steps that a person has checked"
