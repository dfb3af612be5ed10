"""The orchestrator: takes what comes in, asks the domain, and sees that what follows from it is written."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

from auth.errors import AuthError, TokenExpired
from auth.identity import Identity, require_publish
from auth.tokens import TokenVerifier
from gateway.cluster.local import LocalCluster
from gateway.core import subscription
from gateway.core.admission import Admission, Limits
from gateway.core.cluster import Cluster, ControlMessage
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection, Transport
from gateway.core.drafts import draft_of
from gateway.core.errors import CursorInvalid, GatewayError
from gateway.core.frame import Batch, Frame
from gateway.core.log import Draft, Log, Receipt, Removal
from gateway.core.manager import ConnectionManager
from gateway.engine.commands import Commands
from gateway.engine.delivery import Delivery
from gateway.engine.drain import Drain
from gateway.engine.log_status import LogStatusNotifier
from gateway.engine.presence import Presence
from gateway.engine.replies import established, farewell, refusal
from gateway.engine.revocation import RevocationService
from gateway.engine.tickets import Tickets
from gateway.engine.token_expiry import TokenExpiry
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import PublishedEvent, event_type_error, invalid_id, rfc3339
from schemas.rooms import ROOM_GRAMMAR, user_room

logger = logging.getLogger("gateway")

TICK: Final = 0.5
"""Seconds between looks at what is due: expired tokens, old entries, unused counters."""

IDLE_SECONDS: Final = 30.0
"""How long the log of a tenant without connections here is followed: somebody may be back soon."""


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
        nodes: Cluster | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self.verifier = verifier
        self.manager = ConnectionManager() if manager is None else manager
        self.nodes = LocalCluster() if nodes is None else nodes
        self.limits = limits or Limits()
        self.authority = RevocationService(self, self.nodes, self.limits.longest_token)
        self._expiry = TokenExpiry(self)
        self.clock = clock
        self._timer = timer
        self._admission = Admission(self.limits.ceilings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._idle: dict[str, float] = {}
        self.presence = Presence(self, self.nodes.members, timer)
        self._commands = Commands(self, self.limits, timer)
        self.delivery = Delivery(
            self.manager, log, timer, self._tell_gap, self._commands.run_deferred, self.authority.remove, self.fail
        )
        self._mishaps = LogStatusNotifier(self, self._commands.run_deferred)
        log.watch(self._mishaps)
        self.drain = Drain(self, timer)
        self.tickets = Tickets(self.nodes, self._knock, self.spawn)

    # ---- life

    async def start(self) -> None:
        """Begin to look after what falls due. Needed once before connections come."""
        if self._ticker is None:
            await self.nodes.start()
            await self.log.start()
            self._ticker = asyncio.create_task(self._tick_forever())

    async def stop(self) -> None:
        """Close every connection (1012) and end the gateway's tasks."""
        for connection in list(self.manager.connections()):
            self.close(connection, CloseCode.SERVICE_RESTART, "restart")
        tasks = [*self._tasks, *([self._ticker] if self._ticker else [])]
        self._ticker = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.log.stop()
        await self.nodes.stop()

    @property
    def ready(self) -> bool:
        """Whether events get through and connections are taken."""
        return self._ticker is not None and not self._ticker.done() and self.log.ready and not self.drain.announced

    # ---- the way of a connection

    def connect(self, handshake: ConnectRequest, transport: Transport) -> Connection | None:
        """Let a client in whose handshake was answered, or close its transport with the reason and return None."""
        try:
            connection = self._admit(handshake, transport)
        except (AuthError, GatewayError) as error:
            message, code, reason = farewell(error)
            if message is not None:
                self._tell(transport, message)
            transport.close(code, reason)
            return None
        self.manager.add(connection)
        self._admission.enter(connection)
        self._expiry.watch(connection)
        self._idle.pop(connection.identity.tenant, None)
        try:
            following = self.log.follow(connection.identity.tenant, handshake.since)
            if following is None:
                self._begin(connection, handshake)
            else:
                self.spawn(self._begin_later(following, connection, handshake))
        except Exception:
            self.fail(connection)
        return connection

    def redeem(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        """Turn a handshake's tickets into their token; `connect` then judges it."""
        self.tickets.redeem(handshake, then)

    async def _begin_later(self, following: Awaitable[None], connection: Connection, handshake: ConnectRequest) -> None:
        try:
            await following
            if self.is_open(connection):
                self._begin(connection, handshake)
                self._commands.run_deferred(connection)
        except GatewayError as error:
            self.reply(connection, refusal(error))
            self.close(connection, CloseCode.TRY_AGAIN_LATER, error.code)
        except Exception:
            self.fail(connection)

    def _knock(self, address: str) -> None:
        self.drain.refuse()
        self._admission.knock(address, self._timer())

    def _admit(self, handshake: ConnectRequest, transport: Transport) -> Connection:
        if not handshake.admitted:
            self._knock(handshake.address)
        label = handshake.label()
        identity = self.verify(handshake.token())
        self._admission.check(identity, self.manager.of(identity.tenant))
        return Connection(
            f"con_{secrets.token_urlsafe(12)}",
            identity,
            transport,
            self.clock(),
            handshake.address,
            label,
            self._event_rate(identity),
        )

    def _begin(self, connection: Connection, handshake: ConnectRequest) -> None:
        self.delivery.flush()
        identity = connection.identity
        window = self.log.window(identity.tenant)
        connection.begun = True
        own = user_room(identity.user_id)
        # With a cursor the user's own room is resumed too, even where the other rooms are refused.
        rooms: tuple[str, ...] = () if handshake.since is None else (own,)
        refused: GatewayError | AuthError | None = None
        try:
            asked = handshake.rooms_for(identity)
            subscription.check_rooms(connection, asked, self.limits.rooms)
            rooms += asked
        except (GatewayError, AuthError) as error:
            refused = error
        try:
            if handshake.since is not None:
                window.cursors.decode(handshake.since)
        except CursorInvalid as error:
            refused, rooms = refused or error, ()
        self.manager.join(connection, own, window.head)
        subscribed = tuple(dict.fromkeys((own, *rooms)))
        self.reply(connection, established(connection, window.cursor, subscribed, self.limits))
        self._mishaps.greet(connection)
        if refused is not None:
            self.reply(connection, refusal(refused))
        if rooms or (handshake.rooms and refused is None):  # `*` may stand for no room; it is answered all the same
            self._commands.enter(connection, rooms, handshake.since)

    def refresh(self, connection: Connection, identity: Identity) -> None:
        """The client has shown a fresh token: its grants, rate and expiry count from here on."""
        self.delivery.flush()
        before, connection.identity = connection.identity, identity
        connection.set_rate(self._event_rate(identity))
        # Whoever shows the same token again has been told of its end, or will be.
        if (identity.issued_at, identity.expires_at) != (before.issued_at, before.expires_at):
            self._expiry.watch(connection)
        self.presence.renewed(connection)

    def _event_rate(self, identity: Identity) -> int:
        """Events a second for a connection: the configured rate, or the token's where that is lower; 0 is no limit."""
        return min((rate for rate in (self.limits.events_per_second, identity.rate) if rate), default=0)

    def verify(self, token: str) -> Identity:
        """Who holds this token, as of now. Raises `AuthError`."""
        return self.judge(self.verifier.verify(token, self.clock()))

    def judge(self, identity: Identity) -> Identity:
        """Somebody who was verified a while ago, as of now: what is barred may have grown. Raises `AuthError`."""
        if identity.expires_at <= self.clock():
            raise TokenExpired(identity.expires_at)
        self.authority.revocations.check(identity)
        barred = self.authority.revocations.barred(identity)
        return replace(identity, barred=barred) if barred else identity

    def receive(self, connection: Connection, text: str) -> None:
        """One text frame of a client."""
        self._commands.receive(connection, text)

    def receive_binary(self, connection: Connection) -> None:
        """One binary frame of a client."""
        self._commands.receive_binary(connection)

    def is_open(self, connection: Connection) -> bool:
        """Whether it was not closed: what a client sent before it noticed that counts for nothing."""
        return connection.id in self.manager.of(connection.identity.tenant).connections

    def disconnect(self, connection: Connection) -> None:
        """Undo all that connecting did; nothing where it is undone already."""
        if self.manager.remove(connection):
            self._expiry.forget(connection)
            self._admission.leave(connection)
            if not self.manager.of(connection.identity.tenant).connections:
                self._idle[connection.identity.tenant] = self._timer()

    def close(self, connection: Connection, code: CloseCode, reason: str) -> None:
        """Send a client away: from here on nothing more is written to it."""
        self.disconnect(connection)
        connection.transport.close(code, reason)

    def fail(self, connection: Connection, error: Exception | None = None) -> None:
        """What was done for this connection met an exception that nobody thought of, which is `error` or the one being
        handled: it ends, and no other."""
        logger.error("a connection failed and was closed", exc_info=error or True)
        self.close(connection, CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)

    def drained(self, connection: Connection) -> None:
        """The transport was full and is not any more."""
        self.delivery.drained(connection)

    def _tell_gap(self, connection: Connection) -> None:
        window = self.log.window(connection.identity.tenant)
        cursor = window.cursor if connection.place is None else window.cursors.encode(window.epoch, connection.place)
        self.reply(connection, messages.StreamGap(reason="history_trimmed", cursor=cursor))

    def reply(self, connection: Connection, message: messages.Message, id: str | int | None = None) -> None:
        """Write one of the gateway's own frames, also to who is behind: it has no place in the log."""
        connection.count_reply()
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
        # The first is for speed: asking the abstract class takes longer than encoding a short text.
        if data.__class__ is not dict and not isinstance(data, Mapping):
            raise ValueError("the data of an event is an object")
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
        return await self.append(tenant, draft)

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Give a draft its place, under way from the call on. A removal is also kept for nodes that do not read it."""
        appended = self.log.append(tenant, draft)
        return appended if draft.removal is None else self._append_removal(appended, tenant, draft.removal)

    async def _append_removal(self, appended: Awaitable[Receipt], tenant: str, removal: Removal) -> Receipt:
        receipt = await appended
        now = self.clock()
        user_id, room = removal
        await self.authority.tell(
            ControlMessage("room_barred", tenant, user_id, now, now + self.limits.longest_token, room)
        )
        return receipt

    def draft(self, identity: Identity, event: PublishedEvent) -> tuple[str, Draft]:
        """The tenant and the draft of an event that `identity` publishes. Raises `AuthError`, `GatewayError`."""
        tenant = identity.tenant if event.tenant is None else event.tenant
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
            finite=True,
        )
        require_publish(identity, tenant, draft.rooms)
        return tenant, draft

    # ---- what falls due

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self._tick()
            except Exception:
                logger.exception("a look at what is due failed; the next one follows")

    def _tick(self) -> None:
        now, elapsed = self.clock(), self._timer()
        self._expiry.look(now)
        self.log.sweep()
        for tenant in [tenant for tenant, since in self._idle.items() if elapsed - since >= IDLE_SECONDS]:
            del self._idle[tenant]
            self.log.release(tenant)
        self._admission.sweep(elapsed)
        self.authority.revocations.sweep(now)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
