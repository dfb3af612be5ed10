"""Real clients, and a host that records a transport's callbacks."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.credentials import Secrets
from gateway.core.frame import Batch, EventStreamBatch, Frame
from gateway.core.host import HandshakeQueue
from gateway.core.transport import Transport
from gateway.testing.helpers import PATIENCE
from gateway.transports.uvicorn.sockets import write_batch_to_fds

_PIECE: Final = 16_384
"""Bytes of one write that fills a transport; less than any limit."""


class _AtOnce:
    """A `HandshakeQueue` in which nothing waits."""

    busy = False

    def queue_of(self, tokens: Secrets, address: str) -> str:
        return address

    def accept(self, queue: str, connect: Callable[[], object]) -> None:
        connect()

    def queue(self, queue: str, begin: Callable[[], bool], accepted: bool = False) -> None:
        begin()


class RecordingHost:
    """A `Host` that admits every client and records its callbacks; `writable_hook` is called from `on_writable`."""

    def __init__(self) -> None:
        self.handshakes: HandshakeQueue = _AtOnce()
        self.joined: asyncio.Queue[Connection] = asyncio.Queue()
        self.texts: list[str] = []
        self.binaries = 0
        self.drains: list[Connection] = []
        self.gone: list[Connection] = []
        self.writable_hook: Callable[[Connection], None] = lambda connection: None
        self.writing = False

    def connect(self, handshake: ConnectRequest, transport: Transport) -> Connection:
        identity = Identity("ada", "acme", Grants.parse(["tenant"]), frozenset({"subscribe"}), "jti", 0, 1 << 40)
        connection = Connection("con_1", identity, transport, 0.0, handshake.address)
        self.joined.put_nowait(connection)
        return connection

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        return False

    def receive(self, connection: Connection, text: str) -> None:
        self.texts.append(text)

    def receive_binary(self, connection: Connection) -> None:
        self.binaries += 1

    def on_writable(self, connection: Connection) -> None:
        assert not self.writing, "on_writable was called from within a write"
        self.drains.append(connection)
        self.writable_hook(connection)

    def on_transport_closed(self, connection: Connection) -> None:
        self.gone.append(connection)


class Client(Protocol):
    """A client, as far as the suite uses it: that of websockets, or one of an event stream."""

    @property
    def transport(self) -> Any:
        """Has an `abort`."""

    @property
    def close_code(self) -> int | None: ...

    @property
    def close_reason(self) -> str | None: ...

    async def recv(self) -> str | bytes:
        """The next message. Raises `ConnectionClosed` or `EOFError` at the end."""

    async def send(self, message: Any) -> None: ...

    async def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


class Peer:
    """A client and the transport that writes to it."""

    def __init__(self, host: RecordingHost, connection: Connection, client: Client) -> None:
        self.host = host
        self.connection = connection
        self.transport = connection.transport
        self.client = client

    def write(self, *texts: str) -> bool:
        return self.write_batch(Batch([Frame(text.encode()) for text in texts]))

    def write_batch(self, batch: Batch) -> bool:
        self.host.writing = True
        try:
            return self.transport.write(batch)
        finally:
            self.host.writing = False

    def deliver(self, *texts: str) -> bool:
        """Write as the fan-out does: to the descriptor, where there is one. Returns whether there was."""
        kind = EventStreamBatch if self.transport.kind == "sse" else Batch
        batch = kind([Frame(text.encode()) for text in texts])
        fd = self.transport.fd
        if fd is None:
            self.write_batch(batch)
            return False
        write_batch_to_fds(batch, {fd: self.connection})
        return True

    def fill(self, limit: int) -> list[str]:
        """Write at most `limit` bytes until the transport is full, and return the texts."""
        for n in range(limit // _PIECE):
            if not self.write(_piece(n)):
                return [_piece(i) for i in range(n + 1)]
        raise AssertionError(f"took {limit} bytes and was not full")

    async def stuff(self, limit: int) -> list[str]:
        """Write at most `limit` bytes until the transport and the kernel's buffers are full, and return the texts."""
        count, full, drains = 0, False, len(self.host.drains)
        while count < limit // _PIECE:
            while not full and count < limit // _PIECE:
                full = not self.write(_piece(count))
                count += 1
            await asyncio.sleep(0.15)
            if full and len(self.host.drains) == drains:
                return [_piece(i) for i in range(count)]
            full, drains = False, len(self.host.drains)
        raise AssertionError(f"took {limit} bytes and was not full")

    async def read(self, count: int, seconds: float = PATIENCE) -> list[str]:
        async with asyncio.timeout(seconds):
            return [str(await self.client.recv()) for _ in range(count)]

    async def read_to_end(self, seconds: float = PATIENCE) -> tuple[list[str], int | None, str | None]:
        """All further texts, and the close code and reason."""
        texts = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    texts.append(str(await self.client.recv()))
        except (ConnectionClosed, EOFError):
            return texts, self.client.close_code, self.client.close_reason


def _piece(n: int) -> str:
    return f"{n}:".ljust(_PIECE, ".")


async def dial(url: str) -> Client:
    """A client with small buffers, so that unread data stays with the server."""
    sock = await small_socket(url)
    return await connect(url, sock=sock, max_size=None, max_queue=1, compression=None, ping_interval=None)


async def small_socket(url: str) -> socket.socket:
    """A socket to the server of a URL, with a small receive buffer."""
    host, _, port = url.split("/")[2].rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    except BaseException:
        sock.close()
        raise
    return sock
