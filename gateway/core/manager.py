"""The connection manager: the index of connections by room and user, and the fan-out to them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from gateway.core.connection import OVER_RATE, Connection
from gateway.core.frame import Batch, DeliveryCount, EventStreamBatch, Frame
from gateway.core.reserved_tenants import without_reserved
from gateway.core.window import Entry


class TenantIndex:
    """The connections of one tenant by id, by room and by user, those that are event streams, and its totals since the
    start. It holds nothing of other tenants. `fan_out_seconds` is the maximum of its recent fan-outs, or slices of one:
    it decays, so that a small one does not hide the cost of a large one."""

    __slots__ = (
        "connection_seconds",
        "connections",
        "connections_seen",
        "delivered",
        "fan_out_seconds",
        "messages_sent",
        "rooms",
        "streams",
        "users",
    )

    def __init__(self) -> None:
        # Dictionaries in place of sets: they keep the order of arrival, so that no connection is always served last.
        self.connections: dict[str, Connection] = {}
        self.rooms: dict[str, dict[Connection, None]] = {}
        self.users: dict[str, dict[Connection, None]] = {}
        self.streams: dict[Connection, None] = {}
        self.connections_seen = 0
        # Of ended connections; for an open one, minus the time at which it was opened.
        self.connection_seconds = 0.0
        self.messages_sent = 0  # to connections that are gone
        self.delivered = DeliveryCount()
        self.fan_out_seconds = 0.0

    def total_sent(self) -> int:
        """Messages sent to the tenant's connections since the start. O(connections)."""
        return self.messages_sent + sum(connection.sent for connection in self.connections.values())


class IndexObserver(Protocol):
    """The observer of the index, called after each change."""

    def on_added(self, connection: Connection) -> None: ...

    def on_joined(self, connection: Connection, room: str) -> None:
        """The connection was not in the room before."""

    def on_left(self, connection: Connection, rooms: Iterable[str]) -> None:
        """The connection has left these rooms: all of its rooms where it is gone."""


class RemovalObserver(Protocol):
    """The observer of removed connections."""

    def on_removed(self, connection: Connection, rooms: dict[str, int]) -> None:
        """The connection was removed; `rooms` are those that it was in."""


Recipients = tuple[Batch, Collection[Connection]]
"""A batch, and the connections that it is for."""

BatchWriter = Callable[[Batch, Mapping[int, Connection]], object]
"""A function that writes a batch to connections, given by the descriptors of their sockets."""

OnFailure = Callable[[Connection, Exception], object]
"""A callback for a connection that missed frames because of an exception, and must be closed."""


