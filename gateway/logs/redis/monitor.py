"""The health monitor of the log on Redis: heartbeats, and a comparison of windows with the streams."""

import asyncio
from typing import Final

from redis.exceptions import ReadOnlyError

from gateway.logs.redis.context import RedisContext
from gateway.logs.redis.follower import Follower
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, TimeoutErrors
from gateway.redis.deadlines import Deadline

CHECK_INTERVAL: Final = 1.0
"""Seconds between two checks; an entry that pub/sub lost is found by the next comparison of heads."""

DEGRADED_SECONDS: Final = 2.5
"""Seconds without an answer until the log counts as degraded; with a check every second, and a second for it to fail,
clients are notified within 5 s."""

_COMPARE_SECONDS: Final = 0.5
_COMPARED_AT_ONCE: Final = 512
_HEARTBEAT_TTL: Final = 10


class HealthMonitor:
    """Notifies the log's listener when Redis stops answering or taking writes, and when it works again."""

    def __init__(self, context: RedisContext, follower: Follower) -> None:
        self.degraded = False
        self._context = context
        self._redis = context.redis
        self._follower = follower
        self._timer = context.timer
        self._incidents = context.incidents
        self._next = 0
        self._limit = BatchLimit(1, _COMPARED_AT_ONCE, _COMPARE_SECONDS, _COMPARE_SECONDS)
        self._answered_at = self._timer()

    def mark_alive(self) -> None:
        """Record that Redis has taken a write."""
        self._answered_at = self._timer()

    async def run(self) -> None:
        self.mark_alive()
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            run: bytes | None = None
            try:
                async with Deadline(COMMAND_SECONDS):
                    run, refusal = await self._probe()
                if refusal is not None:
                    raise refusal
            except Exception as error:
                self._incidents.failed("checked", error)
            else:
                self._incidents.recovered("checked")
                self.mark_alive()
            self._update_status()
            if run is not None:
                await self._compare(run)

    async def _probe(self) -> tuple[bytes, Exception | None]:
        """Write and publish a heartbeat. Returns the `run_id` of the server, and the error of the write, if any."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(self._context.heartbeat, "1", ex=_HEARTBEAT_TTL)
            pipeline.publish(self._context.heartbeat, "1")
            pipeline.time()
            pipeline.info("server")
            written, published, time, server = await pipeline.execute(raise_on_error=False)
        for answer in (time, server):
            if isinstance(answer, Exception):
                raise answer
        self._context.clock.sync(time[0] + time[1] / 1e6)
        if isinstance(written, ReadOnlyError):
            # The server has become a replica: reconnect, since its name may resolve to the new primary.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        refusals = (answer for answer in (written, published) if isinstance(answer, Exception))
        return server["run_id"].encode(), next(refusals, None)

    async def _compare(self, run: bytes) -> None:
        """Compare the heads of followed tenants with those in Redis: round robin, as many as half a second allows."""
        tenants = list(self._follower.followed)
        begun, compared = self._timer(), 0
        while compared < len(tenants) and self._timer() - begun < _COMPARE_SECONDS / 2:
            start = self._next if self._next < len(tenants) else 0
            some = tenants[start : start + self._limit.size]
            sent = self._timer()
            try:
                async with Deadline(self._limit.seconds):
                    await self._compare_heads(some, run)
            except TimeoutErrors:
                self._limit.timed_out(answers=True)
                return
            except Exception as error:
                self._incidents.failed("compared", error)
                return
            self._incidents.recovered("compared")
            self._limit.succeeded(len(some), self._timer() - sent)
            self._next = start + len(some)
            compared += len(some)

    async def _compare_heads(self, tenants: list[str], run: bytes) -> None:
        fields, owner = ["epoch", "offset"], []
        if self._context.trust != "1":
            fields, owner = ["epoch", "offset", "run"], [run]
        asked_at = self._timer()
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hmget(self._context.keys.log(tenant)[1], fields)
            heads = await pipeline.execute(raise_on_error=False)
        for tenant, head in zip(tenants, heads, strict=True):
            if (followed := self._follower.followed.get(tenant)) is not None:
                here = [followed.window.epoch.hex().encode(), b"%d" % followed.window.head, *owner]
                if followed.stale or head != here:
                    self._follower.mark_stale(tenant, followed)
                else:
                    followed.head_known_at = asked_at

    def _update_status(self) -> None:
        degraded = self._timer() - self._answered_at >= DEGRADED_SECONDS
        if degraded != self.degraded:
            self.degraded = degraded
            if self._follower.listener is not None:
                self._follower.listener.on_degraded(degraded)
