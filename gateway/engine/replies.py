"""Replies: the gateway's own frames for new clients and refusals."""

from functools import lru_cache
from typing import Any, Final

from auth.errors import AuthError
from gateway.core.admission import Limits
from gateway.core.connection import Connection
from gateway.core.contract import Contract
from gateway.core.errors import ApplicationFailed, ConnectionRefused, GatewayError, LogUnavailable, NodeDraining
from gateway.core.frame import MessageFrame
from schemas import messages
from schemas.codes import CloseCode
from schemas.events import rfc3339

DRAINING: Final = "draining"
"""The close reason of a draining node."""


def frame_of(message: messages.Message, timestamp: str, id: str | int | None = None) -> MessageFrame:
    """One of the gateway's own frames; `id` is the command's that it answers."""
    return MessageFrame(message.encode(timestamp, id), message.name, message.resume_cursor, message.retry)


def connection_established(
    connection: Connection, cursor: str, subscribed: tuple[str, ...], limits: Limits, contract: Contract | None
) -> messages.Established:
    """The first frame of a connection."""
    identity = connection.identity
    fields: dict[str, Any] = {
        "connection_id": connection.id,
        "client_id": connection.client_id,
        "user_id": identity.user_id,
        "tenant": identity.tenant,
        "rooms": identity.grants.patterns,
        "subscribed": subscribed,
        "expires_at": rfc3339(identity.expires_at),
        "cursor": cursor,
        "limits": _limits(limits, connection.rate),
        "ping_interval": limits.ping_interval if connection.transport.pings else None,
    }
    if contract is None:
        return messages.Established(**fields)
    return messages.EstablishedWithContract(**fields, contract=contract.digest)


@lru_cache(maxsize=256)  # the same for nearly all connections
def _limits(limits: Limits, rate: int) -> messages.EstablishedLimits:
    return messages.EstablishedLimits(
        rooms=limits.rooms,
        message_bytes=limits.message_bytes,
        commands_per_second=limits.commands_per_second,
        command_burst=limits.command_burst,
        events_per_second=rate,
    )


def error_reply(error: GatewayError | AuthError) -> messages.Error:
    """The `error` frame of a refusal."""
    rooms = getattr(error, "rooms", None)
    return messages.Error(
        code=error.code,
        message=str(error),
        rooms=tuple(rooms) if rooms else None,
        retry_after=getattr(error, "retry_after", None),
        limit=getattr(error, "limit", None),
        **getattr(error, "details", {}),
    )


def rejection(error: GatewayError | AuthError) -> tuple[messages.Message | None, CloseCode, str]:
    """The rejection of a client: its error frame, if any, and the close code and reason."""
    if isinstance(error, AuthError):
        return None, CloseCode.UNAUTHENTICATED, error.code
    if isinstance(error, NodeDraining):
        return messages.Draining(reconnect_after_ms=error.reconnect_after_ms), CloseCode.SERVICE_RESTART, DRAINING
    if isinstance(error, ConnectionRefused):
        return error_reply(error), error.close_code, str(error)
    if isinstance(error, ApplicationFailed):
        return error_reply(error), CloseCode.INTERNAL_ERROR, error.code
    code = CloseCode.TRY_AGAIN_LATER if isinstance(error, LogUnavailable) else CloseCode.MALFORMED
    return error_reply(error), code, error.code
