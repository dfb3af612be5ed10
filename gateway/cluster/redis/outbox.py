"""The outbox of control messages: those that this node has yet to store, round robin over tenants."""

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Final

from gateway.core.control import ControlKind, ControlMessage
from gateway.core.errors import LogUnavailable
from gateway.core.fair_queue import FairQueue

_Subject = tuple[str, ControlKind, str, str]

_REASON: Final = "the other nodes could not be notified yet; this node goes on trying"


@dataclass(slots=True, eq=False)
class Pending:
    """A message, and the callers that wait until it is stored."""

    message: ControlMessage
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def succeed(self) -> None:
        for stored in self.waiting:
            if not stored.done():
                stored.set_result(None)

    def fail(self) -> None:
        """Raise `LogUnavailable` in the callers; the message stays in the outbox."""
        for stored in self.waiting:
            if not stored.done():
                stored.set_exception(LogUnavailable(_REASON))
        self.waiting = []


class Outbox:
    """The newest message of each subject: at most as many as are in force. `put` and `take` are O(1) per message."""

    def __init__(self) -> None:
        self._pending: dict[_Subject, Pending] = {}
        self._queue: FairQueue[Pending] = FairQueue(sys.maxsize, sys.maxsize, sys.maxsize)
        self.open()

    def open(self) -> None:
        """Move to the running event loop, to which an `asyncio.Event` belongs."""
        self.filled = asyncio.Event()
        if self._queue:
            self.filled.set()

    def put(self, message: ControlMessage) -> Pending:
        """Queue a message, replacing an older one of its subject."""
        subject = _subject(message)
        pending = self._pending.get(subject)
        if pending is None:
            pending = self._pending[subject] = Pending(message)
            self._queue.push(subject[0], pending, 1)
            self.filled.set()
        pending.message = message
        return pending

    def put_back(self, batch: list[Pending]) -> None:
        """Queue again messages that could not be stored, except those replaced meanwhile."""
        for pending in batch:
            if _subject(pending.message) not in self._pending:
                self.put(pending.message)

    def take(self, count: int) -> list[Pending]:
        """Up to `count` messages, round robin over tenants."""
        taken = self._queue.take(count, count)
        for pending in taken:
            del self._pending[_subject(pending.message)]
        if not self._queue:
            self.filled.clear()
        return taken


def _subject(message: ControlMessage) -> _Subject:
    return message.tenant or "", message.kind, message.name, message.room
