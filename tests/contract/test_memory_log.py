"""The embedded log keeps the log's contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.core.window import Bounds
from gateway.logs.memory import MemoryLog
from gateway.testing import Clock, LogContract, LogUnderTest


class TestMemoryLog(LogContract):
    @asynccontextmanager
    async def open(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AsyncIterator[LogUnderTest]:
        clock = Clock()
        log = MemoryLog(keys, bounds, clock, clock)

        async def pass_time(seconds: float) -> None:
            # A look each second, as the gateway's ticker has it.
            for _ in range(int(seconds)):
                await clock.advance(1.0)
                log.sweep()
            await clock.advance(seconds % 1.0)

        yield LogUnderTest(log, pass_time)
