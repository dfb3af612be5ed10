"""Errors of the domain, with the fields of their replies."""

from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import Any, Final

from schemas.codes import CloseCode, ErrorCode

_NO_DETAILS: Final[Mapping[str, Any]] = MappingProxyType({})


class GatewayError(Exception):
    """A refusal that is reported to the client: `code` is the error code on the wire; the text is for people and has no
    secret.

    `holder` is the tenant and the user id of a verified token, where that was refused.
    """

    holder: tuple[str, str] | None = None

    @property
    def details(self) -> Mapping[str, Any]:
        """Further fields of the reply."""
        return _NO_DETAILS

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        rooms: Sequence[str] = (),
        retry_after: float | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.rooms = tuple(rooms)
        self.retry_after = retry_after
        self.limit = limit


def milliseconds_up(seconds: float) -> float:
    """Seconds rounded up to milliseconds, so that a client that waits for `retry_after` is not early."""
    return ceil(seconds * 1000) / 1000


class RateLimited(GatewayError):
    """A rate limit is exceeded; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float, limit: float) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=milliseconds_up(retry_after), limit=limit)


class ConnectionRefused(GatewayError):
    """A connection limit is reached: the client gets the error and is closed with `close_code`, or over HTTP answered
    with `status`: 503 for a limit that all clients of a tenant share, else 429."""

    def __init__(
        self,
        close_code: CloseCode,
        message: str,
        limit: float,
        retry_after: float | None = None,
        holder: tuple[str, str] | None = None,
        status: int = 429,
    ) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=retry_after, limit=limit)
        self.close_code = close_code
        self.status = status
        self.holder = holder


class NodeDraining(GatewayError):
    """This node is shutting down: the client may reconnect after `reconnect_after_ms`."""

    def __init__(self, reconnect_after_ms: int) -> None:
        super().__init__(
            ErrorCode.BROKER_UNAVAILABLE,
            "this node is shutting down",
            retry_after=reconnect_after_ms / 1000,
        )
        self.reconnect_after_ms = reconnect_after_ms


class CursorInvalid(GatewayError):
    """A text that is not a cursor of this tenant."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.CURSOR_INVALID, "a cursor is an event_id or a cursor that this gateway gave to this tenant"
        )


class IdempotencyConflict(GatewayError):
    """The idempotency key was used for another event within its window."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.IDEMPOTENCY_CONFLICT, "this idempotency_key was used for another event")


class ApplicationFailed(GatewayError):
    """A function of the application raised or timed out: the request is refused. The error is in the log."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.INTERNAL_ERROR, "the application could not decide on this: try again")


class LogUnavailable(GatewayError):
    """The log does not answer or refuses; the message says whether the event may have been appended."""

    def __init__(self, message: str = "the event log does not answer") -> None:
        super().__init__(ErrorCode.BROKER_UNAVAILABLE, message, retry_after=1.0)
