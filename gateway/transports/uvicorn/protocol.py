"""The WebSocket transport under uvicorn, an asyncio protocol: no ASGI, task or coroutine for a client."""

import asyncio
import logging
from functools import partial
from typing import Final

from uvicorn.server import ServerState
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from gateway.core.addresses import client_address
from gateway.core.connect_request import ConnectRequest, read_connect_request
from gateway.core.credentials import bearer_tokens, tickets_from
from gateway.core.headers import Headers, Query
from gateway.core.host import Host
from gateway.core.rate_limit import RateLimiter
from gateway.core.transport import CLOSE_SECONDS
from gateway.telemetry import log_events
from gateway.transports.uvicorn.deflate import negotiate, supports_prepared_frames
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.handshake import accept_response
from gateway.transports.uvicorn.sockets import peer_of
from gateway.transports.uvicorn.writer import SocketWriter
from schemas.codes import CloseCode, ErrorCode

MAX_FRAGMENTS: Final = 64
"""Fragments of one message: empty ones cost the sender two bytes, and no size limit counts them."""

CONTROL_FRAMES: Final = RateLimiter(per_second=20.0, burst=100)
"""The rate limit of a client's pings and pongs, and of all its frames after the close: they cost it six bytes each."""

_PIECE: Final = 2 * 1024
"""Bytes that are parsed before the next check of the frame rate. A read returns 256 kB, which can be 43,000 pings: 360
ms of the event loop and 20 MB."""

_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

logger = logging.getLogger("gateway.transport")
# websockets logs every frame at DEBUG, tokens in `auth` commands included.
_silent = logging.getLogger("gateway.transport.frames")
_silent.setLevel(logging.CRITICAL)


