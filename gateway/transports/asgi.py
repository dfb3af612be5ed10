"""The ASGI transport of WebSockets."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.core.host import Host
from gateway.core.transport import Kind
from gateway.telemetry import log_events
from gateway.transports.asgi_writer import AsgiWriter, Message, Receive, Send
from schemas.codes import CloseCode, ErrorCode

__all__ = ["AsgiTransport", "Receive", "Send", "SendRefused", "serve"]

_CLOSE_FRAME_SECONDS: Final = 1.0
"""The time for a close frame after a failure."""

logger = logging.getLogger("gateway.transport")


class SendRefused(Exception):
    """A message that the server did not send although the client is connected: the server must close it."""


class AsgiTransport(AsgiWriter[Frame]):
    """A `Transport` for a WebSocket over an ASGI `send`."""

    __slots__ = ()

    kind: Kind = "websocket"

    def _items(self, batch: Batch) -> Sequence[Frame]:
        return batch.frames

    def _message(self, item: Frame) -> Message:
        return {"type": "websocket.send", "text": item.text}

    def _close_message(self, code: int, reason: str) -> Message:
        # An int and a str, as ASGI names the types: autobahn refuses an enum's. RFC 6455 section 5.5: 123 bytes.
        return {"type": "websocket.close", "code": int(code), "reason": reason.encode()[:123].decode(errors="ignore")}


async def serve(host: Host, connection: Connection | None, transport: AsgiTransport, receive: Receive) -> None:
    """Run an accepted connection to its end; a rejected one (None) until its close frame was sent."""
    if connection is not None:
        transport.on_writable = lambda: host.on_writable(connection)
    reader = asyncio.create_task(_read(host, connection, transport, receive))
    reader.add_done_callback(lambda _: transport.end())
    try:
        await transport.closed
        if transport.stalled and connection is not None:
            connection.note_close(CloseCode.SLOW, "slow_consumer")
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
        reader.cancel()
        transport.finish()
        if connection is not None:
            host.on_transport_closed(connection)


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
        await asyncio.wait((transport.closed,), timeout=_CLOSE_FRAME_SECONDS)
