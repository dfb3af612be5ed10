"""The ingest scheduler: batches of events are processed in slices, by deficit round robin over tenants."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode

SLICE: Final = 100
"""Events of one iteration of the loop: about a millisecond of validation and encoding."""

PARSED_BYTES: Final = 3_000
"""Bytes of JSON that are parsed, or validated and encoded, in the time of one small event."""

AT_ONCE: Final = 8
"""Concurrent batches of one tenant: small ones share iterations of the loop, so that their events leave together."""

MAX_WAIT: Final = 1.0
"""The time from a batch's arrival until it is parsed."""

_MAX_SECONDS: Final = 1.5
"""The time from a batch's arrival to its last slice, without that of the log's answer."""

T = TypeVar("T")


class _Tenant:
    """The batches of one tenant: `AT_ONCE` are in progress, the others wait in order. `turns` are the turns that those
    in progress wait for, with their costs; `deficit` is the cost that the tenant may use when it is visited next."""

    __slots__ = ("batches", "deficit", "name", "slots", "turns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches = 0
        self.slots = asyncio.Semaphore(AT_ONCE)
        self.turns: deque[tuple[asyncio.Future[None], int]] = deque()
        self.deficit = 0


class IngestScheduler:
    """A scheduler that is fair to tenants: one slice of a batch in an iteration of the event loop, or several small
    ones, so that other work waits for a millisecond, and not for all batches (head-of-line blocking).

    Each visit of a round adds `SLICE` to a tenant's deficit, from which the costs of its turns are taken: a tenant of
    large bodies gets as much of the loop's time as one of small ones. Memory is O(waiting batches), time
    O(1 + cost / SLICE) for each turn.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}
        self._round: deque[_Tenant] = deque()
        self._renewing = False
        self._left = SLICE

    @property
    def idle(self) -> bool:
        """Whether no batch is in progress, and no state is left of earlier ones."""
        return not (self._tenants or self._round or self._renewing)

    def reset(self) -> None:
        """Drop the batches of an earlier start, whose event loop is gone."""
        self._tenants.clear()
        self._round.clear()
        self._renewing = False
        self._left = SLICE

    @contextmanager
    def batch(self) -> Iterator["IngestBatch"]:
        """A context for a batch, which is in progress from its `begin` to the end of the context."""
        batch = IngestBatch(self)
        try:
            yield batch
        finally:
            batch.end()

    def enter(self, tenant: str) -> _Tenant:
        """Count a batch of the tenant."""
        own = self._tenants.get(tenant)
        if own is None:
            own = self._tenants[tenant] = _Tenant(tenant)
        own.batches += 1
        return own

    def leave(self, own: _Tenant) -> None:
        own.batches -= 1
        if not own.batches and self._tenants.get(own.name) is own:
            del self._tenants[own.name]

    async def turn(self, own: _Tenant, cost: int, until: float) -> None:
        """Wait for a turn of the tenant, for work that takes as long as `cost` events. Returns at once where nothing
        else waits and this iteration of the loop has budget left. Raises `TimeoutError` at the loop's time `until`."""
        loop = asyncio.get_running_loop()
        if not self._renewing:
            self._renewing = True
            loop.call_soon(self._renew)
        if not self._round and self._left > 0:
            self._left -= cost
            return
        turn: asyncio.Future[None] = loop.create_future()
        if not own.turns:
            own.deficit = SLICE
            self._round.append(own)
        own.turns.append((turn, cost))
        async with asyncio.timeout_at(until):
            await turn

    def _renew(self) -> None:
        """Grant the turns of a new iteration of the loop."""
        self._left = SLICE
        while self._round and self._left > 0:
            own = self._round[0]
            turn, cost = own.turns[0]
            if turn.done():  # of a cancelled batch
                cost = 0
            elif cost > own.deficit:
                own.deficit += SLICE
                self._round.rotate(-1)  # behind the other tenants
                continue
            else:
                turn.set_result(None)
            own.turns.popleft()
            own.deficit -= cost
            self._left -= cost
            if not own.turns:
                self._round.popleft()
        self._renewing = self._left < SLICE
        if self._renewing:
            asyncio.get_running_loop().call_soon(self._renew)


class IngestBatch:
    """A batch: it takes one of its tenant's slots, a turn to be parsed, and one for each of its slices."""

    __slots__ = ("_begun", "_bytes", "_own", "_scheduler", "_slot", "_until")

    def __init__(self, scheduler: IngestScheduler) -> None:
        self._scheduler = scheduler
        self._own: _Tenant
        self._begun = self._slot = False
        self._bytes = 0
        self._until = 0.0

    async def begin(self, tenant: str, size: int) -> None:
        """Wait until a body of `size` bytes may be parsed. Raises `GatewayError` where that would take too long."""
        now = asyncio.get_running_loop().time()
        self._bytes, self._until = size, now + _MAX_SECONDS
        own = self._own = self._scheduler.enter(tenant)
        self._begun = True
        try:
            if not own.slots.locked():  # the usual case, without a timer
                self._slot = await own.slots.acquire()
            else:
                async with asyncio.timeout_at(now + MAX_WAIT):
                    self._slot = await own.slots.acquire()
            await self._scheduler.turn(own, size // PARSED_BYTES, now + MAX_WAIT)
        except TimeoutError:
            message = "too many batches are under way; nothing of this one was accepted; send it again later"
            raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after=1.0) from None

    async def slices(self, items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        """The slices of the batch that has begun, each in a turn. They end early after a timeout."""
        cost = max(len(items), self._bytes // PARSED_BYTES)
        count = max(1, SLICE * len(items) // max(1, cost))
        loop = asyncio.get_running_loop()
        for start in range(0, len(items), count):
            some = items[start : start + count]
            try:
                await self._scheduler.turn(self._own, cost * len(some) // len(items), self._until)
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
