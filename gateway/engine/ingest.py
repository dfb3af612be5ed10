"""The ingest scheduler: batches of events are taken in slices, tenant by tenant."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode

SLICE: Final = 100
"""Events of one iteration of the loop: about a millisecond of checking and encoding."""

PARSED_BYTES: Final = 3_000
"""Bytes of JSON that are parsed in the time that one event takes."""

AT_ONCE: Final = 8
"""Batches of one tenant under way: small ones share iterations of the loop, so that their events leave together."""

MAX_WAIT: Final = 1.0
_MAX_SECONDS: Final = 1.5
"""From a batch's arrival to its last slice. What the log then takes to answer comes on top."""

T = TypeVar("T")


class _Line:
    """The batches of one tenant: `AT_ONCE` of them are under way, the others wait in order."""

    __slots__ = ("batches", "places")

    def __init__(self) -> None:
        self.batches = 0
        self.places = asyncio.Semaphore(AT_ONCE)


class IngestScheduler:
    """Round robin over tenants: one slice of a batch in an iteration of the event loop, or several small ones, so that
    all other work waits for a millisecond, and not for all batches. Memory is O(batches that wait), time O(1) for each
    slice.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._turns: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}
        self._renewing = False
        self._left = SLICE

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing is kept of what was."""
        return not (self._lines or self._turns or self._renewing)

    def reset(self) -> None:
        """Forget what waited on the event loop of an earlier start."""
        self._lines.clear()
        self._turns.clear()
        self._renewing = False
        self._left = SLICE

    @asynccontextmanager
    async def batch(self, tenant: str, items: Sequence[T]) -> AsyncIterator[AsyncIterator[Sequence[T]]]:
        """A batch, under way within the context, as its slices: each comes when it is the tenant's turn. They end early
        where it takes too long. Raises `GatewayError` where the batch would have to wait too long to begin."""
        until = asyncio.get_running_loop().time() + _MAX_SECONDS
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = _Line()
        line.batches += 1
        try:
            try:
                async with asyncio.timeout(MAX_WAIT):
                    await line.places.acquire()
            except TimeoutError:
                message = "too many batches of this tenant are under way; nothing of this one was accepted"
                raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after=1.0) from None
            try:
                yield self._slices(tenant, items, until)
            finally:
                line.places.release()
        finally:
            line.batches -= 1
            if not line.batches and self._lines.get(tenant) is line:
                del self._lines[tenant]

    def turn(self, tenant: str, events: int) -> Awaitable[None]:
        """Wait for a turn of the tenant, for work that takes as long as so many events: not at all where nothing else
        waits and this iteration of the loop has had less than a slice."""
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
        """Whether work of so many events still fits into this iteration, or is its first; it is counted then."""
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
            if not turn.done():  # as it is where the batch was cancelled
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
