"""Retry rules of the wire protocol, by close code and by error code."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Retry(StrEnum):
    """Whether to retry, when, and with which token and cursor."""

    NEVER = "never"
    """The same attempt would be refused again."""

    BACKOFF = "backoff"
    """After a jittered exponential backoff, and not before `retry_after`, where an `error` named one."""

    SLOT = "slot"
    """At `reconnect_after_ms` of `server.draining`; as BACKOFF where none came."""

    FRESH_TOKEN = "fresh_token"  # noqa: S105 - a word of the protocol
    """With another token, once until one is accepted."""

    WITHOUT_CURSOR = "without_cursor"
    """Without `since`: earlier events are lost."""


NO_CLOSE: Final = 1006
"""The code of a connection that ended without a close frame."""

CLOSE_RULES: Final[Mapping[int, Retry]] = {
    NO_CLOSE: Retry.BACKOFF,
    1007: Retry.BACKOFF,
    1009: Retry.BACKOFF,
    1011: Retry.BACKOFF,
    1012: Retry.SLOT,
    1013: Retry.BACKOFF,
    4400: Retry.NEVER,
    4401: Retry.FRESH_TOKEN,
    4403: Retry.NEVER,
    4408: Retry.BACKOFF,
    4409: Retry.BACKOFF,
    4429: Retry.BACKOFF,
}
"""By close code; all others, which a proxy may send: BACKOFF."""

ERROR_RULES: Final[Mapping[str, Retry]] = {
    "rate_limited": Retry.BACKOFF,
    "broker_unavailable": Retry.BACKOFF,
    "internal_error": Retry.BACKOFF,
    "token_missing": Retry.FRESH_TOKEN,
    "token_invalid": Retry.FRESH_TOKEN,
    "token_expired": Retry.FRESH_TOKEN,
    "cursor_invalid": Retry.WITHOUT_CURSOR,
}
"""By error code; all others, and those of a later gateway: NEVER."""


def retry_after_close(code: int, reason: str) -> Retry:
    """The rule for a connection that was closed with this code and reason."""
    if code == 4401 and reason == "token_revoked":
        return Retry.NEVER
    return CLOSE_RULES.get(code, Retry.BACKOFF)


def retry_after_error(code: str) -> Retry:
    """The rule for a command or request with this error code."""
    return ERROR_RULES.get(code, Retry.NEVER)
