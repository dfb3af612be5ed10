"""Settings, read from environment variables and `.env`."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from auth.providers import OTHER, PROVIDERS
from gateway.core.addresses import Proxy, trusted_proxy
from gateway.core.connect_request import WEBSOCKET_PATH
from gateway.service.environment import PREFIX, notices, requested_processes, without_service_links
from gateway.service.setting_types import CommaList, Count, Host, Kinds, Origins, Paths, Proxies, Scopes, Tenants
from gateway.service.tenant_limits import LimitsByTenant
from schemas.rooms import DEFAULT_KINDS

logger = logging.getLogger("gateway")

ENV_FILE = ".env"
GENERATE_HINT = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'


class ConfigError(Exception):
    """A missing or invalid setting, in one line that names it and shows no secret."""


class Settings(BaseSettings):
    """All settings, read from `GATEWAY_…` variables and a `.env` file. Counts and rates: 0 is no limit.

    An empty variable is an unset one, since container configurations pass empty ones.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # skips the byte order mark of Windows editors
        env_ignore_empty=True,
        enable_decoding=False,  # lists are comma-separated, not JSON
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    if TYPE_CHECKING:  # an argument of the base class, unknown to type checkers without pydantic's plugin
        _env_file: Path | str | None = None

    jwt_secret: SecretStr | None = Field(
        default=None, description="HS256 key, at least 32 bytes; signs unless a private key does"
    )
    jwt_previous_secrets: tuple[SecretStr, ...] = Field(
        default=(), description="HS256 keys still accepted after a rotation, comma-separated"
    )
    jwt_next_secrets: tuple[SecretStr, ...] = Field(
        default=(), description="HS256 keys accepted ahead of a rotation, comma-separated; they do not sign yet"
    )
    jwt_private_keys: CommaList = Field(
        default=(),
        description="PEM files of RSA, P-256 or Ed25519 private keys, newest first, comma-separated; the first signs",
    )
    jwt_public_keys: CommaList = Field(default=(), description="PEM files of further public keys, comma-separated")
    cursor_secret: SecretStr | None = Field(
        default=None, description="key that event ids are encrypted with, at least 32 bytes; empty: the key that signs"
    )
    jwt_issuer: str = Field(default="gathering-gateway", min_length=1, description="`iss` of the tokens issued here")
    jwt_audience: str = Field(default="gathering-gateway", min_length=1, description="`aud` that every token must have")
    external_provider: str | None = Field(
        default=None,
        description=f"identity provider whose tokens are accepted, one of {', '.join(PROVIDERS)}; presets the rest",
    )
    external_issuer: str | None = Field(default=None, description="`iss` of tokens that an identity provider issues")
    external_jwks_url: str | None = Field(
        default=None, description="URL of that provider's JWK Set (RFC 7517); empty: the preset's"
    )
    external_secret: tuple[SecretStr, ...] = Field(
        default=(), description="HS256 keys shared with that provider, comma-separated, in place of a JWK Set"
    )
    external_audience: CommaList = Field(
        default=(), description="accepted values of `aud` in its tokens, comma-separated; empty: GATEWAY_JWT_AUDIENCE"
    )
    external_types: CommaList = Field(
        default=(),
        description="accepted `typ`s, comma-separated, `none` for no `typ`; empty: at+jwt, application/at+jwt",
    )
    external_tenant_claim: str | None = Field(
        default=None, description="claim with the tenant: a name or a JSON Pointer; empty: tenant, or the preset's"
    )
    external_user_claim: str | None = Field(
        default=None, description="claim with the user id: a name or a JSON Pointer; empty: sub, or the preset's"
    )
    external_rooms_claim: str | None = Field(
        default=None, description="claim with room patterns: a name or a JSON Pointer; empty: rooms, or the preset's"
    )
    external_scope_claim: str | None = Field(
        default=None, description="claim with the scopes: a name or a JSON Pointer; empty: scope, or the preset's"
    )
    external_default_rooms: CommaList = Field(
        default=(), description="room patterns for its tokens without any, comma-separated"
    )
    external_default_scope: str | None = Field(
        default=None, description="scope for its tokens without one; empty: none, or the preset's"
    )
    external_scopes: Scopes = Field(
        default="subscribe publish", description="scopes its tokens may have, separated by spaces; others are ignored"
    )
    external_tenants: Tenants = Field(
        default=(),
        description="accepted tenants of its tokens, comma-separated, value=tenant to rename one; empty: any",
    )
    external_max_lifetime: int | None = Field(
        default=None, ge=1, description="maximum lifetime of its tokens in seconds; empty: as here, or the preset's"
    )
    external_max_age: int | None = Field(
        default=None, ge=1, description="seconds after `iat` at which its tokens end; empty: at `exp`"
    )
    max_token_lifetime: int = Field(default=3_600, ge=1, description="longest lifetime of a user's token, in seconds")
    max_admin_token_lifetime: int = Field(
        default=86_400, ge=1, description="longest lifetime of an administrator's token, in seconds"
    )

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8_000, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    websocket_paths: Paths = Field(
        default=(WEBSOCKET_PATH,), description="paths of the WebSocket, comma-separated, such as that of a front end"
    )
    allowed_origins: Origins = Field(
        default=(), description="web origins that may connect, comma-separated; empty: same origin"
    )
    trusted_proxies: Proxies = Field(
        default=(),
        description="addresses or networks whose X-Forwarded-For is trusted, comma-separated; unix: is a Unix socket",
    )

    room_kinds: Kinds = Field(
        default=DEFAULT_KINDS.names,
        description="kinds of room besides user and tenant, comma-separated; for K: rooms K:<id>, K_id in events",
    )
    log_url: str = Field(default="memory://", repr=False, description="event log storage: memory:// or redis://")
    redis_prefix: str = Field(
        default="gathering", pattern=r"^[A-Za-z0-9_.-]+$", description="prefix of the keys in Redis"
    )
    redis_trust_restarts: bool = Field(
        default=False, description="keep positions over a restart of Redis, which needs appendfsync always"
    )
    log_max_events: int = Field(default=10_000, ge=1, description="maximum events in a tenant's log")
    log_max_bytes: int = Field(default=16 * 1024 * 1024, ge=1, description="maximum bytes of a tenant's log")
    log_max_total_bytes: int = Field(
        default=2**30, ge=0, description="maximum bytes of all tenants' logs in memory, state included; 0: no limit"
    )
    log_min_seconds: int = Field(
        default=120, ge=1, description="seconds for which an event is kept, unless the limit of count or bytes drops it"
    )
    log_max_seconds: int = Field(default=3_600, ge=1, description="seconds after which an event is dropped")
    state_max_items: int = Field(default=10_000, ge=1, description="maximum items in a tenant's state")
    state_max_bytes: int = Field(default=16 * 1024 * 1024, ge=1, description="maximum bytes of a tenant's state")

    contract: str | None = Field(
        default=None,
        description="event contract: a folder of <type>.v<N>.json, or pydantic models as package.module:NAME",
    )
    contract_mode: Literal["off", "warn", "enforce"] = Field(
        default="enforce",
        description="events that violate the contract: refused (enforce), counted (warn), not checked (off)",
    )
    contract_unknown: Literal["allow", "refuse"] = Field(
        default="allow", description="event types that the contract does not have: allowed, or refused as violations"
    )

    max_connections_per_user: Count = Field(default=30, description="maximum connections of one user")
    max_connections_per_address: Count = Field(
        default=1_000, description="maximum connections from one address or IPv6 /64"
    )
    max_connections_per_tenant: Count = Field(default=10_000, description="maximum connections of one tenant")
    handshakes_per_minute: Count = Field(default=600, description="maximum handshakes a minute from one address")
    max_rooms_per_connection: int = Field(
        default=100, ge=1, description="maximum rooms of one connection, besides the user's own"
    )
    max_message_bytes: int = Field(default=65_536, ge=1_024, description="maximum bytes of one message or event")
    commands_per_second: Annotated[float, Field(ge=0)] = Field(
        default=20, description="commands of one connection a second"
    )
    command_burst: Count = Field(default=40, description="commands of one connection at once (burst)")
    events_per_second: Count = Field(default=500, description="events a second sent to one connection")
    publish_per_second: Annotated[float, Field(ge=0)] = Field(
        default=1_000, description="events a second that one user publishes over HTTP and the publish command"
    )
    publish_burst: Count = Field(default=2_000, description="events that one user publishes at once (burst)")
    tenant_publish_per_second: Count = Field(default=0, description="events that one tenant publishes a second")
    tenant_limits: LimitsByTenant = Field(
        default=None, description="overrides for individual tenants: JSON, or the path of a JSON or TOML file"
    )
    tokens_per_minute: Count = Field(default=600, description="POST /admin/tokens a minute by one principal")
    tickets_per_minute: Count = Field(default=60, description="POST /tickets a minute by one principal")
    admin_requests_per_minute: Count = Field(
        default=120, description="requests a minute to each other route under /admin by one principal"
    )
    keep_alive_seconds: int = Field(
        default=75, ge=1, description="idle timeout of an HTTP connection in seconds: longer than the load balancer's"
    )
    compression: bool = Field(default=False, description="permessage-deflate: fewer bytes for more CPU time")
    ping_interval: float = Field(
        default=20.0,
        gt=0,
        description="seconds between WebSocket pings (keepalive); other ASGI servers have a setting of their own",
    )
    mark_interval: float = Field(
        default=15.0, ge=0, description="seconds without an event after which a client gets a mark; 0: no marks"
    )
    stall_seconds: float = Field(
        default=10.0, gt=0, description="seconds after which a client that reads nothing is closed (4408)"
    )
    shutdown_delay_seconds: float = Field(
        default=5.0, ge=0, description="seconds after SIGTERM in which /readyz is 503 and clients are still served"
    )
    drain_seconds: float = Field(
        default=10.0, ge=0, description="duration of a drain in seconds: clients are closed one after another"
    )

    metrics_token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None, description="static bearer token for GET /metrics, at least 16 characters, such as a scraper's"
    )
    canary: bool = Field(default=False, description="isolation canary: checks every 5 s that tenants are isolated")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="minimum level of log lines"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="format of log lines: text for people, or one JSON object a line"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        if isinstance(value, str) and isinstance(default, tuple):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", "log_format", "contract_mode", "contract_unknown", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources: arguments, environment, file; logs a warning for unknown variables."""
        known = [name.upper() for name in cls.model_fields]
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                for sentence in notices(source.env_vars, known):
                    logger.warning("%s", sentence)
                source.env_vars = without_service_links(source.env_vars)
        return init_settings, env_settings, dotenv_settings

    @property
    def longest_token_lifetime(self) -> int:
        """The maximum lifetime of any token, in seconds."""
        preset = PROVIDERS.get(self.external_provider or "", OTHER).max_lifetime
        return max(self.max_token_lifetime, self.max_admin_token_lifetime, self.external_max_lifetime or preset or 0)

    @property
    def proxies(self) -> Sequence[Proxy]:
        return [trusted_proxy(name) for name in self.trusted_proxies]


def load_settings(**overrides: Any) -> Settings:
    """The settings, with `overrides` before the environment. Raises `ConfigError`."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        # Without the input, which may be a secret.
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "_".join(str(part) for part in fault["loc"][:1])
        raise ConfigError(f"{PREFIX}{name.upper()}: {fault['msg'].removeprefix('Value error, ')}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{ENV_FILE}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{ENV_FILE}: cannot be read: {error.strerror}; fix or remove it") from None


def server_processes() -> int:
    """The number of worker processes requested from the server around this process, as far as it is visible."""
    return requested_processes(sys.argv, os.environ)
