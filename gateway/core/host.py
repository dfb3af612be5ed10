"""The host of transports: the gateway, as they see it from below."""

from collections.abc import Callable
from typing import Protocol

from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.transport import Transport


class Host(Protocol):
    """The interface that a transport calls: plain, quick functions."""

    def connect(self, handshake: ConnectRequest, transport: Transport) -> Connection | None:
        """A client's handshake was answered; None where it is refused, and the transport closed with the reason."""

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether a handshake has to wait until its client is known. `then` is called once, after this has returned,
        with the one to connect with in its place. False: connect with it as it is."""

    def receive(self, connection: Connection, text: str) -> None:
        """A text frame came."""

    def receive_binary(self, connection: Connection) -> None:
        """A binary frame came, which the protocol does not have."""

    def on_writable(self, connection: Connection) -> None:
        """The transport answered False, and has room again."""

    def on_transport_closed(self, connection: Connection) -> None:
        """The client has gone, or the transport has given it up."""
