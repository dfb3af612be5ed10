"""The clock of the Redis server, by which entries are dated."""

from collections.abc import Callable
from typing import Final

_RECENT: Final = 2.5
"""Seconds: the server is asked every second, and has one to answer."""


class ServerClock:
    """The server's seconds since the epoch: its last answer, plus the time since by `timer`."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._ahead: float | None = None
        self._synced_at = float("-inf")

    def sync(self, seconds: float) -> None:
        """Set the clock to the server's time `seconds`."""
        self._synced_at = self._timer()
        self._ahead = seconds - self._synced_at

    def synced_recently(self) -> bool:
        """Whether the server has answered recently: a command that times out then is too large, or the link too
        slow."""
        return self._timer() - self._synced_at < _RECENT

    def now(self) -> float:
        """The server's time; 0 while it is unknown, so that nothing expires."""
        return 0.0 if self._ahead is None else self._timer() + self._ahead
