"""The adaptive batch limit: how much one round trip to Redis may carry."""

from typing import Final

_QUICK: Final = 0.3
"""The fraction of its deadline within which a full round trip doubles the next one, which then meets its deadline
too."""


class BatchLimit:
    """Doubles while full round trips are quick; falls to a quarter when one has missed its deadline. So a link of any
    throughput makes progress within `seconds`, and a fast one loses no time to round trips.

    `size` is in bytes or in items. At `min_size` the deadline grows instead, up to `patience` seconds.
    """

    def __init__(self, min_size: int, max_size: int, seconds: float, patience: float) -> None:
        self.size = max_size // 4
        self.seconds = seconds
        self._min_size = min_size
        self._max_size = max_size
        self._base = seconds
        self._patience = patience

    def succeeded(self, size: int, elapsed: float) -> None:
        """Record a round trip of `size` that took `elapsed` seconds. One that was not full does not measure the
        link."""
        if elapsed <= _QUICK * self.seconds and size * 2 >= self.size:
            self.seconds = max(self._base, self.seconds / 2)
            self.size = min(self._max_size, self.size * 2)

    def timed_out(self, answers: bool) -> None:
        """Record a timeout; with `answers` the server answers small commands, so the link is too slow."""
        if not answers:
            self.seconds = self._base
        elif self.size == self._min_size:
            self.seconds = min(self._patience, self.seconds * 2)
        self.size = max(self._min_size, self.size // 4)
