"""Many WebSocket connections to one server, and the counting of what they receive."""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.frames import split
from benchmarks.load.receiver import Receiver

CONNECT_SECONDS: Final = 30.0
"""The timeout of a connection until it is ready, including the time it waits for others."""

_ABORT: Final = struct.pack("ii", 1, 0)


class ConnectFailed(Exception):
    """A server refused a connection, or did not answer."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The steps of one client from the TCP connection to its subscription.

    It sends `request`, then on the 101 `hello`, and is ready when a message has come that contains `ready`; where
    `ready` is empty, at once.
    """

    request: bytes
    hello: bytes = b""
    ready: bytes = b""


class _Opening:
    """A connection that is not ready yet."""

    __slots__ = ("dialogue", "received", "socket", "upgraded")

    def __init__(self, connection: socket.socket, dialogue: Dialogue) -> None:
        self.socket = connection
        self.dialogue = dialogue
        self.received = b""
        self.upgraded = False

    def receive(self) -> bool:
        """Process the bytes that have come; returns whether the connection is ready."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectFailed(f"the server closed the connection after {self.received[:500]!r}")
        self.received += data
        if not self.upgraded:
            head, found, rest = self.received.partition(b"\r\n\r\n")
            if not found:
                return False
            if b" 101 " not in head[:16]:
                raise ConnectFailed(f"the server answered {self.received[:500]!r}")
            self.upgraded, self.received = True, rest
            if self.dialogue.hello:
                self.socket.sendall(self.dialogue.hello)
        if not self.dialogue.ready:
            return True
        frames, _ = split(self.received)
        for i, (opcode, payload) in enumerate(frames):
            if opcode == 8:
                raise ConnectFailed(f"the server closed the connection: {payload!r} after {frames[:i]!r}")
            if self.dialogue.ready in payload:
                self._drop(i + 1)
                return True
        return False

    def _drop(self, frames: int) -> None:
        whole, rest = split(self.received)
        kept = b"".join(_header(opcode, payload) + payload for opcode, payload in whole[frames:])
        self.received = kept + rest


def _header(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    first = bytes((0x80 | opcode,))
    return first + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2))


class Fleet:
    """Connections to one server. A context manager: they are aborted on the way out, so that no TIME_WAIT piles up."""

    def __init__(self, port: int, receiver: Receiver) -> None:
        self.receiver = receiver
        self.sockets: list[socket.socket] = []
        self._port = port

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.sockets)

    def connect(
        self,
        count: int,
        dialogue: Callable[[int], Dialogue],
        sampled: bool = False,
        receive_buffer: int | None = None,
        in_flight: int = 64,
    ) -> float:
        """Open `count` more connections, `in_flight` at a time; `dialogue` gets each one's number in the fleet.

        Of sampled ones the latencies are kept. `receive_buffer` is bytes of the kernel's, else as it sees fit. Returns
        the seconds from the start until the last one is ready. Raises ConnectFailed.
        """
        first = len(self.sockets)
        dialogues = [dialogue(first + i) for i in range(count)]
        epoll = select.epoll()
        opening: dict[int, _Opening] = {}
        ready: dict[int, _Opening] = {}
        start = time.monotonic()
        deadline = start + CONNECT_SECONDS
        try:
            while len(ready) < count:
                while len(self.sockets) - first < count and len(opening) < in_flight:
                    one = _Opening(self._open(receive_buffer), dialogues[len(self.sockets) - 1 - first])
                    one.socket.sendall(one.dialogue.request)
                    opening[one.socket.fileno()] = one
                    epoll.register(one.socket.fileno(), select.EPOLLIN)
                for fd, _ in epoll.poll(1.0):
                    if opening[fd].receive():
                        epoll.unregister(fd)
                        ready[fd] = opening.pop(fd)
                if time.monotonic() > deadline:
                    raise ConnectFailed(f"{len(ready)} of {count} connections were ready in {CONNECT_SECONDS:.0f} s")
        finally:
            epoll.close()
        seconds = time.monotonic() - start
        for connection in self.sockets[first:]:
            index = self.receiver.add(connection, sampled)
            if rest := ready[connection.fileno()].received:
                self.receiver.feed(index, rest)
            connection.setblocking(False)
            self.receiver.watch(index, True)
        return seconds

    def close(self) -> None:
        """Abort every connection."""
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            connection.close()
        self.sockets.clear()

    def _open(self, receive_buffer: int | None) -> socket.socket:
        connection = socket.socket()
        if receive_buffer is not None:  # before the handshake, which announces the window
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(("127.0.0.1", self._port))
        self.sockets.append(connection)
        return connection
