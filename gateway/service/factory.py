"""The service factory: a gateway and its parts, made from settings."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from auth.errors import LifetimeTooLong, UnusableKey
from auth.identity import LONGER_LIVED
from auth.keys import KeyRing
from auth.tokens import IssuedToken, TokenIssuer, TokenVerifier, TrustedIssuer
from gateway.cluster.local import LocalCluster
from gateway.core.admission import ConnectionLimits, Limits
from gateway.core.cluster import Cluster
from gateway.core.log import Log
from gateway.core.manager import BatchWriter
from gateway.core.origin import OriginPolicy
from gateway.core.tenant_quotas import TenantQuota, TenantQuotas
from gateway.core.window import Bounds
from gateway.embedding.broadcast_manager import BroadcastManager, claim_connection_manager
from gateway.embedding.event_bus import forget_gateway, use_gateway
from gateway.engine.access import Access, Authenticate, Authorize
from gateway.engine.audit import AuditTrail
from gateway.engine.canary import Canary
from gateway.engine.delivery import write_each
from gateway.engine.gateway import Gateway
from gateway.engine.operations import Operations
from gateway.logs.memory import MemoryLog
from gateway.service.cluster_settings import ClusterSettings
from gateway.service.config import (
    GENERATE_HINT,
    ConfigError,
    Settings,
    load_settings,
    server_processes,
)
from gateway.service.contract import contract_of
from gateway.service.external import ExternalIssuer, external_issuer
from gateway.service.jwks import JwksRefresher
from gateway.service.keys import cursor_keys, token_keys
from gateway.service.tenant_limits import TenantLimit
from schemas.rooms import RoomKinds, id_of


@dataclass(frozen=True, slots=True)
class Service:
    """A gateway with the objects that the HTTP side needs. `manager` broadcasts to the gateway's connections."""

    settings: Settings
    gateway: Gateway
    manager: BroadcastManager
    keyring: KeyRing
    issuer: TokenIssuer
    origins: OriginPolicy
    jwks: JwksRefresher | None
    operations: Operations
    cluster_settings: ClusterSettings
    canary: Canary

    @property
    def audit(self) -> AuditTrail:
        """The audit trail of this node."""
        return self.operations.trail

    def issue_token(
        self,
        *,
        user_id: str | int | UUID,
        tenant: str | int | UUID,
        rooms: Iterable[str] = (),
        scope: str = "subscribe",
        expires_in: int | None = None,
        rate: int | None = None,
    ) -> IssuedToken:
        """Issue a token to a user whom the application has authenticated. `rooms` are patterns, `scope` is words
        separated by spaces, `expires_in` seconds, by default the maximum lifetime of a user's token. Raises `AuthError`
        for values that no token may have."""
        scopes, settings = scope.split(), self.settings
        longest = settings.max_token_lifetime
        if not LONGER_LIVED.isdisjoint(scopes):
            longest = settings.max_admin_token_lifetime
        if expires_in is not None and expires_in > longest:
            raise LifetimeTooLong(longest)
        user, owner = str(id_of("user_id", user_id)), str(id_of("tenant", tenant))
        return self.issuer.issue(
            user_id=user,
            tenant=owner,
            rooms=rooms,
            scope=scopes,
            expires_in=settings.max_token_lifetime if expires_in is None else expires_in,
            now=self.gateway.clock(),
            rate=rate,
            cutoff=self.gateway.administration.newest_cutoff(owner, user),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A lifespan: the gateway serves within it, and is stopped at its end. Within another one on the same event
        loop it is a no-op. Raises `WrongEventLoop` where the gateway runs on another one."""
        began = await self.gateway.lifecycle.start()
        try:
            yield
        finally:
            if began:
                await self.gateway.stop()


def create_service(
    settings: Settings | None = None,
    *,
    log: Log | None = None,
    cluster: Cluster | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    batch_writer: BatchWriter = write_each,
    authenticate: Authenticate | None = None,
    authorize: Authorize | None = None,
) -> Service:
    """A gateway from `settings`, by default those of the environment. Raises `ConfigError`.

    `authenticate` is called for the identity of each client before tokens are verified, `authorize` for the rooms that
    an identity may join.

    `log` and `cluster` replace those of the settings; `clock` is seconds since the epoch, `timer` seconds of a
    monotonic clock. `batch_writer` writes a batch of events to many connections:
    `gateway.transports.uvicorn.sockets.write_batch_to_fds` is faster in a process without CPU-bound threads.
    """
    settings = settings or load_settings()
    if authenticate is not None and "*" in settings.allowed_origins:
        raise ConfigError(
            "GATEWAY_ALLOWED_ORIGINS: name the origins in place of *; with `authenticate` any web page could connect as"
            " the user who opens it, whose cookies browsers send along"
        )
    require_shared_log(settings, server_processes(), "the server")
    kinds = RoomKinds(settings.room_kinds)
    keyring = KeyRing(token_keys(settings))
    try:
        issuer = TokenIssuer(keyring, settings.jwt_issuer, settings.jwt_audience, kinds)
    except UnusableKey:
        raise ConfigError(
            f"GATEWAY_JWT_SECRET is missing: set it to a random text of at least 32 bytes, made with {GENERATE_HINT}"
        ) from None
    external = external_issuer(settings)
    gateway = Gateway(
        log or _log(settings, cursor_keys(settings), clock, timer),
        token_verifier(settings, keyring, external, kinds),
        cluster=cluster or _cluster(settings, timer),
        limits=_limits(settings),
        clock=clock,
        timer=timer,
        batch_writer=batch_writer,
        access=Access(authenticate, authorize),
        contract=contract_of(settings),
    )
    if external.jwks is not None:
        gateway.lifecycle.add(external.jwks.start, external.jwks.stop)
    gateway.lifecycle.add(partial(use_gateway, gateway), partial(forget_gateway, gateway))
    canary = Canary(gateway)
    for metric in canary.metrics():
        gateway.metrics.add(metric)
    if settings.canary:
        gateway.lifecycle.add(canary.start, canary.stop)
    manager = claim_connection_manager()
    manager.attach(gateway)
    origins = OriginPolicy(settings.allowed_origins)
    operations = Operations(gateway, settings.shutdown_delay_seconds, settings.drain_seconds)
    compared = ClusterSettings(settings, gateway.cluster)
    return Service(settings, gateway, manager, keyring, issuer, origins, external.jwks, operations, compared, canary)


def token_verifier(settings: Settings, keyring: KeyRing, external: ExternalIssuer, kinds: RoomKinds) -> TokenVerifier:
    """The verifier of tokens: those issued here, signed with `keyring`, and those of an identity provider."""
    trusted = [TrustedIssuer(settings.jwt_issuer, keyring), *external.trusted]
    lifetimes = (settings.max_token_lifetime, settings.max_admin_token_lifetime)
    return TokenVerifier(trusted, settings.jwt_audience, *lifetimes, kinds)


def _log(settings: Settings, keys: tuple[bytes, ...], clock: Callable[[], float], timer: Callable[[], float]) -> Log:
    seconds = max(settings.log_min_seconds, settings.log_max_seconds)
    bounds = Bounds(
        settings.log_max_events,
        settings.log_max_bytes,
        seconds,
        max_items=settings.state_max_items,
        max_item_bytes=settings.state_max_bytes,
    )
    tenant_bounds = {tenant: own.bounds(bounds) for tenant, own in _tenant_overrides(settings).items()}
    scheme = settings.log_url.partition(":")[0]
    if scheme == "memory":
        return MemoryLog(keys, bounds, clock, timer, settings.log_max_total_bytes, tenant_bounds)
    if scheme not in ("redis", "rediss"):
        raise ConfigError("GATEWAY_LOG_URL: starts with memory://, redis:// or rediss://")
    try:
        # Imported here, since the driver's package is an extra.
        from gateway.logs.redis import RedisLog

        return RedisLog(
            settings.log_url,
            keys,
            bounds,
            prefix=settings.redis_prefix,
            trust_restarts=settings.redis_trust_restarts,
            timer=timer,
            tenant_bounds=tenant_bounds,
        )
    except ImportError:
        raise ConfigError("GATEWAY_LOG_URL: Redis needs its client: pip install 'redis[hiredis]>=6'") from None
    except ValueError as error:
        raise ConfigError(f"GATEWAY_LOG_URL: {error}") from None


def require_shared_log(settings: Settings, processes: int, asked_by: str) -> None:
    """Raise `ConfigError` for several processes with the in-memory log: each would have its own."""
    if processes > 1 and settings.log_url.startswith("memory:"):
        raise ConfigError(
            f"GATEWAY_LOG_URL: memory:// is a log of one process, and {asked_by} asks for {processes} processes; "
            "run one, or set redis://"
        )


def _cluster(settings: Settings, timer: Callable[[], float]) -> Cluster:
    if settings.log_url.startswith("memory:"):
        return LocalCluster(timer)
    from gateway.cluster.redis.cluster import RedisCluster

    return RedisCluster(
        settings.log_url, prefix=settings.redis_prefix, retention=settings.longest_token_lifetime + 60, timer=timer
    )


def _tenant_overrides(settings: Settings) -> Mapping[str, TenantLimit]:
    return {} if settings.tenant_limits is None else settings.tenant_limits.root


def _limits(settings: Settings) -> Limits:
    quota = TenantQuota(settings.max_connections_per_tenant, settings.tenant_publish_per_second)
    return Limits(
        rooms=settings.max_rooms_per_connection,
        message_bytes=settings.max_message_bytes,
        commands_per_second=settings.commands_per_second if settings.command_burst else 0,
        command_burst=settings.command_burst,
        events_per_second=settings.events_per_second,
        publish_per_second=settings.publish_per_second if settings.publish_burst else 0,
        publish_burst=settings.publish_burst,
        ping_interval=settings.ping_interval,
        mark_interval=settings.mark_interval,
        longest_token_lifetime=settings.longest_token_lifetime,
        connections=ConnectionLimits(
            per_user=settings.max_connections_per_user,
            per_address=settings.max_connections_per_address,
            handshakes_per_minute=settings.handshakes_per_minute,
        ),
        tenants=TenantQuotas(quota, {tenant: own.quota(quota) for tenant, own in _tenant_overrides(settings).items()}),
    )
