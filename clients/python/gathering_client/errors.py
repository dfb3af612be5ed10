"""Errors that end a subscription or a call. What passes by itself, such as a lost connection, is none of them."""

from collections.abc import Iterable


class GatewayError(Exception):
    """Base of all errors here. `code` is a word of the gateway's protocol, or `unreachable`. All can be pickled."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Unreachable(GatewayError):
    """No gateway answered: a wrong address, or one that is away for longer than the caller wanted to wait."""


class Refused(GatewayError):
    """The gateway's refusal of a command or request, which would be refused again.

    `rooms` are those that were refused, where the error names any; `retry_after` are seconds; `status` is that of HTTP.
    """

    def __init__(
        self,
        code: str,
        message: str,
        rooms: Iterable[str] = (),
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.rooms = tuple(rooms)
        self.retry_after: float | None = retry_after
        self.status = status


class TokenRefused(Refused):
    """The gateway does not take the token, and there is no fresher one. Raised by a `token` function, it ends the
    subscription; anything else that the function raises is tried again."""


class RoomsRevoked(Refused):
    """`rooms` are not followed any more: the user was removed from them, or a fresh token does not grant them. Nothing
    before that is missing: subscribe to the others with `since=subscription.cursor`."""


class Closed(GatewayError):
    """The gateway closed the connection for good. `close_code` is 4400 (malformed messages) or 4403 (forbidden)."""

    def __init__(self, close_code: int, reason: str) -> None:
        code = "bad_message" if close_code == 4400 else "forbidden"
        super().__init__(code, f"the gateway closed the connection with {close_code} {reason}")
        self.args = (close_code, reason)  # for pickle
        self.close_code = close_code
        self.reason = reason
