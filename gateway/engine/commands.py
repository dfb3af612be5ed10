"""What a client's commands do: each is judged by its rate, run, and answered."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from auth.errors import AuthError, TokenMismatch
from auth.identity import Identity
from gateway.core import subscription
from gateway.core.admission import Limits
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError, RateLimited
from gateway.core.log import Draft, Receipt
from gateway.core.rate_limit import RateLimiter
from gateway.engine.house import House
from gateway.engine.presence import Presence
from gateway.engine.replies import refusal
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.commands import AnyCommand, Auth, CommandError, Ping, Publish, Subscribe, Unsubscribe, parse_command
from schemas.commands import Presence as PresenceCommand
from schemas.events import PublishedEvent, rfc3339

logger = logging.getLogger("gateway")


class Orchestrator(House, Protocol):
    """What commands need besides."""

    presence: Presence

    def verify(self, token: str) -> Identity: ...

    def draft(self, identity: Identity, event: PublishedEvent) -> tuple[str, Draft]: ...

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]: ...

    def refresh(self, connection: Connection, identity: Identity) -> None: ...


class Commands:
    """The clients' side of `gateway`. `timer` is seconds of a clock that never goes back."""

    def __init__(self, gateway: Orchestrator, limits: Limits, timer: Callable[[], float]) -> None:
        self._gateway = gateway
        self._limits = limits
        self._timer = timer
        # Those whose next command waits until the log was read up to its cursor.
        self._reading: set[Connection] = set()
        self._command_rate = RateLimiter(limits.commands_per_second, limits.command_burst)
        # Refusals are cheap but not free: who goes on at twice its rate is sent away.
        self._refusal_rate = RateLimiter(limits.commands_per_second, 2 * limits.command_burst)

    def receive(self, connection: Connection, text: str) -> None:
        """One text frame of a client: run it, or answer why not."""
        if not self._gateway.is_open(connection):
            return
        connection.received += 1
        if len(text) > self._limits.message_bytes or len(text.encode()) > self._limits.message_bytes:
            self._gateway.close(connection, CloseCode.MESSAGE_TOO_BIG, ErrorCode.MESSAGE_TOO_LARGE)
            return
        try:
            command = parse_command(text)
        except CommandError as error:
            if self._within_rate(connection, error.id):
                self._malformed(connection, error)
            return
        connection.malformed = 0
        if self._within_rate(connection, command.id):
            self.run(connection, command)

    def receive_binary(self, connection: Connection) -> None:
        """The protocol has no binary frames."""
        if not self._gateway.is_open(connection):
            return
        connection.received += 1
        if self._within_rate(connection, None):
            self._malformed(connection, CommandError(ErrorCode.BAD_MESSAGE, "a command is a text frame"))

    def _malformed(self, connection: Connection, error: CommandError) -> None:
        self._gateway.reply(connection, messages.Error(code=error.code, message=str(error)), error.id)
        connection.malformed += 1
        if connection.malformed >= self._limits.malformed:
            self._gateway.close(connection, CloseCode.MALFORMED, ErrorCode.BAD_MESSAGE)

    def _within_rate(self, connection: Connection, id: str | int | None) -> bool:
        now = self._timer()
        connection.commands_due, wait = self._command_rate.take(connection.commands_due, now)
        if not wait:
            return True
        limit = self._command_rate.per_second
        self._gateway.reply(connection, refusal(RateLimited(f"at most {limit:g} commands a second", wait, limit)), id)
        connection.refusals_due, over = self._refusal_rate.take(connection.refusals_due, now)
        if over:
            self._gateway.close(connection, CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED)
        return False

    def _charge(self, connection: Connection, items: int) -> None:
        """Count what a command went through, members or entries of the log, against the rate: 1,000, which cost about
        a millisecond, as one command more."""
        connection.commands_due = self._command_rate.charge(connection.commands_due, self._timer(), items / 1_000)

    def run(self, connection: Connection, command: AnyCommand) -> None:
        # One replay at a time, or an event of two rooms might come twice or not at all.
        changes_rooms = isinstance(command, Subscribe | Unsubscribe)
        if not connection.begun or (changes_rooms and (connection.deferred or self._is_resuming(connection))):
            if len(connection.deferred) < self._limits.deferred:
                connection.deferred = (*connection.deferred, command)
            else:
                full = RateLimited("read the replayed events first", 1.0, self._limits.deferred)
                self._gateway.reply(connection, refusal(full), command.id)
        else:
            self._start(connection, command)

    def _is_resuming(self, connection: Connection) -> bool:
        """Whether a replay of the connection's is under way, or about to begin once the log was read."""
        return connection.replay is not None or connection in self._reading

    def _start(self, connection: Connection, command: AnyCommand) -> None:
        if isinstance(command, Subscribe) and command.since is not None:
            following = self._gateway.log.follow(connection.identity.tenant, command.since)
            if following is not None:
                # Another node gave out this cursor before the channel told this one of the place.
                self._reading.add(connection)
                self._gateway.spawn(self._resume_later(following, connection, command))
                return
        self._execute(connection, command)

    async def _resume_later(self, following: Awaitable[None], connection: Connection, command: Subscribe) -> None:
        refused: GatewayError | None = None
        try:
            await following
        except GatewayError as error:
            refused = error
        except Exception:
            self._gateway.fail(connection)
        finally:
            self._reading.discard(connection)
        if not self._gateway.is_open(connection):
            return
        try:
            if refused is not None:
                self._gateway.reply(connection, refusal(refused), command.id)
            else:
                self._execute(connection, command)
        except Exception:
            # Nobody above knows whose command it was.
            self._gateway.fail(connection)
        else:
            self.run_deferred(connection)

    def run_deferred(self, connection: Connection) -> None:
        while connection.deferred and not self._is_resuming(connection):
            command, *rest = connection.deferred
            connection.deferred = tuple(rest)
            try:
                self._start(connection, command)
            except Exception:
                # As above.
                self._gateway.fail(connection)
                return

    def _execute(self, connection: Connection, command: AnyCommand) -> None:
        try:
            if isinstance(command, Subscribe | Unsubscribe):
                self._change_rooms(connection, command)
            elif isinstance(command, Ping):
                self._gateway.reply(connection, messages.Pong(), command.id)
            elif isinstance(command, Auth):
                self._refresh(connection, command)
            elif isinstance(command, PresenceCommand):
                self._gateway.presence.run(connection, command)
                self._charge(connection, self._gateway.presence.size(connection.identity.tenant, command.room))
            else:
                self._publish_for(connection, command)
        except (GatewayError, AuthError) as error:
            self._gateway.reply(connection, refusal(error), command.id)

    def _change_rooms(self, connection: Connection, command: Subscribe | Unsubscribe) -> None:
        self._gateway.delivery.flush()
        if isinstance(command, Unsubscribe):
            left = subscription.unsubscribe(self._gateway.manager, connection, command.rooms)
            self._gateway.reply(connection, left, command.id)
            return
        subscription.check_rooms(connection, command.rooms, self._limits.rooms)
        self.enter(connection, command.rooms, command.since, command.history, command.presence, command.id)

    def enter(
        self,
        connection: Connection,
        rooms: Sequence[str],
        since: str | None,
        history: int = 0,
        presence: bool | None = None,
        id: str | int | None = None,
    ) -> None:
        """Put a connection into rooms that it may follow, and answer as to the command `subscribe`: nothing may be
        pending. Raises `CursorInvalid`."""
        window = self._gateway.log.window(connection.identity.tenant)
        was_live = connection.live
        answer, examined = subscription.subscribe(self._gateway.manager, window, connection, rooms, since, history)
        self._charge(connection, examined)
        if presence:
            self._gateway.presence.watch(connection, answer.rooms)
        elif presence is False:
            self._gateway.presence.unwatch(connection, answer.rooms)
        self._gateway.reply(connection, answer, id)
        if was_live and not connection.live:  # else it waits for its transport or its next turn already
            self._gateway.delivery.catch_up(connection)

    def _refresh(self, connection: Connection, command: Auth) -> None:
        identity = self._gateway.verify(command.token)
        if (identity.user_id, identity.tenant) != (connection.identity.user_id, connection.identity.tenant):
            raise TokenMismatch
        self._gateway.refresh(connection, identity)
        dropped = subscription.drop_ungranted(self._gateway.manager, connection)
        answer = messages.Authenticated(
            expires_at=rfc3339(identity.expires_at), rooms=identity.grants.patterns, dropped=dropped
        )
        self._gateway.reply(connection, answer, command.id)

    def _publish_for(self, connection: Connection, command: Publish) -> None:
        tenant, draft = self._gateway.draft(connection.identity, command.event)
        self._gateway.spawn(self._publish_and_reply(connection, tenant, draft, command.id))

    async def _publish_and_reply(self, connection: Connection, tenant: str, draft: Draft, id: str | int | None) -> None:
        try:
            receipt = await self._gateway.append(tenant, draft)
        except GatewayError as error:
            self._gateway.reply(connection, refusal(error), id)
        except Exception:
            # Without an answer the publisher would wait for ever, and not know whether to try again.
            logger.exception("an event could not be published")
            failed = messages.Error(code=ErrorCode.INTERNAL_ERROR, message="the gateway failed on this event")
            self._gateway.reply(connection, failed, id)
        else:
            self._gateway.reply(
                connection, messages.Published(event_id=receipt.event_id, duplicate=receipt.duplicate), id
            )
