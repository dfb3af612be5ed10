"""Subscribe and unsubscribe: grants, the position to start from, and the replay owed."""

from collections.abc import Sequence
from typing import Any

from auth.identity import require_subscribe
from gateway.core.catch_up import drop_room, history_start, start_replay
from gateway.core.connection import Connection
from gateway.core.connection_record import record_end, record_unknown
from gateway.core.errors import GatewayError
from gateway.core.manager import ConnectionManager
from gateway.core.room_history import ChangeKind
from gateway.core.window import Window
from schemas.codes import ErrorCode
from schemas.messages import Subscribed, SubscribedWithState, Unsubscribed
from schemas.rooms import RoomKinds, user_room


def subscribe(
    manager: ConnectionManager,
    window: Window,
    connection: Connection,
    rooms: Sequence[str],
    since: str | None,
    history: int = 0,
    state: bool = False,
) -> tuple[Subscribed, int]:
    """Join `rooms`, which passed `check_rooms`, and owe their entries after `since`, as far as the window has them, or
    else the latest `history` events and, with `state`, the newest value of each item. Returns the reply, and the number
    of log entries examined.

    The connection may be behind afterwards: the caller writes the reply and then advances it. Raises `CursorInvalid`
    before any room is joined. `window` must hold all entries that were delivered, and no others.
    """
    rooms = list(dict.fromkeys(rooms))
    recovered: bool | None = None
    after = window.head
    examined = reported = 0
    everything = state and since is None
    if since is not None:
        position = window.cursors.decode(since)
        recovered = window.gap(position, rooms) is None
        # A cursor of an earlier epoch: all entries of this one are newer.
        after = min(position.offset, after) if position.epoch == window.epoch else 0
        if connection.offset is not None and not recovered:
            # `recovered` reports what is gone from where the connection still has to go; no gap is reported for it.
            reported = max(map(window.trimmed.of, rooms))
    elif history:
        after, examined = history_start(connection, window, rooms, history)
    if everything and connection.offset is not None:
        after = min(after, connection.offset)  # it is there that the connection goes on, in the new rooms as well
    owed = start_replay(connection, window, rooms, after, everything, reported)
    for room in rooms:
        start = max(after, reported)
        manager.join(connection, room, min(start, connection.rooms.get(room, start)))
    if reported:
        # Entries of these rooms up to there come only by the replay, or by other rooms.
        record_unknown(connection, rooms, after, reported)
    if since is not None or history or state:
        connection.owe_mark()
    fields: dict[str, Any] = {"rooms": tuple(rooms), "cursor": window.cursor, "recovered": recovered}
    if not state:
        return Subscribed(**fields, replayed=owed.events), examined + owed.examined
    complete = all(window.evicted.of(room) <= (0 if everything else after) for room in rooms)
    items, replayed = owed.items, owed.events - owed.items
    return SubscribedWithState(**fields, replayed=replayed, items=items, complete=complete), examined + owed.examined


def require_rooms(kinds: RoomKinds, rooms: Sequence[str]) -> None:
    """Raise `GatewayError` for invalid names among `rooms`."""
    if invalid := kinds.invalid(rooms):
        raise GatewayError(ErrorCode.ROOM_INVALID, kinds.fault_of(invalid[0]), rooms=[room[:140] for room in invalid])


def check_rooms(kinds: RoomKinds, connection: Connection, rooms: Sequence[str], max_rooms: int) -> None:
    """Raise for the first rule that `rooms` break: grammar, the token's grants, the maximum number.

    The errors are `GatewayError` and `AuthError`.
    """
    require_rooms(kinds, rooms)
    require_subscribe(connection.identity, rooms)
    own = user_room(connection.identity.user_id)
    if len((connection.rooms.keys() | set(rooms)) - {own}) > max_rooms:
        message = f"at most {max_rooms} rooms for one connection, besides the user's own"
        raise GatewayError(ErrorCode.TOO_MANY_ROOMS, message, limit=max_rooms)


def check_leave(kinds: RoomKinds, connection: Connection, rooms: Sequence[str]) -> Unsubscribed:
    """The reply to the command to leave `rooms`. Raises `GatewayError` where the connection is not in one of them."""
    require_rooms(kinds, rooms)
    rooms = list(dict.fromkeys(rooms))
    if missing := [room for room in rooms if room not in connection.rooms]:
        raise GatewayError(ErrorCode.NOT_SUBSCRIBED, "not subscribed to all of these rooms", rooms=missing)
    return Unsubscribed(rooms=tuple(rooms))


def ungranted(connection: Connection) -> tuple[str, ...]:
    """The rooms of the connection that its identity does not grant (any more)."""
    identity = connection.identity
    own = user_room(identity.user_id)
    may = identity.has_scope("subscribe")
    return tuple(room for room in connection.rooms if room != own and not (may and identity.allows(room)))


def leave(
    manager: ConnectionManager, connection: Connection, rooms: Sequence[str], kind: ChangeKind, head: int, now: float
) -> None:
    """Leave rooms, for the reason `kind`. The log is delivered up to `head`; `now` is seconds since the epoch."""
    record_end(connection, kind, rooms, head, now)
    for room in rooms:
        manager.leave(connection, room)
        drop_room(connection, room)
