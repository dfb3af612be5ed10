"""The transport of event streams under uvicorn, straight to the socket: no ASGI, task or coroutine for a client."""

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn.server import ServerState

from gateway.core.connection import Connection
from gateway.core.event_stream import COMMENT, MAX_SILENCE
from gateway.core.frame import Batch
from gateway.core.host import Host
from gateway.core.transport import Kind
from gateway.transports.uvicorn.endpoint import MAX_LAG, Endpoint
from gateway.transports.uvicorn.sockets import unacked_bytes
from gateway.transports.uvicorn.writer import SocketWriter
from schemas.codes import CloseCode

SILENCE_SECONDS: Final = MAX_SILENCE - 1.0 - MAX_LAG
"""Seconds without a write after which a comment is written (keepalive); connections are checked once a second."""

PROBE_SECONDS: Final = 15.0
"""Keepalive timeout: a client whose system acknowledges no byte for so long, with unacknowledged data, is dead."""

_MAX_RECEIVED: Final = 64 * 1024
"""Bytes that a client may send on a stream, such as pipelined requests; they are ignored."""


class EventStreamTransport(SocketWriter, asyncio.Protocol):
    """A `Transport` that takes over the connection of a request from uvicorn's HTTP protocol.

    The body has no length and no chunks: its end is the end of the connection (RFC 9112 section 6.3), for HTTP/1.0 and
    HTTP/1.1 alike, so that one encoding of an event fits every stream.
    """

    __slots__ = ("_endpoint", "_host", "_received", "_sent", "_server_state", "_written_at")

    kind: Kind = "sse"
    pings = False

    def __init__(self, endpoint: Endpoint, server_state: ServerState, host: Host, connection: Connection) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._server_state = server_state
        self._host = host
        self._connection = connection
        self._received = 0
        self._sent = 0
        self._written_at = 0.0

    # ---- start

    def take_over(self, transport: asyncio.Transport, head: bytes) -> None:
        """Become the protocol of the connection, with the head of the response as the first bytes."""
        self._transport = transport
        transport.set_protocol(self)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has what a shutdown calls
        self._endpoint.add(self)
        self._begin_writing(self._endpoint)
        now = asyncio.get_running_loop().time()
        self._written_at, self._ping_at = now, now + PROBE_SECONDS
        self._cork(head)

    def write_body(self, body: bytes) -> None:
        """Write body bytes that are not a batch."""
        if body and not self._closed:
            self._push(body)

    def begin(self, write_first: Callable[[], object]) -> None:
        try:
            write_first()
        finally:
            self._uncork()

    # ---- called by the event loop and by uvicorn

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _MAX_RECEIVED:
            self._give_up(CloseCode.MALFORMED, "unexpected_data")

    def pause_writing(self) -> None:
        self.fd = None

    def resume_writing(self) -> None:
        if self._drain() and self._connection is not None:
            self._host.on_writable(self._connection)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._endpoint.discard(self)
        if self._closing is not None:
            self._closing.cancel()
        connection, self._connection = self._connection, None
        try:
            if connection is not None:  # before the shutdown: while it can be seen what was not sent
                self._host.on_transport_closed(connection)
        finally:
            self._shut()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(CloseCode.SERVICE_RESTART, "restart")

    # ---- writing

    def write(self, batch: Batch) -> bool:
        if not self._closed:
            self._push(batch.event_stream)
        return not self._full

    def _finish_writing(self, code: int, reason: str) -> None:
        if self._corked is None:
            self._transport.close()  # after its buffer is written

    def _uncork(self) -> None:
        if self._transport.is_closing():  # the client has gone before the stream began
            self._corked = None
            return
        super()._uncork()
        if self._closed:
            self._transport.close()

    def _probe(self, now: float, endpoint: Endpoint, waiting: int) -> None:
        """Close a dead connection, and write a comment on an idle one (keepalive)."""
        sent = 0 if self._connection is None else self._connection.sent
        if self._closed or waiting or sent != self._sent:
            self._sent, self._written_at = sent, now
        elif now - self._written_at >= SILENCE_SECONDS:
            self._written_at = now
            self._push(COMMENT)
        if waiting:  # a slow reader is the stall's concern
            self._ping_unanswered = False
        elif now >= self._ping_at:
            arrived, unacked = self._acked(waiting), unacked_bytes(self._transport) > 0
            if self._ping_unanswered and unacked and arrived == self._acknowledged:
                self._give_up(None, "keepalive_timeout")
                return
            self._ping_at, self._acknowledged, self._ping_unanswered = now + PROBE_SECONDS, arrived, unacked

    def extend_deadlines(self, seconds: float) -> None:
        self._read_at += seconds
        self._ping_at += seconds
