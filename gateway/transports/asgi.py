"""The transport for any ASGI server: frames go out through `send`, one at a time, by a task while there are any."""

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
"""For the close code of a connection that failed to get through."""

logger = logging.getLogger("gateway.transport")


class SendRefused(Exception):
    """A message that the server does not send, though the client is still there: the server is to close it."""


class AsgiTransport:
    """A `Transport` over an ASGI `send`. `stall` is how many seconds one frame may wait for a client that reads
    nothing, before it is given up (4408)."""

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

    fd = None  # the socket is the server's
    pings = False  # ASGI has none: whether and when the server sends some it tells no application

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
        """Nothing more goes in or out: the code that serves this connection is to return."""
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    async def wait_writable(self) -> None:
        """Return once there is room: a client whose answers wait for it is not asked for more."""
        await self._writable.wait()

    def finish(self) -> None:
        """Give up what is unwritten and end the writer, whatever it waits for."""
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
            # Mostly the client has gone; which exception says so differs from server to server.
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
                # A close code below 3000 under Daphne, for one, which closes with 1011 where an application fails.
                raise SendRefused from transport.failure
    finally:
        # Without an `await`: where this was cancelled by anyio, as by Starlette's TestClient, it would be so again.
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
