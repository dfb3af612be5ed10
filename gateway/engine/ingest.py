"""The ingest scheduler: published events in the turns of their tenants, batches in slices."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from gateway.core.errors import GatewayError
from gateway.engine.fair_share import BUDGET, FairShare
from schemas.codes import ErrorCode

EVENT_COST: Final = 10
"""Microseconds of validating and encoding a small event of a batch."""

REQUEST_COST: Final = 50
"""Microseconds of a request with a small body."""

SLICE: Final = BUDGET // EVENT_COST
"""Small events of one turn, while tenants compete."""

PARSED_BYTES: Final = 3_000
"""Bytes of JSON that are parsed, or validated and encoded, in the time of one small event."""

SCANNING: Final = 8
"""The time of looking at a byte for the end of a value, in that of parsing one."""

AT_ONCE: Final = 8
"""Concurrent batches of one tenant: small ones share iterations of the loop, so that their events leave together."""

MAX_WAIT: Final = 1.0
"""The time from the arrival of a request until it is parsed."""

READING_SECONDS: Final = 30.0
"""The longest wait until a piece of a body is taken; its client waits as well (backpressure)."""

MAX_SECONDS: Final = 1.5
"""The time from a batch's arrival to its last slice, without that of the log's answer."""

ESCAPED: Final = 6
"""The most bytes of JSON for a byte of an event: `\\u0001`. In a longer text, the event is over its limit."""

T = TypeVar("T")


class _Tenant:
    """The batches of one tenant: `AT_ONCE` are in progress, the others wait in order."""

    __slots__ = ("batches", "name", "slots")

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches = 0
        self.slots = asyncio.Semaphore(AT_ONCE)


class IngestScheduler:
    """A scheduler of what is published: a slice of a batch is a turn of its tenant, and so is the parsing of a body: a
    tenant of large bodies gets as much of the loop's time as one of small ones. Memory is O(waiting requests).
    `message_bytes` is the limit of one event."""

    def __init__(self, shares: FairShare, message_bytes: int = 64 * 1024) -> None:
        self._shares = shares
        self.event_bytes = ESCAPED * message_bytes
        self._tenants: dict[str, _Tenant] = {}

    @property
    def idle(self) -> bool:
        """Whether no batch is in progress, and no state is left of earlier ones."""
        return not self._tenants and self._shares.idle

    def reset(self) -> None:
        """Drop the batches and the queued work of an earlier start, whose event loop is gone."""
        self._tenants.clear()
        self._shares.reset()

    @contextmanager
    def batch(self) -> Iterator["IngestBatch"]:
        """A context for a batch, which is in progress from its `begin` to the end of the context."""
        batch = IngestBatch(self)
        try:
            yield batch
        finally:
            batch.end()

    async def request(self, tenant: str, size: int, *, urgent: bool = False) -> None:
        """Wait until a body of `size` bytes may be parsed and handled; an urgent one before the tenant's other work.
        Raises `GatewayError` where that would take too long."""
        await self._wait(tenant, REQUEST_COST + 2 * parsing_cost(size), MAX_WAIT, urgent)

    async def piece(self, tenant: str, size: int) -> None:
        """Wait until `size` bytes of a body may be taken, before more of it is read: that costs about as much as
        parsing them. Raises `GatewayError` likewise."""
        await self._wait(tenant, parsing_cost(size), READING_SECONDS)

    async def _wait(self, tenant: str, cost: int, seconds: float, urgent: bool = False) -> None:
        try:
            await self.turn(tenant, cost, asyncio.get_running_loop().time() + seconds, urgent=urgent)
        except TimeoutError:
            raise _refusal() from None

    async def turn(self, tenant: str, cost: int, until: float, *, urgent: bool = False) -> None:
        """Wait for a turn of the tenant. Raises `TimeoutError` at the loop's time `until`."""
        await self._shares.turn(tenant, cost, until, urgent=urgent)

    def budget(self, tenant: str) -> int:
        """Microseconds of one slice of the tenant."""
        return self._shares.budget(tenant)

    def enter(self, tenant: str) -> _Tenant:
        """Count a batch of the tenant."""
        own = self._tenants.get(tenant)
        if own is None:
            own = self._tenants[tenant] = _Tenant(tenant)
        own.batches += 1
        return own

    def leave(self, own: _Tenant) -> None:
        """Count its end."""
        own.batches -= 1
        if not own.batches and self._tenants.get(own.name) is own:
            del self._tenants[own.name]


class IngestBatch:
    """A batch: it takes one of its tenant's slots, a turn for each piece that is parsed, and one for each of its
    slices."""

    __slots__ = ("_begun", "_bytes", "_own", "_scheduler", "_slot", "_until")

    def __init__(self, scheduler: IngestScheduler) -> None:
        self._scheduler = scheduler
        self._own: _Tenant
        self._begun = self._slot = False
        self._bytes = 0
        self._until = 0.0

    @property
    def event_bytes(self) -> int:
        """The longest JSON of an event."""
        return self._scheduler.event_bytes

    async def begin(self, tenant: str, size: int) -> None:
        """Wait for a slot, and until `size` bytes of the body may be parsed. Raises `GatewayError` where that would
        take too long."""
        now = asyncio.get_running_loop().time()
        until, self._until = now + MAX_WAIT, now + MAX_SECONDS
        own = self._own = self._scheduler.enter(tenant)
        self._begun = True
        try:
            if not own.slots.locked():  # the usual case, without a timer
                self._slot = await own.slots.acquire()
            else:
                async with asyncio.timeout_at(until):
                    self._slot = await own.slots.acquire()
            await self._parse(size, until)
        except TimeoutError:
            raise _refusal() from None

    async def go_on(self, size: int) -> None:
        """Wait until so many bytes more may be parsed, before the tenant's other batches: several at once would all
        come too late. Raises `GatewayError` likewise."""
        try:
            await self._parse(size, self._until, urgent=True)
        except TimeoutError:
            raise _refusal() from None

    async def scan(self, size: int) -> None:
        """Wait until so many bytes may be looked at for the end of a value. Raises `GatewayError` likewise."""
        try:
            cost = SCANNING * parsing_cost(size)
            await self._scheduler.turn(self._own.name, cost, self._until, urgent=True)
        except TimeoutError:
            raise _refusal() from None

    async def _parse(self, size: int, until: float, *, urgent: bool = False) -> None:
        self._bytes += size
        await self._scheduler.turn(self._own.name, parsing_cost(size), until, urgent=urgent)

    async def slices(self, items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        """The slices of the batch that has begun, each in a turn. They end early after a timeout."""
        cost = max(EVENT_COST * len(items), parsing_cost(self._bytes))
        loop = asyncio.get_running_loop()
        start = 0
        while start < len(items):
            count = max(1, self._scheduler.budget(self._own.name) * len(items) // max(1, cost))
            some = items[start : start + count]
            start += count
            try:
                await self._scheduler.turn(self._own.name, cost * len(some) // len(items), self._until)
            except TimeoutError:
                return
            if loop.time() > self._until:
                return
            yield some

    def end(self) -> None:
        """Free the slot."""
        if self._slot:
            self._own.slots.release()
        if self._begun:
            self._scheduler.leave(self._own)


def parsing_cost(size: int) -> int:
    """Microseconds of parsing `size` bytes of JSON; of validating and encoding them it is the same again."""
    return size * EVENT_COST // PARSED_BYTES


def _refusal() -> GatewayError:
    message = "too many requests are under way; nothing of this one was accepted; send it again later"
    return GatewayError(ErrorCode.RATE_LIMITED, message, retry_after=1.0)
