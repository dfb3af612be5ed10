"""Housekeeping: periodic sweeps of expired tokens, revocations, log entries, ended connections, idle tenants and
unused counters."""

import asyncio
import logging
from typing import Final

from gateway.core.cluster import Cluster
from gateway.core.log import Log
from gateway.engine.connections import Connections
from gateway.engine.explain import Explain
from gateway.engine.publishing import Publishing
from gateway.engine.tasks import TaskSet
from gateway.engine.token_expiry import TokenExpiry
from gateway.telemetry.log_events import report_suppressed

TICK: Final = 0.5
"""Seconds between two sweeps."""

IDLE_SECONDS: Final = 30.0
"""Seconds for which the log of a tenant without connections here is still followed: its clients may be back soon."""

logger = logging.getLogger("gateway")


class Housekeeping:
    """The periodic sweeps of a running gateway, twice a second."""

    def __init__(
        self, connections: Connections, publishing: Publishing, explain: Explain, log: Log, cluster: Cluster
    ) -> None:
        self._connections = connections
        self._token_expiry = TokenExpiry(connections)
        self._publishing = publishing
        self._explain = explain
        self._log = log
        self._cluster = cluster
        self._tasks = TaskSet()

    @property
    def running(self) -> bool:
        return len(self._tasks) > 0

    def start(self) -> None:
        if not self.running:
            self._tasks.spawn(self._sweep_forever())

    async def stop(self) -> None:
        await self._tasks.cancel()

    def sweep(self) -> None:
        self._token_expiry.sweep(self._connections.clock())
        self._log.sweep()
        for tenant in self._connections.take_idle(IDLE_SECONDS):
            self._log.release(tenant)
        self._connections.sweep()
        self._publishing.sweep()
        self._explain.sweep()
        self._cluster.sweep()
        report_suppressed()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self.sweep()
            except Exception:
                logger.exception("a sweep failed; the next one follows")
