"""Structured log events: one line for each refusal, forced close and gap, and the audit trail of administrators.

Plain `logging` records below the logger `gateway`. The message is a summary and `key=value` fields; the fields are also
attributes of the record (`event`, `connection_id`, `tenant`, `user_id`, `address`, `reason`, `detail`, `code`, …), for
the formatters of other applications. No field holds a credential or an event's data; in the message, control characters
are escaped.

Lines that a client can cause are limited by event, reason and code (`LineLimiter`), and `report_suppressed` writes how
many were left out. Audit lines are never suppressed: the routes behind them are limited by principal.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from auth.errors import AuthError, TokenInvalid
from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.contract import Violations
from gateway.core.errors import GatewayError
from gateway.core.headers import Headers
from gateway.telemetry import counts
from gateway.telemetry.line_rate import LineLimiter
from gateway.telemetry.redaction import redacted
from schemas.codes import CloseCode, ErrorCode

MAX_VALUE: Final = 200
"""Characters of one field; a request line has up to 64 kB."""

REPORT_INTERVAL: Final = 10.0
"""Seconds between two reports of suppressed lines."""

limiter: LineLimiter[tuple[Any, ...]] = LineLimiter()
"""The limiter of this process; loggers are global too."""

_PROTOCOL_ERRORS: Final = (1002, 1003, 1007)
"""Close codes of protocol errors (RFC 6455 section 7.4.1)."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:@/+|*,\[\]-]+")

_connections: Final = logging.getLogger("gateway.connection")
_requests: Final = logging.getLogger("gateway.request")
_application: Final = logging.getLogger("gateway.application")
_canary: Final = logging.getLogger("gateway.canary")
_contract: Final = logging.getLogger("gateway.contract")
_audit: Final = logging.getLogger("gateway.audit")
_telemetry: Final = logging.getLogger("gateway.telemetry")


class Refusal(Protocol):
    """A refusal of a client: an `AuthError`, a `GatewayError`, a `CommandError` or a mistake in a request. Its text has
    no secret and none of an event's data. `holder` is the tenant and the user id of a token that was valid once."""

    @property
    def code(self) -> ErrorCode: ...

    @property
    def holder(self) -> tuple[str, str] | None: ...


class EventText:
    """The message of a record: a summary and its fields as `key=value`."""

    __slots__ = ("fields", "summary")

    def __init__(self, summary: str, fields: Mapping[str, Any]) -> None:
        self.summary = summary
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.summary, *(f"{name}={_quoted(value)}" for name, value in self.fields.items())])


# ---- refusals


def handshake_refused(address: str, status: int, reason: str, **more: str | None) -> None:
    """The event of a handshake that was answered with an HTTP error."""
    counts.refused_connects[reason] += 1
    if _permitted(_connections, logging.INFO, "connection.refused", reason, status):
        fields = {"address": address, "reason": reason, **more, "code": status}
        _write(_connections, logging.INFO, "connection.refused", "connection refused", fields)


def origin_refused(address: str, headers: Headers) -> None:
    """The event of a handshake from another origin: its `Origin`, and the `Host` that it is compared with."""
    origin, host = (b", ".join(headers.get(name, ())).decode("latin-1") for name in (b"origin", b"host"))
    handshake_refused(address, 403, "origin", origin=origin, host=host)


def connection_refused(address: str, error: AuthError | GatewayError, code: int) -> None:
    """The event of a client that was not admitted, and closed with `code`."""
    counts.refused_connects[error.code] += 1
    counts.refusals[error.code] += 1
    if _permitted(_connections, logging.INFO, "connection.refused", error.code, code):
        fields = {**_holder(error), "address": address, **_of_error(error), "code": code}
        _write(_connections, logging.INFO, "connection.refused", "connection refused", fields)


