"""The ingest scheduler: batches of events are taken in slices, tenant by tenant."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode

SLICE: Final = 50
"""Events of one turn of the loop: about a millisecond of checking and encoding."""

AT_ONCE: Final = 2
"""Batches of one tenant under way: while one waits for the log, another one is checked and encoded."""

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
    """Round robin over tenants: one slice of one batch in a turn of the event loop, so that whatever else there is
    waits for a millisecond, and not for all batches. Memory is O(batches that wait), time O(1) for each slice.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}
        self._granting = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing is kept of what was."""
        return not (self._lines or self._turns or self._granting)

    def reset(self) -> None:
        """Forget what waited on the event loop of an earlier start."""
        self._lines.clear()
        self._turns.clear()
        self._granting = False

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

    def turn(self, tenant: str) -> Awaitable[None]:
        """Wait for a turn of the tenant, for one piece of work."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.setdefault(tenant, deque()).append(turn)
        if not self._granting:
            self._granting = True
            asyncio.get_running_loop().call_soon(self._grant)
        return turn

    async def _slices(self, tenant: str, items: Sequence[T], until: float) -> AsyncIterator[Sequence[T]]:
        loop = asyncio.get_running_loop()
        for start in range(0, len(items), SLICE):
            await self.turn(tenant)
            if loop.time() > until:
                return
            yield items[start : start + SLICE]

    def _grant(self) -> None:
        """Let the next slice run: in the next turn of the loop, as the one after it does in a turn of its own."""
        while self._turns:
            tenant = next(iter(self._turns))
            waiting = self._turns.pop(tenant)
            turn = waiting.popleft()
            if waiting:
                self._turns[tenant] = waiting  # behind the other tenants
            if not turn.done():  # as it is where the batch was cancelled
                turn.set_result(None)
                break
        self._granting = bool(self._turns)
        if self._granting:
            asyncio.get_running_loop().call_soon(self._grant)
