"""The host of transports: the gateway as its transports call it."""

from collections.abc import Callable
from typing import Protocol

from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.credentials import Secrets
from gateway.core.transport import Transport


class HandshakeQueue(Protocol):
    """Handshakes that wait for turns of their tenants."""

    @property
    def busy(self) -> bool:
        """Whether a handshake has to wait."""

    def queue_of(self, tokens: Secrets, address: str) -> str:
        """The name of the queue of a handshake with these tokens: their tenant, or the address."""

    def accept(self, queue: str, connect: Callable[[], object]) -> None:
        """Call `connect` in a turn of the queue. It makes the transport of a client whose handshake has come; `queue`
        follows."""

    def queue(self, queue: str, begin: Callable[[], bool], accepted: bool = False) -> None:
        """Call `begin` in a turn of the queue, of one that was `accepted` before those that were not. It resolves the
        handshake, without a further turn; False where the client has gone."""


class Host(Protocol):
    """The callbacks of transports: synchronous functions that return quickly. A transport that can answer a handshake
    later takes a turn of its `handshakes` before."""

    handshakes: HandshakeQueue

    def connect(self, handshake: ConnectRequest, transport: Transport) -> Connection | None:
        """Admit a client whose handshake was answered; None where it is refused and the transport was closed with the
        reason."""

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether the handshake needs asynchronous authentication. True: `then` is called once, after this has
        returned, with the request to connect with. False: connect with it as it is."""

    def receive(self, connection: Connection, text: str) -> None:
        """Receive a text frame."""

    def receive_binary(self, connection: Connection) -> None:
        """Receive a binary frame, which the protocol does not have."""

    def on_writable(self, connection: Connection) -> None:
        """The transport was full (`write` returned False) and has room again."""

    def on_transport_closed(self, connection: Connection) -> None:
        """The client has disconnected, or the transport has aborted the connection."""
