"""Position of a subscription in the log: the parameters of the next connection, and the cursor to resume from.

A connection has one subscription, made by its URL (or, for `history`, by its one command), so its events are one stream
in log order. Hence the id of the last event is the cursor to resume from, during a replay too.
"""

from collections.abc import Mapping
from typing import Any, Final

MARKS: Final = frozenset({"stream.mark", "stream.gap", "pong", "server.draining"})
"""Frames whose `cursor` is a position up to which the connection has received all events, or was notified of a gap."""


class StreamPosition:
    """The position of a subscription over all its connections. Constant size.

    `since` is None until something was received: until then each connection requests the same again. `resuming` is
    True for a connection that was opened with a cursor, and `replaying` until its replay has ended.
    """

    def __init__(self, since: str | None, state: bool, history: int) -> None:
        self.since = since
        self.resuming = self.replaying = False
        self._state = state
        self._history = history
        self._head: str | None = None
        self._left: int | None = None

    @property
    def history(self) -> int:
        """The number of past events to request by a command, with the rooms left out of the URL; 0 for none."""
        return self._history if self.since is None else 0

    def query(self) -> dict[str, str]:
        """The URL parameters besides the rooms."""
        self.replaying = True
        self.resuming = self.since is not None
        self._left = None
        return ({"since": self.since} if self.since is not None else {}) | ({"state": "1"} if self._state else {})

    def restart(self) -> None:
        """Drop the position: the state that is loaded next contains all earlier events."""
        self.since = None

    def from_head(self) -> None:
        """Continue from the log's head at the last connect: the cursor was refused."""
        self.since = self._head

    def established(self, cursor: str) -> None:
        self._head = cursor
        if self.since is None and not (self._state or self._history):
            self.since = cursor

    def subscribed(self, data: Mapping[str, Any]) -> None:
        self._left = data["replayed"] + data.get("items", 0)
        if not self._left:
            # No event up to the head is owed, so the cursor of quiet rooms advances too.
            self.since = data["cursor"]
            self.replaying = False

    def event(self, cursor: str) -> None:
        self.since = cursor
        if self.replaying and self._left is not None:
            self._left -= 1
            self.replaying = self._left > 0

    def mark(self, cursor: str) -> None:
        self.since = cursor
        self.replaying = False
