"""Commands of clients: rate-limited, run or queued, and answered."""

import logging
from collections.abc import Awaitable
from typing import Final

from auth.errors import AuthError
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError, RateLimited
from gateway.core.log import Draft
from gateway.core.rate_limit import RateLimiter
from gateway.engine.connections import Connections
from gateway.engine.ingest import parsing_cost
from gateway.engine.marks import Marks
from gateway.engine.presence import PresenceService
from gateway.engine.publishing import Publishing
from gateway.engine.replies import error_reply
from gateway.engine.subscriptions import Subscriptions
from gateway.engine.tasks import TaskSet
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.commands import (
    AnyCommand,
    Auth,
    CommandError,
    CommandParser,
    Ping,
    PresenceCommand,
    Publish,
    Subscribe,
    Unsubscribe,
)

COMMAND_COST: Final = 20
"""Microseconds of a short command and its reply."""

logger = logging.getLogger("gateway")


class Commands:
    """Receives the frames of clients. Commands wait, in order, for the connection's first frame; those that change
    rooms also wait for the end of a replay, and for the log where their cursor is ahead of this node."""

    def __init__(
        self,
        connections: Connections,
        subscriptions: Subscriptions,
        presence: PresenceService,
        publishing: Publishing,
        marks: Marks,
        tasks: TaskSet,
    ) -> None:
        self._connections = connections
        self._subscriptions = subscriptions
        self._presence = presence
        self._publishing = publishing
        self._publish_counts = publishing.counts["websocket"]
        self._parser = CommandParser(connections.kinds)
        self._marks = marks
        self._tasks = tasks
        limits = self._limits = connections.limits
        self._command_rate = connections.command_rate
        # A refusal costs CPU too: a client that goes on at twice its rate is closed.
        self._refusal_rate = RateLimiter(limits.commands_per_second, 2 * limits.command_burst)
        # Connections whose first queued command is being prepared; an entry lives as long as its task.
        self._preparing: set[Connection] = set()

    def receive(self, connection: Connection, text: str) -> None:
        """Run the command of a text frame, or answer with the error."""
        if not self._connections.is_open(connection):
            return
        connection.received += 1
        if len(text) > self._limits.message_bytes or len(text.encode()) > self._limits.message_bytes:
            self._connections.close(connection, CloseCode.MESSAGE_TOO_BIG, ErrorCode.MESSAGE_TOO_LARGE)
            return
        # It cannot wait for a turn: the commands of a connection, and its pings, are in order.
        self._connections.shares.debit(connection.identity.tenant, COMMAND_COST + parsing_cost(len(text)))
        try:
            command = self._parser.parse(text)
        except CommandError as error:
            if self._within_rate(connection, error.id):
                self._malformed(connection, error)
            return
        connection.malformed_streak = 0
        if self._within_rate(connection, command.id):
            self._run(connection, command)

    def receive_binary(self, connection: Connection) -> None:
        """Answer a binary frame with an error: the protocol has none."""
        if not self._connections.is_open(connection):
            return
        connection.received += 1
        if self._within_rate(connection, None):
            self._malformed(connection, CommandError(ErrorCode.BAD_MESSAGE, "a command is a text frame"))

    def _malformed(self, connection: Connection, error: CommandError) -> None:
        log_events.command_refused(connection, error)
        self._connections.reply(connection, messages.Error(code=error.code, message=str(error)), error.id)
        connection.malformed_streak += 1
        if connection.malformed_streak >= self._limits.malformed:
            self._connections.close(connection, CloseCode.MALFORMED, ErrorCode.BAD_MESSAGE)

    def _within_rate(self, connection: Connection, id: str | int | None) -> bool:
        now = self._connections.timer()
        connection.command_bucket_full_at, wait = self._command_rate.acquire(connection.command_bucket_full_at, now)
        if not wait:
            return True
        limit = self._command_rate.per_second
        limited = RateLimited(f"at most {limit:g} commands a second", wait, limit)
        self._refuse(connection, limited, id)
        connection.refusal_bucket_full_at, over = self._refusal_rate.acquire(connection.refusal_bucket_full_at, now)
        if over:
            self._connections.close(connection, CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED)
        return False

    def _refuse(self, connection: Connection, error: GatewayError | AuthError, id: str | int | None) -> None:
        log_events.command_refused(connection, error)
        self._connections.reply(connection, error_reply(error), id)

    # ---- pending commands

    def _run(self, connection: Connection, command: AnyCommand) -> None:
        # One replay at a time, or an event of two rooms might come twice or not at all.
        waiting = bool(connection.pending_commands) or connection.replay is not None
        if not connection.established or (waiting and isinstance(command, Subscribe | Unsubscribe)):
            if len(connection.pending_commands) < self._limits.pending_commands:
                connection.pending_commands = (*connection.pending_commands, command)
            else:
                full = RateLimited(
                    "too many commands wait for a replay; read its events first", 1.0, self._limits.pending_commands
                )
                self._refuse(connection, full, command.id)
        elif (preparing := self._prepare(connection, command)) is not None:
            connection.pending_commands = (command,)
            self._run_later(connection, preparing)
        else:
            self._execute(connection, command)

    def run_pending(self, connection: Connection) -> None:
        """Run the queued commands, up to one that has to wait, and write the mark that is due if nothing else is owed
        then. Never raises: the caller's work is unrelated."""
        try:
            while connection.pending_commands and connection.replay is None and connection not in self._preparing:
                preparing = self._prepare(connection, connection.pending_commands[0])
                if preparing is None:
                    self._execute(connection, self._take_pending(connection))
                else:
                    self._run_later(connection, preparing)
            self._marks.send_owed(connection)
        except Exception as error:
            self._connections.fail(connection, error)

    def _take_pending(self, connection: Connection) -> AnyCommand:
        command, *rest = connection.pending_commands
        connection.pending_commands = tuple(rest)
        return command

    def _prepare(self, connection: Connection, command: AnyCommand) -> Awaitable[None] | None:
        """An awaitable that must complete before the command: the log read of its cursor, the application's answer."""
        return self._subscriptions.prepare(connection, command) if isinstance(command, Subscribe) else None

    def _run_later(self, connection: Connection, preparing: Awaitable[None]) -> None:
        self._preparing.add(connection)
        self._tasks.spawn(self._run_after(preparing, connection))

    async def _run_after(self, preparing: Awaitable[None], connection: Connection) -> None:
        """Run the first queued command once it is prepared, or answer with the error."""
        refused: GatewayError | AuthError | None = None
        try:
            await preparing
        except (GatewayError, AuthError) as error:
            refused = error
        except Exception as error:
            self._connections.fail(connection, error)
        finally:
            self._preparing.discard(connection)
        if not self._connections.is_open(connection):
            return
        command = self._take_pending(connection)
        try:
            if refused is None:
                self._execute(connection, command)
            else:
                self._refuse(connection, refused, command.id)
        except Exception as error:
            self._connections.fail(connection, error)
        self.run_pending(connection)

    # ---- commands

    def _execute(self, connection: Connection, command: AnyCommand) -> None:
        try:
            if isinstance(command, Subscribe | Unsubscribe):
                self._subscriptions.change_rooms(connection, command)
            elif isinstance(command, Ping):
                self._connections.reply(connection, self._marks.pong(connection), command.id)
            elif isinstance(command, Auth):
                self._subscriptions.renew(connection, command)
            elif isinstance(command, PresenceCommand):
                self._presence.answer(connection, command)
                size = self._presence.estimated_size(connection.identity.tenant, command.room)
                self._connections.charge(connection, size)
            else:
                self._publish(connection, command)
        except (GatewayError, AuthError) as error:
            self._refuse(connection, error, command.id)

    def _publish(self, connection: Connection, command: Publish) -> None:
        try:
            tenant, draft = self._publishing.draft(connection.identity, command.event)
        except (AuthError, GatewayError):
            self._publish_counts.refused += 1
            raise
        self._tasks.spawn(self._publish_and_reply(connection, tenant, draft, command.id))

    async def _publish_and_reply(self, connection: Connection, tenant: str, draft: Draft, id: str | int | None) -> None:
        try:
            receipt = await self._publishing.append(tenant, draft)
        except GatewayError as error:
            self._publish_counts.refused += 1
            self._refuse(connection, error, id)
        except Exception:
            # Without a reply the publisher would not know whether to retry.
            logger.exception("publishing an event failed")
            failed = messages.Error(
                code=ErrorCode.INTERNAL_ERROR, message="internal error; the event may not have been published"
            )
            self._connections.reply(connection, failed, id)
        else:
            self._publish_counts.add(receipt)
            published = messages.Published(event_id=receipt.event_id, duplicate=receipt.duplicate)
            self._connections.reply(connection, published, id)
