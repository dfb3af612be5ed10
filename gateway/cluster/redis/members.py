"""`ClusterMembers` of nodes that meet on Redis."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from gateway.cluster.redis.poller import MembersPoller
from gateway.cluster.redis.publisher import Failures, MembersPublisher
from gateway.core.roster import OnChanges, Others, Source
from gateway.redis.tasks import end, for_ever

LEASE: Final = 45.0
"""Seconds until the connections of a node that was killed are gone, told anew every third of it; and a few more until
that is read and its grace over: 60 are promised."""

logger = logging.getLogger("gateway.nodes")


class RedisMembers:
    """Each node writes its connections, and reads those of the others for tenants that somebody here asks about.

    `redis` answers in bytes and does not retry. `timer` is seconds of a clock that never goes back.
    """

    def __init__(
        self, redis: "Redis", *, prefix: str, lease: float = LEASE, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.node = f"node_{secrets.token_hex(6)}"
        self._redis = redis
        self._options: dict[str, Any] = {"prefix": prefix, "lease": lease, "timer": timer}
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, source: Source, on_changes: OnChanges) -> None:
        self._announcer = MembersPublisher(self._redis, self.node, source, **self._options)
        self._reader = MembersPoller(self._redis, self.node, on_changes, **self._options)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(for_ever(work, logger)) for work in (self._announcer.run, self._reader.run)]

    async def stop(self) -> None:
        await self.abandon()
        try:
            await self._announcer.farewell()
        except Failures as error:
            logger.warning("the other nodes will miss this one by themselves: %s", type(error).__name__)

    async def abandon(self) -> None:
        """End without a word, as if killed: the others find out when the lease is over."""
        await end(self._tasks)
        self._tasks.clear()

    def changed(self, tenant: str, connection_id: str) -> None:
        self._announcer.changed(tenant, connection_id)

    def watch(self, tenant: str) -> None:
        self._reader.watch(tenant)

    def unwatch(self, tenant: str) -> None:
        self._reader.unwatch(tenant)

    def look(self, tenant: str) -> Awaitable[None] | None:
        return self._reader.look(tenant)

    def others(self, tenant: str) -> Others:
        return self._reader.others(tenant)

    @property
    def partial(self) -> bool:
        return self._reader.failing
