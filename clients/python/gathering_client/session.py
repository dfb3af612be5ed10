"""Token of a client over all its connections: the one that it was given, or those that a function returns."""

import json
from datetime import datetime
from typing import Final

from gathering_client.errors import TokenRefused

AUTH_ID: Final = "auth"
"""The `id` of the command that renews the token."""

MAX_TOKEN: Final = 4_096


def checked_token(text: object) -> str:
    """The token, where it can be one. Raises `TokenRefused`, without the text."""
    if not isinstance(text, str) or not text:
        raise TokenRefused("token_missing", "a token is needed")
    if not (len(text) <= MAX_TOKEN and text.isascii() and text.isprintable() and " " not in text):
        raise TokenRefused("token_invalid", "this is no token: it has other characters, or too many")
    return text


class Session:
    """`token` is None where a function has to be asked; what it returned is used until it expires or is refused.

    When that is follows from the gateway's own clock, and is then counted by the caller's: neither has to be right.
    """

    def __init__(self, token: str | None) -> None:
        self.refreshable = token is None
        self.answered = False
        """Whether a gateway has ever taken a connection."""
        self._token = None if token is None else checked_token(token)
        self._pending: str | None = None
        self._expires: float | None = None
        self._refused = False

    def token(self, now: float) -> str | None:
        """The token to connect with; None where the function has to be asked for one."""
        if self.refreshable and self._expires is not None and now >= self._expires:
            self._token = self._expires = None
        return self._token

    def take(self, text: object, connected: bool) -> str | None:
        """Take the function's token; returns the command that renews the connection's, where there is one. Raises
        `TokenRefused`."""
        token = checked_token(text)
        if not connected:
            self._token, self._expires = token, None
            return None
        self._pending = token
        return json.dumps({"type": "auth", "id": AUTH_ID, "token": token})

    def established(self, expires_at: str, timestamp: str, now: float) -> None:
        self.answered = True
        self._refused = False
        self._pending = None
        self._expire(expires_at, timestamp, now)

    def renewed(self, expires_at: str, timestamp: str, now: float) -> None:
        """The gateway took the pending token."""
        self._token, self._pending = self._pending or self._token, None
        self._expire(expires_at, timestamp, now)

    def renewal_refused(self) -> None:
        """The connection goes on with the token it has."""
        self._pending = None

    def refuse(self) -> bool:
        """The gateway refused the token. Whether to try again: with a fresh one, once until one is taken."""
        if not self.refreshable or self._refused:
            return False
        self._refused = True
        self._token = self._expires = None
        return True

    def _expire(self, expires_at: str, timestamp: str, now: float) -> None:
        left = datetime.fromisoformat(expires_at) - datetime.fromisoformat(timestamp)
        self._expires = now + left.total_seconds()
