"""The transport of event streams for any ASGI server, and the hand-over to a server that writes them itself."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from gateway.core.connection import Connection
from gateway.core.event_stream import COMMENT, MAX_SILENCE, MEDIA_TYPE, block
from gateway.core.frame import Batch
from gateway.core.host import Host
from gateway.core.transport import Kind
from gateway.telemetry import log_events
from gateway.transports.asgi_writer import AsgiWriter, Message, Receive, Send
from gateway.transports.hand_over import HAND_OVER, HandOver
from schemas.codes import CloseCode

HEADERS: Final = {"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-accel-buffering": "no"}
"""The headers of an event stream. The last one turns off the buffering of nginx."""

RETRY_MILLISECONDS: Final = (2_000, 5_000)
"""The delay of a reconnect, drawn for each client, so that not all reconnect at once (thundering herd)."""

WATCH_SECONDS: Final = MAX_SILENCE / 2 - 0.5
"""Seconds between two checks for silence."""


class AsgiEventStream(AsgiWriter[bytes | memoryview]):
    """A `Transport` for an event stream over an ASGI `send`, whose response has been started."""

    __slots__ = ()

    kind: Kind = "sse"

    def _items(self, batch: Batch) -> Sequence[bytes | memoryview]:
        return (batch.event_stream,)

    def _message(self, item: bytes | memoryview) -> Message:
        return {"type": "http.response.body", "body": bytes(item), "more_body": True}

    def _close_message(self, code: int, reason: str) -> Message:
        return {"type": "http.response.body", "body": b"", "more_body": False}

    def comment(self) -> None:
        """Write a comment, unless other bytes are pending."""
        if not self._pending and self._closing is None:
            self._pending.append(COMMENT)
            self._size += len(COMMENT)
            self._wake()


async def serve_event_stream(
    host: Host,
    connection: Connection,
    begin: Callable[[], object],
    headers: Sequence[tuple[bytes, bytes]],
    stall: float,
    receive: Receive,
    send: Send,
) -> None:
    """Start the response and run an admitted connection to its end; `begin` writes its first blocks. Where the server
    takes over, this returns once it has begun."""
    offer = HandOver(host, connection)
    retry = random.randint(*RETRY_MILLISECONDS)  # noqa: S311 - spreads clients, keeps no secret
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [*headers], HAND_OVER: offer})
        # Some middleware delays the start until the first bytes of the body.
        await send({"type": "http.response.body", "body": block(None, retry=retry), "more_body": True})
    except BaseException:
        host.on_transport_closed(connection)
        raise
    socket_stream = offer.close()
    if socket_stream is not None:
        connection.transport = socket_stream
        socket_stream.begin(begin)
    else:
        await _serve(host, connection, begin, AsgiEventStream(send, stall), receive)


async def _serve(
    host: Host, connection: Connection, begin: Callable[[], object], transport: AsgiEventStream, receive: Receive
) -> None:
    connection.transport = transport
    transport.on_writable = lambda: host.on_writable(connection)
    reader = asyncio.create_task(_until_disconnected(receive))
    reader.add_done_callback(lambda _: transport.end())
    try:
        begin()
        sent = -1
        while not transport.closed.done():
            if connection.sent == sent:
                transport.comment()
            sent = connection.sent
            await asyncio.wait((transport.closed,), timeout=WATCH_SECONDS)
        if transport.stalled:
            connection.note_close(CloseCode.SLOW, "slow_consumer")
            log_events.connection_closed(connection, CloseCode.SLOW, "slow_consumer")
    finally:
        reader.cancel()
        transport.finish()
        host.on_transport_closed(connection)


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
