"""Rate limits (GCRA, one float per key) and connection counts by key."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """A GCRA rate limit: `per_second` on average, `burst` at once. A rate of 0 is no limit."""

    per_second: float
    burst: int

    def acquire(self, full_at: float, now: float, cost: int = 1) -> tuple[float, float]:
        """Spend `cost`. Returns the new state, and the seconds to wait: 0 where it was granted.

        The state is one time, `full_at`: when the bucket is full again (GCRA's theoretical arrival time). It starts
        as 0. `now` is in seconds of a monotonic clock.
        """
        if self.per_second <= 0:
            return full_at, 0.0
        after = max(full_at, now) + cost / self.per_second
        wait = after - now - self.burst / self.per_second
        # A tolerance for float rounding: after months of uptime the last bit is worth 2 ns.
        return (after, 0.0) if wait <= 1e-6 else (full_at, wait)

    def charge(self, full_at: float, now: float, cost: float) -> float:
        """The state after `cost` more for a granted request; it may be a debt that later requests wait for."""
        return max(full_at, now) + cost / self.per_second if self.per_second > 0 else full_at


K = TypeVar("K", bound=Hashable)


class KeyedRateLimiter(Generic[K]):
    """One rate limit for each key: `rate`, or the key's own in `overrides`. All operations are O(1), `sweep` too:
    keys are kept in two generations, each as long as a bucket takes to fill, and the older one is dropped whole. So a
    full bucket takes memory for at most twice as long."""

    def __init__(self, rate: RateLimiter, overrides: Mapping[K, RateLimiter] | None = None) -> None:
        self.rate = rate
        self._overrides = overrides or {}
        rates = (rate, *self._overrides.values())
        self._full_seconds = max(each.burst / each.per_second if each.per_second > 0 else 0.0 for each in rates)
        self._full_at: dict[K, float] = {}
        self._older: dict[K, float] = {}
        self._turned_at = self._acquired_at = 0.0

    def acquire(self, key: K, now: float) -> float:
        """Spend one of `key`; the seconds to wait, 0 where it was granted."""
        rate = self._overrides.get(key, self.rate) if self._overrides else self.rate
        if rate.per_second <= 0:
            return 0.0
        known = self._full_at.get(key)
        full_at, wait = rate.acquire(self._older.get(key, 0.0) if known is None else known, now)
        if full_at > now:
            self._full_at[key] = full_at
            self._acquired_at = now
        return wait

    def __len__(self) -> int:
        return len(self._full_at) + len(self._older)

    def sweep(self, now: float) -> None:
        if now - self._acquired_at >= self._full_seconds:
            self._full_at, self._older = {}, {}
        elif now - self._turned_at >= self._full_seconds:
            self._turned_at, self._full_at, self._older = now, {}, self._full_at


class ConnectionCounter(Generic[K]):
    """A counter by key; a key at 0 takes no memory."""

    def __init__(self) -> None:
        self._counts: Counter[K] = Counter()

    def __getitem__(self, key: K) -> int:
        return self._counts[key]

    def __len__(self) -> int:
        return len(self._counts)

    def total(self) -> int:
        return self._counts.total()

    def add(self, key: K) -> None:
        self._counts[key] += 1

    def remove(self, key: K) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


@lru_cache(maxsize=4096)  # parsing an address costs more than the rate limit itself
def address_key(host: str) -> str:
    """The key of an address for rate limits: an IPv4 address, or the /64 of an IPv6 one, which one client controls."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
