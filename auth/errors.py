"""Errors of authentication and authorisation: refused tokens, identities and keys.

`str(error)` is for the caller: it says what was requested and what is allowed, and has no secret and no token.
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
"""The reasons for an invalid token, in the order of the checks; `disagreeing` is for two tokens in one request,
`ticket` for an unknown ticket."""

_LISTED: Final = 10
"""Maximum names in a message; a token may grant 128 patterns of 133 characters each."""


class AuthError(Exception):
    """A refusal of the caller; `code` is the error code on the wire, `holder` the tenant and the user id of a verified
    token that was refused."""

    code: ClassVar[ErrorCode]
    holder: tuple[str, str] | None = None


class TokenMissing(AuthError):
    """The request has no token."""

    code = ErrorCode.TOKEN_MISSING

    def __init__(self) -> None:
        # The comma behind the header is where the redaction of a log ends.
        ways = "as Authorization: Bearer <token>, as a subprotocol, or in the query as token or ticket"
        super().__init__(f"a token is needed, {ways}")


class TokenInvalid(AuthError):
    """The token is not trusted by this gateway.

    Callers get one message for every cause, since the failed check would help to forge a token. `reason` is for
    operators' logs: one of REASONS, so free of the token's content.
    """

    code = ErrorCode.TOKEN_INVALID

    def __init__(self, reason: str) -> None:
        super().__init__("the token is not valid here; the gateway's log says why, and `gateway token inspect`")
        self.reason = reason


class TokenExpired(AuthError):
    """The token expired at `expires_at` (seconds since the epoch)."""

    code = ErrorCode.TOKEN_EXPIRED

    def __init__(self, expires_at: int) -> None:
        super().__init__("the token has expired")
        self.expires_at = expires_at


class TokenRevoked(AuthError):
    """The token, all tokens of its user or all tokens of its tenant are revoked."""

    code = ErrorCode.TOKEN_REVOKED

    def __init__(self) -> None:
        super().__init__("the token has been revoked")


class TokenMismatch(AuthError):
    """A fresh token for a connection is not of the connection's user and tenant."""

    code = ErrorCode.TOKEN_MISMATCH

    def __init__(self) -> None:
        super().__init__("the token belongs to another user or tenant")


class ScopeMissing(AuthError):
    """The token lacks `scope`, which `what` needs."""

    code = ErrorCode.SCOPE_MISSING

    def __init__(self, scope: str, what: str = "this") -> None:
        super().__init__(f"{what} needs a token with the scope {scope}")
        self.scope = scope


class RoomForbidden(AuthError):
    """The requested `rooms` (rooms or patterns) are not in the `granted` patterns. `advice` goes on with the text."""

    code = ErrorCode.ROOM_FORBIDDEN

    def __init__(self, rooms: Iterable[str], granted: Sequence[str], advice: str = "") -> None:
        self.rooms = list(rooms)
        self.granted = tuple(granted)
        super().__init__(f"the token grants {_listed(self.granted) or 'no rooms'}; asked {_listed(self.rooms)}{advice}")


class RoomRefused(AuthError):
    """The application does not allow the holder to join `rooms`."""

    code = ErrorCode.ROOM_FORBIDDEN

    def __init__(self, rooms: Iterable[str]) -> None:
        self.rooms = list(rooms)
        super().__init__(f"the application does not let this user join {_listed(self.rooms)}")


class RoomInvalid(AuthError):
    """`rooms` are neither rooms nor patterns."""

    code = ErrorCode.ROOM_INVALID

    def __init__(self, rooms: Iterable[str], kinds: RoomKinds) -> None:
        self.rooms = list(rooms)
        # Escaped and cut, since they are unchecked input: no control character gets into a log.
        shown = _listed([ascii(room[:80]) for room in self.rooms])
        super().__init__(f"not a room or pattern: {shown}; {kinds.grammar}; a pattern may say * for the id")


class TooManyRooms(AuthError):
    """More than `maximum` patterns in one token."""

    code = ErrorCode.TOO_MANY_ROOMS

    def __init__(self, maximum: int) -> None:
        super().__init__(f"a token holds at most {maximum} room patterns; <kind>:* grants all rooms of a kind")
        self.maximum = maximum


class LifetimeTooLong(AuthError):
    """A requested lifetime of more than `maximum` seconds. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, maximum: int) -> None:
        super().__init__(f"expires_in is at most {maximum} seconds")
        self.maximum = maximum


class ClaimRefused(AuthError):
    """A requested `claim` that would not be accepted in a token. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, claim: str) -> None:
        super().__init__(f"{claim}: not valid in a token")
        self.claim = claim


class TokenTooLong(AuthError):
    """A requested token of more than `maximum` characters. HTTP answers 422."""

    code = ErrorCode.BAD_MESSAGE

    def __init__(self, maximum: int) -> None:
        super().__init__(f"a token holds at most {maximum} characters: grant fewer rooms, or all of a kind as <kind>:*")
        self.maximum = maximum


class UnusableKey(ValueError):
    """A configured key or key set that cannot be used; the message shows nothing of it."""


class WeakKey(UnusableKey):
    """A key that is too short or too regular to sign with."""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(islice(names, _LISTED)) + (f" and {more} more" if more > 0 else "")
