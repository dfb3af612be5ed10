"""The ASGI transport: frames are written through `send`, one at a time, by a task that lives while there are any."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.core.host import Host
from gateway.core.transport import CLOSE_SECONDS, HIGH_WATER
from gateway.telemetry import log_events
from schemas.codes import CloseCode, ErrorCode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CLOSE_FRAME_SECONDS: Final = 1.0
"""The time for a close frame after a failure."""

logger = logging.getLogger("gateway.transport")


class SendRefused(Exception):
    """A message that the server did not send although the client is connected: the server must close it."""


class AsgiTransport:
    """A `Transport` over an ASGI `send`. `stall` is the seconds that one frame may wait for a client that reads nothing
    (slow consumer), before it is aborted (4408)."""

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
        "failure",
        "gone",
        "on_writable",
        "stalled",
    )

    fd = None  # the socket belongs to the server
    pings = False  # ASGI has no pings, and does not tell whether the server sends any

    def __init__(self, send: Send, stall: float) -> None:
        self._send = send
        self._stall = stall
        self._pending: deque[Frame] = deque()
        self._size = 0
        self._full = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self.stalled = False
        self.failure: Exception | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_writable: Callable[[], None] = lambda: None

    def write(self, batch: Batch) -> bool:
        if self._closing is not None:
            return True
        self._pending.extend(batch.frames)
        self._size += sum(map(len, batch.frames))
        if self._size > HIGH_WATER:
            self._full = True
            self._writable.clear()
        self._wake()
        return not self._full

    def close(self, code: int, reason: str) -> None:
        if self._closing is None:
            # An int and a str, as ASGI names the types: autobahn refuses an enum's. RFC 6455 section 5.5: 123 bytes.
            self._closing = (int(code), reason.encode()[:123].decode(errors="ignore"))
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.finish)
            self._wake()

    def abort(self) -> None:
        self._closing = self._closing or (CloseCode.SLOW, "")
        self._pending.clear()
        self.end()

    def end(self) -> None:
        """End the connection: `serve` returns."""
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    async def wait_writable(self) -> None:
        """Return once the transport has room: no frame is read from a client that does not read its replies
        (backpressure)."""
        await self._writable.wait()

    def finish(self) -> None:
        """Drop unwritten frames and cancel the writer."""
        self.abort()
        if self._writer is not None:
            self._writer.cancel()

    def _wake(self) -> None:
        if self._writer is None and not self.gone.done():
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            async with asyncio.timeout(self._stall) as deadline:
                while self._pending:
                    frame = self._pending.popleft()
                    await self._send({"type": "websocket.send", "text": frame.text})
                    deadline.reschedule(asyncio.get_running_loop().time() + self._stall)
                    self._size -= len(frame)
                    if self._full and not self._pending:
                        self._full = False
                        self._writable.set()
                        self.on_writable()
                if self._closing is not None and not self.gone.done():
                    code, reason = self._closing
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
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


async def serve(host: Host, connection: Connection | None, transport: AsgiTransport, receive: Receive) -> None:
    """Run an accepted connection to its end; a rejected one (None) until its close frame was sent."""
    if connection is not None:
        transport.on_writable = lambda: host.on_writable(connection)
    reader = asyncio.create_task(_read(host, connection, transport, receive))
    reader.add_done_callback(lambda _: transport.end())
    try:
        await transport.gone
        if transport.stalled and connection is not None:
            log_events.connection_closed(connection, CloseCode.SLOW, "slow_consumer")
        if transport.failure is not None:
            if connection is not None:
                host.on_transport_closed(connection)
            ended, _ = await asyncio.wait((reader,), timeout=_CLOSE_FRAME_SECONDS)
            if not ended:
                # For example a close code below 3000 under Daphne, which closes with 1011 when an application raises.
                raise SendRefused from transport.failure
    finally:
        # No `await` here: anyio (Starlette's TestClient) would cancel it again.
        if connection is not None:
            host.on_transport_closed(connection)
        reader.cancel()
        transport.finish()


async def _read(host: Host, connection: Connection | None, transport: AsgiTransport, receive: Receive) -> None:
    try:
        while True:
            await transport.wait_writable()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if connection is None:
                continue
            if (text := message.get("text")) is not None:
                host.receive(connection, text)
            else:
                host.receive_binary(connection)
    except Exception as error:
        if connection is None:
            logger.exception("reading from a refused client failed")
        else:
            log_events.connection_failed(connection, error)
        transport.close(CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)
        await asyncio.wait((transport.gone,), timeout=_CLOSE_FRAME_SECONDS)
