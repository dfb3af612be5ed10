"""The adaptive size of a batch: how much a round trip to Redis may carry so that it ends in time."""

from typing import Final

_QUICK: Final = 0.3
"""The part of its deadline within which a round trip may double the next one: that then ends in time as well."""


class BatchLimit:
    """Grows twofold while round trips that were full are quick; falls to a quarter when one has missed its deadline.
    So a line of any throughput carries something within `seconds`, and a good one loses no time to round trips.

    `size` is in bytes or what else grows with them. At `least` it is the deadline that grows, up to `patience` seconds.
    """

    def __init__(self, least: int, most: int, seconds: float, patience: float) -> None:
        self.size = most // 4
        self.seconds = seconds
        self._least = least
        self._most = most
        self._base = seconds
        self._patience = patience

    def succeeded(self, size: int, elapsed: float) -> None:
        """A round trip of `size` took `elapsed` seconds. One that was not full says nothing of the line."""
        if elapsed <= _QUICK * self.seconds and size * 2 >= self.size:
            self.seconds = max(self._base, self.seconds / 2)
            self.size = min(self._most, self.size * 2)

    def timed_out(self, answers: bool) -> None:
        """A round trip was late; `answers` where the server does to small commands, so that the line must be slow."""
        if not answers:
            self.seconds = self._base
        elif self.size == self._least:
            self.seconds = min(self._patience, self.seconds * 2)
        self.size = max(self._least, self.size // 4)
