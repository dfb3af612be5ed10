"""Errors that end a subscription or a call. Temporary faults, such as a lost connection, are retried instead."""

from collections.abc import Iterable

from gathering_client.codes import Retry, retry_after_error


class GatewayError(Exception):
    """Base of all errors of this package. `code` is an error code of the protocol, or `unreachable`. All can be
    pickled."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    @property
    def temporary(self) -> bool:
        """Whether a later attempt may succeed: the caller's patience ended before the rate or the outage did."""
        return retry_after_error(self.code) is Retry.BACKOFF

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Unreachable(GatewayError):
    """No gateway answered: a wrong address, or an outage longer than the caller's patience."""

    @property
    def temporary(self) -> bool:
        return True


class Refused(GatewayError):
    """A refusal by the gateway. A retry would meet it again, unless it is `temporary`.

    `rooms` are the refused rooms, where the error names any; `retry_after` is in seconds; `status` is the HTTP status.
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
    """The gateway does not accept the token, and no fresher one is available. A `token` function may raise it to end
    the subscription; after any other exception of the function, the client retries."""


class RoomsRevoked(Refused):
    """The loss of `rooms` during a subscription: the user was removed from them, or a fresh token does not grant them.
    The events up to then are complete: subscribe to the other rooms with `since=subscription.cursor`."""


class Closed(GatewayError):
    """A final close by the gateway. `close_code` is 4400 (malformed messages) or 4403 (forbidden)."""

    def __init__(self, close_code: int, reason: str) -> None:
        code = "bad_message" if close_code == 4400 else "forbidden"
        super().__init__(code, f"the gateway closed the connection with {close_code} {reason}")
        self.args = (close_code, reason)  # for pickle
        self.close_code = close_code
        self.reason = reason
