"""Nodes that meet on Redis: notices are one stream that each node reads from its own place."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from gateway.cluster.redis.context import Failures
from gateway.cluster.redis.members import LEASE, RedisMembers
from gateway.core.cluster import ControlMessage, OnControl
from gateway.core.errors import LogUnavailable
from gateway.redis.client import COMMAND_SECONDS, client_of, pool_of
from gateway.redis.tasks import end, for_ever

_BLOCK_SECONDS: Final = 1.0
_READER_SECONDS: Final = _BLOCK_SECONDS + COMMAND_SECONDS
_PAGE: Final = 1_000
_BEGINNING: Final = "0"
_TAKE: Final = "local value = redis.call('GET', KEYS[1]) redis.call('DEL', KEYS[1]) return value"

logger = logging.getLogger("gateway.nodes")


class RedisCluster:
    """`Cluster` on the Redis of the log. `url` and `prefix` as there; `clock` is seconds since the epoch.

    The stream is kept for `retention` seconds, which must be the longest life of a token. A node tells a notice again
    until it has read it there itself; and where Redis has lost what it had, all that it knows to be in force.
    `lease` is for how many seconds the connections of a node that was killed count.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        retention: int,
        clock: Callable[[], float] = time.time,
        lease: float = LEASE,
    ) -> None:
        self._url = url
        self._redis = client_of(url)
        self._reader = client_of(url, _READER_SECONDS)
        self.members = RedisMembers(self._redis, prefix=prefix, lease=lease)
        self._stream = f"{prefix}:notices"
        self._kept = f"{prefix}:kept:"
        self._retention = retention
        self._clock = clock
        self._on_notice: OnControl = lambda notice: None
        self._in_force: dict[ControlMessage, None] = {}
        self._untold: dict[ControlMessage, None] = {}
        self._place = self._anchor = _BEGINNING
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, on_notice: OnControl) -> None:
        self._on_notice = on_notice

    async def start(self) -> None:
        # Those of an earlier start belong to its event loop.
        self._redis.connection_pool = pool_of(self._url)
        self._reader.connection_pool = pool_of(self._url, _READER_SECONDS)
        try:
            while await self._read(block=None):
                pass
        except Failures as error:
            logger.warning("what other nodes told cannot be read yet: %s", type(error).__name__)
        self._tasks.append(asyncio.create_task(for_ever(self._listen, logger)))
        await self.members.start()

    async def stop(self) -> None:
        await self.members.stop()
        await end(self._tasks)
        self._tasks.clear()
        await self._redis.aclose()
        await self._reader.aclose()

    async def tell(self, notice: ControlMessage) -> None:
        # Known from here on, so that it is not acted on again when it comes back.
        self._remember(notice)
        self._untold[notice] = None
        try:
            await self._add([notice])
        except Failures as error:
            raise LogUnavailable(f"the other nodes could not be told: {type(error).__name__}") from None

    async def keep(self, key: str, value: str, seconds: int) -> None:
        try:
            await self._redis.set(self._kept + key, value, ex=seconds)
        except Failures:
            raise LogUnavailable from None

    async def take(self, key: str) -> str | None:
        try:
            # A script and not GETDEL, so that Redis 6.0 would do too, and the two cannot come apart.
            value = await self._redis.eval(_TAKE, 1, self._kept + key)
        except Failures:
            raise LogUnavailable from None
        return None if value is None else value.decode()

    def _act(self, notice: ControlMessage) -> None:
        if notice.until > self._clock() and notice not in self._in_force:
            self._remember(notice)
            self._on_notice(notice)

    def _remember(self, notice: ControlMessage) -> None:
        now = self._clock()
        self._in_force = {known: None for known in self._in_force if known.until > now}
        self._in_force[notice] = None

    async def _add(self, notices: list[ControlMessage]) -> None:
        oldest = int((self._clock() - self._retention) * 1000)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for notice in notices:
                pipeline.xadd(self._stream, {"notice": json.dumps(asdict(notice))}, minid=max(0, oldest))
            await pipeline.execute()

    async def _listen(self) -> None:
        failing = False
        while True:
            try:
                await self._read(block=int(_BLOCK_SECONDS * 1000))
                await self._mend()
                failing = False
            except Failures as error:
                if not failing:
                    logger.warning("the other nodes are out of reach: %s", type(error).__name__)
                failing = True
                await asyncio.sleep(0.2)

    async def _mend(self) -> None:
        """Tell again what is not in the stream, though it should be: where the entry that was the last one at the last
        look has gone, all of it is lost, whatever has come since."""
        now = self._clock()
        missing = self._untold = {notice: None for notice in self._untold if notice.until > now}
        lost = self._anchor != _BEGINNING and not await self._redis.xrange(self._stream, self._anchor, self._anchor)
        if lost:
            missing = {notice: None for notice in self._in_force if notice.until > now}
        if missing:
            await self._add(list(missing))
        if lost:
            # Ids are of the server's clock, which may be behind that of one before: reading all again does no harm.
            self._place = _BEGINNING
        self._anchor = self._place

    async def _read(self, block: int | None) -> bool:
        """Act on what has come since the last time; whether there was anything."""
        answer: Any = await self._reader.xread({self._stream: self._place}, count=_PAGE, block=block)
        for _, entries in answer:
            for id, fields in entries:
                self._place = id
                try:
                    notice = ControlMessage(**json.loads(fields[b"notice"]))
                except (ValueError, TypeError, KeyError):
                    logger.warning("a notice that is none was passed over")
                    continue
                self._untold.pop(notice, None)
                self._act(notice)
        return bool(answer)
