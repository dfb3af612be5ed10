"""The ingest scheduler: batches of events are processed in slices, round robin over tenants."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode

SLICE: Final = 100
"""Events of one iteration of the loop: about a millisecond of validation and encoding."""

PARSED_BYTES: Final = 3_000
"""Bytes of JSON that are parsed in the time of one event."""

AT_ONCE: Final = 8
"""Concurrent batches of one tenant: small ones share iterations of the loop, so that their events leave together."""

MAX_WAIT: Final = 1.0
_MAX_SECONDS: Final = 1.5
"""The time from a batch's arrival to its last slice, without that of the log's answer."""

T = TypeVar("T")


class _TenantBatches:
    """The batches of one tenant: `AT_ONCE` are in progress, the others wait in order."""

    __slots__ = ("batches", "slots")

    def __init__(self) -> None:
        self.batches = 0
        self.slots = asyncio.Semaphore(AT_ONCE)


class IngestScheduler:
    """A scheduler that is fair to tenants: one slice of a batch in an iteration of the event loop, or several small
    ones, so that other work waits for a millisecond, and not for all batches (head-of-line blocking). Memory is
    O(waiting batches), time O(1) for each slice."""

    def __init__(self) -> None:
        self._tenants: dict[str, _TenantBatches] = {}
        self._turns: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}
        self._renewing = False
        self._left = SLICE

    @property
    def idle(self) -> bool:
        """Whether no batch is in progress, and no state is left of earlier ones."""
        return not (self._tenants or self._turns or self._renewing)

    def reset(self) -> None:
        """Drop the batches of an earlier start, whose event loop is gone."""
        self._tenants.clear()
        self._turns.clear()
        self._renewing = False
        self._left = SLICE

    @asynccontextmanager
    async def batch(self, tenant: str, items: Sequence[T]) -> AsyncIterator[AsyncIterator[Sequence[T]]]:
        """A context for a batch, which yields its slices, each in the tenant's turn. The slices end early after a
        timeout. Raises `GatewayError` where the batch would have to wait too long."""
        until = asyncio.get_running_loop().time() + _MAX_SECONDS
        own = self._tenants.get(tenant)
        if own is None:
            own = self._tenants[tenant] = _TenantBatches()
        own.batches += 1
        try:
            try:
                if not own.slots.locked():  # the usual case, without a timer
                    await own.slots.acquire()
                else:
                    async with asyncio.timeout(MAX_WAIT):
                        await own.slots.acquire()
            except TimeoutError:
                message = "too many batches of this tenant are under way; nothing of this one was accepted"
                raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after=1.0) from None
            try:
                yield self._slices(tenant, items, until)
            finally:
                own.slots.release()
        finally:
            own.batches -= 1
            if not own.batches and self._tenants.get(tenant) is own:
                del self._tenants[tenant]

    def turn(self, tenant: str, events: int) -> Awaitable[None]:
        """Wait for a turn of the tenant, for work that takes as long as `events` events. Returns at once where nothing
        else waits and this iteration of the loop has budget left."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._turns or not self._grants(events):
            self._turns.setdefault(tenant, deque()).append((turn, events))
        else:
            turn.set_result(None)
        if not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)
        return turn

    def _grants(self, events: int) -> bool:
        """Whether work of `events` events fits into this iteration, or is its first; charges the budget."""
        if events > self._left < SLICE:
            return False
        self._left -= events
        return True

    async def _slices(self, tenant: str, items: Sequence[T], until: float) -> AsyncIterator[Sequence[T]]:
        loop = asyncio.get_running_loop()
        for start in range(0, len(items), SLICE):
            some = items[start : start + SLICE]
            await self.turn(tenant, len(some))
            if loop.time() > until:
                return
            yield some

    def _renew(self) -> None:
        """Grant the turns of a new iteration of the loop."""
        self._left = SLICE
        while self._turns:
            tenant = next(iter(self._turns))
            waiting = self._turns[tenant]
            turn, events = waiting[0]
            if not turn.done():  # a cancelled batch's is done
                if not self._grants(events):
                    break
                turn.set_result(None)
            waiting.popleft()
            del self._turns[tenant]
            if waiting:
                self._turns[tenant] = waiting  # behind the other tenants
        self._renewing = self._left < SLICE
        if self._renewing:
            asyncio.get_running_loop().call_soon(self._renew)
