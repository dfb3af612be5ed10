"""A look at Redis every second: whether events get through, and what the fast way has lost."""

import asyncio
from typing import Final

from redis.exceptions import ReadOnlyError

from gateway.logs.redis.context import RedisContext
from gateway.logs.redis.follower import Follower
from gateway.redis.client import COMMAND_SECONDS

LOOK_SECONDS: Final = 1.0
"""Between two comparisons of heads, which find what the fast way has lost."""

DEGRADED_SECONDS: Final = 2.5
"""Without an answer: with a look every second, and a second for it to fail, clients are told within 5 s."""

_LOOK_AT_ONCE: Final = 128
_LOOK_MOST: Final = 1_024
_PROBE_SECONDS: Final = 10


class HealthMonitor:
    """Tells the follower's listener when Redis does not answer or take writes any more, and when it does again."""

    def __init__(self, context: RedisContext, follower: Follower) -> None:
        self.degraded = False
        self._context = context
        self._redis = context.redis
        self._follower = follower
        self._timer = context.timer
        self._incidents = context.incidents
        self._skew: float | None = None
        self._next = 0
        self._answered_at = self._timer()

    def answered(self) -> None:
        """Redis has taken a write."""
        self._answered_at = self._timer()

    def now(self) -> float:
        """Seconds since the epoch by the clock of Redis, which entries are dated by; 0 while it is not known."""
        return 0.0 if self._skew is None else self._timer() + self._skew

    async def run(self) -> None:
        self.answered()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._look()
            except Exception as error:
                self._incidents.failed("checked", error)
            else:
                self._incidents.recovered("checked")
                self.answered()
            self._judge()

    async def _look(self) -> None:
        """See that Redis takes writes and tells of them, and what of the tenants has moved on unheard."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(self._context.probe, "1", ex=_PROBE_SECONDS)
            pipeline.publish(self._context.probe, "1")
            pipeline.time()
            pipeline.info("server")
            written, told, time, server = await pipeline.execute(raise_on_error=False)
        for answer in (time, server):
            if isinstance(answer, Exception):
                raise answer
        self._skew = time[0] + time[1] / 1e6 - self._timer()
        for some in self._next_to_look_at():
            await self._compare_heads(some, server["run_id"].encode())
        if isinstance(written, ReadOnlyError):
            # The server has become a replica: its address may lead to another one by now.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        for answer in (written, told):
            if isinstance(answer, Exception):
                raise answer

    def _next_to_look_at(self) -> list[list[str]]:
        """Some tenants, all in turn: with a great many of them a look is not to fill the second."""
        tenants = list(self._follower.followed)
        start = self._next if self._next < len(tenants) else 0
        some = tenants[start : start + _LOOK_MOST]
        self._next = start + len(some)
        return [some[i : i + _LOOK_AT_ONCE] for i in range(0, len(some), _LOOK_AT_ONCE)]

    async def _compare_heads(self, tenants: list[str], run: bytes) -> None:
        fields, owner = (["epoch", "offset"], []) if self._context.trust == "1" else (["epoch", "offset", "run"], [run])
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hmget(self._context.keys.log(tenant)[1], fields)
            heads = await pipeline.execute(raise_on_error=False)
        for tenant, head in zip(tenants, heads, strict=True):
            if (followed := self._follower.followed.get(tenant)) is not None:
                here = [followed.window.epoch.hex().encode(), b"%d" % followed.window.head, *owner]
                if followed.behind or head != here:
                    self._follower.fall_behind(tenant, followed)

    def _judge(self) -> None:
        degraded = self._timer() - self._answered_at >= DEGRADED_SECONDS
        if degraded != self.degraded:
            self.degraded = degraded
            if self._follower.listener is not None:
                self._follower.listener.on_degraded(degraded)
