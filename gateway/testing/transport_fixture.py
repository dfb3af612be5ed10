"""The fixture of the transport suites: connections of real clients to a server over a real socket."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from gateway.testing.helpers import until
from gateway.testing.peers import Client, Peer, RecordingHost, dial


class TransportFixture(ABC):
    """Connections over a transport under test: of WebSockets, unless overridden."""

    capacity: int = 16 * 1024 * 1024
    """Bytes that a client that reads nothing may be sent before `write` returns False, the kernel's buffers
    included."""

    @abstractmethod
    def serving(self, host: RecordingHost, stall: float) -> AbstractAsyncContextManager[str]:
        """A server whose transports call `host`; yields the WebSocket URL. A client that reads nothing for `stall`
        seconds while data waits is aborted."""

    async def dial(self, url: str) -> Client:
        """A client of the server."""
        return await dial(url)

    def expected_close(self, code: int, reason: str) -> tuple[int | None, str | None]:
        """The close code and reason as clients get them."""
        return code, reason

    async def expect_received(self, peer: Peer, text: str) -> None:
        """Send the first text of the client, and wait until the host has received it."""
        await peer.client.send(text)
        await until(lambda: peer.host.texts == [text])

    @asynccontextmanager
    async def peers(self, count: int = 1, stall: float = 30.0) -> AsyncIterator[list[Peer]]:
        host = RecordingHost()
        clients: list[Client] = []
        async with self.serving(host, stall) as url:
            try:
                peers = []
                for _ in range(count):
                    clients.append(await self.dial(url))
                    peers.append(Peer(host, await host.joined.get(), clients[-1]))
                yield peers
            finally:
                for client in clients:
                    client.transport.abort()
                    await client.wait_closed()
                await until(lambda: len(set(host.gone)) == len(clients))

    @asynccontextmanager
    async def peer(self, stall: float = 30.0) -> AsyncIterator[Peer]:
        async with self.peers(1, stall) as (peer,):
            yield peer
