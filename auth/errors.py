"""Why a token, an identity or a key was refused.

`str(error)` is meant for the caller: it says what was asked and what is allowed, holds no secret and never a token.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import ClassVar, Final

from schemas.codes import ErrorCode
from schemas.rooms import RoomKinds

REASONS: Final = (
    *("length", "shape", "header", "payload", "issuer", "header_typ", "header_member", "header_crit"),
    *("key_unknown", "signature", "audience", "tenant", "lifetime", "not_yet_valid", "disagreeing", "ticket"),
    *(f"claim_{name}" for name in ("aud", "sub", "tenant", "jti", "iat", "exp", "nbf", "rooms", "scope", "rate")),
)
"""Why a token is not valid, in the order in which it is found out; `disagreeing` is of two tokens in one request,
`ticket` of a ticket without a token."""

_LISTED: Final = 10
"""Names in one message; a token may grant 128 patterns of 133 characters each."""


class AuthError(Exception):
    """A refusal of the caller; `code` is its word on the wire, `holder` the tenant and the user id of a token that was
    refused after it was verified."""

    code: ClassVar[ErrorCode]
    holder: tuple[str, str] | None = None


class TokenMissing(AuthError):
    """No token came."""

    code = ErrorCode.TOKEN_MISSING

    def __init__(self) -> None:
        super().__init__("a token is needed: Authorization: Bearer, a subprotocol, ?token= or ?ticket=")


class TokenInvalid(AuthError):
    """The token is not one that this gateway trusts.

    Callers get one message for every cause: which check failed would help to forge. `reason` is a word for operators'
    logs, one of REASONS and so free of anything the token says.
    """

    code = ErrorCode.TOKEN_INVALID

    def __init__(self, reason: str) -> None:
        super().__init__("the token is not valid here")
        self.reason = reason


class TokenExpired(AuthError):
    """The token was good until `expires_at` (seconds since the epoch)."""

    code = ErrorCode.TOKEN_EXPIRED

    def __init__(self, expires_at: int) -> None:
        super().__init__("the token has expired")
        self.expires_at = expires_at


class TokenRevoked(AuthError):
    """The token, its user's tokens or its tenant's tokens were revoked."""

    code = ErrorCode.TOKEN_REVOKED

    def __init__(self) -> None:
        super().__init__("the token has been revoked")


class TokenMismatch(AuthError):
    """A fresh token for a connection is not of its user and tenant, or two tokens of one handshake disagree."""

    code = ErrorCode.TOKEN_MISMATCH

    def __init__(self) -> None:
        super().__init__("the token belongs to another user or tenant")


class ScopeMissing(AuthError):
    """The token lacks `scope`."""

    code = ErrorCode.SCOPE_MISSING

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a token with the scope {scope}")
        self.scope = scope


class RoomForbidden(AuthError):
    """Of what was asked, `rooms` (rooms or patterns) lie beyond the `granted` patterns."""

    code = ErrorCode.ROOM_FORBIDDEN

    def __init__(self, rooms: Iterable[str], granted: Sequence[str]) -> None:
        self.rooms = list(rooms)
        self.granted = tuple(granted)
        super().__init__(f"the token grants {_listed(self.granted) or 'no rooms'}; asked {_listed(self.rooms)}")


class RoomRefused(AuthError):
    """The application does not let the holder join `rooms`."""

    code = ErrorCode.ROOM_FORBIDDEN

    def __init__(self, rooms: Iterable[str]) -> None:
        self.rooms = list(rooms)
        super().__init__(f"the application does not let this user join {_listed(self.rooms)}")


class RoomInvalid(AuthError):
    """`rooms` are neither rooms nor patterns."""

    code = ErrorCode.ROOM_INVALID

    def __init__(self, rooms: Iterable[str], kinds: RoomKinds) -> None:
        self.rooms = list(rooms)
        # ascii() and the cut, since these came from outside unchecked: no control character gets into a log.
        shown = _listed([ascii(room[:80]) for room in self.rooms])
        super().__init__(f"not a room or pattern: {shown}; {kinds.grammar}; a pattern may say * for the id")


class TooManyRooms(AuthError):
    """More than `maximum` patterns for one token."""

    code = ErrorCode.TOO_MANY_ROOMS

    def __init__(self, maximum: int) -> None:
        super().__init__(f"a token holds at most {maximum} room patterns; <kind>:* grants all rooms of a kind")
        self.maximum = maximum


class LifetimeTooLong(AuthError):
    """A token was asked for that would live for more than `maximum` seconds. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, maximum: int) -> None:
        super().__init__(f"expires_in is at most {maximum} seconds")
        self.maximum = maximum


class ClaimRefused(AuthError):
    """A token was asked for whose `claim` would not be accepted when it comes back. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, claim: str) -> None:
        super().__init__(f"{claim} has a form that no token may hold")
        self.claim = claim


class TokenTooLong(AuthError):
    """A token was asked for that would hold more than `maximum` characters. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, maximum: int) -> None:
        super().__init__(f"a token holds at most {maximum} characters: grant fewer rooms, or all of a kind as <kind>:*")
        self.maximum = maximum


class UnusableKey(ValueError):
    """A key or key set of the configuration cannot be used; the message shows nothing of it."""


class WeakKey(UnusableKey):
    """A key is too short or too plain to sign with."""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(islice(names, _LISTED)) + (f" and {more} more" if more > 0 else "")
