"""The write queue in front of Redis: appends in order, each answered before its deadline."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.errors import LogUnavailable
from gateway.core.fair_queue import FairQueue
from gateway.core.log import Draft, Receipt
from gateway.logs.redis.context import RedisContext
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, TimeoutErrors
from gateway.redis.deadlines import Deadline, PauseTolerantTimer
from gateway.redis.tasks import WakeUp

ANSWER_SECONDS: Final = 1.6
"""The deadline of an append, queueing included: 2 s are guaranteed, the network included."""

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bounds of one tenant's queue."""

_TOTAL_BYTES: Final = 64 * 1024 * 1024
_APPEND_BYTES: Final = 1_024
"""The approximate size of an append without the event's body."""

_BATCH: Final = 256
_SHARED_BATCH: Final = 64
"""The batch size while several tenants wait: a batch is as slow as its largest part."""

_BATCH_BYTES: Final = 1024 * 1024
_MIN_BATCH_BYTES: Final = 16 * 1024

NOT_SENT: Final = "the event was not accepted: too many wait for the event log; send it again later"
UNKNOWN: Final = (
    "the event log did not answer, and may have accepted the event: send it again with the same idempotency_key"
)


@dataclass(slots=True, eq=False)
class Append:
    """A queued draft."""

    tenant: str
    draft: Draft
    receipt: asyncio.Future[Receipt]
    due: float
    sent: bool = False


class Writer:
    """Writes many appends in one round trip, a share of each tenant. `send` executes a batch and returns an answer for
    each; `settle` turns an answer into the receipt, or raises the publisher's error."""

    def __init__(
        self,
        context: RedisContext,
        send: Callable[[list[Append]], Awaitable[list[Any]]],
        settle: Callable[[Append, Any], Receipt],
    ) -> None:
        self._context = context
        self._send = send
        self._settle = settle
        self._queue: FairQueue[Append] = FairQueue(MAX_WAITING, MAX_WAITING_BYTES, _TOTAL_BYTES)
        self._queued = WakeUp()
        self._limit = BatchLimit(_MIN_BATCH_BYTES, _BATCH_BYTES, COMMAND_SECONDS, COMMAND_SECONDS)
        self._round_trip = 0.0
        self._unanswered: deque[Append] = deque()
        self._deadline_timer: PauseTolerantTimer | None = None
        self._stopped = False

    def start(self) -> None:
        """Accept appends."""
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether it holds no append, sent or not."""
        return not (self._queue or self._unanswered)

    def append(self, tenant: str, draft: Draft) -> asyncio.Future[Receipt]:
        loop = asyncio.get_running_loop()
        append = Append(tenant, draft, loop.create_future(), loop.time() + ANSWER_SECONDS)
        if self._stopped:
            append.receipt.set_exception(LogUnavailable("the event log is closed; the event was not accepted"))
        elif not self._queue.push(tenant, append, len(draft.body) + _APPEND_BYTES):
            # It would only wait beyond its deadline.
            append.receipt.set_exception(LogUnavailable(NOT_SENT))
        else:
            self._queued.set()
            self._unanswered.append(append)
            if self._deadline_timer is None:
                self._deadline_timer = PauseTolerantTimer(ANSWER_SECONDS, self._expire)
        return append.receipt

    async def run(self) -> None:
        while True:
            await self._queued.wait()
            batch = self._next_batch()
            if batch:
                for append, answer in zip(batch, await self._send_batch(batch), strict=True):
                    self._answer(append, answer)
                while self._unanswered and self._unanswered[0].receipt.done():
                    self._unanswered.popleft()

    async def _send_batch(self, batch: list[Append]) -> list[Any]:
        """Send a batch, and adapt the batch size to the link."""
        begun = self._context.timer()
        answers: list[Any]
        try:
            async with Deadline(self._limit.seconds):
                answers = await self._send(batch)
        except Exception as error:
            if isinstance(error, TimeoutErrors):
                self._limit.timed_out(self._context.clock.synced_recently())
            self._context.incidents.failed("written", error)
            answers = [error] * len(batch)
            elapsed = self._context.timer() - begun
        else:
            elapsed = self._context.timer() - begun
            self._limit.succeeded(sum(len(append.draft.body) + _APPEND_BYTES for append in batch), elapsed)
        # A maximum that decays: one quick round trip does not hide a slow one. Above the deadline of a batch it is the
        # time for which this process was held up: every append would be refused unsent, and nothing measured again.
        self._round_trip = max(min(elapsed, COMMAND_SECONDS), self._round_trip * 3 / 4)
        return answers

    def stop(self) -> None:
        """Refuse all unanswered appends, and later ones."""
        self._stopped = True
        for append in self._unanswered:
            if not append.receipt.done():
                append.receipt.set_exception(LogUnavailable(UNKNOWN if append.sent else NOT_SENT))
        self._queue.clear()
        self._unanswered.clear()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None

    def _next_batch(self) -> list[Append]:
        batch: list[Append] = []
        in_time = asyncio.get_running_loop().time() + self._round_trip
        count = _BATCH if self._queue.tenants == 1 else _SHARED_BATCH
        for append in self._queue.take(count, self._limit.size):
            if append.receipt.done():
                continue  # refused at its deadline
            if append.due < in_time:
                # Its answer would miss the deadline: an event reported as refused must not be appended.
                append.receipt.set_exception(LogUnavailable(NOT_SENT))
                continue
            append.sent = True
            batch.append(append)
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

    def _expire(self) -> None:
        """Refuse the appends whose deadline has passed; those that were sent may be in the log."""
        loop = asyncio.get_running_loop()
        while self._unanswered and (self._unanswered[0].receipt.done() or self._unanswered[0].due <= loop.time()):
            append = self._unanswered.popleft()
            if not append.receipt.done():
                append.receipt.set_exception(LogUnavailable(UNKNOWN if append.sent else NOT_SENT))
        waiting = self._unanswered
        self._deadline_timer = PauseTolerantTimer(waiting[0].due - loop.time(), self._expire) if waiting else None
