"""Counters of the busiest tenants, in bounded memory."""

from collections.abc import Collection
from heapq import heappush, heapreplace
from operator import sub
from typing import Final, NamedTuple

from gateway.core.log import Log
from gateway.core.manager import ConnectionManager
from gateway.core.reserved_tenants import without_reserved
from gateway.engine.metric_totals import TENANTS_AT_ONCE, in_slices

SHOWN: Final = 50
OTHER: Final = "other"
"""The name for all other tenants together. A tenant of this name is one of them."""

_LEAD: Final = 1.1
"""The factor by which a tenant must be busier than a shown one to take its place, so that they do not alternate."""


class TenantCounts(NamedTuple):
    """The counters of a tenant: opened connections, events appended at this node, events and bytes delivered."""

    connects: int = 0
    events: int = 0
    deliveries: int = 0
    delivery_bytes: int = 0

    @property
    def work(self) -> int:
        return self.events + self.deliveries

    def minus(self, other: "TenantCounts") -> "TenantCounts":
        return TenantCounts(*map(sub, self, other))


class BusiestTenants:
    """The tenants with most work since the start, at most `SHOWN`. A tenant that takes the place of another is counted
    from then on: its earlier counts stay in those of the others, so that no counter decreases and the sum is exact."""

    def __init__(self, manager: ConnectionManager, log: Log) -> None:
        self._manager = manager
        self._log = log
        self._before: dict[str, TenantCounts] = {}
        """The counts of each shown tenant when it was first shown."""

    async def collect(self) -> dict[str, TenantCounts]:
        """The counters of the shown tenants and of `OTHER`. O(tenants), in slices between which the event loop goes
        on."""
        before = dict(self._before)
        total, shown, busiest = await self._count(before)
        for work, tenant, counted in busiest:
            if len(before) < SHOWN:
                before[tenant], shown[tenant] = TenantCounts(), counted
                continue
            least = min(shown, key=lambda name: shown[name].work)
            if work <= shown[least].work * _LEAD:
                break  # the rest are less busy
            del before[least], shown[least]
            before[tenant], shown[tenant] = counted, counted
        self._before = before
        found = {tenant: counted.minus(before[tenant]) for tenant, counted in shown.items()}
        for counted in found.values():
            total = total.minus(counted)
        return {**found, OTHER: total}

    async def _count(
        self, chosen: Collection[str]
    ) -> tuple[TenantCounts, dict[str, TenantCounts], list[tuple[int, str, TenantCounts]]]:
        """The counts of all tenants together, of the chosen ones, and of the busiest of the rest."""
        total, shown = TenantCounts(), {}
        rest: list[tuple[int, str, TenantCounts]] = []
        tenants = {*self._manager.tenants(), *self._log.tenants()}
        async for some in in_slices(tenants, TENANTS_AT_ONCE):
            counts = {tenant: self._counts(tenant) for tenant in without_reserved(some)}
            total = TenantCounts(*map(sum, zip(total, *counts.values(), strict=True)))
            for tenant, counted in counts.items():
                if tenant in chosen:
                    shown[tenant] = counted
                elif tenant != OTHER:
                    ranked = (counted.work, tenant, counted)
                    if len(rest) < SHOWN:
                        heappush(rest, ranked)
                    elif ranked > rest[0]:
                        heapreplace(rest, ranked)
        return total, shown, sorted(rest, reverse=True)

    def _counts(self, tenant: str) -> TenantCounts:
        index = self._manager.of(tenant)
        delivered = index.delivered
        return TenantCounts(index.connections_seen, self._log.appended(tenant), delivered.events, delivered.bytes)
