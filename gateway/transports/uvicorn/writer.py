"""The writing half of a socket transport: corking, backpressure, keepalive. A WebSocket's, unless it is overridden."""

import asyncio
from typing import Final

from websockets.frames import Close, Frame, Opcode

from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.transport import CLOSE_SECONDS, HIGH_WATER, Kind
from gateway.telemetry import log_events
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.line import FORGET_SECONDS, NEW_LINE, Line
from gateway.transports.uvicorn.sockets import (
    abort_with_rst,
    acked_bytes,
    fd_of,
    known_unacked_bytes,
    limit_outstanding,
    limit_unsent,
    min_rtt,
    send_record,
    unacked_bytes,
)
from schemas.codes import CloseCode

_DEFLATE_RATIO: Final = 1_032
"""The most that deflate compresses by (zlib's technical notes)."""

_PING: Final = Frame(Opcode.PING, b"").serialize(mask=False)


class SocketWriter:
    """The writing half of a `Transport` over an asyncio transport, whose protocol passes on `pause_writing` and
    `resume_writing`. A base class and not a part, since each object of a connection costs memory and time."""

    __slots__ = (
        "_acknowledged",
        "_blocked_acked",
        "_blocked_at",
        "_closed",
        "_closing",
        "_connection",
        "_corked",
        "_deflate",
        "_full",
        "_line",
        "_line_until",
        "_ping_at",
        "_ping_unanswered",
        "_pushed",
        "_read",
        "_read_at",
        "_socket",
        "_transport",
        "bucket",
        "fd",
    )

    kind: Kind = "websocket"
    pings = True

    def __init__(self) -> None:
        self._corked: list[bytes | memoryview] | None = None
        self._full = False
        self._blocked_at = 0.0
        self._blocked_acked = 0
        self._deflate = False
        self._closed = False
        self._closing: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self._pushed = 0
        self._read = 0
        self._read_at = 0.0
        self._ping_at = 0.0
        self._ping_unanswered = False
        self._acknowledged = 0
        self._socket: int | None = None
        self._line = NEW_LINE
        self._line_until = 0.0
        self.fd: int | None = None
        self.bucket = 0
        self._transport: asyncio.Transport

    def _begin_writing(self, endpoint: Endpoint) -> None:
        """Prepare the transport for frames, after the response to the handshake."""
        self._socket = fd_of(self._transport)
        # With direct writes, `pause_writing` must be called as soon as anything is buffered.
        self._transport.set_write_buffer_limits(high=HIGH_WATER if self._socket is None else 0)
        now = asyncio.get_running_loop().time()
        self._read_at, self._ping_at = now, now + endpoint.ping_interval

    def write(self, batch: Batch) -> bool:
        # uvloop's transport raises when it is written to after its end.
        if not self._closed:
            self._push(batch.deflated if self._deflate else batch.wire)
        return not self._full

    @property
    def buffered(self) -> int:
        """Bytes buffered in this process; more are in the kernel."""
        return self._transport.get_write_buffer_size()

    @property
    def unacknowledged(self) -> int | None:
        kernel, waiting = known_unacked_bytes(self._transport), self._transport.get_write_buffer_size()
        # Without direct writes, though nothing is buffered: the loop has dropped the buffer with the connection.
        dropped = self.fd is None and not (waiting or self._closed or self._corked)
        if kernel is None or self._socket is None or (dropped and self._transport.is_closing()):
            return None
        held = kernel + waiting + sum(map(len, self._corked or ()))
        return held * _DEFLATE_RATIO if self._deflate else held

    def close(self, code: int, reason: str) -> None:
        if not self._closed:
            self._shut()
            self._finish_writing(code, reason)
            self._closing = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        self._shut()
        abort_with_rst(self._transport)

    def _finish_writing(self, code: int, reason: str) -> None:
        """Write the end: the close frame."""
        text = reason.encode()[:123].decode(errors="ignore")
        self._push(Frame(Opcode.CLOSE, Close(code, text).serialize()).serialize(mask=False))

    def _push(self, wire: bytes | memoryview) -> None:
        if self._corked is not None:
            self._corked.append(wire)
            return
        self._pushed += len(wire)
        if self._line.slow:
            wire = self._send_record(wire)
        self._transport.write(wire)
        if not self._full and (waiting := self._transport.get_write_buffer_size()) and self._is_full(waiting):
            self._full = True
            # Backpressure: nothing is read from a client that does not read its replies.
            self._transport.pause_reading()

    def _send_record(self, wire: bytes | memoryview) -> bytes | memoryview:
        """Send the bytes as a record of their own, where none wait before them; returns those that are left."""
        if self._socket is None or self._transport.get_write_buffer_size() or self._transport.is_closing():
            return wire
        return memoryview(wire)[send_record(self._socket, wire) :]

    def _is_full(self, waiting: int) -> bool:
        """Whether the `waiting` bytes, which the kernel did not take, fill the transport: what waits is older than what
        the log has by the time it leaves. While the connection is behind any do, and on a slow line; else those that
        have waited for a while."""
        if self._socket is None:
            return waiting > HIGH_WATER
        now = asyncio.get_running_loop().time()
        if not self._blocked_at:
            self._blocked_at, self._blocked_acked = now, self._acked(waiting)
        behind = self._connection is not None and not self._connection.live
        if behind or self._line.slow:
            return True
        full = waiting > HIGH_WATER or self._line.too_late(now - self._blocked_at, waiting)
        if full:
            self._adapt(self._line.narrowed())
        return full

    def _measure(self) -> Line:
        """The line, now that no bytes wait any more, by what it has carried since they began to."""
        seconds = asyncio.get_running_loop().time() - self._blocked_at
        return self._line.measured(self._acked(0) - self._blocked_acked, seconds, min_rtt(self._transport))

    def _adapt(self, line: Line) -> None:
        """Adapt the kernel's buffers to the line."""
        before, self._line = self._line, line
        self._line_until = asyncio.get_running_loop().time() + FORGET_SECONDS
        sock = self._transport.get_extra_info("socket")
        if line.unsent != before.unsent:
            limit_unsent(sock, line.unsent)
        if line.outstanding != before.outstanding:
            limit_outstanding(sock, line.outstanding)

    def _cork(self, *first: bytes) -> None:
        self._corked = [*first]
        self.fd = None

    def _uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self._push(corked[0] if len(corked) == 1 else b"".join(corked))
        self._offer_fd()

    def _offer_fd(self) -> None:
        """Offer the descriptor for direct writes, unless data is buffered that must be written before, or each write is
        a record."""
        held = self._closed or self._deflate or self._line.slow or self._corked is not None
        if not (held or self._transport.get_write_buffer_size()):
            self.fd = self._socket

    def _drain(self) -> bool:
        """Record that the buffer has room again; returns whether it was full until now."""
        if self._blocked_at:
            self._adapt(self._measure())
        self._offer_fd()
        self._read = -1  # it has read
        drained, self._full, self._blocked_at = self._full, False, 0.0
        if drained and not self._transport.is_closing():
            self._transport.resume_reading()
        return drained

    def _shut(self) -> None:
        self._closed = True
        self.fd = None

    # ---- keepalive

    def extend_deadlines(self, seconds: float) -> None:
        self._read_at += seconds
        self._ping_at += seconds

    def check_liveness(self, now: float, endpoint: Endpoint) -> None:
        """Abort a client that reads nothing (slow consumer) or no longer answers."""
        waiting = self._transport.get_write_buffer_size()
        if self._line.slow and not waiting and now >= self._line_until:
            self._adapt(NEW_LINE)
            self._offer_fd()
        # The kernel drains a slow reader's buffer rarely and in large steps, so progress is measured by acked bytes.
        read = self._acked(waiting) if waiting else -1
        if not waiting or read != self._read:
            self._read, self._read_at = read, now
        elif now - self._read_at >= endpoint.stall:
            # Aborted, since a close frame would only wait behind the data.
            self._give_up(CloseCode.SLOW, "slow_consumer")
            return
        self._probe(now, endpoint, waiting)

    def _probe(self, now: float, endpoint: Endpoint, waiting: int) -> None:
        """Abort a client that answers no ping; send the next ping. `waiting` is the number of bytes in the buffer."""
        if waiting or self._closed:
            # No ping: it would queue behind the data, and a slow reader's pong would be late.
            self._ping_unanswered = False
        elif now >= self._ping_at:
            arrived = self._acked(waiting)
            if self._ping_unanswered and (arrived == self._acknowledged or not unacked_bytes(self._transport)):
                self._give_up(None, "keepalive_timeout")
                return
            # A ping stays unanswered while it is behind data that a slow reader has yet to read.
            self._ping_at, self._acknowledged = now + endpoint.ping_interval, arrived
            if not self._ping_unanswered:
                self._ping_unanswered = True
                self._push(_PING)

    def _give_up(self, code: CloseCode | None, reason: str) -> None:
        if self._connection is not None and not self._closed:
            self._connection.note_close(code, reason)
            log_events.connection_closed(self._connection, code, reason)
        self.abort()

    def _acked(self, waiting: int) -> int:
        """Bytes that the client's kernel has acknowledged. Without TCP_INFO, a count that grows with them while data is
        buffered; direct writes are not in it."""
        return acked_bytes(self._transport) or self._pushed - waiting - unacked_bytes(self._transport)
