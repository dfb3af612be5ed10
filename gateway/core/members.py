"""Cluster membership: the connections of all nodes, and the seam through which nodes publish and read them."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.core.connection import Connection


@dataclass(frozen=True, slots=True)
class Member:
    """One connection as all nodes know it. Times are seconds since the epoch."""

    connection_id: str
    client_id: str | None
    user_id: str
    connected_at: float
    expires_at: int
    rooms: tuple[str, ...]


def member_of(connection: Connection) -> Member:
    """The member of a connection of this node."""
    identity = connection.identity
    return Member(
        connection.id,
        connection.client_id,
        identity.user_id,
        connection.connected_at,
        identity.expires_at,
        tuple(connection.rooms),
    )


class TenantTotals(NamedTuple):
    """Counts of one node for a tenant since it started: connections opened, frames sent to them, events appended to the
    log. Each is counted by one node, so that the totals of nodes can be added."""

    connections: int
    messages: int
    events: int


class PresenceChange(NamedTuple):
    """The first connection of a user on other nodes has joined a room, or the last one there has left it."""

    room: str
    user_id: str
    entered: bool


@dataclass(slots=True)
class RemoteMembers:
    """The connections of one tenant on other nodes: by node and id, and counts by room and user. An update costs what
    has changed."""

    nodes: dict[str, dict[str, Member]] = field(default_factory=dict)
    rooms: dict[str, dict[str, int]] = field(default_factory=dict)
    totals: dict[str, TenantTotals] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Member]]:
        """Pairs of node and member."""
        return ((node, member) for node, members in self.nodes.items() for member in members.values())

    def __len__(self) -> int:
        return sum(len(members) for members in self.nodes.values())

    def find(self, connection_id: str) -> Member | None:
        found = (members.get(connection_id) for members in self.nodes.values())
        return next((member for member in found if member is not None), None)

    def count(self, room: str, user_id: str) -> int:
        """The number of connections that the user has in the room."""
        return self.rooms.get(room, {}).get(user_id, 0)

    def update(self, node: str, changed: Mapping[str, Member | None]) -> list[PresenceChange]:
        """Apply the changes of a node, by connection id (None: gone). Returns the resulting changes of rooms."""
        members = self.nodes.setdefault(node, {})
        gone: list[tuple[str, str]] = []
        changes: list[PresenceChange] = []
        for id, new in changed.items():
            old = members.pop(id, None)
            before = old.rooms if old is not None else ()
            after: Collection[str] = ()
            if new is not None:
                members[id] = new
                after = set(new.rooms)
                changes += [
                    PresenceChange(room, new.user_id, True) for room in after - set(before) if self._add(room, new)
                ]
            if old is not None:
                gone += [(room, old.user_id) for room in before if room not in after]
        # Last, so that a user who moved to another connection does not leave.
        changes += [PresenceChange(room, user_id, False) for room, user_id in gone if self._remove(room, user_id)]
        if not members:
            del self.nodes[node]
        return changes

    def replace(self, node: str, members: Iterable[Member]) -> list[PresenceChange]:
        """Replace all members of a node."""
        changed: dict[str, Member | None] = dict.fromkeys(self.nodes.get(node, ()))
        changed.update((member.connection_id, member) for member in members)
        return self.update(node, changed)

    def drop(self, node: str) -> list[PresenceChange]:
        """Remove a node that has stopped, or has no connections of the tenant any more."""
        return self.replace(node, ())

    def _add(self, room: str, member: Member) -> bool:
        users = self.rooms.setdefault(room, {})
        users[member.user_id] = count = users.get(member.user_id, 0) + 1
        return count == 1

    def _remove(self, room: str, user_id: str) -> bool:
        users = self.rooms[room]
        users[user_id] -= 1
        if users[user_id]:
            return False
        del users[user_id]
        if not users:
            del self.rooms[room]
        return True


class MemberSource(Protocol):
    """The node's own connections, as its publisher reads them."""

    def ids(self, tenant: str) -> Collection[str]:
        """The ids of all connections of the tenant here."""

    def member(self, tenant: str, connection_id: str) -> Member | None:
        """The current state of a connection; None where it has gone."""

    def totals(self, tenant: str) -> TenantTotals: ...

    def tenants(self) -> Iterable[str]:
        """The tenants with any counts, perhaps with repetitions."""


OnChanges = Callable[[str, list[PresenceChange]], object]


class ClusterMembers(Protocol):
    """The connections of all nodes. An implementation guarantees, and `gateway.testing` checks:

    - A change reported by `changed` is visible within 2 seconds on every node that watches or refreshes the tenant.
      `changed` is synchronous and O(1); nothing waits for it.
    - The connections of a node that was stopped are gone within 2 seconds, those of one that was killed within 60.
    - The first read of a tenant reports no change; later changes are reported to `on_changes`, in order, while the
      tenant is watched.
    - Nothing fails during a partition: each node serves its own members and the last known remote ones, and `partial`
      is true. Afterwards the nodes converge by themselves, and `on_changes` is not called for members that stayed,
      however long the partition was.
    """

    node: str
    """The name of this node."""

    def attach(self, source: MemberSource, on_changes: OnChanges) -> None:
        """Set the source of this node's connections and the callback for changes. Before `start`."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Withdraw this node's connections, unless the store is out of reach."""

    def changed(self, tenant: str, connection_id: str) -> None:
        """Report that a connection of this node was opened, changed or closed."""

    def watch(self, tenant: str) -> None:
        """Keep the tenant's members up to date from now on."""

    def unwatch(self, tenant: str) -> None: ...

    def refresh(self, tenant: str) -> Awaitable[None] | None:
        """Read the tenant's members now. None where they are current, or cannot be read; else an awaitable that
        completes within 2 seconds and never raises."""

    def remote(self, tenant: str) -> RemoteMembers:
        """The known connections of the other nodes."""

    @property
    def partial(self) -> bool:
        """Whether other nodes may have connections that are unknown here, since they are out of reach."""
