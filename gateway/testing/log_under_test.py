"""A log under test, and the callbacks that its listener got."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from gateway.core.log import Log, Receipt
from gateway.core.window import Bounds, Entry
from gateway.testing.helpers import CURSOR_KEY, draft


class RecordingListener:
    """A `LogListener` that records its callbacks."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, Entry]] = []
        self.resets: list[str] = []
        self.skips: list[tuple[str, int]] = []
        self.degraded: list[bool] = []

    def on_entry(self, tenant: str, entry: Entry) -> None:
        self.delivered.append((tenant, entry))

    def on_reset(self, tenant: str) -> None:
        self.resets.append(tenant)

    def on_skip(self, tenant: str, after: int) -> None:
        self.skips.append((tenant, after))

    def on_degraded(self, degraded: bool) -> None:
        self.degraded.append(degraded)


class LogUnderTest(RecordingListener):
    """A log, a function that lets time pass for it, and its recording listener."""

    def __init__(self, log: Log, pass_time: Callable[[float], Awaitable[None]]) -> None:
        super().__init__()
        self.log = log
        self.pass_time = pass_time
        log.attach(self)

    async def follow(self, *tenants: str) -> None:
        """Follow tenants, as a gateway does for a tenant's first connection."""
        for tenant in tenants:
            if (following := self.log.follow(tenant)) is not None:
                await following

    async def append(self, tenant: str, count: int) -> list[Receipt]:
        return [await self.log.append(tenant, draft(n)) for n in range(count)]

    def delivered_to(self, tenant: str) -> list[Entry]:
        return [entry for name, entry in self.delivered if name == tenant]


class LogSuite(ABC):
    """The base of the suites of a log: the hooks that make one."""

    @abstractmethod
    def open(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AbstractAsyncContextManager[LogUnderTest]:
        """A new, empty, running log; `keys` are for cursors. Its `pass_time` advances the time by which the engine
        expires keys and entries, with the sweeps of that time."""

    @asynccontextmanager
    async def opened(self, bounds: Bounds | None = None) -> AsyncIterator[LogUnderTest]:
        async with self.open(bounds or Bounds(), (CURSOR_KEY,)) as subject:
            await subject.follow("acme", "bolt")
            yield subject
