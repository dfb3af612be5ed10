"""The cluster on Redis."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.cluster.redis.context import Failures
from gateway.cluster.redis.control_stream import ControlStream
from gateway.cluster.redis.members import LEASE, RedisMembers
from gateway.cluster.redis.queries import RedisQueries
from gateway.cluster.redis.usage import RedisUsage
from gateway.core.cluster import OnControl
from gateway.core.control import ControlMessage
from gateway.core.errors import LogUnavailable
from gateway.core.revocations import Revocations
from gateway.redis.client import COMMAND_SECONDS, client_of, close, pool_of
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import describe
from gateway.redis.keys import KeySpace
from gateway.redis.tasks import cancel_and_wait, supervise

_ANSWER_SECONDS: Final = 1.6
_POP: Final = "local value = redis.call('GET', KEYS[1]) redis.call('DEL', KEYS[1]) return value"

logger = logging.getLogger("gateway.nodes")


class RedisCluster:
    """The `Cluster` on the Redis server of the log. `url` and `prefix` as there; `timer` is seconds of a monotonic
    clock.

    Control messages are kept for `retention` seconds, which must be the maximum lifetime of a token. `lease` is the
    seconds after which the connections of a killed node are dropped.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        retention: int,
        timer: Callable[[], float] = time.monotonic,
        lease: float = LEASE,
    ) -> None:
        self._url = url
        self._redis = client_of(url)
        self._timer = timer
        self._kept = f"{prefix}:kept:"
        self._tasks: list[asyncio.Task[None]] = []
        self.members = RedisMembers(self._redis, prefix=prefix, lease=lease)
        self.revocations = Revocations()
        self.queries = RedisQueries(self._redis, self.members, keys=KeySpace(prefix), timer=timer)
        self.usage = RedisUsage(self._redis, self.members, keys=KeySpace(prefix))
        self._control = ControlStream(
            self._redis, self.revocations, keys=KeySpace(prefix), retention=retention, timer=timer
        )

    def attach(self, on_control: OnControl) -> None:
        self._control.on_control = on_control

    async def start(self) -> None:
        # The connection pool of an earlier start belongs to its event loop.
        self._redis.connection_pool = pool_of(self._url)
        try:
            await self._control.open()
        except Failures as error:
            logger.warning("control messages cannot be read yet: %s", describe(error))
        for work in (self._control.listen, self._control.send, self._control.compact, self.queries.run):
            self._tasks.append(asyncio.create_task(supervise(work, logger)))
        await self.members.start()

    async def stop(self) -> None:
        await self.members.stop()
        await cancel_and_wait(self._tasks)
        await close(self._redis)

    def apply(self, message: ControlMessage) -> tuple[ControlMessage, bool]:
        return self.revocations.add(message, self._timer())

    async def publish_control(self, message: ControlMessage) -> None:
        in_force, _ = self.apply(message)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._control.put(in_force).waiting.append(stored)
        try:
            async with Deadline(_ANSWER_SECONDS):
                await stored
        except TimeoutError:
            raise LogUnavailable("the other nodes could not be notified in time") from None

    def sweep(self) -> None:
        self.revocations.sweep(self._timer())

    async def put_once(self, key: str, value: str, seconds: int) -> None:
        try:
            async with Deadline(COMMAND_SECONDS):
                await self._redis.set(self._kept + key, value, ex=seconds)
        except Failures:
            raise LogUnavailable from None

    async def pop(self, key: str) -> str | None:
        try:
            async with Deadline(COMMAND_SECONDS):
                # A script, atomic as GETDEL is, which Redis 6.0 does not have.
                value = await self._redis.eval(_POP, 1, self._kept + key)
        except Failures:
            raise LogUnavailable from None
        return None if value is None else value.decode()
