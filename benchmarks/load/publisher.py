"""How events get into a server: in a line to a server that publishes from inside, or over HTTP or its own protocol."""

import json
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import IO, Final, Protocol

TIMEOUT: Final = 10.0
"""Seconds that a server may take to accept what is published."""


class Publisher(Protocol):
    """Publishes events whose data is `{"at": "<20 digits>", "pad": "<pad characters>"}`, where `at` is the monotonic
    clock in nanoseconds at publishing."""

    def publish(self, count: int, pad: int, rooms: Sequence[str]) -> None:
        """Publish `count` events at once, each to `rooms`."""

    def poll(self) -> None:
        """Read the answers that have come, and raise PublishFailed where one is a refusal."""

    def close(self) -> None:
        """Let go of the server."""


class PublishFailed(Exception):
    """The server refused an event."""


class LinePublisher:
    """Orders in-process publishing by a line on the server's standard input: `<count> <pad> <room>...`.

    The server publishes the events of one line in one turn of its loop, and those of the next line in the next turn.
    """

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin

    def publish(self, count: int, pad: int, rooms: Sequence[str]) -> None:
        self._stdin.write(f"{count} {pad} {' '.join(rooms)}\n".encode())
        self._stdin.flush()

    def poll(self) -> None:
        """A line has no answer."""

    def close(self) -> None:
        """The server's to close."""


class SocketPublisher:
    """Sends what `encode(count, pad, rooms)` makes over one connection, without waiting for the answers."""

    def __init__(
        self, port: int, encode: Callable[[int, int, Sequence[str]], bytes], refusal: bytes, greeting: bytes = b""
    ) -> None:
        """`refusal` is what an answer contains that is none; `greeting` is sent first."""
        self._encode = encode
        self._refusal = refusal
        self._tail = b""
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Not settimeout(): with it MSG_DONTWAIT waits all the same.
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(TIMEOUT), 0))
        if greeting:
            self._socket.sendall(greeting)

    def publish(self, count: int, pad: int, rooms: Sequence[str]) -> None:
        self._socket.sendall(self._encode(count, pad, rooms))

    def poll(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                raise PublishFailed("the server closed the publisher's connection")
            text = self._tail + data
            if (at := text.find(self._refusal)) >= 0:
                raise PublishFailed(repr(text[at : at + 400]))
            self._tail = text[-len(self._refusal) :]

    def close(self) -> None:
        self._socket.close()


def data(pad: int) -> dict[str, str]:
    """The data of an event that is published now."""
    return {"at": f"{time.monotonic_ns():020}", "pad": "x" * pad}


def event(pad: int, rooms: Sequence[str]) -> dict[str, object]:
    """An event of circle and project rooms, as a publisher writes it."""
    fields = {f"{kind}_id": int(name) for kind, _, name in (room.partition(":") for room in rooms)}
    return {"type": "task.completed", "data": data(pad), **fields}


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """An HTTP request on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def compact(value: object) -> bytes:
    """`value` as JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
