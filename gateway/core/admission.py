"""Whether there is room for one more connection, and how fast one address may ask."""

from dataclasses import dataclass, field
from typing import Final

from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.errors import ConnectionRefused, milliseconds_up
from gateway.core.manager import TenantIndex
from gateway.core.rate_limit import ConnectionCounter, KeyedRateLimiter, RateLimiter, address_key
from schemas.codes import CloseCode

RETRY_SECONDS: Final = 5.0
"""`retry_after` where a count is full: dead connections count until keepalive finds them."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Connections at most, of each; 0 is no limit. Handshakes are a minute and address."""

    per_user: int = 30
    per_address: int = 1_000
    per_tenant: int = 10_000
    handshakes_per_minute: int = 600


@dataclass(frozen=True, slots=True, eq=False)  # a key of caches: to hash all of it costs more than what they spare
class Limits:
    """Limits of one connection, and of the number of connections. Rates are a second; 0 is no limit."""

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
    longest_token: int = 86_400
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


class Admission:
    """Counts connections by address and handshakes by address; users and tenants are counted by the index."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self.addresses: ConnectionCounter[str] = ConnectionCounter()
        self._handshakes: KeyedRateLimiter[str] = KeyedRateLimiter(
            RateLimiter(limits.handshakes_per_minute / 60, limits.handshakes_per_minute)
        )

    def check_address(self, address: str, now: float) -> None:
        """Before anything is verified: raises `ConnectionRefused` for an address that asks too often or is full."""
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
        """Once it is known who asks: raises `ConnectionRefused` where the user or the tenant is at its limit."""
        holder = (identity.tenant, identity.user_id)
        limit = self._limits.per_user
        if limit and len(index.users.get(identity.user_id, ())) >= limit:
            raise ConnectionRefused(
                CloseCode.USER_LIMIT, f"at most {limit} connections of one user", limit, RETRY_SECONDS, holder
            )
        limit = self._limits.per_tenant
        if limit and len(index.connections) >= limit:
            raise ConnectionRefused(
                CloseCode.TRY_AGAIN_LATER, f"at most {limit} connections of one tenant", limit, RETRY_SECONDS, holder
            )

    def acquire(self, connection: Connection) -> None:
        self.addresses.add(address_key(connection.address))

    def release(self, connection: Connection) -> None:
        self.addresses.remove(address_key(connection.address))

    def sweep(self, now: float) -> None:
        self._handshakes.sweep(now)
