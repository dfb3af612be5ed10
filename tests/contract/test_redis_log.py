"""The log on Redis keeps the log's contract, and beyond one node the shared one."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.window import Bounds
from gateway.logs.redis import RedisLog
from gateway.logs.redis.followed_tenant import FollowedTenant
from gateway.logs.redis.page_reader import Page
from gateway.testing import CURSOR_KEY, LogUnderTest, SharedLogContract
from tests.support.redis import RedisServer, executable, executables, redis_server
from tests.support.redis_logs import Time, have_patience


class TestRedisLog(SharedLogContract):
    """With each Redis that there is: 7 on the PATH, say, and the 6.2 of the wheel."""

    @pytest.fixture(autouse=True, params=executables() or [""])
    async def _serve(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[None]:
        if "storage" not in request.node.originalname:  # the deadlines are the subject of those
            have_patience(monkeypatch)
        async with redis_server(tmp_path / "redis", request.param or executable()) as self.server:
            yield

    server: RedisServer

    @asynccontextmanager
    async def open(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AsyncIterator[LogUnderTest]:
        self.prefix = secrets.token_hex(4)
        self.time = Time(self.server, self.prefix)
        async with self._node(bounds, keys) as subject:
            yield subject

    @asynccontextmanager
    async def join(self, subject: LogUnderTest) -> AsyncIterator[LogUnderTest]:
        async with self._node(Bounds(), (CURSOR_KEY,)) as other:
            yield other

    @asynccontextmanager
    async def _node(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AsyncIterator[LogUnderTest]:
        log = RedisLog(self.server.url, keys, bounds, prefix=self.prefix)
        await self.time.rule(log)

        async def pass_time(seconds: float) -> None:
            await self.time.advance(seconds)
            log.sweep()

        subject = LogUnderTest(log, pass_time)
        await log.start()
        try:
            yield subject
        finally:
            await log.stop()

    @asynccontextmanager
    async def unreachable(self, subject: LogUnderTest) -> AsyncIterator[None]:
        self.server.stall()
        try:
            yield
        finally:
            self.server.go_on()

    @asynccontextmanager
    async def without_notifications(self, subject: LogUnderTest) -> AsyncIterator[None]:
        assert isinstance(subject.log, RedisLog)
        follower, hears = subject.log.follower, asyncio.Event()
        hear, read = follower.channels.on_message, follower.pages.read

        async def wait(tenants: Sequence[tuple[str, FollowedTenant]]) -> list[Page | Exception]:
            await hears.wait()
            return await read(tenants)

        follower.channels.on_message = lambda channel, data: None
        follower.pages.read = wait  # type: ignore[method-assign]
        yield
        follower.channels.on_message = hear
        hears.set()

    async def wipe(self, subject: LogUnderTest) -> None:
        await self.server.ask("FLUSHALL")
        await self.time.advance(0)
