"""Advice about a configuration: settings that are valid but weak, and a log's server that is not fit for it."""

from collections.abc import Iterable

from gateway.core.addresses import is_loopback
from gateway.service.config import ConfigError, Settings
from gateway.service.external import external_warnings


async def advice_about(settings: Settings) -> list[str]:
    """The warnings of `gateway check`, a sentence each; a log that cannot be used is one of them."""
    try:
        return [*setting_warnings(settings), *await try_log(settings)]
    except ConfigError as error:
        return [*setting_warnings(settings), str(error)]


async def try_log(settings: Settings) -> list[str]:
    """Warnings about the log's server. Raises `ConfigError` for one that cannot be used."""
    if settings.log_url.startswith("memory:"):
        return []
    from gateway.redis.probe import ProbeFailed, probe

    try:
        return [f"GATEWAY_LOG_URL: {weakness}" for weakness in await probe(settings.log_url, settings.redis_prefix)]
    except ProbeFailed as error:
        raise ConfigError(f"GATEWAY_LOG_URL: {error}") from None


def setting_warnings(settings: Settings) -> Iterable[str]:
    """Warnings about settings that are valid but not advisable, a sentence each."""
    if not is_loopback(settings.host) and not settings.trusted_proxies:
        yield "GATEWAY_HOST is open to the network and GATEWAY_TRUSTED_PROXIES is empty: put a TLS proxy in front"
    yield from external_warnings(settings)
    if "*" in settings.allowed_origins:
        yield "GATEWAY_ALLOWED_ORIGINS is *: any web page may connect with a token that it got hold of"
    for name in ("max_connections_per_user", "max_connections_per_address", "max_connections_per_tenant"):
        if getattr(settings, name) == 0:
            yield f"GATEWAY_{name.upper()} is 0: there is no limit"
    for name in (
        "handshakes_per_minute",
        "commands_per_second",
        "events_per_second",
        "tokens_per_minute",
        "tickets_per_minute",
    ):
        if getattr(settings, name) == 0:
            yield f"GATEWAY_{name.upper()} is 0: there is no limit"
    if settings.jwt_private_keys and settings.jwt_secret:
        yield "GATEWAY_JWT_SECRET is set as well as GATEWAY_JWT_PRIVATE_KEYS: anyone who knows it can sign tokens too"
