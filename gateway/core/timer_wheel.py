"""Who is to be looked at when: one second each, so that keeping it costs the same for ten and for ten thousand."""

from collections.abc import Hashable, Iterator
from math import ceil
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class TimerWheel(Generic[K]):
    """One appointment for each key, by the second in which it falls."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[K, None]] = {}
        self._when: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._when)

    def set(self, key: K, at: float) -> None:
        """Look at `key` at `at` (seconds since the epoch, rounded up) and not when it was set before."""
        self.forget(key)
        second = ceil(at)
        self._when[key] = second
        self._seconds.setdefault(second, {})[key] = None

    def forget(self, key: K) -> None:
        second = self._when.pop(key, None)
        if second is not None:
            keys = self._seconds[second]
            del keys[key]
            if not keys:
                del self._seconds[second]

    def due(self, now: float) -> Iterator[K]:
        """Those whose time has come; each is taken off as its turn comes, so that a fault with one costs no other."""
        for second in sorted(second for second in self._seconds if second <= now):
            for key in list(self._seconds.get(second, ())):
                if self._when.get(key) == second:
                    self.forget(key)
                    yield key
