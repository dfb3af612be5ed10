"""The schedule of marks: each connection gets an event or a mark at least once an interval."""

from collections.abc import Iterable
from typing import Final

from gateway.core.connection import MARK_OWED, Connection

_TICKS_PER_INTERVAL: Final = 2.2
"""A mark comes at most two ticks after the last event, and the ticks may be a tenth late."""


class MarkSchedule:
    """Decides which connections are due a mark, at a tick every `tick_seconds`.

    A delivery records nothing for it: where `Connection.sent` has grown since the tick before, an event came at some
    time after that tick. So silence is known to a tick, and a mark comes where the next tick would be too late.
    """

    def __init__(self, interval: float) -> None:
        self.tick_seconds = interval / _TICKS_PER_INTERVAL
        self._longest_silence = self.tick_seconds * 1.5
        self._ticked_at = 0.0

    def tick(self, now: float) -> float:
        """Begin a tick; returns the time of the one before it. Seconds of a monotonic clock."""
        before, self._ticked_at = self._ticked_at, now
        return before

    def take_due(self, connections: Iterable[Connection], now: float, before: float) -> list[Connection]:
        """The connections that are due a mark at `now`, which counts as sent; `before` is the time of the previous
        tick. O(connections)."""
        due: list[Connection] = []
        for connection in connections:
            if connection.sent != connection.sent_at_tick and connection.quiet_since != MARK_OWED:
                connection.sent_at_tick = connection.sent
                connection.quiet_since = before
            elif now - connection.quiet_since > self._longest_silence and connection.owed_nothing:
                connection.sent_at_tick = connection.sent
                connection.quiet_since = now
                due.append(connection)
        return due
