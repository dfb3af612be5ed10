"""Reconnect delays: full jitter, what the gateway asked for, and the slot of a drain."""

from collections.abc import Callable
from typing import Final

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
"""Bounds of the backoff, in seconds; it doubles in between."""

STABLE: Final = 10.0
"""Seconds after which a connection counts as a success, and the backoff is reset."""


class Backoff:
    """When to come back, over all connections of a client. Times are seconds of any one clock; `chance` is from 0 to 1.

    Full jitter (a uniform share of the whole pause), so that clients that lost one node do not come back in one wave.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._attempt = 0
        self._established: float | None = None
        self._not_before = 0.0
        self._slot: float | None = None

    def established(self, now: float) -> None:
        self._established = now

    def not_before(self, when: float) -> None:
        """What an error asked for with `retry_after`."""
        self._not_before = max(self._not_before, when)

    def slot(self, when: float) -> None:
        """When a node that drains wants this client back, at the next node."""
        self._slot = when

    def lost(self, now: float) -> float:
        """The connection or attempt ended: how many seconds to wait. What was asked for counts once."""
        if self._established is not None and now - self._established >= STABLE:
            self._attempt = 0
        if self._slot is not None:
            wait = max(0.0, self._slot - now)
        else:
            wait = max(0.0, self._not_before - now) + self._chance() * min(
                LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._attempt
            )
        self._attempt = min(self._attempt + 1, 30)
        self._established = self._slot = None
        self._not_before = 0.0
        return wait
