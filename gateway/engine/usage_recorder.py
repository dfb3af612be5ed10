"""The recording of usage in the store of the cluster, so that it outlives its node."""

import asyncio
import logging
from typing import Final

from gateway.core.errors import LogUnavailable
from gateway.core.usage import ROWS_AT_ONCE, Usage, UsageRow, UsageStore
from gateway.engine.metric_totals import TENANTS_AT_ONCE, in_slices
from gateway.engine.usage import UsageMeter

INTERVAL: Final = 5.0
"""Seconds between two records, and between two looks at the clock, which may be set."""

logger = logging.getLogger("gateway")


class UsageRecorder:
    """Closes the hours of a meter, and records each row that has changed, every few seconds and at the stop. A record
    looks at all tenants, in slices between which the event loop goes on; what it remembers is O(tenants)."""

    def __init__(self, meter: UsageMeter, store: UsageStore) -> None:
        self._meter = meter
        self._store = store
        self._recorded: dict[int, dict[str, Usage]] = {}
        """By hour and tenant, the usage that the store has, of hours that are not `_closed`."""
        self._closed: set[int] = set()
        """The hours that have ended and are recorded."""
        self._lost = False
        """Whether the store has lost something of it."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Record on this event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Record for a last time."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._step()

    async def record(self) -> None:
        """Record what has changed, and everything where the store has lost its data. Raises `LogUnavailable`."""
        for _ in range(2 if self._store.durable else 0):
            if self._lost:
                self._recorded, self._closed, self._lost = {}, set(), False
            await self._record()
            if not self._lost:
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(self._meter.seconds_left(), INTERVAL))
            await self._step()

    async def _step(self) -> None:
        try:
            await self._meter.turn()
            await self.record()
        except LogUnavailable:
            return  # the store has logged it; the next record has everything
        except Exception:
            logger.exception("the usage could not be recorded; it is with the next record")

    async def _record(self) -> None:
        self._lost |= not await self._store.record(())  # else an idle node would not notice
        hours = self._meter.hours()
        self._closed.intersection_update(hours)
        for hour in hours:
            going_on = hour == self._meter.hour
            if going_on:
                self._closed.discard(hour)
            if hour not in self._closed:
                await self._record_hour(hour)
            if not going_on:
                self._recorded.pop(hour, None)
                self._closed.add(hour)

    async def _record_hour(self, hour: int) -> None:
        recorded = self._recorded.setdefault(hour, {})
        changed: list[UsageRow] = []
        async for tenants in in_slices(self._meter.tenants(hour), TENANTS_AT_ONCE):
            for tenant in tenants:
                row = self._meter.row(hour, tenant)
                if row is not None and row.usage != recorded.get(tenant):
                    changed.append(row)
                if len(changed) == ROWS_AT_ONCE:
                    await self._write(changed, recorded)
                    changed = []
        if changed:
            await self._write(changed, recorded)

    async def _write(self, rows: list[UsageRow], recorded: dict[str, Usage]) -> None:
        self._lost |= not await self._store.record(rows)
        recorded.update((row.tenant, row.usage) for row in rows)