def request_refused(
    address: str, method: str, path: str, refusal: Refusal, status: int, identity: Identity | None
) -> None:
    """The event of an HTTP request that was refused. `path` is that of the route, or the request's where no route has
    it."""
    counts.refusals[refusal.code] += 1
    if _is_written(refusal) and _permitted(_requests, logging.INFO, "request.refused", refusal.code):
        holder = {} if identity is None else {"tenant": identity.tenant, "user_id": identity.user_id}
        why = {"address": address, **_of_error(refusal), "code": status, "method": method, "path": path}
        _write(_requests, logging.INFO, "request.refused", "request refused", {**(holder or _holder(refusal)), **why})


def command_refused(connection: Connection, refusal: Refusal) -> None:
    """The event of a command that was refused."""
    counts.refusals[refusal.code] += 1
    if _is_written(refusal) and _permitted(_connections, logging.INFO, "command.refused", refusal.code):
        fields = {**_of(connection), **_of_error(refusal)}
        _write(_connections, logging.INFO, "command.refused", "command refused", fields)


def contract_violated(violations: Violations, mode: str) -> None:
    """The event of events of one type that the contract refuses, or would with `mode` enforce. The refused value is
    left out: it is an event's data."""
    if _permitted(_contract, logging.WARNING, "contract.violated", mode):
        first = violations.first
        found = {"pointer": first.mismatch.pointer, "expected": first.mismatch.expected, "count": violations.count}
        fields = {"type": first.event_type, "version": first.version, **found, "mode": mode}
        _write(_contract, logging.WARNING, "contract.violated", "events violate the contract", fields)


def http_connection_ended(address: str, reason: str, status: int | None = None, detail: str | None = None) -> None:
    """The event of an HTTP connection that the server ended: for a malformed or late request, or an unread answer.
    `status` is that of the answer, None where none was sent."""
    if _permitted(_connections, logging.INFO, "http.ended", reason, status):
        fields = {"address": address, "reason": reason, "detail": detail, "code": status}
        _write(_connections, logging.INFO, "http.ended", "HTTP connection ended", fields)


def application_failed(function: str, error: Exception) -> None:
    """The event of an application function that raised or timed out (TimeoutError)."""
    if _permitted(_application, logging.ERROR, "application.failed", function, type(error)):
        _write(_application, logging.ERROR, "application.failed", "application failed", {"function": function}, error)


# ---- connections


def connection_closed(connection: Connection, code: int | None, reason: str) -> None:
    """The event of a connection that the gateway closed: for its behaviour, its token, or by an administrator. `code`
    is the close code, None where none was sent. Protocol errors are bugs of a client: DEBUG."""
    counts.count_close(code)
    level = logging.DEBUG if code in _PROTOCOL_ERRORS else logging.INFO
    if _permitted(_connections, level, "connection.closed", reason, code):
        fields = {**_of(connection), "reason": reason, "code": code}
        _write(_connections, level, "connection.closed", "connection closed", fields)


def connection_failed(connection: Connection, error: Exception) -> None:
    """The event of a connection that was closed after an unexpected exception."""
    counts.count_close(CloseCode.INTERNAL_ERROR)
    if _permitted(_connections, logging.ERROR, "connection.failed", type(error)):
        fields = {**_of(connection), "reason": ErrorCode.INTERNAL_ERROR, "code": CloseCode.INTERNAL_ERROR}
        _write(_connections, logging.ERROR, "connection.failed", "connection failed", fields, error)


def subscription_revoked(connection: Connection, room: str, reason: str) -> None:
    """The event of a room that was revoked from a connection."""
    if _permitted(_connections, logging.INFO, "subscription.revoked"):
        fields = {**_of(connection), "reason": reason, "room": room}
        _write(_connections, logging.INFO, "subscription.revoked", "subscription revoked", fields)


def stream_gap(connection: Connection, reason: str) -> None:
    """The event of a gap: the client was notified that events are missing."""
    counts.gaps[reason] += 1
    if _permitted(_connections, logging.WARNING, "stream.gap", reason):
        _write(_connections, logging.WARNING, "stream.gap", "events lost", {**_of(connection), "reason": reason})


