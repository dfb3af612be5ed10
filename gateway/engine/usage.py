"""Usage: what each tenant has used in each hour at this node, for those who bill."""

from collections.abc import Collection, Iterator
from heapq import heapify, heappop
from itertools import chain
from typing import Final

from gateway.core.log import Log
from gateway.core.reserved_tenants import without_reserved
from gateway.core.usage import KEPT_HOURS, Place, Usage, UsageRow
from gateway.engine.connections import Connections
from gateway.engine.metric_totals import TENANTS_AT_ONCE, in_slices

MAX_ROWS: Final = 100_000
"""The number of pairs of tenant and hour that are kept: the oldest hours go first."""

HOUR: Final = 3_600


class UsageMeter:
    """Takes each tenant's counts at the turn of an hour. Memory is O(tenants), and at most `MAX_ROWS` for the hours; a
    turn costs O(tenants), in slices between which the event loop goes on. Nothing is counted for it but the seconds of
    connections, when they open and close."""

    def __init__(self, connections: Connections, log: Log) -> None:
        self._connections = connections
        self._log = log
        self._hour = self._hour_now()
        self._hours: dict[int, dict[str, Usage]] = {}
        self._before: dict[str, Usage] = {}
        """By tenant, its counts at the beginning of this hour."""

    async def turn(self) -> None:
        """Close the hour if the clock is in another one."""
        hour, now = self._hour, self._hour_now()
        if hour == now:
            return
        self._hour = now
        rows = self._hours.setdefault(hour, {})
        async for tenants in in_slices(self._tenants(), TENANTS_AT_ONCE):
            for tenant in tenants:
                counted = self.count(tenant)
                used = counted.minus(self._before.get(tenant, Usage()))
                if any(used):
                    rows[tenant] = rows.get(tenant, Usage()).plus(used)
                    self._before[tenant] = counted
        self._trim()

    def rows(self, tenant: str | None, after: Place) -> Iterator[UsageRow]:
        """The rows after a place, of one tenant or of all; the last hour goes on. The first k of n later ones in an
        hour take O(n + k log n)."""
        for hour in self.hours():
            if hour >= after[0]:
                names = self.tenants(hour) if tenant is None else (tenant,)
                later = [name for name in names if (hour, name) > after]
                heapify(later)
                while later:
                    if (row := self.row(hour, heappop(later))) is not None:
                        yield row

    def hours(self) -> list[int]:
        """The hours that are kept, in their order, and the one that goes on."""
        return [hour * HOUR for hour in sorted({*self._hours, self._hour})]

    @property
    def hour(self) -> int:
        """The hour that goes on."""
        return self._hour * HOUR

    def tenants(self, hour: int) -> Collection[str]:
        """The tenants that may have used something in the hour."""
        rows = self._hours.get(hour // HOUR, {})
        return {*rows, *self._tenants()} if hour == self.hour else rows

    def row(self, hour: int, tenant: str) -> UsageRow | None:
        """The usage of a tenant in an hour; None where there is none."""
        used = self._hours.get(hour // HOUR, {}).get(tenant, Usage())
        if hour == self.hour:
            used = used.plus(self.count(tenant).minus(self._before.get(tenant, Usage())))
        return UsageRow(hour, tenant, used) if any(used) else None

    def seconds_left(self) -> float:
        """Seconds until the hour that goes on is over."""
        return HOUR - self._connections.clock() % HOUR

    def _tenants(self) -> dict[str, None]:
        return dict.fromkeys(without_reserved(chain(self._connections.manager.tenants(), self._log.tenants())))

    def count(self, tenant: str) -> Usage:
        """The counts of a tenant since the start; seconds of open connections are those of the timer."""
        index = self._connections.manager.of(tenant)
        seconds = index.connection_seconds + len(index.connections) * self._connections.timer()
        return Usage(seconds, self._log.appended(tenant), index.delivered.events, index.delivered.bytes)

    def _trim(self) -> None:
        """Drop the oldest hours, which are first unless the clock was set back."""
        hours = self._hours
        while len(hours) > KEPT_HOURS or sum(map(len, hours.values())) > MAX_ROWS:
            del hours[min(hours)]

    def _hour_now(self) -> int:
        return int(self._connections.clock()) // HOUR
