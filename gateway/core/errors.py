"""Errors of the domain, with the fields that an answer needs."""

from collections.abc import Sequence
from math import ceil

from schemas.codes import CloseCode, ErrorCode


class GatewayError(Exception):
    """A refusal that the asker is told: `code` is the wire's word, the text is for people and holds no secret.

    `holder` is the tenant and the user id of a verified token, where that is what was refused.
    """

    holder: tuple[str, str] | None = None

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
    """Too much, too fast; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float, limit: float) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=milliseconds_up(retry_after), limit=limit)


class ConnectionRefused(GatewayError):
    """A connection limit is reached: the client gets the reason and is closed with `close_code`."""

    def __init__(
        self,
        close_code: CloseCode,
        message: str,
        limit: float,
        retry_after: float | None = None,
        holder: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=retry_after, limit=limit)
        self.close_code = close_code
        self.holder = holder


class NodeDraining(GatewayError):
    """This node is about to end: the client finds another one, or this one again in so many milliseconds."""

    def __init__(self, reconnect_after_ms: int) -> None:
        super().__init__(
            ErrorCode.BROKER_UNAVAILABLE,
            "this node is shutting down",
            retry_after=reconnect_after_ms / 1000,
        )
        self.reconnect_after_ms = reconnect_after_ms


class CursorInvalid(GatewayError):
    """A text that this gateway never gave out as a cursor of this tenant."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.CURSOR_INVALID, "a cursor is an event_id or a cursor that this gateway gave to this tenant"
        )


class IdempotencyConflict(GatewayError):
    """The key was used within the window for another event."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.IDEMPOTENCY_CONFLICT, "this idempotency_key was used for another event")


class ApplicationFailed(GatewayError):
    """A function of the application raised, or took too long: what was asked is refused. The log has the error."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.INTERNAL_ERROR, "the application could not decide on this: try again")


class LogUnavailable(GatewayError):
    """The log does not answer or refuses; the message says whether an event may have been appended nevertheless."""

    def __init__(self, message: str = "the event log does not answer") -> None:
        super().__init__(ErrorCode.BROKER_UNAVAILABLE, message, retry_after=1.0)
