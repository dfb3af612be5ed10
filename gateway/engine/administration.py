"""Administration: directory, closes and revocations of a tenant on all nodes."""

from heapq import nsmallest
from typing import Final

from gateway.core.cluster import Cluster
from gateway.core.control import ControlMessage
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.log import Log
from gateway.engine.connection_search import ConnectionSearch
from gateway.engine.connections import Connections
from gateway.engine.directory import NodeDirectory, TenantDirectory
from gateway.engine.revocation import RevocationService
from schemas.codes import ErrorCode

CLOSE_SECONDS: Final = 120.0
"""Seconds for which a close of a connection is kept for nodes that are out of touch."""


class Administration:
    """Administrative operations, on whichever node the target is. The caller checks the rights."""

    def __init__(self, connections: Connections, revocation: RevocationService, cluster: Cluster, log: Log) -> None:
        self._connections = connections
        self._revocation = revocation
        self.search = ConnectionSearch(connections, cluster)
        self._members = cluster.members
        self._log = log

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._members.node

    async def directory(self, tenant: str) -> TenantDirectory:
        """The directory of the tenant, as of now."""
        return await TenantDirectory.of(tenant, self._connections.manager, self._members, self._log)

    def tenants(self, after: str | None, limit: int) -> list[str]:
        """The names of up to `limit` tenants that follow `after`, sorted: of those that have had a connection or an
        append on this node. O(tenants)."""
        manager, log = self._connections.manager, self._log
        later = {name for name in NodeDirectory(manager, log).tenants() if after is None or name > after}
        return nsmallest(limit, (name for name in later if manager.of(name).connections_seen or log.appended(name)))

    async def close_connection(self, tenant: str, connection_id: str) -> None:
        """Close one connection (4403). Raises `GatewayError` where the tenant has no such connection, `LogUnavailable`
        where that cannot be known, or the other nodes cannot be reached."""
        now = self._connections.clock()
        message = ControlMessage("connection_closed", tenant, connection_id, now, CLOSE_SECONDS)
        if self._revocation.on_control([message]):
            return
        if not (await self.directory(tenant)).is_elsewhere(connection_id):
            found = await self.search.find(tenant, connection_id)
            if not found.has(connection_id):
                if found.silent or found.partial:
                    raise LogUnavailable("not all nodes can be reached; the others have no such connection")
                raise GatewayError(ErrorCode.NOT_FOUND, "this tenant has no such connection")
        await self._revocation.publish(message)

    async def revoke_token(self, tenant: str | None, token_id: str) -> int:
        """Revoke a token by its `jti`, of any tenant where that is None; returns the number of connections closed on
        this node. Raises `LogUnavailable`, as the others do, where the other nodes may not have it yet."""
        return await self._revocation.revoke("token_revoked", tenant, token_id)

    async def revoke_user(self, tenant: str, user_id: str) -> int:
        """Revoke all tokens of a user issued up to now; returns the number of connections closed on this node."""
        return await self._revocation.revoke("user_revoked", tenant, user_id)

    async def revoke_tenant(self, tenant: str) -> int:
        """Revoke all tokens of a tenant issued up to now; returns the number of connections closed on this node."""
        return await self._revocation.revoke("tenant_revoked", tenant, "")

    def newest_cutoff(self, tenant: str, user_id: str) -> float:
        """The newest cutoff of a user's tokens, which a new token must name to be valid; 0 where there is none."""
        return self._connections.revocations.newest_cutoff(tenant, user_id)
