"""A log under test, and what its listener heard."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from gateway.core.log import Log, Receipt
from gateway.core.window import Bounds, Entry
from gateway.testing.helpers import CURSOR_KEY, draft


class RecordingListener:
    """A `LogListener` that remembers what it was called with."""

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
    """A log, how to let time pass for it, and what its listener was called with."""

    def __init__(self, log: Log, pass_time: Callable[[float], Awaitable[None]]) -> None:
        super().__init__()
        self.log = log
        self.pass_time = pass_time
        log.attach(self)

    async def follow(self, *tenants: str) -> None:
        """What a gateway does for a tenant's first connection; a window is kept up to date from then on."""
        for tenant in tenants:
            if (following := self.log.follow(tenant)) is not None:
                await following

    async def append(self, tenant: str, count: int) -> list[Receipt]:
        return [await self.log.append(tenant, draft(n)) for n in range(count)]

    def delivered_to(self, tenant: str) -> list[Entry]:
        return [entry for name, entry in self.delivered if name == tenant]


class LogSuite(ABC):
    """What the suites of a log have in common: how one is made."""

    @abstractmethod
    def open(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AbstractAsyncContextManager[LogUnderTest]:
        """A new, empty log, running; `keys` are for cursors. Its `pass_time` moves the time by which the engine
        forgets keys and entries, the sweeps included that would have come."""

    @asynccontextmanager
    async def opened(self, bounds: Bounds | None = None) -> AsyncIterator[LogUnderTest]:
        async with self.open(bounds or Bounds(), (CURSOR_KEY,)) as subject:
            await subject.follow("acme", "bolt")
            yield subject
