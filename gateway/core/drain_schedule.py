"""When each client leaves a node that is about to end."""

from collections.abc import Callable
from math import ceil
from typing import Final

MIN_RECONNECT_SECONDS: Final = 1.0
"""The least after which somebody who came during a drain is to try again: a restart takes as long, and a load balancer
has then heard that this node takes nobody."""


def slots(count: int, seconds: float, rng: Callable[[], float]) -> list[float]:
    """Seconds from the beginning for each of `count` clients: spread evenly over `seconds`, each somewhere in the first
    half of its share of them. `rng` returns 0 to 1.

    Half, so that no two fall together: two slots are at least half a share apart.
    """
    share = seconds / max(count, 1)
    return [(number + rng() / 2) * share for number in range(count)]


def reconnect_delay(left: float, rng: Callable[[], float]) -> float:
    """Seconds until somebody who came while a drain has `left` to go is to try again: nobody knows how many will come,
    so that only a random delay keeps them apart."""
    return MIN_RECONNECT_SECONDS + rng() * max(left, 0.0)


def milliseconds(seconds: float) -> int:
    return max(0, ceil(seconds * 1000))
