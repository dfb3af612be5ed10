"""Cluster membership on Redis, under leases."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from redis.asyncio import Redis

from gateway.cluster.redis.context import Failures, MembersContext
from gateway.cluster.redis.poller import MembersPoller
from gateway.cluster.redis.publisher import MembersPublisher
from gateway.cluster.redis.totals import TotalsExchange
from gateway.core.members import MemberSource, OnChanges, RemoteMembers
from gateway.redis.incidents import IncidentLog, describe
from gateway.redis.keys import KeySpace
from gateway.redis.tasks import cancel_and_wait, supervise

LEASE: Final = 45.0
"""The lease of a node's members in seconds, renewed every third of it. The members of a killed node disappear within
lease, poll and leave grace: 60 s are guaranteed."""

logger = logging.getLogger("gateway.nodes")


class RedisMembers:
    """The `ClusterMembers` of nodes that share a Redis server. Each node writes its connections, and reads those of the
    others for tenants that are watched or requested here.

    `redis` returns bytes and does not retry. `timer` is seconds of a monotonic clock. Each process is a node, also
    where a server forks after loading the application.
    """

    def __init__(
        self,
        redis: "Redis",
        *,
        prefix: str,
        lease: float = LEASE,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        incidents = IncidentLog("connections of the nodes", logger)
        self.node = _new_name()
        self._process = os.getpid()
        self._context = MembersContext(redis, KeySpace(prefix), self.node, lease, timer, incidents)
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, source: MemberSource, on_changes: OnChanges) -> None:
        self._source, self._on_changes = source, on_changes
        totals = TotalsExchange(self._context, source)
        self._publisher = MembersPublisher(self._context, source, totals)
        self._poller = MembersPoller(self._context, self._publisher, totals, on_changes)

    async def start(self) -> None:
        if self._process != os.getpid():
            self._process, self.node = os.getpid(), _new_name()
            self._context = replace(self._context, node=self.node)
            self.attach(self._source, self._on_changes)
        self._tasks = [asyncio.create_task(supervise(work, logger)) for work in (self._publisher.run, self._poller.run)]

    async def stop(self) -> None:
        await self.abandon()
        try:
            await self._publisher.withdraw()
        except Failures as error:
            logger.warning("members could not be withdrawn; they expire with their lease: %s", describe(error))

    async def abandon(self) -> None:
        """Stop without withdrawing (simulates a crash)."""
        await cancel_and_wait(self._tasks)
        self._poller.stop()

    def changed(self, tenant: str, connection_id: str) -> None:
        self._publisher.changed(tenant, connection_id)

    def watch(self, tenant: str) -> None:
        self._poller.watch(tenant)

    def unwatch(self, tenant: str) -> None:
        self._poller.unwatch(tenant)

    def refresh(self, tenant: str) -> Awaitable[None] | None:
        return self._poller.refresh(tenant)

    def remote(self, tenant: str) -> RemoteMembers:
        return self._poller.remote(tenant)

    @property
    def partial(self) -> bool:
        return self._poller.failing or self._publisher.failing


def _new_name() -> str:
    return f"node_{secrets.token_hex(6)}"
