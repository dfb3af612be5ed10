"""The drain schedule: one reconnect slot per client, against a thundering herd."""

from collections.abc import Callable
from math import ceil
from typing import Final

MIN_RECONNECT_SECONDS: Final = 1.0
"""The minimum delay for a client that connects during a drain: a restart takes about as long, and the load balancer has
taken the node out by then."""


def slots(count: int, seconds: float, rng: Callable[[], float]) -> list[float]:
    """One slot for each of `count` clients, in seconds from now: spread evenly over `seconds`, each at random within
    the first half of its share. `rng` returns 0 to 1.

    Half, so that two slots are at least half a share apart.
    """
    share = seconds / max(count, 1)
    return [(number + rng() / 2) * share for number in range(count)]


def reconnect_delay(left: float, rng: Callable[[], float]) -> float:
    """Seconds to wait for a client that connects while a drain has `left` seconds to go. Random, since the number of
    such clients is unknown."""
    return MIN_RECONNECT_SECONDS + rng() * max(left, 0.0)


def milliseconds(seconds: float) -> int:
    return max(0, ceil(seconds * 1000))
