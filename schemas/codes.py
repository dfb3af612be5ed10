"""Error codes and close codes of the wire protocol, with the rule for retrying after each.

`ERROR_RULES` and `CLOSE_RULES` are the only place where these rules are written by hand: the HTTP status of a problem
document, the command-line client and the tables of docs/codes.md read them, tests hold client.js to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


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
    CONTRACT_VIOLATION = "contract_violation"


class CloseCode(IntEnum):
    """The close codes of the gateway; those below 4000 have IANA's names."""

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


class Retry(StrEnum):
    """The retry rule after an error or a close: whether, when, and with what."""

    NEVER = "never"
    """The same attempt would be refused again."""

    BACKOFF = "backoff"
    """After a jittered exponential backoff, and not before `retry_after`, where an `error` named one."""

    SLOT = "slot"
    """At `reconnect_after_ms` of `server.draining`; as BACKOFF where none came."""

    FRESH_TOKEN = "fresh_token"
    """With another token, and once only until one is accepted."""

    WITHOUT_CURSOR = "without_cursor"
    """Without `since`: earlier events are lost."""


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """The rule for an error code: `statuses` are its HTTP statuses, the usual one first, none for errors of commands
    only; `remedy` is for people."""

    statuses: tuple[int, ...]
    retry: Retry
    remedy: str

    @property
    def status(self) -> int:
        """The usual HTTP status."""
        return self.statuses[0]


@dataclass(frozen=True, slots=True)
class CloseRule:
    """The rule for a close code; a client that reconnects resumes from its cursor. `when` and `note` are for people."""

    retry: Retry
    when: str
    note: str = ""


ERROR_RULES: Final[Mapping[str, ErrorRule]] = {
    ErrorCode.BAD_MESSAGE: ErrorRule(
        (422, 400, 403, 408, 415, 426), Retry.NEVER, "correct the request; `detail` names the fields"
    ),
    ErrorCode.UNKNOWN_TYPE: ErrorRule((), Retry.NEVER, "use one of the commands that the message lists"),
    ErrorCode.MESSAGE_TOO_LARGE: ErrorRule((413, 431), Retry.NEVER, "send less"),
    ErrorCode.ROOM_INVALID: ErrorRule((422,), Retry.NEVER, "correct the names in `rooms`"),
    ErrorCode.ROOM_FORBIDDEN: ErrorRule((403,), Retry.NEVER, "leave out `rooms`, or get a token that grants them"),
    ErrorCode.SCOPE_MISSING: ErrorRule((403,), Retry.NEVER, "get a token with the scope"),
    ErrorCode.NOT_SUBSCRIBED: ErrorRule((), Retry.NEVER, "leave out `rooms`: the connection is not in them"),
    ErrorCode.TOO_MANY_ROOMS: ErrorRule(
        (422,), Retry.NEVER, "leave some rooms first; for a token, grant `circle:*` in place of many"
    ),
    ErrorCode.RATE_LIMITED: ErrorRule((429, 503), Retry.BACKOFF, "wait for `retry_after` seconds"),
    ErrorCode.TOKEN_MISSING: ErrorRule((401,), Retry.FRESH_TOKEN, "send a token or a ticket"),
    ErrorCode.TOKEN_INVALID: ErrorRule((401,), Retry.FRESH_TOKEN, "get another token or ticket"),
    ErrorCode.TOKEN_EXPIRED: ErrorRule((401,), Retry.FRESH_TOKEN, "get another token or ticket"),
    ErrorCode.TOKEN_REVOKED: ErrorRule((401,), Retry.NEVER, "log in again"),
    ErrorCode.TOKEN_MISMATCH: ErrorRule((), Retry.NEVER, "renew with a token of the same user and tenant"),
    ErrorCode.CURSOR_INVALID: ErrorRule((422,), Retry.WITHOUT_CURSOR, "reload the state"),
    ErrorCode.IDEMPOTENCY_CONFLICT: ErrorRule((409,), Retry.NEVER, "use another key: this one was for another event"),
    ErrorCode.BROKER_UNAVAILABLE: ErrorRule((503,), Retry.BACKOFF, "use the same `idempotency_key` again"),
    ErrorCode.NOT_FOUND: ErrorRule((404, 405), Retry.NEVER, "correct the path or the method"),
    ErrorCode.INTERNAL_ERROR: ErrorRule((500,), Retry.BACKOFF, "use the same `idempotency_key` again; it was logged"),
    ErrorCode.CONTRACT_VIOLATION: ErrorRule((422,), Retry.NEVER, "correct the part of `data` at `pointer`"),
}
"""By error code."""

CLOSE_RULES: Final[Mapping[int, CloseRule]] = {
    1006: CloseRule(Retry.BACKOFF, "no close came: the network, or a client that did not read"),
    1007: CloseRule(Retry.BACKOFF, "a text frame that is not UTF-8", "not with the same message"),
    CloseCode.MESSAGE_TOO_BIG: CloseRule(
        Retry.BACKOFF, "a message over 64 KiB, or in more than 64 fragments", "not with the same message"
    ),
    CloseCode.INTERNAL_ERROR: CloseRule(Retry.BACKOFF, "internal error"),
    CloseCode.SERVICE_RESTART: CloseRule(Retry.SLOT, "the node shuts down"),
    CloseCode.TRY_AGAIN_LATER: CloseRule(
        Retry.BACKOFF, "a connection limit of the address or the tenant, or the log does not answer"
    ),
    CloseCode.MALFORMED: CloseRule(Retry.NEVER, "ten malformed messages in a row, or a bad `client_id`"),
    CloseCode.UNAUTHENTICATED: CloseRule(
        Retry.FRESH_TOKEN,
        "`token_missing`, `token_invalid`, `token_expired`, `token_revoked`; the reason is the code",
        "never after `token_revoked`",
    ),
    CloseCode.FORBIDDEN: CloseRule(Retry.NEVER, "an administrator closed it"),
    CloseCode.SLOW: CloseRule(Retry.BACKOFF, "the client read nothing for 10 s while data waited for it"),
    CloseCode.USER_LIMIT: CloseRule(
        Retry.BACKOFF, "over the user's connection limit", "dead connections may count for a while"
    ),
    CloseCode.RATE_LIMITED: CloseRule(Retry.BACKOFF, "kept sending over its rate"),
}
"""By close code: those of the gateway, and 1006 and 1007, which clients meet besides. All others: BACKOFF."""


def retry_after_close(code: int, reason: str) -> Retry:
    """The retry rule after a close with this code and reason."""
    if code == CloseCode.UNAUTHENTICATED and reason == ErrorCode.TOKEN_REVOKED:
        return Retry.NEVER
    rule = CLOSE_RULES.get(code)
    return Retry.BACKOFF if rule is None else rule.retry
