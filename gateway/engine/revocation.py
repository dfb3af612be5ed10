"""Revocations and removals: publishes them to all nodes, and closes connections or takes their rooms."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.core.cluster import Cluster
from gateway.core.connection import Connection
from gateway.core.control import ControlKind, ControlMessage
from gateway.core.errors import LogUnavailable, RateLimited
from gateway.core.revocations import MAX_ENTRIES, STEP
from gateway.core.window import Removal
from gateway.engine.connections import Connections
from gateway.engine.contract_notices import ContractNotices
from gateway.engine.delivery import Delivery
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode


class RevocationService:
    """Acts on control messages of this node and of the others. A revocation is in force for the maximum lifetime of a
    token."""

    def __init__(self, connections: Connections, delivery: Delivery, cluster: Cluster) -> None:
        self._connections = connections
        self._longest_token_lifetime = connections.limits.longest_token_lifetime
        self._revocations = connections.revocations
        self._manager = connections.manager
        self._delivery = delivery
        self._cluster = cluster
        self._contract_notices = ContractNotices(connections)
        cluster.attach(self.on_control)

    async def revoke(self, kind: ControlKind, tenant: str | None, name: str) -> int:
        """Revoke a token, a user or a tenant up to now, on every node; returns the number of connections closed here.
        Raises `LogUnavailable` where the other nodes may not have it yet."""
        if tenant is None and self._revocations.count(None) >= MAX_ENTRIES:
            raise RateLimited("too many tokens are revoked by id alone; name the tenant too", 60.0, MAX_ENTRIES)
        return await self.publish(self.cutoff(kind, tenant, name))

    def cutoff(self, kind: ControlKind, tenant: str | None, name: str, room: str = "") -> ControlMessage:
        """A cutoff as of now."""
        now = self._connections.clock()
        at = self._revocations.next_cutoff(tenant, now)
        return ControlMessage(kind, tenant, name, at, self._longest_token_lifetime, room, through=now)

    async def publish_contract(self, digest: str) -> None:
        """Notify the clients of all nodes whose contract is another one."""
        # A message that cannot be stored is sent as soon as the store answers.
        with suppress(LogUnavailable):
            await self.publish(self._contract_notices.message(digest))

    async def publish(self, message: ControlMessage) -> int:
        """Put a message into force on every node; returns the number of connections closed here. Raises
        `LogUnavailable`."""
        closed = self.apply(message)
        await self._cluster.publish_control(message)
        return closed

    def apply(self, message: ControlMessage) -> int:
        """Put a message into force on this node only; returns the number of connections closed."""
        in_force, news = self._cluster.apply(message)
        if not news:
            return 0
        if in_force.kind != message.kind:
            log_events.revocation_widened(message.tenant, in_force.name or None)
        return self.on_control([in_force])

    def on_control(self, news: Sequence[ControlMessage]) -> int:
        """Act on messages that are now in force; returns the number of connections closed."""
        closed = 0
        checked: dict[str, None] = {}
        for message in news:
            tenant = message.tenant or ""
            if message.kind == "connection_closed":
                connection = self._manager.of(tenant).connections.get(message.name)
                if connection is not None:
                    self._connections.close(connection, CloseCode.FORBIDDEN, "closed by an administrator")
                    closed += 1
            elif message.kind == "contract_changed":
                self._contract_notices.on_changed(message.name)
            elif message.kind == "room_revoked":
                self._revoke_room(tenant, message.name, message.room)
            elif message.kind == "user_revoked":
                closed += self._close_revoked(self._manager.of(tenant).users.get(message.name, ()))
            else:
                # Once for all: connections are not indexed by token.
                checked.update(dict.fromkeys(self._manager.tenants() if message.tenant is None else [tenant]))
        return closed + sum(self._close_revoked(self._manager.of(name).connections.values()) for name in checked)

    def apply_removal(self, tenant: str, removal: Removal, at: float) -> None:
        """Revoke a room from a user's tokens issued up to `at`, the time of an event in the log, and from their
        connections."""
        self.apply(self._removal(tenant, removal, self._after_tokens(tenant, removal, at), at))

    async def publish_removal(self, tenant: str, removal: Removal, at: float, made_at: float) -> None:
        """Publish a removal, in the log since `at`, to nodes that do not follow it; `made_at` is the time by this
        node's clock, 0 for an earlier one. Raises `LogUnavailable`."""
        message = self._removal(tenant, removal, at, made_at or at)
        place = self._revocations.cutoff_for(message)
        if not place:  # this node does not follow the log
            place = self._after_tokens(tenant, removal, at) if made_at else at
        await self.publish(replace(message, at=place))

    def _after_tokens(self, tenant: str, removal: Removal, at: float) -> float:
        """The time of a cutoff dated by the log's clock, which may be behind: after the cutoffs that tokens name."""
        return max(at, self._revocations.newest_cutoff(tenant, removal[0]) + STEP)

    def _removal(self, tenant: str, removal: Removal, place: float, through: float) -> ControlMessage:
        user_id, room = removal
        # The log's clock may be ahead, and tokens are accepted by this one.
        through = min(through, self._connections.clock())
        return ControlMessage("room_revoked", tenant, user_id, place, self._longest_token_lifetime, room, through)

    def _revoke_room(self, tenant: str, user_id: str, room: str) -> None:
        connections = list(self._manager.of(tenant).users.get(user_id, ()))
        if not connections:
            return
        # A removed user still gets the events before the removal, and the removal itself.
        self._delivery.flush(tenant)
        now = self._connections.clock()
        for connection in connections:
            if self._revocations.is_room_revoked(connection.identity, room, now):
                connection.identity = connection.identity.without_room(room)
                if room in connection.rooms:
                    self._delivery.leave(connection, (room,), "member_removed")
                    reason = f"{room.partition(':')[0]}.member.removed"
                    log_events.subscription_revoked(connection, room, reason)
                    self._connections.reply(connection, messages.SubscriptionRevoked(rooms=(room,), reason=reason))

    def _close_revoked(self, connections: Iterable[Connection]) -> int:
        now = self._connections.clock()
        revoked = [each for each in connections if self._revocations.is_revoked(each.identity, now)]
        for connection in revoked:
            self._connections.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_REVOKED)
        return len(revoked)
