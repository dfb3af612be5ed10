"""The rate limit of log lines by kind."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from gateway.core.rate_limit import RateLimiter

LINE_RATE: Final = RateLimiter(per_second=1.0, burst=20)
"""Enough for each refusal of an ordinary day; a flood writes one line a second, or some 20 MB a day."""

K = TypeVar("K", bound=Hashable)


class LineLimiter(Generic[K]):
    """A rate limiter for each kind of line, and a count of suppressed lines. Thread-safe.

    O(1) a line. Memory is O(kinds): kinds must be constants of the code, so that no client can add one. `timer` is
    seconds of a monotonic clock.
    """

    def __init__(self, rate: RateLimiter = LINE_RATE, timer: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._timer = timer
        self._lock = threading.Lock()
        self._full_at: dict[K, float] = {}
        self._suppressed: Counter[K] = Counter()
        self._taken_at = -math.inf

    def acquire(self, kind: K) -> bool:
        """Whether a line of this kind may be written; else it is counted as suppressed."""
        with self._lock:
            self._full_at[kind], wait = self._rate.acquire(self._full_at.get(kind, 0.0), self._timer())
            if wait:
                self._suppressed[kind] += 1
            return not wait

    def take_suppressed(self, interval: float = 0.0) -> Counter[K]:
        """Lines suppressed since the last call, by kind; none while that is less than `interval` seconds ago."""
        now = self._timer()
        if not self._suppressed or now - self._taken_at < interval:
            return Counter()
        with self._lock:
            self._taken_at = now
            suppressed, self._suppressed = self._suppressed, Counter()
        return suppressed