class WebSocketTransport(SocketWriter, asyncio.Protocol):
    """A `Transport` that is the asyncio protocol of one connection."""

    __slots__ = (
        "_control_full_at",
        "_endpoint",
        "_extensions",
        "_fragments",
        "_parser",
        "_server_state",
        "_text",
    )

    def __init__(self, endpoint: Endpoint, server_state: ServerState) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._server_state = server_state
        self._parser: Protocol | None = None
        self._extensions: list[Extension] = []
        self._fragments: list[bytes] = []
        self._text = True
        self._control_full_at = 0.0

    # ---- called by the event loop and by uvicorn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # the transport of another protocol before
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has the methods that a shutdown calls

    def data_received(self, data: bytes) -> None:
        if self._parser is None:  # on demand: most clients of a dashboard send nothing
            self._parser = Protocol(SERVER, state=OPEN, max_size=self._endpoint.message_bytes, logger=_silent)
            self._parser.extensions = self._extensions
        self._ping_unanswered = False
        # Corked: the replies to frames of one read leave in one write.
        self._cork()
        try:
            for start in range(0, len(data), _PIECE):
                if not self._parse(self._parser, data[start : start + _PIECE], self._endpoint.host):
                    break
        finally:
            self._uncork()
        if self._parser.close_rcvd is not None or self._parser.parser_exc is not None:
            if self._parser.parser_exc is not None and self._parser.close_sent is not None:
                self._log_close(self._parser.close_sent.code, "protocol_error")
            self._leave()
            self._transport.close()

    def eof_received(self) -> None:
        self._leave()  # the loop closes the transport once its buffer is written

    def pause_writing(self) -> None:
        self.fd = None

    def resume_writing(self) -> None:
        if self._drain() and self._connection is not None:
            self._endpoint.host.on_writable(self._connection)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._endpoint.discard(self)
        if self._closing is not None:
            self._closing.cancel()
        connection, self._connection = self._connection, None
        try:
            if connection is not None:  # before the shutdown: while it can be seen what was not sent
                self._endpoint.host.on_transport_closed(connection)
        finally:
            self._shut()
            if self._parser is not None:
                self._parser.parser.close()  # break the reference cycle of the parser and its generator

    def shutdown(self) -> None:
        """Close the connection: uvicorn is stopping."""
        self.close(CloseCode.SERVICE_RESTART, "restart")
        self._uncork()  # the close frame, where the client is not authenticated yet

    # ---- the handshake

    def open(self, query: Query, headers: Headers, early: bytes) -> None:
        """Accept a valid handshake, and connect its client to the gateway. `early` are the first bytes of its frames.
        Called once."""
        endpoint = self._endpoint
        address = client_address(peer_of(self._transport), headers, endpoint.proxies)
        handshake = read_connect_request(query, headers, bearer_tokens(query, headers), address, tickets_from(query))
        self._begin_writing(endpoint)
        agreed = negotiate(headers) if endpoint.compression else None
        if agreed is not None:
            self._extensions = [agreed[0]]
            self._deflate = supports_prepared_frames(agreed[0])
        endpoint.add(self)
        # Corked: the response, the first frames and their replay leave in one write.
        self._cork(accept_response(headers, handshake.subprotocol, agreed and agreed[1]))
        if endpoint.host.resolve(handshake, partial(self._connect_later, early)):
            self._transport.pause_reading()  # no frame is read before the authentication
        else:
            self._connect(handshake, early)

    def _connect_later(self, early: bytes, handshake: ConnectRequest) -> None:
        """Connect a client after its asynchronous authentication; it may have been disconnected or closed meanwhile."""
        if self._transport.is_closing():
            self._corked = None
        elif not self._closed:
            self._connect(handshake, early)
            if not self._full:
                self._transport.resume_reading()
        else:
            self._uncork()

    def _connect(self, handshake: ConnectRequest, early: bytes) -> None:
        try:
            self._connection = self._endpoint.host.connect(handshake, self)
        except Exception:
            logger.exception("a client could not be connected")
            self.close(CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)
        finally:
            self._uncork()
        if early:
            self.data_received(early)

    # ---- frames of the client

    def _parse(self, parser: Protocol, piece: bytes, host: Host) -> bool:
        """Parse a piece of a read; False where the rest of the read is to be dropped."""
        parser.receive_data(piece)
        for frame in parser.events_received():
            if isinstance(frame, Frame) and frame.opcode in _DATA and not self._closed:
                self._receive_frame(host, frame)
            elif not self._within_rate():
                return False
        answers = parser.data_to_send()
        # No pongs to a client that reads none: they would fill the memory (backpressure).
        if answers and not self._full and not self._closed:
            self._push(b"".join(answers))
        return True

    def _within_rate(self) -> bool:
        self._control_full_at, over = CONTROL_FRAMES.acquire(self._control_full_at, asyncio.get_running_loop().time())
        if over and not self._closed:
            self._end(CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED)
        elif over:
            # It has its close code: nothing more is read until the close deadline.
            self._transport.pause_reading()
            return False
        return True

    def _receive_frame(self, host: Host, frame: Frame) -> None:
        connection = self._connection
        if connection is None:  # refused
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            if len(self._fragments) >= MAX_FRAGMENTS:
                self._end(CloseCode.MESSAGE_TOO_BIG, "a message has too many fragments")
            return
        message, self._fragments = b"".join(self._fragments), []
        try:
            if self._text:
                host.receive(connection, message.decode())
            else:
                host.receive_binary(connection)
        except UnicodeDecodeError:
            self._end(1007, "a text message is UTF-8")
        except Exception as error:
            log_events.connection_failed(connection, error)
            self._finish(CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)

    def _end(self, code: int, reason: str) -> None:
        self._log_close(code, reason)
        self._finish(code, reason)

    def _finish(self, code: int, reason: str) -> None:
        self._fragments = []
        self.close(code, reason)
        self._leave()

    def _log_close(self, code: int, reason: str) -> None:
        if self._connection is not None and not self._closed:
            self._connection.note_close(code, reason)
            log_events.connection_closed(self._connection, code, reason)

    def _leave(self) -> None:
        """Stop writing frames; buffered ones have until the deadline to be sent."""
        if self._connection is not None:
            self._endpoint.host.on_transport_closed(self._connection)
        self._shut()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)
