"""A timer wheel with buckets of one second."""

from collections.abc import Hashable, Iterator, Sequence
from math import ceil, floor
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class TimerWheel(Generic[K]):
    """One deadline for each key, rounded up to a whole second. If the clock goes back, keys are due later.

    `set` and `forget` are O(1). `due` is O(keys due + seconds since the last call), or O(buckets) where those are
    fewer; later deadlines cost nothing.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, dict[K, None]] = {}
        self._when: dict[K, int] = {}
        self._first = 0  # no bucket is before it

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: object) -> bool:
        return key in self._when

    def set(self, key: K, at: float) -> None:
        """Set the deadline of `key` (seconds), replacing an earlier one."""
        self.forget(key)
        second = ceil(at)
        self._when[key] = second
        self._seconds.setdefault(second, {})[key] = None
        self._first = min(self._first, second)

    def forget(self, key: K) -> None:
        second = self._when.pop(key, None)
        if second is not None:
            keys = self._seconds[second]
            del keys[key]
            if not keys:
                del self._seconds[second]

    def due(self, now: float) -> Iterator[K]:
        """The keys whose deadline has come; each is removed as it is yielded, so that an exception with one skips no
        other."""
        first, last = self._first, floor(now)
        if last < first:
            return
        seconds: Sequence[int] = range(first, last + 1)
        if len(seconds) > len(self._seconds):
            seconds = sorted(second for second in self._seconds if second <= now)
        self._first = reached = last + 1
        try:
            for second in seconds:
                reached = second
                for key in list(self._seconds.get(second, ())):
                    if self._when.get(key) == second:
                        self.forget(key)
                        yield key
            reached = last + 1
        finally:
            self._first = min(self._first, reached)
