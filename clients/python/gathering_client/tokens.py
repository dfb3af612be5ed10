"""Token of HTTP requests: a fixed one, or that of a token function until the gateway refuses it."""

import threading

from gathering_client.session import checked_token


class TokenCache:
    """The current token. Thread-safe. `fixed` is None with a token function, whose results are stored by `keep`."""

    def __init__(self, fixed: str | None) -> None:
        self.refreshable = fixed is None
        self._lock = threading.Lock()
        self._token = None if fixed is None else checked_token(fixed)

    @property
    def current(self) -> str | None:
        return self._token

    def keep(self, token: object) -> str:
        """Store a token. Raises `TokenRefused` if its form is not valid."""
        self._token = checked_token(token)
        return self._token

    def discard(self, token: str) -> None:
        """Drop a refused token, unless another thread has replaced it."""
        with self._lock:
            if self.refreshable and self._token == token:
                self._token = None
