"""Freshness of a subscription: as of when it has everything, and whether that can be relied on."""

from dataclasses import dataclass
from typing import Final

STALE_AFTER: Final = 45.0
"""Seconds without a mark after which a stream counts as stale: three of the gateway's default intervals."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """`as_of` is the gateway's time (RFC 3339) up to which the stream was last known to be complete; `age` the seconds
    since that was learned, by this machine's monotonic clock, so that a wrong wall clock does not matter; both are None
    before the first mark. `connected` is False while reconnecting; `degraded` is True while the gateway's log does not
    answer."""

    as_of: str | None
    age: float | None
    connected: bool
    degraded: bool

    @property
    def stale(self) -> bool:
        """Whether what is shown may lack events."""
        return not self.connected or self.degraded or self.age is None or self.age > STALE_AFTER
