"""The writing half of the ASGI transports: messages are written through `send`, one at a time, by a task that lives
while there are any."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sized
from typing import Any, Generic, TypeVar

from gateway.core.frame import Batch
from gateway.core.transport import CLOSE_SECONDS, HIGH_WATER
from schemas.codes import CloseCode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Item = TypeVar("Item", bound=Sized)


class AsgiWriter(ABC, Generic[Item]):
    """A `Transport` over an ASGI `send`; an `Item` becomes one message. `stall` is the seconds that one may wait for a
    client that reads nothing (slow consumer), before it is aborted (4408)."""

    __slots__ = (
        "_closing",
        "_deadline",
        "_full",
        "_pending",
        "_send",
        "_size",
        "_stall",
        "_writable",
        "_writer",
        "closed",
        "failure",
        "on_writable",
        "stalled",
    )

    fd = None  # the socket belongs to the server
    pings = False  # ASGI has no pings, and does not report whether the server sends any
    unacknowledged = None  # ASGI does not report what a client has acknowledged

    def __init__(self, send: Send, stall: float) -> None:
        self._send = send
        self._stall = stall
        self._pending: deque[Item] = deque()
        self._size = 0
        self._full = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self.stalled = False
        self.failure: Exception | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_writable: Callable[[], None] = lambda: None

    @abstractmethod
    def _items(self, batch: Batch) -> Collection[Item]: ...

    @abstractmethod
    def _message(self, item: Item) -> Message:
        """The ASGI message with an item."""

    @abstractmethod
    def _close_message(self, code: int, reason: str) -> Message:
        """The last message."""

    def write(self, batch: Batch) -> bool:
        if self._closing is not None:
            return True
        items = self._items(batch)
        self._pending.extend(items)
        self._size += sum(map(len, items))
        if self._size > HIGH_WATER:
            self._full = True
            self._writable.clear()
        self._wake()
        return not self._full

    def close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = (code, reason)
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.finish)
            self._wake()

    def abort(self) -> None:
        self._closing = self._closing or (CloseCode.SLOW, "")
        self._pending.clear()
        self.end()

    def end(self) -> None:
        """End the connection: the coroutine that serves it returns."""
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    async def wait_writable(self) -> None:
        """Return once the transport has room: no frame is read from a client that does not read its replies
        (backpressure)."""
        await self._writable.wait()

    def finish(self) -> None:
        """Drop unwritten items and cancel the writer."""
        self.abort()
        if self._writer is not None:
            self._writer.cancel()

    def _wake(self) -> None:
        if self._writer is None and not self.closed.done():
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            async with asyncio.timeout(self._stall) as deadline:
                while self._pending:
                    item = self._pending.popleft()
                    await self._send(self._message(item))
                    deadline.reschedule(asyncio.get_running_loop().time() + self._stall)
                    self._size -= len(item)
                    if self._full and not self._pending:
                        self._full = False
                        self._writable.set()
                        self.on_writable()
                if self._closing is not None and not self.closed.done():
                    await self._send(self._close_message(*self._closing))
                    self.end()
        except TimeoutError:
            self.stalled = self._closing is None
            self.abort()
        except Exception as error:
            # Usually a disconnect, for which each server raises another exception.
            self.failure = error
            self.abort()
        finally:
            self._writer = None
