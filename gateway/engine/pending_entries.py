"""Entries of the log that wait for their fan-out: those of one iteration of the event loop, or coalesced of several."""

from collections.abc import Callable
from typing import Final

from gateway.core.window import Entry

SLOW_FAN_OUT: Final = 0.000_25
"""Fan-outs slower than this many seconds are coalesced. One more loop iteration costs about 10 us."""

MAX_COALESCE: Final = 0.005
"""The longest coalescing delay in seconds; never more than the last fan-out of the tenant took."""


class _Pending:
    """The entries of one tenant, the first of them `since` a time of the timer; `seen` of them in the last
    iteration."""

    __slots__ = ("entries", "seen", "since")

    def __init__(self, entry: Entry, since: float) -> None:
        self.entries = [entry]
        self.since = since
        self.seen = 0


class PendingEntries:
    """The entries that are not being delivered yet, in order for each tenant. `bytes` are those of their frames.
    `timer` is seconds of a monotonic clock."""

    __slots__ = ("_tenants", "_timer", "bytes")

    def __init__(self, timer: Callable[[], float]) -> None:
        self._tenants: dict[str, _Pending] = {}
        self._timer = timer
        self.bytes = 0

    def __len__(self) -> int:
        """The number of tenants with entries."""
        return len(self._tenants)

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._tenants

    def tenants(self) -> list[str]:
        return list(self._tenants)

    def add(self, tenant: str, entry: Entry) -> bool:
        """Add the newest entry of a tenant; returns whether it is the only one."""
        self.bytes += len(entry.frame)
        pending = self._tenants.get(tenant)
        if pending is None:
            self._tenants[tenant] = _Pending(entry, self._timer())
            return True
        pending.entries.append(entry)
        return False

    def first(self, tenant: str) -> int:
        """The offset of the tenant's first entry."""
        return self._tenants[tenant].entries[0].offset

    def gather(self, tenant: str, fan_out_seconds: float) -> bool:
        """Whether a tenant whose fan-outs take so long waits for the entries of another iteration. Called in each of
        them."""
        pending = self._tenants[tenant]
        count = len(pending.entries)
        if (
            fan_out_seconds <= SLOW_FAN_OUT
            or count == pending.seen
            or self._timer() - pending.since >= min(fan_out_seconds, MAX_COALESCE)
        ):
            return False
        pending.seen = count
        return True

    def take(self, tenant: str) -> tuple[list[Entry], float]:
        """Remove the entries of a tenant; returns them, and the time of the first of them."""
        pending = self._tenants.pop(tenant)
        self.bytes = self.bytes - sum(len(entry.frame) for entry in pending.entries) if self._tenants else 0
        return pending.entries, pending.since
