"""Reconnect delays: full jitter, `retry_after`, and drain slots."""

from collections.abc import Callable
from typing import Final

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
"""Bounds of the backoff, in seconds; it doubles in between."""

STABLE: Final = 10.0
"""Seconds after which a connection counts as stable and resets the backoff."""


class Backoff:
    """The reconnect delay over all connections of a client. Times are seconds of a monotonic clock; `chance` returns a
    number from 0 to 1.

    Full jitter (a uniform share of the whole pause), so that the clients of a lost node do not return as a herd.
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
        """Set the earliest time of the next attempt, from `retry_after` of an error."""
        self._not_before = max(self._not_before, when)

    def slot(self, when: float) -> None:
        """Set the time of the next attempt, from `reconnect_after_ms` of a draining node."""
        self._slot = when

    def lost(self, now: float) -> float:
        """The seconds to wait after a connection or attempt ended. Clears slot and earliest time."""
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
