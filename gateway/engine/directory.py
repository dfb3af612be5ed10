"""The directory of a tenant: its connections and rooms on all nodes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain

from gateway.core.connection import Connection
from gateway.core.log import Log, LogSize
from gateway.core.manager import ConnectionManager, TenantIndex
from gateway.core.members import ClusterMembers, Member, TenantTotals, member_of
from gateway.core.reserved_tenants import without_reserved
from schemas.admin import ClientInfo, ConnectionInfo, RoomInfo
from schemas.events import rfc3339


class NodeDirectory:
    """This node's connections and counts of each tenant: the `MemberSource` for the other nodes."""

    def __init__(self, manager: ConnectionManager, log: Log) -> None:
        self._manager = manager
        self._log = log

    def ids(self, tenant: str) -> Collection[str]:
        return self._manager.of(tenant).connections.keys()

    def member(self, tenant: str, connection_id: str) -> Member | None:
        connection = self._manager.of(tenant).connections.get(connection_id)
        return None if connection is None else member_of(connection)

    def totals(self, tenant: str) -> TenantTotals:
        index = self._manager.of(tenant)
        return TenantTotals(index.connections_seen, index.total_sent(), self._log.appended(tenant))

    def tenants(self) -> Iterable[str]:
        return without_reserved(chain(self._manager.tenants(), self._log.tenants()))


@dataclass(frozen=True, slots=True)
class TenantDirectory:
    """A snapshot of a tenant's connections. `partial` is true where other nodes may be out of reach; `log` is the size
    of the tenant's log."""

    tenant: str
    node: str
    partial: bool
    log: LogSize
    totals: TenantTotals
    """The totals of all running nodes, since each started."""
    _index: TenantIndex
    _elsewhere: dict[str, tuple[str, Member]]
    _counts: dict[str, dict[str, int]]

    @staticmethod
    async def of(tenant: str, manager: ConnectionManager, members: ClusterMembers, log: Log) -> "TenantDirectory":
        if (refreshing := members.refresh(tenant)) is not None:
            await refreshing
        size = await log.size(tenant)
        remote = members.remote(tenant)
        counted = [NodeDirectory(manager, log).totals(tenant), *remote.totals.values()]
        totals = TenantTotals(*map(sum, zip(*counted, strict=True)))
        elsewhere = {member.connection_id: (node, member) for node, member in remote}
        index = manager.of(tenant)
        return TenantDirectory(tenant, members.node, members.partial, size, totals, index, elsewhere, remote.rooms)

    @property
    def connections(self) -> int:
        return len(self._index.connections) + len(self._elsewhere)

    @property
    def users(self) -> int:
        return len(self._index.users.keys() | {member.user_id for _, member in self._elsewhere.values()})

    def ids(self) -> list[str]:
        """The ids of all connections, sorted."""
        return sorted([*self._index.connections, *self._elsewhere])

    def rooms(self) -> list[str]:
        """The rooms with subscribers, sorted."""
        return sorted(self._index.rooms.keys() | self._counts.keys())

    def ids_of(self, user_id: str) -> list[str]:
        """The ids of a user's connections, sorted. O(connections on other nodes)."""
        here = [connection.id for connection in self._index.users.get(user_id, ())]
        there = [id for id, (_, member) in self._elsewhere.items() if member.user_id == user_id]
        return sorted([*here, *there])

    def ids_in(self, room: str) -> list[str]:
        """The ids of a room's connections, sorted, likewise."""
        here = [connection.id for connection in self._index.rooms.get(room, ())]
        there = [id for id, (_, member) in self._elsewhere.items() if room in member.rooms]
        return sorted([*here, *there])

    def user_ids(self) -> list[str]:
        """The users with connections, sorted."""
        return sorted(self._index.users.keys() | {member.user_id for _, member in self._elsewhere.values()})

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._index.connections or connection_id in self._elsewhere

    def is_elsewhere(self, connection_id: str) -> bool:
        """Whether the connection is on another node."""
        return connection_id in self._elsewhere

    def room(self, room: str) -> RoomInfo:
        here = self._index.rooms.get(room, {})
        there = self._counts.get(room, {})
        users = {connection.identity.user_id for connection in here} | there.keys()
        return RoomInfo(room=room, connections=len(here) + sum(there.values()), users=len(users))

    def client(self, connection_id: str) -> ClientInfo:
        known = self.connection(connection_id)
        return ClientInfo(
            client_id=known.client_id or known.connection_id,
            connected_at=known.connected_at,
            messages_sent=known.messages_sent,
            messages_received=known.messages_received,
        )

    def connection(self, connection_id: str) -> ConnectionInfo:
        connection = self._index.connections.get(connection_id)
        node, member = self._elsewhere[connection_id] if connection is None else (self.node, member_of(connection))
        return connection_info(self.tenant, node, member, connection)


def connection_info(tenant: str, node: str, member: Member, connection: Connection | None) -> ConnectionInfo:
    """The information on a connection of the node; on this one with `connection`."""
    return ConnectionInfo(
        connection_id=member.connection_id,
        client_id=member.client_id,
        user_id=member.user_id,
        tenant=tenant,
        connected_at=rfc3339(member.connected_at),
        expires_at=rfc3339(member.expires_at),
        rooms=tuple(sorted(member.rooms)),
        node=node,
        # Not replicated between nodes, since it changes with every event.
        state=None if connection is None else "live" if connection.live else "behind",
        messages_sent=None if connection is None else connection.sent,
        messages_received=None if connection is None else connection.received,
    )
