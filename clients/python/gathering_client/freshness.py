"""Freshness of a subscription: up to which time it is complete."""

from dataclasses import dataclass
from typing import Final

STALE_AFTER: Final = 45.0
"""Seconds without a mark after which a stream counts as stale: three of the gateway's default intervals."""


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
