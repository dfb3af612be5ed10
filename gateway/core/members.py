"""Cluster membership: the connections of all nodes, and the seam through which nodes publish and read them."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.core.connection import Connection


@dataclass(frozen=True, slots=True)
class Member:
    """One connection, as all nodes know it. Times are seconds since the epoch."""

    connection_id: str
    client_id: str | None
    user_id: str
    connected_at: float
    expires_at: int
    rooms: tuple[str, ...]


def member_of(connection: Connection) -> Member:
    """A connection of this node, as the others know it."""
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
    """What a node counts of a tenant since it started: connections that came, frames sent to them, and events that it
    has appended to the log. Each is counted by one node: so that totals of nodes may be added."""

    connections: int
    messages: int
    events: int


class PresenceChange(NamedTuple):
    """The first connection of a user on other nodes has come into a room, or the last one there has left it."""

    room: str
    user_id: str
    entered: bool


@dataclass(slots=True)
class RemoteMembers:
    """The connections of one tenant on other nodes: by node and id, and how many each user has in each room. What
    changes costs what has changed."""

    nodes: dict[str, dict[str, Member]] = field(default_factory=dict)
    rooms: dict[str, dict[str, int]] = field(default_factory=dict)
    totals: dict[str, TenantTotals] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Member]]:
        """Each with its node."""
        return ((node, member) for node, members in self.nodes.items() for member in members.values())

    def __len__(self) -> int:
        return sum(len(members) for members in self.nodes.values())

    def find(self, connection_id: str) -> Member | None:
        found = (members.get(connection_id) for members in self.nodes.values())
        return next((member for member in found if member is not None), None)

    def count(self, room: str, user_id: str) -> int:
        """How many connections the user has in the room."""
        return self.rooms.get(room, {}).get(user_id, 0)

    def update(self, node: str, changed: Mapping[str, Member | None]) -> list[PresenceChange]:
        """Take in what has changed at a node, by connection id: None is gone. What came of it for rooms."""
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
        # Last, so that a user who has come back on another connection was never out.
        changes += [PresenceChange(room, user_id, False) for room, user_id in gone if self._remove(room, user_id)]
        if not members:
            del self.nodes[node]
        return changes

    def replace(self, node: str, members: Iterable[Member]) -> list[PresenceChange]:
        """All that there is at a node from now on."""
        changed: dict[str, Member | None] = dict.fromkeys(self.nodes.get(node, ()))
        changed.update((member.connection_id, member) for member in members)
        return self.update(node, changed)

    def drop(self, node: str) -> list[PresenceChange]:
        """A node is no more, or has no connections of the tenant any more."""
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
        """Of all connections that the tenant has here."""

    def member(self, tenant: str, connection_id: str) -> Member | None:
        """One of them as it is now; None where it has gone."""

    def totals(self, tenant: str) -> TenantTotals: ...

    def tenants(self) -> Iterable[str]:
        """Those of which anything was counted; some perhaps twice."""


OnChanges = Callable[[str, list[PresenceChange]], object]


class ClusterMembers(Protocol):
    """The connections of all nodes. An implementation guarantees, and `gateway.testing` checks:

    - What `changed` was told of is known to every node that watches the tenant, or looks, within 2 seconds. It is a
      plain function and costs next to nothing; nothing waits for it.
    - The connections of a node that was stopped are gone within 2 seconds, those of one that was killed within 60.
    - What is known of a tenant when it is first read is told to nobody; what changes afterwards, while it is watched,
      is told to `on_changes`, in order.
    - Nothing of it fails where the nodes cannot reach one another, or not be told: each knows its own connections, and
      of others' what it heard last. `partial` says so. In reach again they know what has changed, without help, and
      `on_changes` is not told of those who were there all the time, however long that was.
    """

    node: str
    """The name of this node."""

    def attach(self, source: MemberSource, on_changes: OnChanges) -> None:
        """Set the source of this node's connections and the callback for changes. Before `start`."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Withdraw this node's connections, if the others can be reached."""

    def changed(self, tenant: str, connection_id: str) -> None:
        """A connection of this node has come, changed or gone."""

    def watch(self, tenant: str) -> None:
        """Keep up with the tenant from now on."""

    def unwatch(self, tenant: str) -> None: ...

    def refresh(self, tenant: str) -> Awaitable[None] | None:
        """Read of the tenant what there is now. None where that is known, or cannot be; the rest takes at most 2
        seconds, and never raises."""

    def remote(self, tenant: str) -> RemoteMembers:
        """The known connections of the other nodes."""

    @property
    def partial(self) -> bool:
        """Whether other nodes may have connections of which nothing is known here, for they are out of reach."""
