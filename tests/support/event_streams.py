"""Clients of event streams that read blocks as frames."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from gateway.testing import Block, EventStreamClient
from tests.support.pauses import PATIENCE


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...

    def token(self) -> str: ...


class Stream:
    """A stream whose first block has been read: `retry`, then `established`."""

    def __init__(self, client: EventStreamClient) -> None:
        self.client = client
        self.retry = 0
        self.established = Block("")

    async def block(self, seconds: float = PATIENCE) -> Block:
        """The next block."""
        return await self.client.next_block(seconds)

    async def next(self, type: str | None = None, seconds: float = PATIENCE) -> dict[str, Any]:
        """The frame in the next block that has one, of the type where that is given."""
        while (block := await self.block(seconds)).data is None:
            pass
        frame: dict[str, Any] = json.loads(block.data)
        assert type is None or frame["type"] == type, frame
        assert block.event == (None if "event_id" in frame else frame["type"])
        return frame

    async def ended(self, seconds: float = PATIENCE) -> None:
        """Wait for the end; what comes before it is left out."""
        await self.client.rest(seconds)


@asynccontextmanager
async def asking(
    gate: HasUrl, query: str = "", token: str | None = None, **headers: str
) -> AsyncIterator[EventStreamClient]:
    """Ask for a stream; headers with `_` for `-`."""
    sent = {"Authorization": f"Bearer {gate.token() if token is None else token}"} if token != "" else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    client = await EventStreamClient.open(f"{gate.url}/events/stream{query}", sent)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def streaming(gate: HasUrl, query: str = "", token: str | None = None, **headers: str) -> AsyncIterator[Stream]:
    """A stream whose `connection.established` has come."""
    async with asking(gate, query, token, **headers) as client:
        assert client.status == 200, (client.status, await client.rest())
        stream = Stream(client)
        first = await stream.block()
        assert first.retry is not None, first.raw
        stream.retry = first.retry
        stream.established = await stream.block()
        assert stream.established.event == "connection.established"
        yield stream
