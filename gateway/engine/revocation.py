"""What revocations and removals do: from the notice to the connections that it ends or takes a room from."""

from collections.abc import Iterable

from gateway.core import subscription
from gateway.core.cluster import Cluster, ControlMessage
from gateway.core.window import Removal
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode


class RevocationService:
    """Acts on notices, this node's and the others'. `longest_token` is the longest life of a token in seconds: for so
    long a notice matters to somebody."""

    def __init__(self, connections: Connections, delivery: Delivery, nodes: Cluster) -> None:
        self.revocations = connections.revocations
        self.longest_token = connections.limits.longest_token
        self._connections = connections
        self._manager = connections.manager
        self._delivery = delivery
        self._nodes = nodes
        nodes.attach(self.on_notice)

    async def tell(self, notice: ControlMessage) -> int:
        """Act on a notice here and have every node act on it; returns how many connections it closed here. Raises
        `LogUnavailable` where the other nodes may not know of it yet."""
        closed = self.on_notice(notice)
        await self._nodes.tell(notice)
        return closed

    def on_notice(self, notice: ControlMessage) -> int:
        """Act on what one of the nodes wants all of them to know; returns how many connections it closed."""
        revocations, tenant = self.revocations, notice.tenant
        if notice.kind == "connection_closed":
            connection = self._manager.of(tenant or "").connections.get(notice.name)
            if connection is not None:
                self._connections.close(connection, CloseCode.FORBIDDEN, "closed by an administrator")
            return int(connection is not None)
        if notice.kind == "room_barred":
            self.remove(tenant or "", (notice.name, notice.room), notice.at)
            return 0
        if notice.kind == "token_revoked":
            revocations.revoke_token(tenant, notice.name, notice.until)
        elif notice.kind == "user_revoked" and tenant is not None:
            revocations.revoke_user(tenant, notice.name, notice.at, notice.until)
        elif notice.kind == "tenant_revoked" and tenant is not None:
            revocations.revoke_tenant(tenant, notice.at, notice.until)
        return self.close_revoked(list(self._manager.tenants()) if tenant is None else [tenant])

    def close_revoked(self, tenants: Iterable[str]) -> int:
        """Close the connections of these tenants whose tokens are revoked by now; returns how many."""
        revoked = [
            connection
            for tenant in tenants
            for connection in self._manager.of(tenant).connections.values()
            if self.revocations.is_revoked(connection.identity)
        ]
        for connection in revoked:
            self._connections.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_REVOKED)
        return len(revoked)

    def remove(self, tenant: str, removal: Removal, at: float) -> None:
        """Take a room from a user's tokens issued up to `at`, and from the connections that they opened."""
        # Whoever is removed still gets what came before, and the event that says it.
        self._delivery.flush()
        user_id, room = removal
        self.revocations.bar_room(tenant, user_id, room, at, at + self.longest_token)
        for connection in list(self._manager.of(tenant).users.get(user_id, ())):
            if room in self.revocations.barred(connection.identity):
                connection.identity = connection.identity.barred_from(room)
                if room in connection.rooms:
                    subscription.leave(self._manager, connection, (room,))
                    reason = f"{room.partition(':')[0]}.member.removed"
                    log_events.subscription_revoked(connection, room, reason)
                    self._connections.reply(connection, messages.SubscriptionRevoked(rooms=(room,), reason=reason))
