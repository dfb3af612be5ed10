"""Token of a client over all its connections: a fixed one, or those of a token function."""

import json
from datetime import datetime
from typing import Final

from gathering_client.errors import TokenRefused

AUTH_ID: Final = "auth"
"""The `id` of the command that renews the token."""

MAX_TOKEN: Final = 4_096


def checked_token(text: object) -> str:
    """The token, if its form is valid. Raises `TokenRefused`, without the text."""
    if not isinstance(text, str) or not text:
        raise TokenRefused("token_missing", "pass a token, or a function that returns one, as `token`")
    if not (len(text) <= MAX_TOKEN and text.isascii() and text.isprintable() and " " not in text):
        shape = f"at most {MAX_TOKEN:,} characters, without Bearer, quotes, spaces and line ends"
        raise TokenRefused("token_invalid", f"not a valid token: pass {shape}")
    return text


class Session:
    """The token of a client. `token` is None with a token function, whose result is used until it expires or is
    refused.

    The lifetime is the difference of two times of the gateway's clock, counted on the caller's monotonic clock, so
    neither wall clock has to be right.
    """

    def __init__(self, token: str | None) -> None:
        self.refreshable = token is None
        self.answered = False
        """Whether a gateway has accepted a connection before."""
        self._token = None if token is None else checked_token(token)
        self._pending: str | None = None
        self._expires: float | None = None
        self._refused = False

    def token(self, now: float) -> str | None:
        """The token to connect with; None if the token function has to be called."""
        if self.refreshable and self._expires is not None and now >= self._expires:
            self._token = self._expires = None
        return self._token

    def take(self, text: object, connected: bool) -> str | None:
        """Store the function's result; returns the command that renews the token of an open connection. Raises
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
        """Use the pending token, which the gateway has accepted."""
        self._token, self._pending = self._pending or self._token, None
        self._expire(expires_at, timestamp, now)

    def renewal_refused(self) -> None:
        """Drop the pending token; the connection continues with its own."""
        self._pending = None

    def refuse(self) -> bool:
        """Drop a refused token; returns whether to retry with a fresh one, which is once until one is accepted."""
        if not self.refreshable or self._refused:
            return False
        self._refused = True
        self._token = self._expires = None
        return True

    def _expire(self, expires_at: str, timestamp: str, now: float) -> None:
        left = datetime.fromisoformat(expires_at) - datetime.fromisoformat(timestamp)
        self._expires = now + left.total_seconds()
