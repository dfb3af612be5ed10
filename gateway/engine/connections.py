"""The open connections of this node: the only module that opens and closes them."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from math import ceil
from typing import Final

from auth.errors import AuthError, TokenExpired
from auth.identity import Identity
from auth.tokens import TokenVerifier
from gateway.core.admission import Admission, Limits
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.contract import Contract
from gateway.core.errors import GatewayError
from gateway.core.frame import Batch
from gateway.core.manager import ConnectionManager
from gateway.core.rate_limit import RateLimiter
from gateway.core.revocations import Revocations
from gateway.core.timer_wheel import TimerWheel
from gateway.core.transport import Transport
from gateway.engine.fair_share import FairShare
from gateway.engine.replies import frame_of, rejection
from gateway.telemetry import counts, log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339

logger = logging.getLogger("gateway")

WARNING_LEAD: Final = 60.0
"""Seconds before a token's expiry at which its client is warned; at most a quarter of the token's lifetime."""


class Connections:
    """Opens connections, writes the gateway's own frames to them, and closes them. Independent of the log and of rooms.

    `clock` is seconds since the epoch (tokens, timestamps), `timer` seconds of a monotonic clock (rates). `expirations`
    has the next check of each connection's token.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        revocations: Revocations,
        limits: Limits,
        clock: Callable[[], float],
        timer: Callable[[], float],
        contract: Contract | None = None,
    ) -> None:
        self.contract = contract
        self.manager = ConnectionManager()
        self.revocations = revocations
        self.expirations: TimerWheel[Connection] = TimerWheel()
        self.limits = limits
        self.clock = clock
        self.timer = timer
        self.command_rate = RateLimiter(limits.commands_per_second, limits.command_burst)
        self.verifier = verifier
        self.kinds = verifier.kinds
        self.admission = Admission(limits.connections, limits.tenants)
        self.shares = FairShare(timer, limits.tenants)
        self._idle_since: dict[str, float] = {}

    # ---- open

    def check_address(self, address: str) -> None:
        """Raise `ConnectionRefused` for an address over its handshake rate or its limit of connections."""
        self.admission.check_address(address, self.timer())

    def open(self, request: ConnectRequest, transport: Transport) -> Connection:
        """Authenticate, admit and index a client. Raises `AuthError` and `GatewayError`."""
        if not request.admitted:
            self.check_address(request.address)
        if request.failure is not None:
            raise request.failure
        label = request.label()
        identity = self.verify(request.token()) if request.identity is None else self.revalidate(request.identity)
        self.admission.check(identity, self.manager.of(identity.tenant))
        connection = Connection(
            f"con_{secrets.token_urlsafe(12)}",
            identity,
            transport,
            self.clock(),
            request.address,
            label,
            self._event_rate(identity),
        )
        self.admission.acquire(connection)
        self._schedule_expiry(connection)
        self._idle_since.pop(identity.tenant, None)
        self.manager.add(connection)
        self.manager.of(identity.tenant).connection_seconds -= self.timer()
        return connection

    def verify(self, token: str) -> Identity:
        """The identity of a token, as of now. Raises `AuthError`."""
        return self.revalidate(self.verifier.verify(token, self.clock()))

    def revalidate(self, identity: Identity) -> Identity:
        """Check a verified identity again for expiry and revocations. Raises `AuthError`."""
        now = self.clock()
        try:
            if identity.expires_at <= now:
                raise TokenExpired(identity.expires_at)
            self.revocations.check(identity, now)
        except AuthError as error:
            error.holder = (identity.tenant, identity.user_id)
            raise
        revoked_rooms = self.revocations.revoked_rooms(identity, now)
        return replace(identity, revoked_rooms=revoked_rooms) if revoked_rooms else identity

    def refresh(self, connection: Connection, identity: Identity) -> None:
        """Replace a connection's identity by that of a fresh token of the same user, with its rate and expiry."""
        before, connection.identity = connection.identity, identity
        connection.set_rate(self._event_rate(identity))
        # The expiry of the same token is scheduled already.
        if (identity.issued_at, identity.expires_at) != (before.issued_at, before.expires_at):
            self._schedule_expiry(connection)

    def _event_rate(self, identity: Identity) -> int:
        """The event rate of a connection: the lower of the configured rate and the token's; 0 is no limit."""
        return min((rate for rate in (self.limits.events_per_second, identity.rate) if rate), default=0)

    def _schedule_expiry(self, connection: Connection) -> None:
        identity = connection.identity
        # At least a second, the resolution of the timer wheel.
        lead = ceil(min(WARNING_LEAD, (identity.expires_at - identity.issued_at) / 4))
        self.expirations.set(connection, identity.expires_at - lead)

    # ---- replies and rates

    def is_open(self, connection: Connection) -> bool:
        """Whether the connection is not closed: frames that a client sent before it saw the close are ignored."""
        return connection.id in self.manager.of(connection.identity.tenant).connections

    def charge(self, connection: Connection, items: int) -> None:
        """Charge the command rate and the event loop's budget for examined members or log entries: 1,000, about half a
        millisecond, count as one command."""
        self.shares.charge(items // 2)
        connection.command_bucket_full_at = self.command_rate.charge(
            connection.command_bucket_full_at, self.timer(), items / 1_000
        )

    def reply(self, connection: Connection, message: messages.Message, id: str | int | None = None) -> None:
        """Write one of the gateway's own frames, also to a connection that is behind: it has no position in the log."""
        connection.count_reply()
        self._write(connection.transport, message, id)

    def _write(self, transport: Transport, message: messages.Message, id: str | int | None = None) -> None:
        transport.write(Batch((frame_of(message, rfc3339(self.clock()), id),)))

    # ---- close

    def reject(self, request: ConnectRequest, transport: Transport, error: AuthError | GatewayError) -> None:
        """Close the transport of a client that was not admitted, with the reason."""
        message, code, reason = rejection(error)
        log_events.connection_refused(request.address, error, code)
        if message is not None:
            self._write(transport, message)
        transport.close(code, reason)

    def close(self, connection: Connection, code: CloseCode, reason: str) -> None:
        """Close a connection: nothing more is written to it. No-op where it is closed."""
        if not self.is_open(connection):
            return
        if code is CloseCode.SERVICE_RESTART:  # of all connections at a shutdown
            counts.count_close(code)
        else:
            log_events.connection_closed(connection, code, reason)
        self._close(connection, code, reason)

    def _close(self, connection: Connection, code: CloseCode, reason: str) -> None:
        connection.note_close(code, reason)
        try:
            self.remove(connection)
        finally:
            connection.transport.close(code, reason)

    def close_all(self, code: CloseCode, reason: str) -> None:
        for connection in list(self.manager.connections()):
            self.close(connection, code, reason)

    def fail(self, connection: Connection, error: Exception) -> None:
        """Close one connection after an unexpected exception (1011). Never raises."""
        log_events.connection_failed(connection, error)
        try:
            self._close(connection, CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)
        except Exception:
            logger.exception("closing a failed connection failed as well")

    def remove(self, connection: Connection) -> None:
        """Undo what opening did; idempotent. A step that fails prevents none of the others: the
        connection must not stay in an index."""
        if self.detach(connection):
            try:
                self.admission.release(connection)
            finally:
                self.forget(connection)

    def detach(self, connection: Connection) -> bool:
        """Count a connection as closed, False where it is. `admission.release` and `forget` must follow."""
        tenant = connection.identity.tenant
        index, now = self.manager.of(tenant), self.timer()
        if not self.manager.detach(connection):
            return False
        index.connection_seconds += now
        if not index.connections:
            self._idle_since[tenant] = now
        return True

    def forget(self, connection: Connection) -> None:
        """Remove a detached connection from all indexes."""
        try:
            self.expirations.forget(connection)
        finally:
            self.manager.forget(connection)

    # ---- sweeps

    def keep_followed(self, tenant: str) -> None:
        """Count a tenant without connections as one that has just become idle: its log is being read."""
        if not self.manager.of(tenant).connections:
            self._idle_since.pop(tenant, None)
            self._idle_since[tenant] = self.timer()

    def take_idle(self, seconds: float) -> list[str]:
        """The tenants without a connection for `seconds`, each once."""
        latest = self.timer() - seconds
        # In the order of becoming idle, so the scan stops at the first that is not due.
        idle = [tenant for tenant, _ in takewhile(lambda item: item[1] <= latest, self._idle_since.items())]
        for tenant in idle:
            del self._idle_since[tenant]
        return idle

    def sweep(self) -> None:
        """Drop expired rate limiters of addresses."""
        self.admission.sweep(self.timer())