# ---- the isolation canary


def canary_found(tenant: str, result: str, detail: str, failed: bool) -> None:
    """The event of a check of the isolation canary that was not well: ERROR where it failed, WARNING where it could
    not be made."""
    level = logging.ERROR if failed else logging.WARNING
    if _permitted(_canary, level, "canary.found", result):
        fields = {"tenant": tenant, "result": result, "detail": detail}
        _write(_canary, level, "canary.found", "isolation canary", fields)


def canary_recovered() -> None:
    """The event of checks that are well again."""
    _write(_canary, logging.INFO, "canary.recovered", "isolation canary is well again", {})


# ---- the audit trail


def audited(event: str, summary: str, principal: Identity, address: str, **target: Any) -> dict[str, Any]:
    """The audit line of an administrator's action on `target`; returns its fields as written."""
    by = {"by_user_id": principal.user_id, "by_tenant": principal.tenant, "by_jti": principal.token_id}
    return _write(_audit, logging.INFO, event, summary, {**by, "address": address, **target})


def revocation_widened(tenant: str | None, user_id: str | None) -> None:
    """The event of a widened revocation: so many entries of a user or a tenant that all its tokens were revoked
    instead."""
    if _permitted(_audit, logging.WARNING, "revocation.widened"):
        reason = "user_removals" if user_id else "tenant_revocations"
        fields = {"tenant": tenant, "user_id": user_id, "reason": reason}
        _write(_audit, logging.WARNING, "revocation.widened", "all tokens revoked in place of too many", fields)


def report_suppressed(interval: float = REPORT_INTERVAL) -> None:
    """Write how many lines of each kind were suppressed, unless the last report was less than `interval` seconds
    ago."""
    for kind, count in limiter.take_suppressed(interval).items():
        fields = {"kind": " ".join(_word(part) for part in kind if part is not None), "count": count}
        _write(_telemetry, logging.WARNING, "log.suppressed", "log lines suppressed", fields)


def _of(connection: Connection) -> dict[str, Any]:
    identity = connection.identity
    who = {"connection_id": connection.id, "tenant": identity.tenant, "user_id": identity.user_id}
    return {**who, "address": connection.address}


def _is_written(refusal: Refusal) -> bool:
    """Whether the refusal has a line here: a violation of the contract has its own, and its text quotes the data."""
    return refusal.code != ErrorCode.CONTRACT_VIOLATION


def _holder(refusal: Refusal) -> dict[str, Any]:
    return {} if refusal.holder is None else dict(zip(("tenant", "user_id"), refusal.holder, strict=True))


def _of_error(refusal: Refusal) -> dict[str, Any]:
    return {"reason": refusal.code, "detail": refusal.reason if isinstance(refusal, TokenInvalid) else str(refusal)}


def _permitted(logger: logging.Logger, level: int, *kind: Any) -> bool:
    """Whether a line of this kind may be written; checked first, so that a flood costs no more than this."""
    return logger.isEnabledFor(level) and limiter.acquire(kind)


def _write(
    logger: logging.Logger,
    level: int,
    event: str,
    summary: str,
    fields: Mapping[str, Any],
    error: Exception | None = None,
) -> dict[str, Any]:
    """Write a line; returns its fields as written."""
    shown = {name: _bounded(value) for name, value in fields.items() if value is not None}
    logger.log(level, EventText(summary, shown), extra={"event": event, **shown}, exc_info=error)
    return shown


def _word(part: Any) -> str:
    return part.__name__ if isinstance(part, type) else str(part)


def _bounded(value: Any) -> Any:
    """The value for a record: a number, or a short text without credentials."""
    if isinstance(value, int):
        return int(value)  # a plain int, since other formatters would write an enum's name
    text = redacted(str(value)[: 2 * MAX_VALUE])
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
