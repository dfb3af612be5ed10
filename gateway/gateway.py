"""The orchestrator: takes what comes in, asks the domain, and sees that what follows from it is written."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from auth.errors import AuthError, TokenMismatch
from auth.identity import Identity, require_publish
from auth.revocation import Revocations
from auth.tokens import TokenVerifier
from gateway.answers import established, refusal
from gateway.core import subscription
from gateway.core.admission import Admission, Limits
from gateway.core.agenda import Agenda
from gateway.core.connection import Connection, Transport
from gateway.core.delivery import skip
from gateway.core.errors import ConnectionRefused, CursorInvalid, GatewayError, RateLimited
from gateway.core.frame import Batch, Frame
from gateway.core.handshake import Handshake
from gateway.core.limits import Rate
from gateway.core.log import Draft, Log, Receipt
from gateway.core.manager import ConnectionManager
from gateway.core.publication import draft_of
from gateway.core.window import Gap
from gateway.delivery import Delivery
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.commands import AnyCommand, Auth, CommandError, Ping, Publish, Subscribe, Unsubscribe, parse_command
from schemas.events import PublishedEvent, event_type_error, invalid_id, rfc3339
from schemas.rooms import ROOM_GRAMMAR, user_room

logger = logging.getLogger("gateway")

TICK: Final = 0.5
"""Seconds between looks at what is due: expired tokens, old entries, unused counters."""

IDLE_SECONDS: Final = 30.0
"""How long the log of a tenant without connections here is followed: somebody may be back soon."""

MAX_CLIENT_ID: Final = 64


class Gateway:
    """One process's whole. A `Host` for transports; everything is called on one event loop.

    `clock` is seconds since the epoch (tokens, timestamps), `timer` seconds of a clock that never goes back (rates).
    """

    def __init__(
        self,
        log: Log,
        verifier: TokenVerifier,
        *,
        manager: ConnectionManager | None = None,
        revocations: Revocations | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self.verifier = verifier
        self.manager = ConnectionManager() if manager is None else manager
        self.revocations = Revocations() if revocations is None else revocations
        self.limits = limits or Limits()
        self.clock = clock
        self._timer = timer
        self._admission = Admission(self.limits.ceilings)
        self._agenda: Agenda[Connection] = Agenda()
        self._command_rate = Rate(self.limits.commands_per_second, self.limits.command_burst)
        # Refusals are cheap but not free: who goes on at twice its rate is sent away.
        self._refusal_rate = Rate(self.limits.commands_per_second, 2 * self.limits.command_burst)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._idle: dict[str, float] = {}
        self._degraded_since = 0.0
        log.watch(self)
        self._delivery = Delivery(self.manager, log, timer, self._tell_gap, self._run_deferred)

    # ---- life

    async def start(self) -> None:
        """Begin to look after what falls due. Needed once before connections come."""
        if self._ticker is None:
            await self.log.start()
            self._ticker = asyncio.create_task(self._tick_forever())

    async def stop(self) -> None:
        """Close every connection (1012) and end the gateway's tasks."""
        for connection in list(self.manager.connections()):
            self.close(connection, CloseCode.RESTART, "restart")
        tasks = [*self._tasks, *([self._ticker] if self._ticker else [])]
        self._ticker = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.log.stop()

    @property
    def ready(self) -> bool:
        """Whether events get through and connections are taken."""
        return self._ticker is not None and not self._ticker.done() and self.log.ready

    # ---- the way of a connection

    def connect(self, handshake: Handshake, transport: Transport) -> Connection | None:
        """Let a client in whose handshake was answered, or close its transport with the reason and return None."""
        try:
            connection = self._admit(handshake, transport)
        except ConnectionRefused as error:
            self._tell(transport, refusal(error))
            transport.close(error.close_code, str(error))
            return None
        except AuthError as error:
            transport.close(CloseCode.UNAUTHENTICATED, error.code)
            return None
        except GatewayError as error:
            self._tell(transport, refusal(error))
            transport.close(CloseCode.MALFORMED, error.code)
            return None
        self.manager.add(connection)
        self._admission.enter(connection)
        self._watch_expiry(connection)
        self._idle.pop(connection.identity.tenant, None)
        following = self.log.follow(connection.identity.tenant)
        if following is None:
            self._begin(connection, handshake)
        else:
            self._spawn(self._begin_later(following, connection, handshake))
        return connection

    async def _begin_later(self, following: Awaitable[None], connection: Connection, handshake: Handshake) -> None:
        try:
            await following
        except GatewayError as error:
            self.reply(connection, refusal(error))
            self.close(connection, CloseCode.NO_ROOM, error.code)
        else:
            if self._is_open(connection):
                self._begin(connection, handshake)
                self._run_deferred(connection)

    def _admit(self, handshake: Handshake, transport: Transport) -> Connection:
        self._admission.knock(handshake.address, self._timer())
        label = handshake.client_id
        if label is not None and not (len(label) <= MAX_CLIENT_ID and label.isprintable()):
            raise GatewayError(ErrorCode.BAD_MESSAGE, f"client_id has at most {MAX_CLIENT_ID} printable characters")
        identity = self.verify(handshake.token())
        self._admission.check(identity, self.manager.of(identity.tenant))
        return Connection(
            f"con_{secrets.token_urlsafe(12)}",
            identity,
            transport,
            self.clock(),
            handshake.address,
            label or None,
            self._event_rate(identity),
        )

    def _begin(self, connection: Connection, handshake: Handshake) -> None:
        self._delivery.flush()
        identity = connection.identity
        window = self.log.window(identity.tenant)
        connection.begun = True
        own = user_room(identity.user_id)
        # With a cursor the user's own room is resumed too, even where the other rooms are refused.
        rooms = [own] if handshake.since is not None else []
        refused: GatewayError | AuthError | None = None
        try:
            subscription.check_rooms(connection, handshake.rooms, self.limits.rooms)
            if handshake.since is not None:
                window.cursors.decode(handshake.since)
            rooms += handshake.rooms
        except CursorInvalid as error:
            refused, rooms = error, []
        except (GatewayError, AuthError) as error:
            refused = error
        self.manager.join(connection, own, window.head)
        subscribed = tuple(dict.fromkeys((own, *rooms)))
        self.reply(connection, established(connection, window.cursor, subscribed, self.limits))
        if refused is not None:
            self.reply(connection, refusal(refused))
        if rooms:
            self._run(connection, Subscribe(type="subscribe", rooms=rooms, since=handshake.since))

    def _event_rate(self, identity: Identity) -> int:
        """Events a second for a connection: the configured rate, or the token's where that is lower; 0 is no limit."""
        return min((rate for rate in (self.limits.events_per_second, identity.rate) if rate), default=0)

    def verify(self, token: str) -> Identity:
        """Who holds this token, as of now. Raises `AuthError`."""
        identity = self.verifier.verify(token, self.clock())
        self.revocations.check(identity)
        return identity

    def receive(self, connection: Connection, text: str) -> None:
        """One text frame of a client: run it, or answer why not."""
        if not self._is_open(connection):
            return
        connection.received += 1
        if len(text) > self.limits.message_bytes or len(text.encode()) > self.limits.message_bytes:
            self.close(connection, CloseCode.MESSAGE_TOO_LARGE, ErrorCode.MESSAGE_TOO_LARGE)
            return
        try:
            command = parse_command(text)
        except CommandError as error:
            if self._within_rate(connection, error.id):
                self._malformed(connection, error)
            return
        connection.malformed = 0
        if self._within_rate(connection, command.id):
            self._run(connection, command)

    def receive_binary(self, connection: Connection) -> None:
        """The protocol has no binary frames."""
        if not self._is_open(connection):
            return
        connection.received += 1
        if self._within_rate(connection, None):
            self._malformed(connection, CommandError(ErrorCode.BAD_MESSAGE, "a command is a text frame"))

    def _malformed(self, connection: Connection, error: CommandError) -> None:
        self.reply(connection, messages.Error(code=error.code, message=str(error)), error.id)
        connection.malformed += 1
        if connection.malformed >= self.limits.malformed:
            self.close(connection, CloseCode.MALFORMED, ErrorCode.BAD_MESSAGE)

    def _within_rate(self, connection: Connection, id: str | int | None) -> bool:
        now = self._timer()
        connection.commands_due, wait = self._command_rate.take(connection.commands_due, now)
        if not wait:
            return True
        limit = self._command_rate.per_second
        self.reply(connection, refusal(RateLimited(f"at most {limit:g} commands a second", wait, limit)), id)
        connection.refusals_due, over = self._refusal_rate.take(connection.refusals_due, now)
        if over:
            self.close(connection, CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED)
        return False

    def _is_open(self, connection: Connection) -> bool:
        """Whether it was not closed: what a client sent before it noticed that counts for nothing."""
        return connection.id in self.manager.of(connection.identity.tenant).connections

    def disconnect(self, connection: Connection) -> None:
        """Undo all that connecting did; nothing where it is undone already."""
        if self.manager.remove(connection):
            self._agenda.forget(connection)
            self._admission.leave(connection)
            if not self.manager.of(connection.identity.tenant).connections:
                self._idle[connection.identity.tenant] = self._timer()

    def close(self, connection: Connection, code: CloseCode, reason: str) -> None:
        """Send a client away: from here on nothing more is written to it."""
        self.disconnect(connection)
        connection.transport.close(code, reason)

    def drained(self, connection: Connection) -> None:
        """The transport was full and is not any more."""
        self._delivery.drained(connection)

    # ---- commands

    def _run(self, connection: Connection, command: AnyCommand) -> None:
        # One replay at a time, or an event of two rooms might come twice or not at all.
        changes_rooms = isinstance(command, Subscribe | Unsubscribe)
        if not connection.begun or (changes_rooms and (connection.replay is not None or connection.deferred)):
            if len(connection.deferred) < self.limits.deferred:
                connection.deferred = (*connection.deferred, command)
            else:
                full = RateLimited("read the replayed events first", 1.0, self.limits.deferred)
                self.reply(connection, refusal(full), command.id)
        else:
            self._execute(connection, command)

    def _run_deferred(self, connection: Connection) -> None:
        while connection.deferred and connection.replay is None:
            command, *rest = connection.deferred
            connection.deferred = tuple(rest)
            self._execute(connection, command)

    def _execute(self, connection: Connection, command: AnyCommand) -> None:
        try:
            if isinstance(command, Subscribe | Unsubscribe):
                self._change_rooms(connection, command)
            elif isinstance(command, Ping):
                self.reply(connection, messages.Pong(), command.id)
            elif isinstance(command, Auth):
                self._refresh(connection, command)
            else:
                self._publish_for(connection, command)
        except (GatewayError, AuthError) as error:
            self.reply(connection, refusal(error), command.id)

    def _change_rooms(self, connection: Connection, command: Subscribe | Unsubscribe) -> None:
        self._delivery.flush()
        if isinstance(command, Unsubscribe):
            self.reply(connection, subscription.unsubscribe(self.manager, connection, command.rooms), command.id)
            return
        window = self.log.window(connection.identity.tenant)
        was_live = connection.live
        answer = subscription.subscribe(
            self.manager, window, connection, command.rooms, command.since, command.history, self.limits.rooms
        )
        self.reply(connection, answer, command.id)
        if was_live:  # else it waits for its transport or its next turn already
            self._delivery.catch_up(connection)

    def _tell_gap(self, connection: Connection) -> None:
        cursor = self.log.window(connection.identity.tenant).cursor
        self.reply(connection, messages.StreamGap(reason="history_trimmed", cursor=cursor))

    def _refresh(self, connection: Connection, command: Auth) -> None:
        identity = self.verify(command.token)
        if (identity.user_id, identity.tenant) != (connection.identity.user_id, connection.identity.tenant):
            raise TokenMismatch
        self._delivery.flush()
        connection.identity = identity
        connection.set_rate(self._event_rate(identity))
        connection.expiry_told = False
        self._watch_expiry(connection)
        dropped = subscription.drop_ungranted(self.manager, connection)
        answer = messages.Authenticated(
            expires_at=rfc3339(identity.expires_at), rooms=identity.grants.patterns, dropped=dropped
        )
        self.reply(connection, answer, command.id)

    def _publish_for(self, connection: Connection, command: Publish) -> None:
        tenant, draft = self.draft(connection.identity, command.event)
        self._spawn(self._publish_and_reply(connection, tenant, draft, command.id))

    async def _publish_and_reply(self, connection: Connection, tenant: str, draft: Draft, id: str | int | None) -> None:
        try:
            receipt = await self.log.append(tenant, draft)
        except GatewayError as error:
            self.reply(connection, refusal(error), id)
        except Exception:
            # Without an answer the publisher would wait for ever, and not know whether to try again.
            logger.exception("an event could not be published")
            failed = messages.Error(code=ErrorCode.INTERNAL_ERROR, message="the gateway failed on this event")
            self.reply(connection, failed, id)
        else:
            self.reply(connection, messages.Published(event_id=receipt.event_id, duplicate=receipt.duplicate), id)

    def reply(self, connection: Connection, message: messages.Message, id: str | int | None = None) -> None:
        """Write one of the gateway's own frames, also to who is behind: it has no place in the log."""
        connection.sent += 1
        self._tell(connection.transport, message, id)

    def _tell(self, transport: Transport, message: messages.Message, id: str | int | None = None) -> None:
        transport.write(Batch((Frame(message.encode(rfc3339(self.clock()), id)),)))

    # ---- the way of an event

    async def publish(
        self,
        tenant: str,
        type: str,
        data: Mapping[str, Any],
        *,
        circle_id: int | str | None = None,
        project_id: int | str | None = None,
        user_id: str | None = None,
        source_agent_id: int | str | None = None,
        timestamp: str | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Append an event of code in this process, which is trusted with every tenant.

        `timestamp` is RFC 3339, now unless given; `key` the idempotency key. Raises `GatewayError` where the log
        refuses, `ValueError` for a tenant, a type or an id that no client could name, and for data that is no JSON.
        """
        if problem := event_type_error(type):
            raise ValueError(problem)
        if name := invalid_id(tenant, circle_id, project_id, user_id):
            raise ValueError(f"{name} cannot stand in a room name")
        draft = draft_of(
            type,
            data,
            circle_id=circle_id,
            project_id=project_id,
            user_id=user_id,
            source_agent_id=source_agent_id,
            timestamp=timestamp or rfc3339(self.clock()),
            key=key,
            max_bytes=self.limits.message_bytes,
        )
        return await self.log.append(tenant, draft)

    def draft(self, identity: Identity, event: PublishedEvent) -> tuple[str, Draft]:
        """The tenant and the draft of an event that `identity` publishes. Raises `AuthError`, `GatewayError`."""
        tenant = event.tenant or identity.tenant
        if name := invalid_id(tenant, event.circle_id, event.project_id, event.user_id):
            raise GatewayError(ErrorCode.ROOM_INVALID, f"{name} cannot stand in a room name; {ROOM_GRAMMAR}")
        draft = draft_of(
            event.type,
            event.data,
            circle_id=event.circle_id,
            project_id=event.project_id,
            user_id=event.user_id,
            source_agent_id=event.source_agent_id,
            timestamp=rfc3339(self.clock()),
            key=event.idempotency_key,
            max_bytes=self.limits.message_bytes,
        )
        require_publish(identity, tenant, draft.rooms)
        return tenant, draft

    # ---- what falls due

    def on_reset(self, tenant: str, reason: Gap) -> None:
        """The tenant's log began anew: places in the old one mean nothing, and everybody is told."""
        self._delivery.flush()
        window = self.log.window(tenant)
        for connection in list(self.manager.of(tenant).connections.values()):
            if connection.begun:
                connection.rooms = dict.fromkeys(connection.rooms, window.head)
                skip(connection)
                self.reply(connection, messages.StreamGap(reason=reason, cursor=window.cursor))
                self._run_deferred(connection)

    def on_degraded(self, degraded: bool) -> None:
        """The log does not answer: sockets stay, and their clients are told that what they see may be old."""
        now = self.clock()
        if degraded:
            self._degraded_since = now
        kind = messages.StreamDegraded if degraded else messages.StreamRestored
        for connection in list(self.manager.connections()):
            if connection.begun:
                self.reply(connection, kind(since=rfc3339(self._degraded_since)))

    def _watch_expiry(self, connection: Connection) -> None:
        identity = connection.identity
        lead = min(60.0, (identity.expires_at - identity.issued_at) / 4)
        self._agenda.set(connection, identity.expires_at if connection.expiry_told else identity.expires_at - lead)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self._tick()
            except Exception:
                logger.exception("a look at what is due failed; the next one follows")

    def _tick(self) -> None:
        now, elapsed = self.clock(), self._timer()
        for connection in self._agenda.due(now):
            if connection.identity.expires_at <= now:
                self.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)
            else:
                connection.expiry_told = True
                self.reply(connection, messages.TokenExpiring(expires_at=rfc3339(connection.identity.expires_at)))
                self._watch_expiry(connection)
        self.log.sweep()
        for tenant in [tenant for tenant, since in self._idle.items() if elapsed - since >= IDLE_SECONDS]:
            del self._idle[tenant]
            self.log.release(tenant)
        self._admission.sweep(elapsed)
        self.revocations.sweep(now)

    def close_revoked(self, tenants: Iterable[str]) -> int:
        """Close the connections of these tenants whose tokens are revoked by now; returns how many."""
        revoked = [
            connection
            for tenant in tenants
            for connection in self.manager.of(tenant).connections.values()
            if self.revocations.is_revoked(connection.identity)
        ]
        for connection in revoked:
            self.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_REVOKED)
        return len(revoked)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
