"""Sums over all tenants and connections, for a scrape."""

import asyncio
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final

from gateway.core.log import Log
from gateway.core.manager import ConnectionManager, TenantIndex
from gateway.core.reserved_tenants import without_reserved

SLICE: Final = 5_000
"""Connections or tenants that are examined in one iteration of the event loop: half a millisecond."""


@dataclass(slots=True)
class Totals:
    """The sums over all tenants; reserved ones are counted in `log_events` and what follows it alone. `lag` is the
    longest time in seconds since the head of a tenant's log was known, of tenants with connections; infinite while it
    is not known."""

    websockets: int = 0
    streams: int = 0
    behind: int = 0
    opened: int = 0
    deliveries: int = 0
    delivered_bytes: int = 0
    log_events: int = 0
    log_bytes: int = 0
    items: int = 0
    item_bytes: int = 0
    lag: float = 0.0

    @property
    def ended(self) -> int:
        """The number of connections that were opened and have ended."""
        return self.opened - self.websockets - self.streams

    def add_index(self, index: TenantIndex) -> None:
        """Add the counts of a tenant, without those by connection."""
        streams = len(index.streams)
        self.streams += streams
        self.websockets += len(index.connections) - streams
        self.opened += index.connections_seen
        self.deliveries += index.delivered.events
        self.delivered_bytes += index.delivered.bytes


async def sum_up(manager: ConnectionManager, log: Log) -> Totals:
    """The sums as of now: O(connections + tenants), in slices between which the event loop goes on."""
    totals = Totals()
    examined = 0
    for tenant in list(without_reserved(manager.tenants())):
        index = manager.of(tenant)
        totals.add_index(index)
        if index.connections:
            staleness = log.staleness(tenant)
            totals.lag = max(totals.lag, inf if staleness is None else staleness)
        remaining = iter(list(index.connections.values()))
        while some := list(islice(remaining, SLICE)):
            totals.behind += sum(connection.offset is not None for connection in some)
            examined += len(some)
            if examined >= SLICE:
                examined = 0
                await asyncio.sleep(0)
        examined += 1
    for number, window in enumerate(list(log.windows()), 1):
        totals.log_events += len(window)
        totals.log_bytes += window.bytes
        totals.items += len(window.items)
        totals.item_bytes += window.items.bytes
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return totals
