"""Place of a subscription in the log: what to ask for when it connects, and the cursor to resume from.

A connection has one subscription, that of its URL (or, for `history`, of its one command), so all that comes is one
stream in log order. The last event's id is then the place, amid a replay too: nothing that is owed is older.
"""

from collections.abc import Mapping
from typing import Any, Final

MARKS: Final = frozenset({"stream.mark", "stream.gap", "pong", "server.draining"})
"""Frames whose `cursor` says that all before it was given to this connection, or given up."""


class Place:
    """Where a subscription goes on, over all its connections. Its size does not depend on the events.

    `since` is None until anything was given: until then the same is asked for anew. `replaying` from the beginning of a
    connection until nothing from before is owed.
    """

    def __init__(self, since: str | None, state: bool, history: int) -> None:
        self.since = since
        self.replaying = False
        self._state = state
        self._history = history
        self._head: str | None = None
        self._left: int | None = None

    @property
    def history(self) -> int:
        """How many events to ask for by a command in place of the URL."""
        return self._history if self.since is None else 0

    def query(self) -> dict[str, str]:
        """The parameters of the URL beside the rooms."""
        self.replaying = True
        self._left = None
        return ({"since": self.since} if self.since is not None else {}) | ({"state": "1"} if self._state else {})

    def anew(self) -> None:
        """Forget the place: the caller loads its state anew, and what the log still has is in it."""
        self.since = None

    def from_head(self) -> None:
        """The cursor was refused: go on from the log's head as it was then."""
        self.since = self._head

    def established(self, cursor: str) -> None:
        self._head = cursor
        if self.since is None and not (self._state or self._history):
            self.since = cursor

    def subscribed(self, data: Mapping[str, Any]) -> None:
        self._left = data["replayed"] + data.get("items", 0)
        if not self._left:
            # Nothing up to the head is still to come; so the place of quiet rooms moves on too.
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
