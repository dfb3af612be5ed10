"""Freshness of a subscription: up to which time it is complete."""

from dataclasses import dataclass
from typing import Final

STALE_AFTER: Final = 45.0
"""Seconds without a mark after which a stream counts as stale: three of the gateway's default intervals."""


class FreshnessTracker:
    """The marks of a stream, and whether the gateway's log answers."""

    def __init__(self) -> None:
        self.as_of: str | None = None
        self.degraded = False
        self._at: float | None = None

    def mark(self, as_of: str, now: float) -> None:
        self.as_of, self._at = as_of, now

    def at(self, now: float, connected: bool) -> "Freshness":
        age = None if self._at is None else now - self._at
        return Freshness(self.as_of, age, connected, self.degraded)


@dataclass(frozen=True, slots=True)
class Freshness:
    """The freshness of a subscription. `as_of` is the gateway's time (RFC 3339) up to which the stream was last known
    to be complete, and `age` the seconds since then by this machine's monotonic clock, so that wall clocks do not
    matter; both are None before the first mark. `connected` is False while reconnecting; `degraded` is True while the
    gateway's log does not answer."""

    as_of: str | None
    age: float | None
    connected: bool
    degraded: bool

    @property
    def stale(self) -> bool:
        """Whether events may be missing from what is shown."""
        return not self.connected or self.degraded or self.age is None or self.age > STALE_AFTER
