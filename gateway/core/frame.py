"""Frames, encoded once for many transports, and the batches in which they are written."""

from collections.abc import Sequence

# RFC 6455 section 5.2: FIN and opcode 1 (text) in the first byte; servers do not mask.
_TEXT = 0x81


class Frame:
    """One event or reply as an unmasked WebSocket text frame.

    `wire` is the whole frame for a transport that writes bytes to a socket; `text` the message alone, for one that
    frames by itself (ASGI) or not at all (Server-Sent Events).
    """

    __slots__ = ("_payload_start", "_text", "wire")

    def __init__(self, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            header = bytes((_TEXT, size))
        elif size < 65_536:
            header = b"\x81\x7e" + size.to_bytes(2)
        else:
            header = b"\x81\x7f" + size.to_bytes(8)
        self.wire = header + payload
        self._payload_start = len(header)
        self._text: str | None = None

    @property
    def payload(self) -> bytes:
        """The message as UTF-8, without the frame's header."""
        return self.wire[self._payload_start :]

    @property
    def text(self) -> str:
        """The message, decoded once for all."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text

    def __len__(self) -> int:
        return len(self.wire)


class Batch:
    """Frames that leave together, shared by every connection that they are for.

    `first` and `last` are offsets in the log, for a connection that must remember its place; 0 for replies.
    """

    __slots__ = ("_wire", "first", "frames", "last")

    def __init__(self, frames: Sequence[Frame], first: int = 0, last: int = 0) -> None:
        self.frames = frames
        self.first = first
        self.last = last
        self._wire: bytes | None = None

    @property
    def wire(self) -> bytes:
        """All the frames as one piece, joined at first use."""
        if self._wire is None:
            self._wire = self.frames[0].wire if len(self.frames) == 1 else b"".join([f.wire for f in self.frames])
        return self._wire
