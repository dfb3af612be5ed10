"""The suite of `gateway.core.transport.Transport` for event streams."""

import asyncio

from gateway.testing.event_stream_client import EventStreamClient
from gateway.testing.peers import Client, Peer
from gateway.testing.transport_contract import TransportContract


class EventStreamContract(TransportContract):
    """The guarantees of `Transport`, with clients of event streams; `serving` yields an `http://` address."""

    async def dial(self, url: str) -> Client:
        client = await EventStreamClient.open(url)
        assert client.status == 200
        return client

    def expected_close(self, code: int, reason: str) -> tuple[int | None, str | None]:
        return None, None  # the stream ends without a close code

    async def expect_received(self, peer: Peer, text: str) -> None:
        await asyncio.sleep(0.1)

    async def test_client_frames_are_received(self) -> None:
        """A client sends no messages: the host receives no text, the request included."""
        async with self.peer() as peer:
            assert peer.write("one")
            assert await peer.read(1) == ["one"]
            assert peer.host.texts == []
            assert peer.host.binaries == 0
