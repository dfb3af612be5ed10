"""The part of RFC 6455 that a load client needs: the handshake, masked frames out, whole frames in."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2

_KEY: Final = b64encode(b"gateway-benchmark").decode()[:22] + "=="


def upgrade(path: str, port: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The client's handshake. No compression is offered, so none is used."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame. The masking key is zero: every server must take it, and it costs the client nothing."""
    size = len(payload)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        header = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2)
    else:
        header = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8)
    return header + b"\0\0\0\0" + payload


def server_header(buffer: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The start and the size of the payload of the frame at `at`; None where its header is incomplete."""
    if len(buffer) - at < 2:
        return None
    size = buffer[at + 1] & 0x7F
    if size < 126:
        return at + 2, size
    extended = 2 if size == 126 else 8
    start = at + 2 + extended
    return (start, int.from_bytes(buffer[at + 2 : start])) if len(buffer) >= start else None


def split(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server's bytes, as opcode and payload, and the rest."""
    frames = []
    at = 0
    while header := server_header(buffer, at):
        start, size = header
        if len(buffer) < start + size:
            break
        frames.append((buffer[at] & 0x0F, buffer[start : start + size]))
        at = start + size
    return frames, buffer[at:]