class ConnectionManager:
    """Connections indexed by tenant, and within the tenant by room and by user, in both directions, so that leaving
    costs what was joined."""

    def __init__(self) -> None:
        # An index stays when its last connection has gone: it holds the tenant's totals.
        self._tenants: dict[str, TenantIndex] = {}
        self.observer: IndexObserver | None = None
        self.removals: RemovalObserver | None = None

    def add(self, connection: Connection) -> None:
        """Add a connection that is in no room yet."""
        index = self.of(connection.identity.tenant)
        index.connections[connection.id] = connection
        index.users.setdefault(connection.identity.user_id, {})[connection] = None
        if connection.transport.kind == "sse":
            index.streams[connection] = None
        index.connections_seen += 1
        if self.observer is not None:
            self.observer.on_added(connection)

    def remove(self, connection: Connection) -> bool:
        """Remove a connection; False where it is not in the index."""
        if not self.detach(connection):
            return False
        self.forget(connection)
        return True

    def detach(self, connection: Connection) -> bool:
        """Remove a connection from the open ones, False where it is not one. `forget` must follow: until then it is
        still in its rooms, and of its user."""
        index = self.of(connection.identity.tenant)
        if index.connections.pop(connection.id, None) is None:
            return False
        index.messages_sent += connection.sent
        return True

    def forget(self, connection: Connection) -> None:
        """Remove a detached connection from its rooms and its user's connections."""
        index = self.of(connection.identity.tenant)
        connection.end_round()
        rooms, connection.rooms = connection.rooms, {}
        for room in rooms:
            _discard(index.rooms, room, connection)
        _discard(index.users, connection.identity.user_id, connection)
        index.streams.pop(connection, None)
        try:
            if self.removals is not None:
                self.removals.on_removed(connection, rooms)
        finally:
            if self.observer is not None:
                self.observer.on_left(connection, rooms)

    def join(self, connection: Connection, room: str, after: int) -> None:
        """Add a connection to a room, for events at offsets above `after`."""
        self.of(connection.identity.tenant).rooms.setdefault(room, {})[connection] = None
        new = room not in connection.rooms
        connection.rooms[room] = after
        if new and self.observer is not None:
            self.observer.on_joined(connection, room)

    def leave(self, connection: Connection, room: str) -> None:
        del connection.rooms[room]
        _discard(self.of(connection.identity.tenant).rooms, room, connection)
        if self.observer is not None:
            self.observer.on_left(connection, (room,))

    def fan_out(self, tenant: str, entries: Sequence[Entry]) -> list[Recipients]:
        """A turn's entries, in log order, with the connections in their rooms: each connection once. Those that get the
        same entries share one batch, so that the cost of delivering grows with the connections, and not with
        connections times entries. The collections are copies: a recipient may leave before it is written to."""
        index = self.of(tenant)
        found: list[Recipients] = []
        for mask, connections in _audiences(index, entries):
            chosen = [entry for i, entry in enumerate(entries) if mask >> i & 1]
            frames, first, last = [entry.frame for entry in chosen], chosen[0].offset, chosen[-1].offset
            if index.streams:
                found += batches(frames, first, last, connections, index.streams)
            else:
                found.append((Batch(frames, first, last), connections))
        return found

    def deliver(
        self, tenant: str, fan_out: Iterable[Recipients], now: float, batch_writer: BatchWriter, on_failure: OnFailure
    ) -> list[Connection]:
        """Offer batches to their recipients, connections of a tenant. Returns those that have had their share of events
        for now (`now` in seconds of a monotonic clock), and so fell behind.

        First all of them are asked, and then the batch is written to all at once: interleaving Python with the kernel's
        write() evicts the instruction cache, and costs about 10 %. Nothing may be written to any of them in between.
        """
        delivered = self.of(tenant).delivered
        over: list[Connection] = []
        for batch, connections in fan_out:
            by_fd: dict[int, Connection] = {}
            failed: list[tuple[Connection, Exception]] = []
            for connection in connections:
                try:
                    outcome = connection.offer(batch, now)
                except Exception as error:
                    failed.append((connection, error))
                    continue
                if outcome >= 0:
                    by_fd[outcome] = connection
                elif outcome == OVER_RATE:
                    over.append(connection)
            delivered.add(batch, len(by_fd) + batch.written)
            try:
                batch_writer(batch, by_fd)
            except Exception as error:
                failed += [(connection, error) for connection in by_fd.values()]
            for connection, reason in failed:
                on_failure(connection, reason)
        return over

    def of(self, tenant: str) -> TenantIndex:
        """The index of one tenant, empty where it never had a connection."""
        index = self._tenants.get(tenant)
        if index is None:
            index = self._tenants[tenant] = TenantIndex()
        return index

    def tenants(self) -> Iterable[str]:
        """The tenants that ever had a connection."""
        return self._tenants.keys()

    def indexes(self) -> Iterator[TenantIndex]:
        """The indexes of all tenants that ever had a client; reserved tenants have none."""
        return map(self.of, without_reserved(self._tenants))

    def clients(self) -> Iterator[Connection]:
        """The connections of all tenants but the reserved ones."""
        for index in self.indexes():
            yield from index.connections.values()

    def connections(self) -> Iterator[Connection]:
        """All connections of all tenants."""
        for index in self._tenants.values():
            yield from index.connections.values()


def batches(
    frames: Sequence[Frame],
    first: int,
    last: int,
    connections: Collection[Connection],
    streams: Mapping[Connection, None],
) -> Iterator[Recipients]:
    """The batches of these frames, one for each encoding, with those of `connections` that take it; `streams` are the
    tenant's event streams. O(connections)."""
    others = [connection for connection in connections if connection not in streams]
    if others:
        yield Batch(frames, first, last), others
    if to_streams := [connection for connection in connections if connection in streams]:
        yield EventStreamBatch(frames, first, last), to_streams


def _audiences(index: TenantIndex, entries: Sequence[Entry]) -> Iterable[tuple[int, Collection[Connection]]]:
    """The recipients of the entries, grouped by bit mask (bit i: the i-th entry), each connection once."""
    masks: dict[str, int] = {}
    for i, entry in enumerate(entries):
        for room in entry.rooms:
            if room in index.rooms:
                masks[room] = masks.get(room, 0) | 1 << i
    different = set(masks.values())
    if len(different) == 1:  # the common case of a single event: no grouping by connection
        recipients: dict[Connection, None] = {}
        for room in masks:
            recipients.update(index.rooms[room])
        return ((different.pop(), recipients),)
    each: dict[Connection, int] = {}
    for room, mask in masks.items():
        for connection in index.rooms[room]:
            each[connection] = each.get(connection, 0) | mask
    groups: dict[int, list[Connection]] = {}
    for connection, mask in each.items():
        groups.setdefault(mask, []).append(connection)
    return groups.items()


def _discard(index: dict[str, dict[Connection, None]], key: str, connection: Connection) -> None:
    members = index[key]
    del members[connection]
    if not members:
        del index[key]
