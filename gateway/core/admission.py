"""Admission control: limits on open connections and on handshakes per address."""

from dataclasses import dataclass, field
from typing import Final

from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.errors import ConnectionRefused, milliseconds_up
from gateway.core.manager import TenantIndex
from gateway.core.rate_limit import ConnectionCounter, KeyedRateLimiter, RateLimiter, address_key
from gateway.core.tenant_quotas import TenantQuotas
from schemas.codes import CloseCode

RETRY_SECONDS: Final = 5.0
"""`retry_after` of a full limit: dead connections count until the keepalive finds them."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The maximum number of connections of a user and from an address, and of handshakes a minute from an address; 0 is
    no limit."""

    per_user: int = 30
    per_address: int = 1_000
    handshakes_per_minute: int = 600


@dataclass(frozen=True, slots=True, eq=False)  # a cache key: hashing the fields would cost more than the cache saves
class Limits:
    """Limits of one connection, and on the number of connections. Rates are per second; 0 is no limit."""

    rooms: int = 100
    message_bytes: int = 64 * 1024
    commands_per_second: float = 20
    command_burst: int = 40
    events_per_second: int = 500
    publish_per_second: float = 1_000
    publish_burst: int = 2_000
    malformed: int = 10
    pending_commands: int = 100
    ping_interval: float = 20.0
    mark_interval: float = 15.0
    longest_token_lifetime: int = 86_400
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    tenants: TenantQuotas = field(default_factory=TenantQuotas)


class Admission:
    """Counters of connections by address, and a rate limiter of handshakes by address; the tenant index counts users
    and tenants."""

    def __init__(self, limits: ConnectionLimits, tenants: TenantQuotas) -> None:
        self._limits = limits
        self._tenants = tenants
        self.addresses: ConnectionCounter[str] = ConnectionCounter()
        self._handshakes: KeyedRateLimiter[str] = KeyedRateLimiter(
            RateLimiter(limits.handshakes_per_minute / 60, limits.handshakes_per_minute)
        )

    def check_address(self, address: str, now: float) -> None:
        """The check before authentication: raises `ConnectionRefused` for an address over its handshake rate or its
        limit of connections."""
        key = address_key(address)
        if wait := self._handshakes.acquire(key, now):
            limit = self._limits.handshakes_per_minute
            raise ConnectionRefused(
                CloseCode.RATE_LIMITED,
                f"at most {limit} handshakes a minute from one address",
                limit,
                milliseconds_up(wait),
            )
        limit = self._limits.per_address
        if limit and self.addresses[key] >= limit:
            raise ConnectionRefused(
                CloseCode.TRY_AGAIN_LATER, f"at most {limit} connections from one address", limit, RETRY_SECONDS
            )

    def check(self, identity: Identity, index: TenantIndex) -> None:
        """The check after authentication: raises `ConnectionRefused` where the user or the tenant is at its limit."""
        holder = (identity.tenant, identity.user_id)
        limit = self._limits.per_user
        if limit and len(index.users.get(identity.user_id, ())) >= limit:
            raise ConnectionRefused(
                CloseCode.USER_LIMIT, f"at most {limit} connections of one user", limit, RETRY_SECONDS, holder
            )
        limit = self._tenants.of(identity.tenant).max_connections
        if limit and len(index.connections) >= limit:
            raise ConnectionRefused(
                CloseCode.TRY_AGAIN_LATER,
                f"at most {limit} connections of one tenant",
                limit,
                RETRY_SECONDS,
                holder,
                status=503,
            )

    def acquire(self, connection: Connection) -> None:
        self.addresses.add(address_key(connection.address))

    def release(self, connection: Connection) -> None:
        self.addresses.remove(address_key(connection.address))

    def sweep(self, now: float) -> None:
        self._handshakes.sweep(now)
