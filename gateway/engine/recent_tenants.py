"""The tenants with most work in this hour, for operators who look for the cause of a load."""

from heapq import nlargest

from gateway.core.manager import ConnectionManager
from gateway.core.usage import Usage
from gateway.engine.busiest_tenants import OTHER, SHOWN
from gateway.engine.fair_share import FairShare
from gateway.engine.metric_totals import TENANTS_AT_ONCE, in_slices
from gateway.engine.usage import UsageMeter
from schemas.operations import TenantWork


class RecentTenants:
    """The tenants of this node with most events and deliveries since the hour began, at most `SHOWN`, and the rest
    together. By work since the start a tenant that has just begun to flood would long not be among them."""

    def __init__(self, manager: ConnectionManager, meter: UsageMeter, shares: FairShare) -> None:
        self._manager = manager
        self._meter = meter
        self._shares = shares

    async def collect(self) -> dict[str, TenantWork]:
        """Each tenant's work, with counters since the start. O(tenants), in slices between which the event loop goes
        on."""
        total, connections = Usage(), 0
        ranked: list[tuple[int, int, str]] = []
        async for tenants in in_slices(self._meter.tenants(self._meter.hour), TENANTS_AT_ONCE):
            for tenant in tenants:
                row = self._meter.row(self._meter.hour, tenant)
                here = len(self._manager.of(tenant).connections)
                total, connections = total.plus(self._meter.count(tenant)), connections + here
                if row is not None and tenant != OTHER:
                    ranked.append((row.usage.events + row.usage.deliveries, here, tenant))
        found: dict[str, TenantWork] = {}
        for _, here, tenant in nlargest(SHOWN, ranked):
            counted = self._meter.count(tenant)
            total, connections = total.minus(counted), connections - here
            found[tenant] = _work(counted, here, self._shares.waiting(tenant))
        return {**found, OTHER: _work(total, connections, 0.0)}


def _work(counted: Usage, connections: int, waiting: float) -> TenantWork:
    return TenantWork(
        events=counted.events, deliveries=counted.deliveries, connections=connections, waiting=round(waiting, 3)
    )
