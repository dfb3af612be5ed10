"""Usage: what each tenant has used in each hour at this node, for those who bill."""

import asyncio
import logging
from collections.abc import Iterator
from heapq import heapify, heappop
from itertools import chain
from operator import add, sub
from typing import Final, NamedTuple

from gateway.core.log import Log
from gateway.core.reserved_tenants import without_reserved
from gateway.engine.connections import Connections
from gateway.engine.metric_totals import SLICE

KEPT_HOURS: Final = 168
MAX_ROWS: Final = 100_000
"""The number of pairs of tenant and hour that are kept: the oldest hours go first."""

_HOUR: Final = 3_600
_CHECK_SECONDS: Final = 30.0
"""Seconds between two looks at the clock, which may be set."""

logger = logging.getLogger("gateway")


class Usage(NamedTuple):
    """The usage of a tenant: connections times their seconds, events appended to the log by this node, events written
    to its clients, and the bytes of their frames."""

    connection_seconds: float = 0.0
    events: int = 0
    deliveries: int = 0
    bytes: int = 0

    def plus(self, other: "Usage") -> "Usage":
        return Usage(*map(add, self, other))

    def minus(self, other: "Usage") -> "Usage":
        return Usage(*map(sub, self, other))


class UsageRow(NamedTuple):
    """The usage of a tenant in the hour that starts at `hour`, seconds since the epoch."""

    hour: int
    tenant: str
    usage: Usage


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
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch for the turn of the hour on this event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def turn(self) -> None:
        """Close the hour if the clock is in another one."""
        hour, now = self._hour, self._hour_now()
        if hour == now:
            return
        self._hour = now
        rows = self._hours.setdefault(hour, {})
        for number, tenant in enumerate(list(self._tenants()), 1):
            counted = self._count(tenant)
            used = counted.minus(self._before.get(tenant, Usage()))
            if any(used):
                rows[tenant] = rows.get(tenant, Usage()).plus(used)
                self._before[tenant] = counted
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._trim()

    def rows(self, tenant: str | None, after: tuple[int, str]) -> Iterator[UsageRow]:
        """The rows after an hour and a tenant, in this order, of one tenant or of all; the last hour goes on. The first
        k of n later ones in an hour take O(n + k log n)."""
        hours = {**self._hours, self._hour: self._hours.get(self._hour, {})}
        for hour in sorted(each for each in hours if each * _HOUR >= after[0]):
            current = hour == self._hour
            names = {*hours[hour], *(self._tenants() if current else ())} if tenant is None else {tenant}
            later = [name for name in names if (hour * _HOUR, name) > after]
            heapify(later)
            while later:
                name = heappop(later)
                used = hours[hour].get(name, Usage())
                if current:
                    used = used.plus(self._count(name).minus(self._before.get(name, Usage())))
                if any(used):
                    yield UsageRow(hour * _HOUR, name, used)

    async def _run(self) -> None:
        while True:
            left = _HOUR - self._connections.clock() % _HOUR
            await asyncio.sleep(min(left, _CHECK_SECONDS))
            try:
                await self.turn()
            except Exception:
                logger.exception("the usage of an hour could not be taken; it counts to the next one")

    def _tenants(self) -> dict[str, None]:
        return dict.fromkeys(without_reserved(chain(self._connections.manager.tenants(), self._log.tenants())))

    def _count(self, tenant: str) -> Usage:
        index = self._connections.manager.of(tenant)
        seconds = index.connection_seconds + len(index.connections) * self._connections.timer()
        return Usage(seconds, self._log.appended(tenant), index.delivered.events, index.delivered.bytes)

    def _trim(self) -> None:
        """Drop the oldest hours, which are first unless the clock was set back."""
        hours = self._hours
        while len(hours) > KEPT_HOURS or sum(map(len, hours.values())) > MAX_ROWS:
            del hours[min(hours)]

    def _hour_now(self) -> int:
        return int(self._connections.clock()) // _HOUR
