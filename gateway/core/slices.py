"""Slices of a fan-out: that to a large room is divided, so that other tenants are served in between."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from gateway.core.connection import Connection
from gateway.core.manager import Recipients

SLICE_COST: Final = 500
"""Microseconds of one slice."""

ALONE_SLICE_COST: Final = 20_000
"""Microseconds of one slice while no other tenant has work: the first that then has some waits no longer, however large
the room. To 4,000 clients, four slices cost about a tenth more than one."""

RECIPIENT_COST: Final = 4
"""Microseconds of a write to one recipient, and one more for each 1,000 bytes."""


class Slices:
    """A fan-out that is divided while it is delivered. O(recipients) where it is divided, else O(batches)."""

    __slots__ = ("_fan_out", "_rest", "_taken")

    def __init__(self, fan_out: Iterable[Recipients]) -> None:
        self._fan_out = deque(fan_out)
        self._taken = 0  # of the recipients of the first batch
        self._rest: Iterator[Connection]

    def __bool__(self) -> bool:
        """Whether a slice is left."""
        return bool(self._fan_out)

    @property
    def first(self) -> int:
        """The first offset that is left."""
        return min(batch.first for batch, _ in self._fan_out)

    def take(self, alone: bool = False) -> list[Recipients]:
        """The next slice: it takes about `SLICE_COST`, or `ALONE_SLICE_COST`, and has a recipient at least."""
        part: list[Recipients] = []
        left = ALONE_SLICE_COST if alone else SLICE_COST
        while self._fan_out:
            batch, connections = self._fan_out[0]
            each = RECIPIENT_COST + len(batch.wire) // 1_000
            count = len(connections) - self._taken
            if count * each <= left or count == 1:
                part.append((batch, list(self._rest) if self._taken else connections))
                self._fan_out.popleft()
                self._taken = 0
            else:
                if not self._taken:
                    self._rest = iter(connections)
                count = max(left // each, 0 if part else 1)
                part.append((batch, list(islice(self._rest, count))))
                self._taken += count
                break
            left -= count * each
        return part
