"""The hand-over of an event stream from ASGI to the server's own socket."""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.core.connection import Connection
from gateway.core.host import Host
from gateway.core.transport import Transport

HAND_OVER: Final = "gateway.hand_over"
"""The key of a `HandOver` in the message that starts the response: a server that knows it takes the stream, all others
ignore it. Middleware that makes messages of its own loses it, and so goes on to see every byte."""


class SocketStream(Transport, Protocol):
    """A `Transport` for event streams that has the client's socket."""

    def begin(self, write_first: Callable[[], object]) -> None:
        """Call `write_first`, which writes the first blocks; they leave in one write with the head."""


class HandOver:
    """An offer of a stream to the server. It can be accepted while the response starts, not later."""

    __slots__ = ("_open", "connection", "host", "transport")

    def __init__(self, host: Host, connection: Connection) -> None:
        self.host = host
        self.connection = connection
        self.transport: SocketStream | None = None
        self._open = True

    def accept(self, transport: SocketStream) -> bool:
        """Accept the stream; False if it is too late."""
        if self._open:
            self.transport = transport
        return self._open

    def close(self) -> SocketStream | None:
        """Withdraw the offer; returns the transport of the server if it was accepted."""
        self._open = False
        return self.transport
