"""The clock of the Redis server, which entries are dated by."""

from collections.abc import Callable
from typing import Final

_RECENT: Final = 2.5
"""Seconds: the server is asked every second, and then has one to answer."""


class ServerClock:
    """Seconds since the epoch as the server has them: its last answer, and what has passed here since by `timer`."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._ahead: float | None = None
        self._synced_at = float("-inf")

    def sync(self, seconds: float) -> None:
        """The server has just said that it is so late."""
        self._synced_at = self._timer()
        self._ahead = seconds - self._synced_at

    def synced_recently(self) -> bool:
        """Whether the server has answered not long ago: what ends late then does so for the line, or its own size."""
        return self._timer() - self._synced_at < _RECENT

    def now(self) -> float:
        """0 while it is not known: nothing is too old then."""
        return 0.0 if self._ahead is None else self._timer() + self._ahead
