"""Subscriptions: the first frame of a connection, and every change of its rooms."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Final

from auth.errors import AuthError, RoomRefused, TokenMismatch
from gateway.core import subscription
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.connection_record import record_joined
from gateway.core.errors import CursorInvalid, GatewayError
from gateway.core.log import Log
from gateway.engine.access import Access
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.log_status import LogStatusNotifier
from gateway.engine.marks import Marks
from gateway.engine.presence import PresenceService
from gateway.engine.replies import connection_established, error_reply
from gateway.engine.tasks import TaskSet
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.commands import Auth, Subscribe, Unsubscribe
from schemas.events import rfc3339
from schemas.rooms import user_room

TURN_SECONDS: Final = 10.0
"""The longest time that a command with a replay waits for its turn."""


class Subscriptions:
    """Joins and leaves rooms; `delivery` writes the replay owed. `recoveries` counts the answers to cursors, by
    `recovered`."""

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        presence: PresenceService,
        log: Log,
        log_status: LogStatusNotifier,
        marks: Marks,
        access: Access,
        tasks: TaskSet,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._presence = presence
        self._log = log
        self._log_status = log_status
        self._marks = marks
        self._access = access
        self._tasks = tasks
        self.recoveries = {True: 0, False: 0}

    # ---- establish

    def begin(self, connection: Connection, request: ConnectRequest) -> None:
        """Write the first frame and join the requested rooms, once the tenant's log is read up to the request's cursor
        and the application has authorized the rooms."""
        try:
            following = self._follow(connection, request.since)
            if following is None and not (self._access.authorizes and request.rooms):
                self._establish(connection, request)
            else:
                self._tasks.spawn(self._establish_later(following, connection, request))
        except Exception as error:
            self._connections.fail(connection, error)

    async def _establish_later(
        self, following: Awaitable[None] | None, connection: Connection, request: ConnectRequest
    ) -> None:
        try:
            if following is not None:
                await following
            refused = await self._refused(connection, request)
            if self._connections.is_open(connection):
                self._establish(connection, request, refused)
                if connection.replay is None:
                    self._delivery.on_caught_up(connection)
        except (GatewayError, AuthError) as error:
            if self._connections.is_open(connection):
                self._connections.reply(connection, error_reply(error))
                self._connections.close(connection, CloseCode.TRY_AGAIN_LATER, error.code)
        except Exception as error:
            self._connections.fail(connection, error)

    async def admitted_rooms(self, connection: Connection, request: ConnectRequest) -> tuple[str, ...]:
        """The rooms of the request, all of which the connection may join, once its tenant's log is followed up to its
        cursor. Raises `GatewayError` and `AuthError`."""
        following = self._follow(connection, request.since)
        if following is not None:
            await following
        refused = await self._refused(connection, request) if self._access.authorizes else ()
        return self.rooms_of(connection, request, refused)

    def rooms_of(
        self, connection: Connection, request: ConnectRequest, refused: Collection[str] = ()
    ) -> tuple[str, ...]:
        """The rooms of the request; `refused` are those that the application refuses. Raises where one may not be
        joined."""
        asked = request.rooms_for(connection.identity, refused)
        self._check_rooms(connection, asked)
        if not_allowed := [room for room in asked if room in refused]:
            raise RoomRefused(not_allowed)
        return asked

    async def _refused(self, connection: Connection, request: ConnectRequest) -> Collection[str]:
        """The requested rooms that the application refuses; it is not asked about a request that is invalid."""
        try:
            asked = request.rooms_for(connection.identity)
            self._check_rooms(connection, asked)
        except (GatewayError, AuthError):
            return ()
        return await self._access.refused(connection.identity, asked)

    def _establish(self, connection: Connection, request: ConnectRequest, refused_rooms: Collection[str] = ()) -> None:
        self._delivery.flush(connection.identity.tenant)
        identity, connections = connection.identity, self._connections
        window = self._log.window(identity.tenant)
        connection.established = True
        own = user_room(identity.user_id)
        # A cursor also resumes the user's own room, even where other rooms are refused.
        rooms: tuple[str, ...] = () if request.since is None else (own,)
        refused: GatewayError | AuthError | None = None
        try:
            rooms += self.rooms_of(connection, request, refused_rooms)
        except (GatewayError, AuthError) as error:
            refused = error
        try:
            if request.since is not None:
                window.cursors.decode(request.since)
        except CursorInvalid as error:
            refused, rooms = refused or error, ()
        self._connections.manager.join(connection, own, window.head)
        subscribed = tuple(dict.fromkeys((own, *rooms)))
        established = connection_established(
            connection, window.cursor, subscribed, connections.limits, connections.contract
        )
        connections.reply(connection, established)
        self._log_status.send_current(connection)
        if refused is not None:
            log_events.command_refused(connection, refused)
            self._connections.reply(connection, error_reply(refused))
        if rooms or (request.rooms and refused is None):  # `*` may stand for no room, and is answered too
            self._enter(connection, rooms, request.since, state=request.state, first=True)

    # ---- changes

    def prepare(self, connection: Connection, command: Subscribe) -> Awaitable[None] | None:
        """An awaitable that must complete before `change_rooms`: the log read up to the cursor, the application's
        answer, the turn of a replay. Raises `GatewayError` and `AuthError` when awaited."""
        following = None if command.since is None else self._follow(connection, command.since)
        if (command.since is not None or command.history or command.state) and not self._connections.shares.free:
            following = self._wait_for_turn(following, connection.identity.tenant)
        return self._authorize(following, connection, command.rooms) if self._access.authorizes else following

    async def _wait_for_turn(self, following: Awaitable[None] | None, tenant: str) -> None:
        if following is not None:
            await following
        try:
            await self._connections.shares.turn(tenant, 0, asyncio.get_running_loop().time() + TURN_SECONDS)
        except TimeoutError:
            message = "too many clients ask for earlier events; ask again later"
            raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after=1.0) from None

    async def _authorize(self, following: Awaitable[None] | None, connection: Connection, rooms: Sequence[str]) -> None:
        if following is not None:
            await following
        self._check_rooms(connection, rooms)
        await self._access.require(connection.identity, rooms)

    def _follow(self, connection: Connection, since: str | None) -> Awaitable[None] | None:
        """Subscribe this node to the log of the connection's tenant, at least up to the cursor `since`; None where its
        window is current."""
        return self._log.follow(connection.identity.tenant, since)

    def _check_rooms(self, connection: Connection, rooms: Sequence[str]) -> None:
        subscription.check_rooms(self._connections.kinds, connection, rooms, self._connections.limits.rooms)

    def change_rooms(self, connection: Connection, command: Subscribe | Unsubscribe) -> None:
        """Run a command and reply; no replay may be pending. Raises `GatewayError` and `AuthError`."""
        self._delivery.flush(connection.identity.tenant)
        if isinstance(command, Unsubscribe):
            left = subscription.check_leave(self._connections.kinds, connection, command.rooms)
            self._delivery.leave(connection, left.rooms, "unsubscribed")
            self._connections.reply(connection, left, command.id)
            return
        self._check_rooms(connection, command.rooms)
        self._enter(
            connection, command.rooms, command.since, command.history, command.presence, command.id, command.state
        )

    def _enter(
        self,
        connection: Connection,
        rooms: Sequence[str],
        since: str | None,
        history: int = 0,
        presence: bool | None = None,
        id: str | int | None = None,
        state: bool = False,
        first: bool = False,
    ) -> None:
        """Join rooms that passed the checks, and reply as to the command `subscribe`; no replay may be pending. Raises
        `CursorInvalid`."""
        was_live = connection.live
        answer = self.join(connection, rooms, since, history, state, first)
        if presence:
            self._presence.watch(connection, answer.rooms)
        elif presence is False:
            self._presence.unwatch(connection, answer.rooms)
        self._connections.reply(connection, answer, id)
        self.catch_up(connection, was_live)

    def join(
        self,
        connection: Connection,
        rooms: Sequence[str],
        since: str | None,
        history: int = 0,
        state: bool = False,
        first: bool = True,
    ) -> messages.Subscribed:
        """Join rooms that passed the checks, and make their earlier events owed; no replay may be pending. `first` are
        those of the connect request. Returns the reply, which is to be written before `catch_up`. Raises
        `CursorInvalid`."""
        window = self._log.window(connection.identity.tenant)
        manager = self._connections.manager
        answer, examined = subscription.subscribe(manager, window, connection, rooms, since, history, state)
        everything = state and since is None
        if everything or not first:  # else they were joined when it connected
            record_joined(connection, answer.rooms, window.head, self._connections.clock(), everything)
        self._connections.charge(connection, examined)
        if answer.recovered is not None:
            self.recoveries[answer.recovered] += 1
        if answer.recovered is False:
            log_events.stream_gap(connection, "not_recovered")
        return answer

    def catch_up(self, connection: Connection, was_live: bool) -> None:
        """Begin the catch-up of a connection that has joined rooms, or write the mark where nothing is owed. `was_live`
        says whether it was live before."""
        if was_live and not connection.live:  # else its catch-up is already scheduled
            self._delivery.catch_up(connection)
        self._marks.send_owed(connection)

    def renew(self, connection: Connection, command: Auth) -> None:
        """Replace the connection's token and leave the rooms that the new one does not grant. Raises `AuthError`."""
        identity = self._connections.verify(command.token)
        if (identity.user_id, identity.tenant) != (connection.identity.user_id, connection.identity.tenant):
            raise TokenMismatch
        self._delivery.flush(connection.identity.tenant)
        self._connections.refresh(connection, identity)
        self._presence.on_token_refreshed(connection)
        dropped = subscription.ungranted(connection)
        self._delivery.leave(connection, dropped, "token_renewed")
        answer = messages.Authenticated(
            expires_at=rfc3339(identity.expires_at), rooms=identity.grants.patterns, dropped=dropped
        )
        self._connections.reply(connection, answer, command.id)
        if self._access.authorizes:
            self._tasks.spawn(self._authorize_again(connection))

    async def _authorize_again(self, connection: Connection) -> None:
        """Leave the rooms that the application no longer allows the holder of a fresh token."""
        try:
            refused = await self._access.refused(connection.identity, connection.rooms)
            if not self._connections.is_open(connection):
                return
            if left := tuple(room for room in connection.rooms if room in refused):
                self._delivery.leave(connection, left, "authorization")
                self._connections.reply(connection, messages.SubscriptionRevoked(rooms=left, reason="authorization"))
        except (GatewayError, AuthError) as error:
            if self._connections.is_open(connection):
                self._connections.close(connection, CloseCode.INTERNAL_ERROR, error.code)
        except Exception as error:
            self._connections.fail(connection, error)
