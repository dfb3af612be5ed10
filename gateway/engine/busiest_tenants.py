"""Counters of the busiest tenants, in bounded memory."""

import asyncio
from collections.abc import Collection
from heapq import heappush, heappushpop
from itertools import chain
from operator import add, sub
from typing import Final, NamedTuple

from gateway.core.log import Log
from gateway.core.manager import ConnectionManager
from gateway.core.reserved_tenants import without_reserved
from gateway.engine.metric_totals import SLICE

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

    def plus(self, other: "TenantCounts") -> "TenantCounts":
        return TenantCounts(*map(add, self, other))

    def minus(self, other: "TenantCounts") -> "TenantCounts":
        return TenantCounts(*map(sub, self, other))


class BusiestTenants:
    """The tenants with most work since the start, at most `SHOWN`. A tenant that takes the place of another is counted
    from then on: its earlier counts stay in those of the others, so that no counter decreases and the sum is exact."""

    def __init__(self, manager: ConnectionManager, log: Log) -> None:
        self._manager = manager
        self._log = log
        self._before: dict[str, TenantCounts] = {}
        """By shown tenant, its counts when it took its place."""

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
            if work > shown[least].work * _LEAD:
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
        tenants = dict.fromkeys(without_reserved(chain(self._manager.tenants(), self._log.tenants())))
        for number, tenant in enumerate(tenants, 1):
            index = self._manager.of(tenant)
            counted = TenantCounts(
                index.connections_seen, self._log.appended(tenant), index.delivered.events, index.delivered.bytes
            )
            total = total.plus(counted)
            if tenant in chosen:
                shown[tenant] = counted
            elif tenant != OTHER:
                push = heappush if len(rest) < SHOWN else heappushpop
                push(rest, (counted.work, tenant, counted))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return total, shown, sorted(rest, reverse=True)
