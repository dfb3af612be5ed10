"""Error and close codes of the wire protocol (PROTOCOL sections 5 and 6)."""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """The `code` of an `error` frame and of a problem document."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    MESSAGE_TOO_LARGE = "message_too_large"
    ROOM_INVALID = "room_invalid"
    ROOM_FORBIDDEN = "room_forbidden"
    SCOPE_MISSING = "scope_missing"
    NOT_SUBSCRIBED = "not_subscribed"
    TOO_MANY_ROOMS = "too_many_rooms"
    RATE_LIMITED = "rate_limited"
    TOKEN_MISSING = "token_missing"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    TOKEN_MISMATCH = "token_mismatch"
    CURSOR_INVALID = "cursor_invalid"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    BROKER_UNAVAILABLE = "broker_unavailable"
    NOT_FOUND = "not_found"
    INTERNAL_ERROR = "internal_error"


class CloseCode(IntEnum):
    """Why the gateway closed a WebSocket; each says by itself whether to come back."""

    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    SLOW = 4408
    USER_LIMIT = 4409
    RATE_LIMITED = 4429
