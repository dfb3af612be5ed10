"""Horizons: the rounds of catch-up under way in a window, and the superseded entries that they still need."""

from bisect import bisect_left
from typing import Final

LEASE_SECONDS: Final = 60.0
"""The lease of a horizon: without a renewal by a round it is released, since its clients are gone, or read nothing."""

MAX_HORIZONS: Final = 32


class Horizons:
    """The offsets up to which rounds of catch-up go, by how many, each taken for the time until it is renewed.

    Rounds share horizons, so that there are few, and at most `MAX_HORIZONS`: beyond that the lowest is released early.
    All is O(horizons in use).
    """

    __slots__ = ("_held", "_now", "newest")

    def __init__(self) -> None:
        self._held: dict[int, tuple[int, float]] = {}
        self._now = 0.0
        self.newest = 0
        """The highest horizon in use, 0 without one; read for every keyed event."""

    def take(self, after: int, head: int) -> int:
        """The horizon of a round that begins after the offset `after`: one in use where it is ahead, else the head."""
        horizon = self.newest
        return self.hold(horizon if horizon > after else head)

    def hold(self, horizon: int) -> int:
        """Start a round up to this offset."""
        if len(self._held) >= MAX_HORIZONS and horizon not in self._held:
            self.release_oldest()
        count, at = self._held.get(horizon, (0, self._now))
        self._held[horizon] = (count + 1, at)
        self.newest = max(self.newest, horizon)
        return horizon

    def renew(self, horizon: int, head: int, now: float) -> int:
        """Renew the lease of a round at `now`, in seconds of a monotonic clock; returns its horizon, which is a later
        one where its own was released early."""
        self._now = now
        if horizon not in self._held:
            later = sorted(self._held)
            at = bisect_left(later, horizon)
            horizon = self.hold(later[at] if at < len(later) else head)
        self._held[horizon] = (self._held[horizon][0], now)
        return horizon

    def release(self, horizon: int) -> None:
        """Release a round, ended or given up."""
        count, at = self._held.get(horizon, (1, 0.0))
        if count > 1:
            self._held[horizon] = (count - 1, at)
        else:
            self._drop(horizon)

    def expire(self) -> None:
        """Release the horizons whose lease has expired."""
        for horizon in [h for h, (_, at) in self._held.items() if at < self._now - LEASE_SECONDS]:
            self._drop(horizon)

    def release_oldest(self) -> None:
        """Release the lowest: its rounds take a later one."""
        if self._held:
            self._drop(min(self._held))

    def need(self, offset: int, until: int) -> bool:
        """Whether a round under way ends at `offset` or later, but before `until`."""
        return any(offset <= horizon < until for horizon in self._held)

    def _drop(self, horizon: int) -> None:
        self._held.pop(horizon, None)
        self.newest = max(self._held, default=0)
