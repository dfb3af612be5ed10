"""Sums over all tenants and connections, for a scrape."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final, TypeVar

from gateway.core.connection import Connection
from gateway.core.log import Log
from gateway.core.manager import ConnectionManager, TenantIndex
from gateway.core.reserved_tenants import without_reserved

CONNECTIONS_AT_ONCE: Final = 5_000
TENANTS_AT_ONCE: Final = 250
"""The number of each that is examined in one iteration of the event loop: half a millisecond."""

T = TypeVar("T")


async def in_slices(items: Iterable[T], size: int) -> AsyncIterator[list[T]]:
    """The items as they are now, `size` at a time; between two slices the event loop goes on."""
    remaining = iter(list(items))
    some = list(islice(remaining, size))
    while some:
        yield some
        if some := list(islice(remaining, size)):
            await asyncio.sleep(0)


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
    async for tenants in in_slices(manager.tenants(), TENANTS_AT_ONCE):
        connections: list[Connection] = []
        for tenant in without_reserved(tenants):
            index = manager.of(tenant)
            totals.add_index(index)
            if not index.connections:
                continue
            staleness = log.staleness(tenant)
            totals.lag = max(totals.lag, inf if staleness is None else staleness)
            connections += index.connections.values()
        async for some in in_slices(connections, CONNECTIONS_AT_ONCE):
            totals.behind += sum(connection.offset is not None for connection in some)
    async for windows in in_slices(log.windows(), TENANTS_AT_ONCE):
        for window in windows:
            totals.log_events += len(window)
            totals.log_bytes += window.bytes
            totals.items += len(window.items)
            totals.item_bytes += window.items.bytes
    return totals
