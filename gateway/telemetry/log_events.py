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
from typing import Any, Final

from auth.errors import AuthError, TokenInvalid
from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError
from gateway.telemetry.line_rate import LineLimiter
from gateway.telemetry.redaction import redacted

MAX_VALUE: Final = 200
"""Characters of one field; a request line has up to 64 kB."""

REPORT_INTERVAL: Final = 10.0
"""Seconds between two reports of suppressed lines."""

limiter: LineLimiter[tuple[Any, ...]] = LineLimiter()
"""This process's, as loggers are."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:@/+|*,\[\]-]+")

_connections: Final = logging.getLogger("gateway.connection")
_requests: Final = logging.getLogger("gateway.request")
_audit: Final = logging.getLogger("gateway.audit")
_telemetry: Final = logging.getLogger("gateway.telemetry")


class EventText:
    """The message of a record: a summary and its fields as `key=value`."""

    __slots__ = ("fields", "summary")

    def __init__(self, summary: str, fields: Mapping[str, Any]) -> None:
        self.summary = summary
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.summary, *(f"{name}={_quoted(value)}" for name, value in self.fields.items())])


# ---- refusals


def connection_refused(
    address: str, error: AuthError | GatewayError, code: int, identity: Identity | None = None
) -> None:
    """A client was not let in. `code` is the close code, `identity` where it was known by then."""
    fields = {**_of_identity(identity), "address": address, **_of_error(error), "code": code}
    _emit(_connections, logging.INFO, "connection.refused", "connection refused", fields)


def origin_refused(address: str, origin: str, host: str) -> None:
    """A web page of another origin tried to connect."""
    fields = {"address": address, "reason": "origin", "origin": origin, "host": host, "code": 403}
    _emit(_connections, logging.INFO, "connection.refused", "connection refused", fields)


def request_refused(
    address: str, method: str, path: str, error: AuthError | GatewayError, status: int, identity: Identity | None
) -> None:
    """An HTTP request was refused for its token, its grants or its rate."""
    fields = {**_of_identity(identity), "address": address, **_of_error(error), "code": status}
    fields |= {"method": method, "path": path}
    _emit(_requests, logging.INFO, "request.refused", "request refused", fields)


def command_refused(connection: Connection, error: AuthError | GatewayError) -> None:
    """A connection met a limit."""
    _emit(_connections, logging.INFO, "command.refused", "command refused", {**_of(connection), **_of_error(error)})


# ---- connections


def connection_closed(connection: Connection, code: int, reason: str) -> None:
    """The gateway ended a connection: for its behaviour, its token, or an administrator."""
    fields = {**_of(connection), "reason": reason, "code": code}
    _emit(_connections, logging.INFO, "connection.closed", "connection closed", fields)


def stream_gap(connection: Connection, reason: str) -> None:
    """A connection was told that events are missing."""
    _emit(_connections, logging.WARNING, "stream.gap", "events lost", {**_of(connection), "reason": reason})


# ---- the audit trail


def audited(event: str, summary: str, principal: Identity, address: str, **target: Any) -> None:
    """An administrator did something: `target` says to what."""
    by = {"by_user_id": principal.user_id, "by_tenant": principal.tenant, "by_jti": principal.token_id}
    _write(_audit, logging.INFO, event, summary, {**by, "address": address, **target})


def report_suppressed(interval: float = REPORT_INTERVAL) -> None:
    """Write how many lines of each kind were suppressed, unless a report came less than `interval` seconds ago."""
    for kind, count in limiter.take_suppressed(interval).items():
        fields = {"kind": " ".join(str(part) for part in kind if part is not None), "count": count}
        _write(_telemetry, logging.WARNING, "log.suppressed", "log lines suppressed", fields)


def _of(connection: Connection) -> dict[str, Any]:
    return {"connection_id": connection.id, **_of_identity(connection.identity), "address": connection.address}


def _of_identity(identity: Identity | None) -> dict[str, Any]:
    return {} if identity is None else {"tenant": identity.tenant, "user_id": identity.user_id}


def _of_error(error: AuthError | GatewayError) -> dict[str, Any]:
    detail = error.reason if isinstance(error, TokenInvalid) else str(error)
    return {"reason": error.code, "detail": detail}


def _emit(logger: logging.Logger, level: int, event: str, summary: str, fields: dict[str, Any]) -> None:
    kind = (event, fields.get("reason"), fields.get("code"))
    if logger.isEnabledFor(level) and limiter.acquire(kind):
        _write(logger, level, event, summary, fields)


def _write(logger: logging.Logger, level: int, event: str, summary: str, fields: Mapping[str, Any]) -> None:
    shown = {name: _bounded(value) for name, value in fields.items() if value is not None}
    logger.log(level, EventText(summary, shown), extra={"event": event, **shown})


def _bounded(value: Any) -> Any:
    """As it may stand in a record: a number, or a short text without credentials."""
    if isinstance(value, int):
        return int(value)  # an enum's name is no number to others
    text = redacted(str(value)[: 2 * MAX_VALUE])
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
