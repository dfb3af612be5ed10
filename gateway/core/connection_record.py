"""The record of a connection, open or ended: the parts of the log that each of its rooms has brought it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from auth.identity import Identity
from gateway.core.connection import Closure, Connection
from gateway.core.room_history import ChangeKind, RoomChange, RoomHistory
from gateway.core.transport import Kind


class Span(NamedTuple):
    """The entries of a room that a connection gets: those above `after`, of which it has got those up to `until`. A
    replay brings them up to `end`; 0 is without end. With `items` it brings the items before `after` as well."""

    room: str
    after: int
    until: int
    end: int = 0
    items: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """A connection as it is, or as it was at its end; times are seconds since the epoch.

    `head` is the offset up to which this node had delivered. `code` and `why` are of the close, where the gateway has
    closed it. `unacknowledged` is that of its transport. `forgotten` and `changes` are those of its `RoomHistory`.
    """

    connection_id: str
    client_id: str | None
    identity: Identity
    transport: Kind
    connected_at: float
    epoch: bytes
    head: int
    live: bool
    horizon: int
    rate: int
    unacknowledged: int | None
    spans: tuple[Span, ...]
    changes: tuple[RoomChange, ...]
    forgotten: int
    ended_at: float | None = None
    code: int | None = None
    why: str = ""


def record_of(
    connection: Connection, epoch: bytes, head: int, rooms: dict[str, int] | None = None, ended_at: float | None = None
) -> ConnectionRecord:
    """The record of a connection in `rooms`, by default its own; the log is delivered up to `head`. O(rooms)."""
    history = connection.history
    closed = connection.closed_with or Closure(None, "", connection.transport.unacknowledged)
    return ConnectionRecord(
        connection.id,
        connection.client_id,
        connection.identity,
        connection.transport.kind,
        connection.connected_at,
        epoch,
        head,
        connection.live,
        0 if connection.horizon is None else connection.horizon.end,
        connection.rate,
        closed.unacknowledged,
        tuple(spans(connection, head, connection.rooms if rooms is None else rooms)),
        tuple(history.changes) if history is not None else (),
        history.forgotten if history is not None else 0,
        ended_at,
        closed.code,
        closed.reason,
    )


def spans(connection: Connection, head: int, rooms: dict[str, int]) -> Iterator[Span]:
    """The spans of `rooms`, with the offset after which each counts. A room in a replay has two."""
    place = head if connection.offset is None else connection.offset
    replay = connection.replay
    for room, after in rooms.items():
        if replay is None or room not in replay.rooms:
            yield Span(room, after, place)
            continue
        yield Span(room, replay.rooms[room], replay.offset, replay.until, replay.state)
        joined = replay.seen.get(room)
        # Of what is between the replay and the place, a room that is new has nothing that other rooms do not bring.
        yield Span(room, max(after, place) if joined is None else joined, place)


def record_joined(connection: Connection, rooms: Iterable[str], head: int, now: float, state: bool) -> None:
    """Record rooms that a connection has joined after it was established, or with state."""
    kind: ChangeKind = "state" if state else "joined"
    _add(connection, (RoomChange(kind, room, now, head, head, head) for room in rooms))


def record_end(connection: Connection, kind: ChangeKind, rooms: Iterable[str], head: int, now: float) -> None:
    """Record that rooms bring no more of what they owe: before they are left, or before a gap is skipped."""
    ended = {room: connection.rooms[room] for room in rooms}
    _add(connection, (_change(kind, span, head, now) for span in spans(connection, head, ended)))


def record_abandoned(connection: Connection, head: int, now: float) -> None:
    """Record that the rest of the replay is not brought, before it is abandoned."""
    replayed = [span for span in spans(connection, head, connection.rooms) if span.end]
    _add(connection, (_change("gap", span, head, now) for span in replayed))


def record_unknown(connection: Connection, rooms: Iterable[str], after: int, until: int) -> None:
    """Record a part of the log of which the rooms may or may not bring the entries."""
    _add(connection, (RoomChange("unknown", room, 0.0, after, until, until) for room in rooms))


def record_reset(connection: Connection, head: int, now: float) -> None:
    """Record a new epoch of the log: offsets of the one before mean nothing any more."""
    connection.history = None
    if head:
        _add(connection, (RoomChange("gap", room, now, 0, 0, head) for room in connection.rooms))


def _change(kind: ChangeKind, span: Span, head: int, now: float) -> RoomChange:
    after = 0 if span.items else span.after
    return RoomChange(kind, span.room, now, after, span.until, span.end or head, span.items)


def _add(connection: Connection, changes: Iterable[RoomChange]) -> None:
    history = connection.history
    if history is None:
        history = connection.history = RoomHistory()
    for change in changes:
        history.add(change)
