"""Frames, encoded once for many transports, and batches, written together."""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from gateway.core import event_stream

# RFC 6455 section 5.2: FIN and opcode 1 (text) in the first byte; servers do not mask.
_TEXT: Final = 0x81
# RFC 7692 section 6: the first reserved bit says that the message is compressed.
_DEFLATED_TEXT: Final = 0xC1

WINDOW_BITS: Final = 12
"""The window of compressed frames as a power of two: 4 kB, more than most events."""

_MIN_DEFLATED: Final = 256
"""Payloads under this size are not compressed: 10 us of CPU would save less than 60 bytes."""


class Frame:
    """One event as an unmasked WebSocket text frame; its `event_id` is None for frames without a position in the log.

    `wire` is the whole frame, for a transport that writes bytes to a socket; `text` the message, for one that frames by
    itself (ASGI).
    """

    __slots__ = ("_deflated", "_payload_start", "_text", "event_id", "wire")

    def __init__(self, payload: bytes, event_id: str | None = None) -> None:
        header = _header(_TEXT, len(payload))
        self.wire = header + payload
        self.event_id = event_id
        self._payload_start = len(header)
        self._text: str | None = None
        self._deflated: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The message as UTF-8, without the frame header."""
        return self.wire[self._payload_start :]

    @property
    def text(self) -> str:
        """The message as text, decoded once."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text

    @property
    def deflated(self) -> bytes:
        """The frame for connections with permessage-deflate, compressed once for all of them; `wire` where that is not
        longer. Valid only without context takeover (server_no_context_takeover) and with a window of at least
        `WINDOW_BITS`."""
        if self._deflated is None:
            self._deflated = self.wire
            if len(self.wire) >= _MIN_DEFLATED:
                deflate = zlib.compressobj(6, zlib.DEFLATED, -WINDOW_BITS, 5)
                # RFC 7692 section 7.2.1: the empty block at the end is left out.
                payload = (deflate.compress(self.payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
                compressed = _header(_DEFLATED_TEXT, len(payload)) + payload
                self._deflated = min(self.wire, compressed, key=len)
        return self._deflated

    @property
    def event_stream(self) -> bytes:
        """The block in an event stream. Not cached: batches cache it, and a window would take twice the memory. It has
        no `event:` field, since `EventSource` dispatches a named event only to listeners of that name."""
        return event_stream.block(self.payload, id=self.event_id)

    def __len__(self) -> int:
        return len(self.wire)


class MessageFrame(Frame):
    """One of the gateway's own frames. In an event stream it has a `name`, and optionally the cursor to resume from as
    `event_id`, and the milliseconds until the client reconnects as `retry`."""

    __slots__ = ("name", "retry")

    def __init__(self, payload: bytes, name: str, event_id: str | None = None, retry: int | None = None) -> None:
        super().__init__(payload, event_id)
        self.name = name
        self.retry = retry

    @property
    def event_stream(self) -> bytes:
        return event_stream.block(self.payload, id=self.event_id, event=self.name, retry=self.retry)


class MarkFrame(Frame):
    """A mark: in an event stream its cursor alone, which moves `Last-Event-ID` and is not dispatched."""

    __slots__ = ()

    @property
    def event_stream(self) -> bytes:
        return event_stream.block(None, id=self.event_id)


_MEDIUM: Final = struct.Struct(">BBH").pack


def _header(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65_536:
        return _MEDIUM(first, 126, size)
    return bytes((first, 127)) + size.to_bytes(8)


class Batch:
    """Frames that are written together, shared by all their recipients.

    `first` and `last` are offsets in the log, for a connection that falls behind; 0 for replies. `wire` and `deflated`
    are all frames concatenated, and so is `event_stream`. `written` counts the connections that have taken it through
    their transports.
    """

    __slots__ = ("_deflated", "_event_stream", "count", "first", "frames", "last", "wire", "written")

    wire: bytes | memoryview

    def __init__(self, frames: Sequence[Frame], first: int = 0, last: int = 0) -> None:
        self.frames = frames
        self.count = len(frames)
        self.first = first
        self.last = last
        self.written = 0
        self.wire = frames[0].wire if self.count == 1 else b"".join([frame.wire for frame in frames])
        self._deflated: bytes | None = None
        self._event_stream: bytes | memoryview | None = None

    @property
    def deflated(self) -> bytes:
        """The `wire` for connections with permessage-deflate; compressed once, on first use."""
        if self._deflated is None:
            self._deflated = b"".join([frame.deflated for frame in self.frames])
        return self._deflated

    @property
    def event_stream(self) -> bytes | memoryview:
        """The frames as blocks of an event stream, concatenated; encoded once, on first use."""
        if self._event_stream is None:
            self._event_stream = b"".join([frame.event_stream for frame in self.frames])
        return self._event_stream

    def rest(self, sent: int) -> "Batch":
        """The batch without its first `sent` bytes; it has nothing but its `wire`."""
        rest = Batch((), self.first, self.last)
        rest.wire = rest._event_stream = memoryview(self.wire)[sent:]
        return rest


class EventStreamBatch(Batch):
    """A batch for event streams: its `wire` is in their encoding, so that a `BatchWriter` serves them as it is."""

    __slots__ = ()

    def __init__(self, frames: Sequence[Frame], first: int = 0, last: int = 0) -> None:
        self.frames = frames
        self.count = len(frames)
        self.first = first
        self.last = last
        self.written = 0
        self.wire = self._event_stream = b"".join([frame.event_stream for frame in frames])
        self._deflated = None


class DeliveryCount:
    """The events that were written to clients, and the bytes of their frames before compression. Counted once a batch,
    not for each connection."""

    __slots__ = ("bytes", "events")

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0

    def add(self, batch: Batch, connections: int) -> None:
        """Count a batch that was written to so many connections."""
        self.events += batch.count * connections
        self.bytes += len(batch.wire) * connections
