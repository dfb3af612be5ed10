"""Event streams (Server-Sent Events): admission before a stream begins, and its first blocks."""

import asyncio
from dataclasses import dataclass
from typing import Final

from auth.errors import ScopeMissing
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.errors import CursorInvalid, LogUnavailable
from gateway.core.frame import Batch, MessageFrame
from gateway.core.log import Log
from gateway.core.transport import Kind
from gateway.core.window import Window
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.drain import Drain
from gateway.engine.log_status import LogStatusNotifier
from gateway.engine.replies import connection_established
from gateway.engine.subscriptions import Subscriptions
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339
from schemas.rooms import user_room


class UnopenedStream:
    """The `Transport` of a client whose response has not been started: nothing is written to it yet."""

    kind: Kind = "sse"
    fd = None
    pings = False
    unacknowledged = 0

    def write(self, batch: Batch) -> bool:
        return True

    def close(self, code: int, reason: str) -> None:
        """The connection is closed by then, which `EventStreams.begin` finds."""

    def abort(self) -> None: ...


_UNOPENED: Final = UnopenedStream()

BEGIN_SECONDS: Final = 10.0
"""The timeout from admission to the start of the response, within which middleware and dependencies end."""


@dataclass(frozen=True, slots=True)
class AdmittedStream:
    """A client that was admitted and follows nothing yet; `rooms` are those that it may join."""

    connection: Connection
    request: ConnectRequest
    rooms: tuple[str, ...]


class EventStreams:
    """Admits the clients of event streams and writes their first blocks; then they are connections like others."""

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        drain: Drain,
        subscriptions: Subscriptions,
        log: Log,
        log_status: LogStatusNotifier,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._drain = drain
        self._subscriptions = subscriptions
        self._log = log
        self._log_status = log_status

    async def admit(self, request: ConnectRequest) -> AdmittedStream:
        """Verify and admit a client and judge its rooms. Its connection counts from now on: it is to be begun or
        disconnected. Raises `AuthError` and `GatewayError`."""
        self._drain.require_admitting()
        connections = self._connections
        connection = connections.open(request, _UNOPENED)
        try:
            if not connection.identity.has_scope("subscribe"):
                raise ScopeMissing("subscribe")
            rooms = await self._subscriptions.admitted_rooms(connection, request)
            if not connections.is_open(connection):  # closed meanwhile: for its token, or because this node stops
                connections.revalidate(connection.identity)
                raise LogUnavailable("the connection was closed: connect again")
        except BaseException:
            connections.remove(connection)
            raise
        asyncio.get_running_loop().call_later(BEGIN_SECONDS, self._expire, connection)
        return AdmittedStream(connection, request, rooms)

    def _expire(self, connection: Connection) -> None:
        """Release a connection whose response was not started: its request failed, or was cancelled, on the way."""
        if connection.transport is _UNOPENED:
            self._connections.remove(connection)

    def begin(self, stream: AdmittedStream) -> None:
        """Write the first blocks and join the rooms; the connection has the transport of its client by now."""
        connection = stream.connection
        try:
            if not self._connections.is_open(connection):
                connection.transport.close(CloseCode.TRY_AGAIN_LATER, ErrorCode.BROKER_UNAVAILABLE)
            elif not all(map(connection.identity.allows, stream.rooms)):  # the user was removed from one meanwhile
                self._connections.close(connection, CloseCode.TRY_AGAIN_LATER, ErrorCode.ROOM_FORBIDDEN)
            else:
                self._begin(connection, stream)
        except Exception as error:
            self._connections.fail(connection, error)

    def _begin(self, connection: Connection, stream: AdmittedStream) -> None:
        self._delivery.flush(connection.identity.tenant)
        subscriptions, own = self._subscriptions, user_room(connection.identity.user_id)
        window = self._log.window(connection.identity.tenant)
        since, gap = self._place(window, stream.request.since)
        history, state = 0 if gap else stream.request.history, stream.request.state
        connection.established = True
        self._connections.manager.join(connection, own, window.head)
        # With a place to resume from, the user's own room is resumed too.
        rooms = stream.rooms if stream.request.since is None else (own, *stream.rooms)
        answer = subscriptions.join(connection, rooms, since, history, state) if rooms or stream.request.rooms else None
        if gap is not None and answer is not None:
            answer = answer.model_copy(update={"recovered": False})
            subscriptions.recoveries[False] += 1
        # The id is the cursor to resume from as things are: one ahead of what is owed would lose that at the next drop,
        # so there is none where all that is owed is history and state.
        cursor = window.cursor if connection.live else since
        subscribed = tuple(dict.fromkeys((own, *rooms)))
        connections = self._connections
        established = connection_established(
            connection, window.cursor, subscribed, connections.limits, connections.contract
        )
        self._write(connection, established, cursor)
        self._log_status.send_current(connection)
        if gap is not None:
            log_events.stream_gap(connection, gap.reason)
            self._write(connection, gap, cursor)
        if answer is not None:
            self._connections.reply(connection, answer)
        subscriptions.catch_up(connection, was_live=True)

    def _place(self, window: Window, since: str | None) -> tuple[str | None, messages.StreamGap | None]:
        """The cursor to resume from; and a gap in place of one that cannot be read: a refusal would end an
        `EventSource` for good."""
        try:
            if since is not None:
                window.cursors.decode(since)
        except CursorInvalid:
            return None, messages.StreamGap(reason="log_reset", cursor=window.cursor)
        return since, None

    def _write(self, connection: Connection, message: messages.Message, cursor: str | None) -> None:
        """Write a block with `cursor` as its id."""
        payload = message.encode(rfc3339(self._connections.clock()))
        connection.count_reply()
        connection.transport.write(Batch((MessageFrame(payload, message.name, cursor),)))
