"""What waits to be written to Redis, in order, each answered in time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.redis.incidents import IncidentLog
from gateway.redis.tasks import WakeUp

ANSWER_SECONDS: Final = 1.6
"""From a call to its answer at the latest, whatever waits before it: 2 s are promised, the way there included."""

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
_BATCH: Final = 256
_BATCH_BYTES: Final = 1024 * 1024


@dataclass(slots=True, eq=False)
class Append:
    """A draft that waits for its place."""

    tenant: str
    draft: Draft
    receipt: asyncio.Future[Receipt]
    due: float


class Writer:
    """Writes many appends in one round trip. `send` carries out a batch and returns an answer for each; `settle`
    makes of one such answer the receipt, or raises what the publisher is told."""

    def __init__(
        self,
        send: Callable[[list[Append]], Awaitable[list[Any]]],
        settle: Callable[[Append, Any], Receipt],
        incidents: IncidentLog,
    ) -> None:
        self._send = send
        self._settle = settle
        self._incidents = incidents
        self._queue: deque[Append] = deque()
        self._queued = WakeUp()
        self._bytes = 0
        self._unanswered: deque[Append] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        """Take what comes from now on."""
        self._stopped = False

    def append(self, tenant: str, draft: Draft) -> asyncio.Future[Receipt]:
        loop = asyncio.get_running_loop()
        append = Append(tenant, draft, loop.create_future(), loop.time() + ANSWER_SECONDS)
        if self._stopped:
            append.receipt.set_exception(LogUnavailable("the event log is closed; the event was not accepted"))
        elif len(self._queue) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            # It would only wait until it is too late, and so would those after it.
            append.receipt.set_exception(LogUnavailable("too many events wait; the event was not accepted"))
        else:
            self._bytes += len(draft.body)
            self._queue.append(append)
            self._queued.set()
            self._unanswered.append(append)
            if self._alarm is None:
                self._alarm = loop.call_at(append.due, self._give_up)
        return append.receipt

    async def run(self) -> None:
        while True:
            await self._queued.wait()
            batch = self._next_batch()
            if not batch:
                continue
            try:
                answers = await self._send(batch)
            except Exception as error:
                self._incidents.failed("written", error)
                answers = [error] * len(batch)
            for append, answer in zip(batch, answers, strict=True):
                self._answer(append, answer)
            while self._unanswered and self._unanswered[0].receipt.done():
                self._unanswered.popleft()

    def stop(self) -> None:
        """Refuse what has no answer yet, and what comes after."""
        self._stopped = True
        for append in self._unanswered:
            if not append.receipt.done():
                append.receipt.set_exception(LogUnavailable())
        self._queue.clear()
        self._queued.clear()
        self._bytes = 0
        self._unanswered.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _next_batch(self) -> list[Append]:
        batch: list[Append] = []
        size = 0
        while self._queue and len(batch) < _BATCH and size < _BATCH_BYTES:
            append = self._queue.popleft()
            self._bytes -= len(append.draft.body)
            # Nobody waits for it any more: given up, or never to be answered in time.
            if not append.receipt.done():
                batch.append(append)
                size += len(append.draft.body)
        if not self._queue:
            self._queued.clear()
        return batch

    def _answer(self, append: Append, answer: Any) -> None:
        try:
            receipt = self._settle(append, answer)
        except Exception as error:
            if not append.receipt.done():
                append.receipt.set_exception(error)
        else:
            if not append.receipt.done():
                append.receipt.set_result(receipt)

    def _give_up(self) -> None:
        """Refuse what is due; what was sent may be in the log nevertheless, as it may where the answer got lost."""
        loop = asyncio.get_running_loop()
        while self._unanswered and (self._unanswered[0].receipt.done() or self._unanswered[0].due <= loop.time()):
            append = self._unanswered.popleft()
            if not append.receipt.done():
                append.receipt.set_exception(LogUnavailable())
        self._alarm = loop.call_at(self._unanswered[0].due, self._give_up) if self._unanswered else None
