"""The token of HTTP requests: fixed, or a function's, used until the gateway refuses it."""

import threading

from gathering_client.session import checked_token


class TokenCache:
    """Thread-safe. `fixed` is None where a function is asked; what it returned is given to `keep`."""

    def __init__(self, fixed: str | None) -> None:
        self.refreshable = fixed is None
        self._lock = threading.Lock()
        self._token = None if fixed is None else checked_token(fixed)

    @property
    def current(self) -> str | None:
        return self._token

    def keep(self, token: object) -> str:
        """Raises `TokenRefused` for what is no token."""
        self._token = checked_token(token)
        return self._token

    def discard(self, token: str) -> None:
        """The gateway refused this one; another thread may have a fresh one already."""
        with self._lock:
            if self.refreshable and self._token == token:
                self._token = None
