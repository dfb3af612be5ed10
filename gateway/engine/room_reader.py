"""The room reader: state and events of a room, for callers without a connection."""

from dataclasses import dataclass

from auth.identity import Identity, require_subscribe
from gateway.core import subscription
from gateway.core.frame import Frame
from gateway.core.log import Log
from gateway.core.room_page import events_page, state_page
from gateway.core.window import Window
from gateway.engine.access import Access
from gateway.engine.connections import Connections
from gateway.engine.marks import Marks


@dataclass(frozen=True, slots=True)
class RoomState:
    """A page of a room's items as of `cursor`; `after` is for the next page, None where this is the last. Not
    `complete` where the bounds of state have cost items of the room."""

    cursor: str
    as_of: str | None
    complete: bool
    items: list[Frame]
    after: str | None


@dataclass(frozen=True, slots=True)
class RoomEvents:
    """A page of a room's events up to `cursor`, and whether there are `more` after it; `recovered` as in the reply to
    `subscribe`."""

    cursor: str
    recovered: bool | None
    more: bool
    events: list[Frame]


class RoomReader:
    """Reads rooms that an identity may subscribe to."""

    def __init__(self, connections: Connections, log: Log, marks: Marks, access: Access) -> None:
        self._connections = connections
        self._log = log
        self._marks = marks
        self._access = access

    async def state(self, identity: Identity, room: str, after: str | None, limit: int) -> RoomState:
        """The newest value of each item of the room, after the cursor `after` of an earlier page. Raises `AuthError`,
        `GatewayError`."""
        window = await self._window(identity, room, after)
        page = state_page(window, room, _offset(window, after), limit)
        complete = not window.evicted.of(room)
        cursor = window.cursors.encode(window.epoch, page.reached) if page.more else None
        return RoomState(window.cursor, self._marks.as_of(identity.tenant), complete, page.frames, cursor)

    async def events(self, identity: Identity, room: str, since: str | None, limit: int) -> RoomEvents:
        """The events of the room after the cursor `since`, from the oldest kept one on where there is none. Raises
        `AuthError`, `GatewayError`."""
        window = await self._window(identity, room, since)
        recovered = None if since is None else window.gap(window.cursors.decode(since), [room]) is None
        page = events_page(window, room, _offset(window, since), limit)
        return RoomEvents(window.cursors.encode(window.epoch, page.reached), recovered, page.more, page.frames)

    async def _window(self, identity: Identity, room: str, cursor: str | None) -> Window:
        """The up-to-date window of the identity's tenant, at least up to `cursor`."""
        subscription.require_rooms(self._connections.kinds, [room])
        require_subscribe(identity, [room])
        await self._access.require(identity, [room])
        self._connections.keep_followed(identity.tenant)
        if (following := self._log.follow(identity.tenant, cursor)) is not None:
            await following
        return self._log.window(identity.tenant)


def _offset(window: Window, cursor: str | None) -> int:
    """The offset of a cursor; 0 for one of an earlier epoch. Raises `CursorInvalid`."""
    if cursor is None:
        return 0
    position = window.cursors.decode(cursor)
    return min(position.offset, window.head) if position.epoch == window.epoch else 0
