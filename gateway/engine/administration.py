"""Administration: what may be seen and ended of a tenant on all nodes, by those who were found to be allowed to."""

from typing import Final

from gateway.core.control import ControlMessage
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.log import Log
from gateway.core.members import ClusterMembers
from gateway.engine.connections import Connections
from gateway.engine.directory import TenantDirectory
from gateway.engine.revocation import RevocationService
from schemas.codes import ErrorCode

CLOSE_SECONDS: Final = 120.0
"""Seconds for which a close of a connection is kept for nodes that are out of touch."""


class Administration:
    """Looks things up and ends them, whichever node they are on. Rights are the caller's to check."""

    def __init__(
        self, connections: Connections, revocation: RevocationService, members: ClusterMembers, log: Log
    ) -> None:
        self._connections = connections
        self._revocation = revocation
        self._members = members
        self._log = log

    async def directory(self, tenant: str) -> TenantDirectory:
        """All connections of the tenant, as of now."""
        return await TenantDirectory.of(tenant, self._connections.manager, self._members, self._log)

    async def close_connection(self, tenant: str, connection_id: str) -> None:
        """Close one connection (4403). Raises `GatewayError` where the tenant has no such connection, `LogUnavailable`
        where that cannot be known or the other nodes cannot be told."""
        now = self._connections.clock()
        message = ControlMessage("connection_closed", tenant, connection_id, now, CLOSE_SECONDS)
        if self._revocation.on_control([message]):
            return
        if (await self.directory(tenant)).elsewhere(connection_id):
            await self._revocation.publish(message)
        elif self._members.partial:
            raise LogUnavailable("the other nodes are out of reach; this one has no such connection")
        else:
            raise GatewayError(ErrorCode.NOT_FOUND, "this tenant has no such connection")

    async def revoke_token(self, tenant: str | None, token_id: str) -> int:
        """End a token by its `jti`, of any tenant where that is None; returns how many connections this node closed.
        Raises `LogUnavailable`, as the others do, where the other nodes may not know of it yet."""
        return await self._revocation.revoke("token_revoked", tenant, token_id)

    async def revoke_user(self, tenant: str, user_id: str) -> int:
        """End all tokens of a user that were issued up to now; returns how many connections this node closed."""
        return await self._revocation.revoke("user_revoked", tenant, user_id)

    async def revoke_tenant(self, tenant: str) -> int:
        """End all tokens of a tenant that were issued up to now; returns how many connections this node closed."""
        return await self._revocation.revoke("tenant_revoked", tenant, "")

    def newest_cutoff(self, tenant: str, user_id: str) -> float:
        """The newest cutoff of a user's tokens, which the next one has to name to be good; 0 where there is none."""
        return self._connections.revocations.newest_cutoff(tenant, user_id)
