"""Listeners over a WebSocket or an event stream, which count bytes: events of one size are of one size in both."""

import contextlib
import select
import socket
import time
from typing import Final

_READY_SECONDS: Final = 30.0


class Listeners:
    """Connections to one server, subscribed to one room each. A context manager that closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.received = 0

    def __enter__(self) -> "Listeners":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()

    def connect(self, request: bytes) -> None:
        """Open a connection, and return once its subscription is confirmed. Raises `ConnectionError`."""
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_READY_SECONDS)
        connection.sendall(request)
        answer = b""
        while b'"type":"subscribed"' not in answer:
            if not (data := connection.recv(65_536)):
                raise ConnectionError(f"the server closed the connection after {answer[:500]!r}")
            answer += data
        connection.setblocking(False)
        self._sockets[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def receive(self, target: int, seconds: float) -> int:
        """Read until `target` bytes came in all, or for `seconds`. Returns the bytes so far."""
        deadline = time.monotonic() + seconds
        while self.received < target and (left := deadline - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(left, 512):
                with contextlib.suppress(BlockingIOError):
                    if not (data := self._sockets[fd].recv(262_144)):
                        raise ConnectionError("the server closed a connection")
                    self.received += len(data)
        return self.received
