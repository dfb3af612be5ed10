"""Presence: the users of a room, and join and leave notifications for watchers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Final

from auth.errors import AuthError
from auth.identity import Identity, require_subscribe
from gateway.core import subscription
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError
from gateway.core.frame import Batch
from gateway.core.log import Log
from gateway.core.members import ClusterMembers, PresenceChange
from gateway.core.presence_feed import PresenceEvent, PresenceFeed
from gateway.engine.access import Access
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.directory import NodeDirectory
from gateway.engine.replies import error_reply, frame_of
from gateway.engine.tasks import TaskSet
from gateway.telemetry import log_events
from schemas import messages
from schemas.commands import PresenceCommand
from schemas.events import rfc3339

LEAVE_GRACE: Final = 5.0
"""Seconds of leave debouncing: a page that is reloaded is back within them."""

NOTIFY_INTERVAL: Final = 0.1
"""Seconds for which a room's notifications are coalesced: a thousand joins are ten writes for each watcher."""


class PresenceService:
    """Observes the manager's index (`IndexObserver`) and the members of other nodes. `grace` may be set.

    Notifications are not events: they have no position in the log. A connection that is behind misses them, and gets
    the current state with the command `presence`.
    """

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        members: ClusterMembers,
        log: Log,
        access: Access,
        tasks: TaskSet,
    ) -> None:
        self.grace = LEAVE_GRACE
        self._connections = connections
        self._delivery = delivery
        self._manager = connections.manager
        self._members = members
        self._access = access
        self._tasks = tasks
        self._timer = connections.timer
        self._rooms: dict[str, dict[str, PresenceFeed[Connection]]] = {}
        self._rooms_to_notify: dict[tuple[str, str], None] = {}
        self._notify_timer: asyncio.TimerHandle | None = None
        self._leave_deadlines: deque[tuple[float, str, str]] = deque()
        self._leave_timer: asyncio.TimerHandle | None = None
        self._manager.observer = self
        members.attach(NodeDirectory(self._manager, log), self._on_changes)

    @property
    def idle(self) -> bool:
        """Whether no room is watched, and no notification or leave is pending."""
        return not (self._rooms or self._notify_timer or self._leave_deadlines or self._leave_timer)

    # ---- queries

    def require_access(self, identity: Identity, room: str) -> None:
        """Raise unless the identity may subscribe to the room, which presence requires; the application is asked
        separately. Raises `GatewayError`, `AuthError`."""
        subscription.require_rooms(self._connections.kinds, [room])
        require_subscribe(identity, [room])

    async def query(self, identity: Identity, room: str) -> messages.Presence:
        """The users of the room, on all nodes. Raises `GatewayError` and `AuthError`."""
        self.require_access(identity, room)
        if (preparing := self._prepare(identity, room)) is not None:
            await preparing
        return self._present(identity.tenant, room)

    def _prepare(self, identity: Identity, room: str) -> Awaitable[None] | None:
        """An awaitable that must complete before the answer: the refresh of remote members, the application's
        answer."""
        refreshing = self._members.refresh(identity.tenant)
        return self._authorize(refreshing, identity, room) if self._access.authorizes else refreshing

    async def _authorize(self, refreshing: Awaitable[None] | None, identity: Identity, room: str) -> None:
        if refreshing is not None:
            await refreshing
        await self._access.require(identity, [room])

    def answer(self, connection: Connection, command: PresenceCommand) -> None:
        """Answer a client's `presence` command. Raises `GatewayError` and `AuthError`."""
        self.require_access(connection.identity, command.room)
        preparing = self._prepare(connection.identity, command.room)
        if preparing is None:
            self._answer(connection, command)
        else:
            self._tasks.spawn(self._answer_later(preparing, connection, command))

    async def _answer_later(self, preparing: Awaitable[None], connection: Connection, command: PresenceCommand) -> None:
        try:
            await preparing
            if self._connections.is_open(connection):
                self.require_access(connection.identity, command.room)  # again: the token may have been replaced
                self._answer(connection, command)
        except (GatewayError, AuthError) as error:
            if self._connections.is_open(connection):
                log_events.command_refused(connection, error)
                self._connections.reply(connection, error_reply(error), command.id)

    def _answer(self, connection: Connection, command: PresenceCommand) -> None:
        tenant = connection.identity.tenant
        if (feed := self._feed(tenant, command.room)) is not None:
            feed.mark_synced(connection, self._timer())
        self._connections.reply(connection, self._present(tenant, command.room), command.id)

    def estimated_size(self, tenant: str, room: str) -> int:
        """The approximate size of an answer: users here, and the known users of other nodes."""
        here, there = self._manager.of(tenant).rooms.get(room, ()), self._members.remote(tenant).rooms.get(room, ())
        return len(here) + len(there)

    def _present(self, tenant: str, room: str) -> messages.Presence:
        counts = dict(self._members.remote(tenant).rooms.get(room, ()))
        for connection in self._manager.of(tenant).rooms.get(room, ()):
            user_id = connection.identity.user_id
            counts[user_id] = counts.get(user_id, 0) + 1
        return messages.Presence(
            room=room,
            users=tuple(messages.UserPresence(user_id, counts[user_id]) for user_id in sorted(counts)),
            connections=sum(counts.values()),
            partial=True if self._members.partial else None,
        )

    # ---- watching

    def watch(self, connection: Connection, rooms: Iterable[str]) -> None:
        """Notify the connection, which is in these rooms, of joins and leaves."""
        tenant = connection.identity.tenant
        if tenant not in self._rooms:
            self._rooms[tenant] = {}
            self._members.watch(tenant)
        feeds = self._rooms[tenant]
        for room in rooms:
            if room not in feeds:
                feeds[room] = PresenceFeed(self.grace)
            feeds[room].watch(connection, self._timer())

    def unwatch(self, connection: Connection, rooms: Iterable[str]) -> None:
        tenant = connection.identity.tenant
        feeds = self._rooms.get(tenant)
        if feeds is None:
            return
        for room in rooms:
            if room in feeds:
                feeds[room].unwatch(connection)
                if not feeds[room].watchers:
                    del feeds[room]
        if not feeds:
            del self._rooms[tenant]
            self._members.unwatch(tenant)
        if not self._rooms:
            self._cancel_timers()

    def _feed(self, tenant: str, room: str) -> PresenceFeed[Connection] | None:
        rooms = self._rooms.get(tenant)
        return rooms.get(room) if rooms else None

    # ---- joins and leaves

    def on_added(self, connection: Connection) -> None:
        self._members.changed(connection.identity.tenant, connection.id)

    def on_joined(self, connection: Connection, room: str) -> None:
        tenant, user_id = connection.identity.tenant, connection.identity.user_id
        self._members.changed(tenant, connection.id)
        feed = self._feed(tenant, room)
        if feed is not None and not self._is_in(tenant, room, user_id, except_for=connection):
            self._enter(tenant, room, feed, user_id)

    def on_left(self, connection: Connection, rooms: Iterable[str]) -> None:
        tenant, user_id = connection.identity.tenant, connection.identity.user_id
        self._members.changed(tenant, connection.id)
        if tenant in self._rooms:
            self.unwatch(connection, rooms)
            for room in rooms:
                feed = self._feed(tenant, room)
                if feed is not None and not self._is_in(tenant, room, user_id):
                    self._leave(tenant, room, feed, user_id)

    def on_token_refreshed(self, connection: Connection) -> None:
        """Publish the new expiry of a connection to the other nodes."""
        self._members.changed(connection.identity.tenant, connection.id)

    def _on_changes(self, tenant: str, changes: list[PresenceChange]) -> None:
        """Apply changes of users on other nodes."""
        for room, user_id, entered in changes:
            feed = self._feed(tenant, room)
            if feed is not None and not self._is_here(tenant, room, user_id):
                if entered:
                    self._enter(tenant, room, feed, user_id)
                else:
                    self._leave(tenant, room, feed, user_id)

    def _is_in(self, tenant: str, room: str, user_id: str, except_for: Connection | None = None) -> bool:
        return self._is_here(tenant, room, user_id, except_for) or self._members.remote(tenant).count(room, user_id) > 0

    def _is_here(self, tenant: str, room: str, user_id: str, except_for: Connection | None = None) -> bool:
        # A user has a handful of connections, a room may have thousands.
        mine = self._manager.of(tenant).users.get(user_id, ())
        return any(room in connection.rooms and connection is not except_for for connection in mine)

    def _enter(self, tenant: str, room: str, feed: PresenceFeed[Connection], user_id: str) -> None:
        feed.enter(user_id)
        if feed.has_notifications:
            self._notify_later(tenant, room)

    def _leave(self, tenant: str, room: str, feed: PresenceFeed[Connection], user_id: str) -> None:
        now = self._timer()
        feed.leave(user_id, now)
        self._leave_deadlines.append((now + self.grace, tenant, room))
        if self._leave_timer is None:
            self._leave_timer = asyncio.get_running_loop().call_later(self.grace, self._expire_leaves)

    # ---- notifications

    def _expire_leaves(self) -> None:
        self._leave_timer = None
        now = self._timer()
        while self._leave_deadlines and self._leave_deadlines[0][0] <= now:
            _, tenant, room = self._leave_deadlines.popleft()
            feed = self._feed(tenant, room)
            if feed is not None:
                feed.expire_leaves(now, partial(self._is_in, tenant, room))
                if feed.has_notifications:
                    self._notify_later(tenant, room)
        if self._leave_deadlines:
            delay = max(0.0, self._leave_deadlines[0][0] - now)
            self._leave_timer = asyncio.get_running_loop().call_later(delay, self._expire_leaves)

    def _notify_later(self, tenant: str, room: str) -> None:
        self._rooms_to_notify[tenant, room] = None
        if self._notify_timer is None:
            self._notify_timer = asyncio.get_running_loop().call_later(NOTIFY_INTERVAL, self._notify)

    def _notify(self) -> None:
        self._notify_timer = None
        rooms, self._rooms_to_notify = self._rooms_to_notify, {}
        for tenant, room in rooms:
            feed = self._feed(tenant, room)
            for events, watchers in feed.take_notifications() if feed is not None else ():
                batch = self._batch(room, events)
                for connection in watchers:
                    self._delivery.write_unlogged(connection, batch)

    def _batch(self, room: str, events: list[PresenceEvent]) -> Batch:
        at = rfc3339(self._connections.clock())
        frames = []
        for user_id, joined in events:
            kind = messages.PresenceJoined if joined else messages.PresenceLeft
            frames.append(frame_of(kind(room=room, user_id=user_id), at))
        return Batch(frames)

    def _cancel_timers(self) -> None:
        """Stop all notifications."""
        for timer in (self._notify_timer, self._leave_timer):
            if timer is not None:
                timer.cancel()
        self._notify_timer = self._leave_timer = None
        self._leave_deadlines.clear()
        self._rooms_to_notify.clear()
