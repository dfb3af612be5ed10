"""Logs on one Redis, each as a node has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.cluster.redis import control_stream
from gateway.core.window import Bounds
from gateway.logs.redis import RedisLog, follower, page_reader, pubsub, writer
from gateway.testing import CURSOR_KEY, Clock, LogUnderTest
from tests.support.pauses import PATIENCE
from tests.support.redis import RedisServer


@asynccontextmanager
async def redis_log(url: str, bounds: Bounds | None = None, **options: Any) -> AsyncIterator[LogUnderTest]:
    """A running log and the calls of its listener; in real time."""
    log = RedisLog(url, (CURSOR_KEY,), bounds, **options)

    async def wait(seconds: float) -> None:
        raise NotImplementedError

    subject = LogUnderTest(log, wait)
    await log.start()
    try:
        yield subject
    finally:
        await log.stop()


def have_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis take its time, for tests of what it answers: longer than clients may wait, as on a busy machine."""
    for module, limits in (
        (writer, ("ANSWER_SECONDS", "COMMAND_SECONDS")),
        (follower, ("ANSWER_SECONDS",)),
        (page_reader, ("COMMAND_SECONDS",)),
        (control_stream, ("COMMAND_SECONDS",)),
        (pubsub, ("HEARTBEAT_TIMEOUT",)),
    ):
        for limit in limits:
            monkeypatch.setattr(module, limit, PATIENCE)


class Time:
    """Time that passes at once, for one key prefix of a server: its scripts read it, keys have less of theirs left."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self.clock = Clock()

    async def rule(self, log: RedisLog) -> None:
        """Have `log` live by this time."""
        for script in (log.script, log.follower.pages.script):
            script.text = script.text.replace("redis.call('TIME')", f"{{redis.call('GET', '{self._prefix}:now'), 0}}")
        log.context.clock.now = self.clock  # type: ignore[method-assign]
        await self._set()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self._set()
        await shorten(self._server, f"{self._prefix}:*:key:*", seconds)

    async def _set(self) -> None:
        await self._server.ask("SET", f"{self._prefix}:now", int(self.clock()))


async def shorten(server: RedisServer, keys: str, seconds: float) -> None:
    """Have the keys of this pattern expire so much earlier."""
    async with Redis.from_url(server.url) as client:
        async for key in client.scan_iter(keys):
            left = await client.pttl(key) - int(seconds * 1_000)
            await client.pexpire(key, max(left, 0))  # which deletes it where nothing is left
